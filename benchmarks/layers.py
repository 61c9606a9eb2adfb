"""One training step of the reading's autoencoder, with our layers and with Keras's layers, alternating in one process.

    KERAS_BACKEND=jax python benchmarks/layers.py [--batch 1000] [--rounds 5]

Prints each one's best time for a step, the ratio, and the time that 25 epochs of 48,000 images would take.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np

import unstride.keras
from unstride import data


def autoencoder(layers: object) -> keras.Model:
    """The reading's model with the layers of the module `layers`, which has Conv2D and Conv2DTranspose."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(channels, 3, activation="relu") for channels in (32, 16, 8)),
            *(layers.Conv2DTranspose(channels, 3, activation="relu") for channels in (8, 16, 32)),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    x = data.mnist()[0][0][: arguments.batch, ..., None].astype(np.float32) / 255
    models = {"unstride": autoencoder(unstride.keras), "Keras": autoencoder(keras.layers)}
    best = dict.fromkeys(models, float("inf"))
    for model in models.values():
        model.train_on_batch(x, x)  # compiles
    for _ in range(arguments.rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(x, x)
            best[name] = min(best[name], time.perf_counter() - start)
    print(f"one step of {arguments.batch} images on {keras.backend.backend()}, best of {arguments.rounds}:")
    for name, seconds in best.items():
        minutes = seconds / arguments.batch * 48_000 * 25 / 60
        print(f"  {name:<9} {seconds:8.3f} s   25 epochs in {minutes:6.1f} min")
    print(f"  ratio     {best['Keras'] / best['unstride']:8.2f}")


if __name__ == "__main__":
    main()

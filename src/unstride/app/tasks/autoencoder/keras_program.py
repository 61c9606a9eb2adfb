"""Writes the training of an autoencoder as a Keras program. Needs no Keras itself."""

from __future__ import annotations

import itertools
import math

from ....models._autoencoder import READING, Layer, Row, parsed, table
from ...runs.options import Options

PROGRAM = '''"""An autoencoder of MNIST's digits, built, trained and tried with Keras: the run's settings, {layers}.

    python train_in_keras.py --images 2000 --epochs 3

Keras's own layers compute it, unless unstride is installed: then its kernels do, which is much faster on a CPU, and
MNIST needs no network. --plain leaves the layers to Keras all the same.
"""

import argparse
import os
from pathlib import Path


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{{number}}; expected at least 1")
    return number


parser = argparse.ArgumentParser(description="Train an autoencoder on MNIST with Keras.")
parser.add_argument("--epochs", type=positive, default={epochs})
parser.add_argument("--batch-size", type=positive, default={batch_size})
parser.add_argument(
    "--images", type=positive, default={images}, help="how many of them to learn from and to test with, from {least} on"
)
parser.add_argument("--plain", action="store_true", help="compute with Keras's layers even if unstride is installed")
parser.add_argument(
    "--picture",
    default=Path(__file__).with_name("reconstructions.png"),
    help="what to write at the end; default: reconstructions.png in this program's folder",
)
options = parser.parse_args()
if options.images is not None and options.images < {least}:
    parser.error(f"argument --images: {{options.images}}; expected at least {least}, to learn and to validate with")

os.environ.setdefault("KERAS_BACKEND", "{backend}")

import keras
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

try:
    from unstride.data import mnist
except ImportError:
    from keras.datasets.mnist import load_data as mnist


def prepared(images):
    """Greys from 0 to 1, with a channel."""
    return images[: options.images, ..., np.newaxis].astype("float32") / 255


(train, _), (test, _) = mnist({folder})
train, test = prepared(train), prepared(test)

keras.utils.set_random_seed({seed})
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        # The encoder: convolutions, to a smaller grid.
{encoder}
        # The decoder: transposed convolutions, back to the size of the image.
{decoder}
        # One channel again: the image.
{last}
    ]
)
model.summary()
model.compile(optimizer=keras.optimizers.Adam({learning_rate}), loss="binary_crossentropy")
if not options.plain:
    try:
        from unstride.keras import accelerate
    except ImportError:
        pass
    else:
        accelerate(model)

# The images are their own targets.
model.fit(train, train, batch_size=options.batch_size, epochs=options.epochs, validation_split={validation_split})
print(f"test loss: {{model.evaluate(test, test, batch_size=options.batch_size, verbose=0):.4f}}")

shown = test[:10]
figure, axes = pyplot.subplots(2, len(shown), figsize=(len(shown), 2), squeeze=False)
for row, images in zip(axes, (shown, model.predict(shown, verbose=0))):
    for place, image in zip(row, images):
        place.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
        place.axis("off")
figure.savefig(options.picture)
print(f"{{options.picture}}: {{len(shown)}} test digits above what the model makes of them")
'''


def program(options: Options) -> str:
    """The source of a program with the same training, which needs Keras, its backend and Matplotlib."""
    layers = READING if options.layers is None else parsed(options.layers)
    *inner, last = table(layers)
    up = next((place for place, row in enumerate(inner) if row.layer.kind == "up"), len(inner))
    return PROGRAM.format(
        layers="the reading's layers" if layers == READING else f"--layers '{options.layers}'",
        backend=options.backend,
        epochs=options.epochs,
        batch_size=options.batch_size,
        images=options.limit,
        least=_least(options.validation_split),
        folder="" if options.data is None else repr(options.data),
        seed=options.seed,
        encoder="\n".join(map(_line, inner[:up])),
        decoder="\n".join(map(_line, inner[up:])),
        last=_line(last),
        learning_rate=options.learning_rate,
        validation_split=options.validation_split,
    )


def _least(share: float) -> int:
    """The smallest number of images that Keras can split into training and validation."""
    return next(count for count in itertools.count(2) if 0 < math.floor(count * (1 - share)) < count)


def _line(row: Row) -> str:
    layer: Layer = row.layer
    kind = "Conv2DTranspose" if layer.kind == "up" else "Conv2D"
    settings = [str(layer.filters), str(layer.kernel)]
    if layer.stride != 1:
        settings.append(f"strides={layer.stride}")
    if layer.padding != "valid":
        settings.append(f'padding="{layer.padding}"')
    settings.append(f'activation="{layer.activation}"')
    if layer.activation == "relu":
        settings.append('kernel_initializer="he_normal"')
    return f'        keras.layers.{kind}({", ".join(settings)}, name="{row.name}"),'

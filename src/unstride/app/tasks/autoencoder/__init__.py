"""The reading's autoencoder on MNIST: its data, inference without Keras, metrics, report and training."""

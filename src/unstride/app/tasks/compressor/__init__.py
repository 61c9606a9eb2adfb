"""The compressor on MNIST: its data, inference without Keras, metrics, report and training."""

"""The segmenter: its data, inference without Keras, metrics, report and training."""

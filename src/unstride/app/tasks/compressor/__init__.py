"""The compressor on MNIST: how it is trained, used, judged and reported."""

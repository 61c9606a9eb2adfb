"""The reading's autoencoder on MNIST: how it is trained, used, judged and reported."""

"""Keras: the choice of its backend, and its import."""

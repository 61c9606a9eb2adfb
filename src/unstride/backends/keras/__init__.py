"""Keras: which backend it computes with, its import, and its symbolic tensors."""

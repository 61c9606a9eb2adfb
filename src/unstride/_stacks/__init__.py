"""Stacks of tensors: what runs them in each framework, and when they are worth it."""

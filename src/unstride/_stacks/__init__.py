"""Stacks of tensors: how each framework runs them, and when they are faster than layers one by one."""

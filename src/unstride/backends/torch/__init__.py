"""PyTorch: the three maps and stacks as operators with derivatives."""

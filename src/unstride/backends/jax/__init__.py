"""JAX: the three maps and stacks as primitives, computed by the native core through XLA's foreign functions."""

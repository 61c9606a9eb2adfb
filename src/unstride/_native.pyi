def instruction_set() -> str:
    """The widest instruction set that this machine runs: 'avx512', 'avx2', 'neon' or 'baseline'."""

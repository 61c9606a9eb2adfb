"""What a call of one of the three maps passes through before it is computed: checks, and a cache of checked calls."""

"""What single chapters show: drawings, a deconvolution, the frameworks' traps, a benchmark."""

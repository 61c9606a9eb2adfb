"""Pictures: read from files, made into numbers and back."""

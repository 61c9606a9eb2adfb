"""What errors and printed lines say, and the arguments that are refused for their kind or name."""

"""The operators of the torch interpreter, by family."""

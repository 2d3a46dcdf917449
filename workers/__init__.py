"""The long work: torch, and nothing of HTTP. One folder per capability."""

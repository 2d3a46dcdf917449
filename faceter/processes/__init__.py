"""Processes, and what they share: the supervisor, the embedded store, logs."""

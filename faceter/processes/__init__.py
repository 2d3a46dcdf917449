"""Processes of the service: the supervisor, the embedded store, logging."""

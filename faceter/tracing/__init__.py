"""Traces: which request caused what, in logs, in jobs and, if OpenTelemetry is configured, in exported spans."""

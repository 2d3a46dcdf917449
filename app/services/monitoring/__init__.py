"""Prometheus metrics and readiness of the service."""

"""Predictions: inputs, sessions, the inference pool."""

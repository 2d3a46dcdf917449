"""Descriptions of well-known detection heads, fitted to the outputs of a model."""

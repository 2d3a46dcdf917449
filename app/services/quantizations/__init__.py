"""Quantization requests."""

"""Quantization without the training data. One method, one file."""

"""Tuning a network after rounding, with data or without: what every tuned method shares, written once."""

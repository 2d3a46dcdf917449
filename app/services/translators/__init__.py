"""Translators: requests, training, translation."""

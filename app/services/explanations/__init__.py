"""Explanations and their units."""

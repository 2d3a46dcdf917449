"""Evaluations of generated samples."""

"""Figures of results as PNG files; equal inputs give equal bytes on equal machines."""

"""Drawings of units with Pillow: where a unit fires, beside where its formula holds."""

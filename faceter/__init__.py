"""Faceter cuts, inspects and grades neural networks."""

__version__ = "0.1.0"

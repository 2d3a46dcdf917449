"""Searches for the formula that describes best where a unit fires."""

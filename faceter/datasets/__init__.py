"""Reads and checks the data sets a user uploads. One kind, one file."""

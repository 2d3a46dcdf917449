"""Reads and checks the datasets a user uploads. One kind, one file."""

"""Reads and checks uploaded datasets: one reader per kind."""

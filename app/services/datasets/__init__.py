"""Datasets: uploads, lists, deletion."""

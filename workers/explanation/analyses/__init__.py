"""Analyses of explanations, one file each."""

"""Analyses of explanations."""

"""Probe datasets: model inputs with the concepts of each pixel, moment or sentence pair."""

"""Grading generative models: how real and generated samples lie to each other in a space of features."""

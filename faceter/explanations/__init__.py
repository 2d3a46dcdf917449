"""Formulas, and the files of an explanation: units and masks, written by workers and read and drawn by the API."""

"""Worked examples: a network on handwritten digits, and the quickstart that takes it through the service."""

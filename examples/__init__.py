"""Examples: a network for handwritten digits, and the quickstart."""

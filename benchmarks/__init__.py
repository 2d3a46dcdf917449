"""One script per claim, each a ratio or a table measured in one run."""

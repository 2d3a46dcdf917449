"""Chaos: a real service under a mixed load while its processes are killed at random; what it acknowledged must stay."""

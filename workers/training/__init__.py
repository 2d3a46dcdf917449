"""The training core: loop, budget, precision."""

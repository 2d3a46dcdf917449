"""The training core: loop, trainers, budget, curves, callbacks, precision."""

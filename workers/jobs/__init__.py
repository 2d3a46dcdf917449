"""What every job is given: its context, scratch space, checkpoints, provenance."""

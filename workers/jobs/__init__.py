"""What every job uses: its context, progress stages, checkpoints, scratch files, provenance."""

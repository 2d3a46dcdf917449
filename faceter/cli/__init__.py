"""The `faceter` command."""

"""What explanations keep beside their record, written by workers and read by the API."""

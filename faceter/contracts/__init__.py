"""What both sides agree on: settings, errors, resources, job specifications, results. Pydantic only."""

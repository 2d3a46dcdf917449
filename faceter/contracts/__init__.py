"""Data types shared by the API and the workers: settings, errors, resources, jobs, results. Pydantic only."""

"""Fuzzing of a real service: requests made from the OpenAPI document, and damaged files."""

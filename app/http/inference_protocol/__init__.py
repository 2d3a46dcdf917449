"""What the Open Inference Protocol needs of HTTP: bodies, compression, errors, OpenAPI."""

"""What the API does, one folder per resource; nothing here knows of HTTP."""

"""The service layer of the API, one folder per resource; independent of HTTP."""

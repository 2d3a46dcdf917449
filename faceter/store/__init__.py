"""Where things are kept: records and results in Redis, files in the blob store."""

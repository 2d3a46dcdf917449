"""Storage: records and jobs in Redis, files in the blob store."""

"""Backups: all records, jobs and files of a store in one archive."""

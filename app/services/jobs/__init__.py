"""Jobs: the queue, and doing a job again."""

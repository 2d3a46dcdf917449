"""Jobs: the queue, submission and reruns."""

"""Access: API keys, rates, quotas, audit."""

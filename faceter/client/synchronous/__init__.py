"""The client without asyncio, generated from `faceter.client.asynchronous` by `scripts/generate-client`."""

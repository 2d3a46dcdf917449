"""The client for asyncio. `faceter.client.synchronous` is generated from this room by `scripts/generate-client`."""

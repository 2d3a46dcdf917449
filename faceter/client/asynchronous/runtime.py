"""What differs between the two clients besides `async` and `await`; not generated."""

import asyncio

sleep = asyncio.sleep
in_thread = asyncio.to_thread

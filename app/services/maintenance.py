"""Background maintenance in every API process."""

import asyncio

import structlog
from anyio import to_thread

from app.services.core import Core
from faceter.contracts.errors import FaceterError
from faceter.engines.onnxruntime import free_unused_memory

_REAP_SECONDS = 5.0
_SWEEP_EVERY = 720
_FREE_EVERY = 12

_log = structlog.get_logger("app.maintenance")


async def maintain(core: Core) -> None:
    """Requeue jobs of dead workers, load kept models and delete orphaned blobs every few seconds, until canceled."""
    iteration = 0
    while True:
        try:
            lost = await to_thread.run_sync(core.queue.reap)
            if lost:
                _log.warning("jobs of lost workers requeued or failed", jobs=lost)
            sweep = core.library.sweep if iteration % _SWEEP_EVERY == 0 else core.library.delete_released
            await to_thread.run_sync(sweep)
            await to_thread.run_sync(core.model_server.follow_kept)
            await to_thread.run_sync(core.reserve.keep)
            if iteration % _FREE_EVERY == 0:
                await to_thread.run_sync(free_unused_memory)
        except FaceterError as error:
            _log.warning("maintenance postponed", reason=error.detail)
        except Exception:
            _log.exception("maintenance failed")
        iteration += 1
        await asyncio.sleep(_REAP_SECONDS)

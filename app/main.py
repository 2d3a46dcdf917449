"""The API: `create_app` builds the application, `run_api` serves it."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import uvicorn
from fastapi import APIRouter, FastAPI

from app.http import openapi, problems, routes
from app.http.middleware.body_limits import BodyLimit, limits_of
from app.http.middleware.head import HeadAsGet
from app.http.middleware.request_log import RequestLog
from app.services.core import Core
from app.services.maintenance import maintain
from faceter.contracts.settings import Settings
from faceter.processes.logs import set_up_logs

_SHUTDOWN_SECONDS = 10


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the API as an ASGI application, which starts even if Redis is down.

    Args:
        settings: Read from the environment by default.
    """
    settings = settings or Settings()
    core = Core.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        maintenance = asyncio.create_task(maintain(core))
        try:
            yield
        finally:
            maintenance.cancel()
            with suppress(asyncio.CancelledError):
                await maintenance
            core.close()

    app = FastAPI(
        title="Faceter",
        description=openapi.DESCRIPTION,
        version=version("faceter"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        swagger_ui_parameters={"displayRequestDuration": True, "defaultModelsExpandDepth": 0, "tryItOutEnabled": True},
    )
    app.state.core = core
    problems.install(app)
    for router in _routers():
        app.include_router(router)
    openapi.install(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limits=limits_of(settings), otherwise=settings.max_json_bytes)
    app.add_middleware(RequestLog, observer=core.monitoring)
    return app


def run_api(settings: Settings) -> None:
    """Serve the API on the settings' host and port until SIGINT or SIGTERM."""
    set_up_logs(settings)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def _routers() -> Iterator[APIRouter]:
    """Yield the router of every module in `app.http.routes`."""
    for module in pkgutil.iter_modules(routes.__path__, f"{routes.__name__}."):
        router: APIRouter = importlib.import_module(module.name).router
        yield router

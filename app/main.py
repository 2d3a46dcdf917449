"""The API: `create_app` builds the application, `run_api` serves it."""

import asyncio
import importlib
import os
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.http import openapi, problems, routes
from app.http.middleware.authentication import KeyCheck
from app.http.middleware.body_limits import BodyLimit, limits_of
from app.http.middleware.direct_predict import DirectPredict
from app.http.middleware.head import HeadAsGet
from app.http.middleware.request_log import RequestLog
from app.http.middleware.security_headers import SecurityHeaders
from app.process_limits import limit_process_memory
from app.server import end_with_parent, serve, serve_in_processes
from app.services.core import Core
from app.services.maintenance import maintain
from app.services.models.check_process import warm_up
from faceter.contracts.settings import Settings
from faceter.engines.onnxruntime import limit_memory
from faceter.processes.logs import set_up_logs

_PREFLIGHT_SECONDS: Final = 600


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the API as an ASGI application, which starts even if Redis is down.

    Args:
        settings: Read from the environment by default.
    """
    settings = settings or Settings()
    core = Core.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warm_up()
        limit_memory(settings.bytes_of_predictions + settings.session_cache_bytes)
        maintenance = asyncio.create_task(maintain(core))
        try:
            async with _grpc(app, core):
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
        telemetry={"tracing": False},
    )
    app.state.core = core
    problems.install(app)
    for router in _routers():
        app.include_router(router)
    openapi.install(app)
    app.add_middleware(DirectPredict, core=core)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limits=limits_of(settings), otherwise=settings.max_json_bytes)
    app.add_middleware(KeyCheck, access=core.access, origins=settings.origins)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
            max_age=_PREFLIGHT_SECONDS,
        )
    app.add_middleware(SecurityHeaders, shared=bool(settings.origins))
    app.add_middleware(RequestLog, observer=core.monitoring, tracer=core.tracer)
    return app


def served_app() -> FastAPI:
    """Return the API for one of several processes, with settings from the environment."""
    settings = Settings()
    set_up_logs(settings)
    limit_process_memory(settings)
    end_with_parent()
    return create_app(settings)


@asynccontextmanager
async def _grpc(app: FastAPI, core: Core) -> AsyncIterator[None]:
    """Serve gRPC during the block if the settings have a port for it; the actual one is `app.state.grpc_port`."""
    if core.settings.grpc_port is None:
        yield
        return
    # Imports the package grpc, which is optional.
    from app.grpc.server import serving_grpc

    async with serving_grpc(core) as app.state.grpc_port:
        yield


def run_api(settings: Settings) -> None:
    """Serve the API on the settings' host and port until SIGINT or SIGTERM."""
    set_up_logs(settings)
    limit_process_memory(settings)
    if settings.api_processes == 1:
        serve(create_app(settings), settings)
        return
    os.environ.update(settings.environment())
    serve_in_processes(f"{__name__}:{served_app.__name__}", settings)


def _routers() -> Iterator[APIRouter]:
    """Yield the router of every module in `app.http.routes`."""
    for module in pkgutil.iter_modules(routes.__path__, f"{routes.__name__}."):
        router: APIRouter = importlib.import_module(module.name).router
        yield router

"""The API: `create_app` puts it together, `run_api` serves it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI

from app.http import openapi, problems
from app.http.middleware.body_limits import BodyLimit, limits_of
from app.http.middleware.request_log import HeadAsGet, RequestLog
from app.http.routes import (
    analyses,
    datasets,
    evaluations,
    explanations,
    jobs,
    models,
    operations,
    predict,
    quantizations,
    translators,
)
from app.http.routes import problems as problem_pages
from app.services.container import Services
from faceter.contracts.settings import Settings
from faceter.processes.logs import set_up_logs

_SHUTDOWN_SECONDS = 10


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the API as an ASGI application; it starts even if Redis is away.

    Args:
        settings: Read from the environment if not given.
    """
    settings = settings or Settings()
    services = Services.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        house_keeping = asyncio.create_task(services.keep_house())
        try:
            yield
        finally:
            house_keeping.cancel()
            with suppress(asyncio.CancelledError):
                await house_keeping
            services.close()

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
    app.state.services = services
    problems.install(app)
    for room in (
        models,
        predict,
        quantizations,
        datasets,
        evaluations,
        explanations,
        analyses,
        translators,
        jobs,
        operations,
        problem_pages,
    ):
        app.include_router(room.router)
    openapi.install(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limits=limits_of(settings), otherwise=settings.max_json_bytes)
    app.add_middleware(RequestLog, observer=services.metrics)
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

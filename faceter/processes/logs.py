"""Logging: structlog and the standard library through one formatter, as JSON or for a terminal."""

import logging
import sys

import structlog

from faceter.contracts.settings import LogFormat, Settings

_QUIET = ("httpx", "httpcore", "botocore", "aiobotocore", "s3fs", "fsspec", "PIL", "onnxscript", "onnx_ir")


def set_up_logs(settings: Settings) -> None:
    """Send every log line to standard error in ``settings.log_format``, from ``settings.log_level`` upwards.

    Lines of structlog (``structlog.get_logger()``) and of the standard library (uvicorn, rq, …) have the same format:
    one JSON object per line with ``event``, ``level``, ``logger`` and ``timestamp`` (RFC 3339, UTC), or coloured text
    on a terminal. Values bound with ``structlog.contextvars.bind_contextvars`` are included. Tracebacks show no local
    variables, which may hold uploaded data. It may be called again.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _without_colour],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings.log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.value.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_colour(
    logger: structlog.types.WrappedLogger, method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    event.pop("color_message", None)  # uvicorn's coloured copy of the message
    return event


def _renderers(log_format: LogFormat) -> list[structlog.types.Processor]:
    if log_format is LogFormat.JSON:
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]

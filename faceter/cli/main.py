"""The ``faceter`` command: does work by a service, starts the service or its processes, exports models from torch."""

import json
import os
import sys
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from faceter.cli import access, data_commands, work
from faceter.cli.settings import load_settings
from faceter.contracts.settings import Settings

application = typer.Typer(
    name="faceter",
    help="Quantizes, explains and evaluates neural networks, over REST.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
work.register(application)
data_commands.register(application)
access.register(application)

Host = Annotated[str | None, typer.Option(help="Address the API listens on.", show_default="FACETER_HOST or 127.0.0.1")]
Port = Annotated[
    int | None,
    typer.Option(help="Port of the API; 0 takes a free one.", show_default="FACETER_PORT or 8000", min=0, max=65535),
]
GrpcPort = Annotated[
    int | None,
    typer.Option(
        help="Port of the Open Inference Protocol over gRPC; 0 takes a free one.",
        show_default="FACETER_GRPC_PORT or none",
        min=0,
        max=65535,
    ),
]
EXAMPLES = """Examples:

faceter export-torch my_models:trained --input-shape 1,3,224,224

faceter export-torch unet:UNet --weights unet.pth --argument classes=4 --input-shape image=N,3,H,W

faceter export-torch bert:Encoder --weights model.safetensors --input-shape input_ids=N,L
--input-shape attention_mask=N,L --input-dtype input_ids=int64 --input-dtype attention_mask=int64
--input-range input_ids=0:30521
"""

ApiProcesses = Annotated[
    int | None,
    typer.Option(help="Processes of the API behind one port.", show_default="FACETER_API_PROCESSES or 1", min=1),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of all data.", show_default="FACETER_DATA_DIR or faceter-data"),
]


def main() -> None:
    """Run the command line."""
    application()


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"faceter {version('faceter')}")
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@application.command()
def up(
    port: Port = None,
    host: Host = None,
    grpc_port: GrpcPort = None,
    workers: Annotated[int, typer.Option(help="Worker processes, each running one job at a time.", min=0)] = 1,
    api_workers: ApiProcesses = None,
    data_dir: DataDir = None,
) -> None:
    """Start everything: the API, workers and, unless FACETER_REDIS_URL is set, an embedded Valkey."""
    from importlib.metadata import version

    from faceter.processes.embedded_store import EmbeddedValkeyError
    from faceter.processes.errors import SupervisorError
    from faceter.processes.supervisor import Supervisor

    settings = load_settings(port=port, host=host, data_dir=data_dir, api_processes=api_workers, grpc_port=grpc_port)
    _check_grpc(settings)
    typer.echo(f"Faceter {version('faceter')}, process {os.getpid()}, data in {settings.data_dir.absolute()}")
    try:
        status = Supervisor(settings, workers).run()
    except (SupervisorError, EmbeddedValkeyError, OSError) as error:
        _fail(str(error))
    raise typer.Exit(status)


@application.command()
def api(
    port: Port = None,
    host: Host = None,
    grpc_port: GrpcPort = None,
    workers: ApiProcesses = None,
    data_dir: DataDir = None,
) -> None:
    """Run the API alone, against FACETER_REDIS_URL or the embedded Valkey of a running `faceter up`.

    With several processes, SIGHUP replaces them one after the other, without a request that fails.
    """
    settings = load_settings(port=port, host=host, data_dir=data_dir, api_processes=workers, grpc_port=grpc_port)
    _check_grpc(settings)

    from app.main import run_api

    _check_data(settings)
    run_api(settings)


@application.command()
def worker(data_dir: DataDir = None) -> None:
    """Run one worker, against FACETER_REDIS_URL or the embedded Valkey of a running `faceter up`."""
    settings = load_settings(data_dir=data_dir)

    from faceter.processes.logs import set_up_logs
    from workers.main import run_worker

    set_up_logs(settings)
    _check_data(settings)
    run_worker(settings)


def _check_grpc(settings: Settings) -> None:
    """Leave with a message if gRPC is asked for and the package for it is missing."""
    if settings.grpc_port is not None and find_spec("grpc") is None:
        _fail(
            "gRPC (--grpc-port, FACETER_GRPC_PORT) needs the package grpcio, which is not installed. "
            "Install it with the extra of Faceter: pip install 'faceter[grpc]'"
        )


def _check_data(settings: Settings) -> None:
    """Migrate data of an earlier version, and leave with a message if it is of a later one."""
    from faceter.cli.data_version import prepare_data
    from faceter.store.schema import SchemaVersionError

    try:
        prepare_data(settings)
    except SchemaVersionError as error:
        _fail(str(error))
    except ValueError as error:
        _fail(f"FACETER_REDIS_URL cannot be used: {error}")


@application.command()
def health(port: Port = None, host: Host = None) -> None:
    """Check whether the API of this machine responds; the exit status is 0 if so, else 1."""
    from faceter.processes.addresses import local_url, responds

    settings = load_settings(port=port, host=host)
    url = local_url(settings.host, settings.port)
    alive = responds(f"{url}/healthz")
    typer.echo(f"{url} {'is alive' if alive else 'does not respond'}")
    raise typer.Exit(0 if alive else 1)


@application.command("settings")
def show_settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting with its value and source; passwords in URLs are masked."""
    rows = _rows(load_settings())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    widths = [max(len(str(row[column])) for row in rows) for column in ("variable", "value", "source")]
    for row in rows:
        cells = zip((row["variable"], row["value"], row["source"]), widths, strict=True)
        typer.echo("  ".join(str(cell).ljust(width) for cell, width in cells) + f"  {row['description']}")


@application.command("openapi")
def show_openapi() -> None:
    """Print the API's OpenAPI document, JSON."""
    from app.main import create_app

    typer.echo(json.dumps(create_app(load_settings()).openapi(), indent=1, ensure_ascii=False, sort_keys=True))


@application.command("export-torch", epilog=EXAMPLES)
def export_torch(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:CALLABLE", help="A class, a function that returns a module, or a module.")
    ],
    input_shape: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]SIZES",
            help="Shape of an input, such as image=N,3,H,W: numbers are fixed, names are open sizes, and equal names "
            "are equal sizes. Repeat it for several inputs; names of forward's parameters give them by keyword. "
            "1,3,32,32 alone is one input with an open batch.",
        ),
    ],
    input_dtype: Annotated[
        list[str], typer.Option(metavar="NAME=DTYPE", help="Element type of an input; float32 by default.")
    ] = [],  # noqa: B006
    input_range: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=LOW:HIGH", help="Values of an input for the check; integers are 0 and 1 by default."
        ),
    ] = [],  # noqa: B006
    size: Annotated[
        list[str], typer.Option(metavar="NAME=NUMBER", help="A size at which an open one is tried, such as H=256.")
    ] = [],  # noqa: B006
    argument: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="Keyword argument of CALLABLE; JSON, a literal or text.")
    ] = [],  # noqa: B006
    weights: Annotated[
        Path | None, typer.Option(help="Weights to load into the module: a state dict (.pth, .pt) or .safetensors.")
    ] = None,
    weights_key: Annotated[
        str | None, typer.Option(help="Where the state dict is in that file, such as models.generator.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Whether missing and unexpected weights are an error.")] = True,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("model.onnx"),
    opset: Annotated[int, typer.Option(help="Version of the standard operators.", min=18, max=21)] = 18,
    input_name: Annotated[str, typer.Option(help="Name of an input that has none in --input-shape.")] = "image",
    static_batch: Annotated[bool, typer.Option(help="Keep the batch of a shape of numbers fixed.")] = False,
) -> None:
    """Export a torch module to ONNX with its BatchNorm layers kept, on your own machine.

    The service accepts no pickled models, because unpickling runs arbitrary code. MODULE is imported from the current
    folder or the environment. Weight files are read as weights only. The result is compared with torch, at two values
    of each open size, before it is written.
    """
    from faceter.cli.export_torch import export_command
    from faceter.export.errors import ExportError

    try:
        summary = export_command(
            target,
            input_shape,
            output,
            dtypes=input_dtype,
            ranges=input_range,
            sizes=size,
            arguments=argument,
            weights=weights,
            weights_key=weights_key,
            strict=strict,
            opset=opset,
            unnamed=input_name,
            static_batch=static_batch,
        )
    except ExportError as error:
        _fail(str(error))
    typer.echo(summary)


def _rows(settings: Settings) -> list[dict[str, Any]]:
    from faceter.processes.addresses import mask_password

    environment, env_file = EnvSettingsSource(Settings)(), DotEnvSettingsSource(Settings)()
    rows = []
    for name, about in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value
        row = {
            "name": name,
            "variable": f"FACETER_{name.upper()}",
            "value": mask_password(shown) if isinstance(shown, str) and "://" in shown else shown,
            "source": "environment" if name in environment else ".env file" if name in env_file else "default",
            "description": about.description,
        }
        if value is None:
            row["value"] = {"redis_url": settings.resolved_redis_url, "blob_url": settings.resolved_blob_url}.get(name)
        rows.append(row)
    return rows


def _fail(message: str) -> NoReturn:
    typer.echo(f"faceter: {message}", err=True)
    sys.exit(2)

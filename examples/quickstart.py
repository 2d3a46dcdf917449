"""The whole way in one go: bring the service up, train a digit network, upload it, quantize it, serve the result.

Run it by ``bash scripts/quickstart``. Everything after the export goes over HTTP, as any client in any language would.
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
import numpy as np

from examples import digits
from faceter.cli.export_torch import export
from faceter.processes import tether

DATA_DIR = Path(os.environ.get("FACETER_DATA_DIR") or "faceter-data") / "quickstart"
RUNS = (("rq", 8), ("rq", 4), ("rq", 2), ("auto", 2))
TUNING_MINUTES = 0.5
SHEET = "synthetic-digits.png"
_STARTUP_SECONDS = 90.0
_SHADES = " .:-=+*#%@"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the quickstart; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the service up afterwards, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of the API; a free one if not given")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        with service(options.port) as (url, process), httpx.Client(base_url=url, timeout=60) as client:
            walk(client, url)
            _say(f"Done after {time.monotonic() - began:.0f} s.")
            if options.keep:
                _say(f"The service stays up at {url}/docs until Ctrl-C.")
                process.wait()
            else:
                _say("Stopping the service; with --keep it stays up.")
    except KeyboardInterrupt:
        return 130 if not options.keep else 0
    except QuickstartError as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    return 0


class QuickstartError(RuntimeError):
    """Something did not go as it must; the message says what."""


def walk(client: httpx.Client, url: str) -> None:
    """Train, upload, quantize, predict and print what came of it."""
    _say("\n1. Train a small BatchNorm network on handwritten digits")
    learning, held_out = digits.load()
    network = digits.train(learning, report=_epoch)
    _say(f"   right on {digits.accuracy(network, held_out):.1%} of {len(held_out.targets)} digits by other writers")

    _say("2. Export it to ONNX, BatchNorm kept, and upload it with its labels and preprocessing")
    model = _checked(
        client.post(
            "/v1/models",
            files={"file": ("digits.onnx", export(network, (1, 1, 8, 8)).SerializeToString())},
            data={"name": "digits", "metadata": json.dumps(digits.METADATA)},
        )
    )
    _say(f"   {url}/v1/models/{model['id']}   {model['parameters']:,} parameters, {model['bytes']:,} bytes")

    _say("3. Upload the held-out digits, to measure on")
    dataset = _checked(
        client.post(
            "/v1/datasets",
            files={"file": ("digits.zip", held_out.archive())},
            data={"name": "digits-held-out", "kind": "images"},
        )
    )
    _say(f"   {url}/v1/datasets/{dataset['id']}   {dataset['samples']} images in {len(dataset['classes'])} classes")

    _say("4. Quantize it without any training data: rounded, and at 2 bits tuned too, on images made from the model")
    quantized = [quantize(client, model["id"], dataset["id"], method, bits) for method, bits in RUNS]
    sheet = keep_sheet(client, quantized[-1])

    _say("5. Ask the smallest one about a digit it has never seen")
    smallest = min(quantized, key=lambda made: int(made["quantization"]["size"]["packed"]))
    predict(client, smallest, held_out, digits.SHOWN)

    _say("\n" + table(model, quantized))
    _say(f"\nDocs, to try every call in the browser: {url}/docs")
    for made in [model, *quantized]:
        _say(f"  {made['name']:<16} {url}/v1/models/{made['id']}   (download: …/content)")
    _say(f"The images it was tuned on, made from the model alone: {sheet}")


def quantize(client: httpx.Client, model_id: str, dataset_id: str, method: str, bits: int) -> dict[str, Any]:
    """Have a model quantized, showing how far it is, and return the new model."""
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
    job = _checked(client.post(f"/v1/models/{model_id}/quantizations", json=request))
    began = time.monotonic()
    end: dict[str, Any] = {}
    step = ""
    for event, document in events(client, f"/v1/jobs/{job['id']}/events"):
        if event == "progress" and (sys.stdout.isatty() or document["step"] != step):
            step = document["step"]
            _progress(name, document["fraction"], step)
        elif event == "end":
            end = document
    if end.get("status") != "succeeded":
        raise QuickstartError(f"job {job['id']} did not succeed: {json.dumps(end.get('error'))}")
    _progress(name, 1.0, f"done in {time.monotonic() - began:.1f} s", last=True)
    return _checked(client.get(end["result"]["url"]))


def keep_sheet(client: httpx.Client, tuned: dict[str, Any]) -> Path:
    """Keep the contact sheet of the inputs a model was tuned on; return where."""
    dataset = tuned["quantization"]["tuning"]["synthetic_dataset_id"]
    answer = client.get(f"/v1/datasets/{dataset}/files/contact-sheet.png")
    if answer.is_error:
        _checked(answer)
    path = DATA_DIR / SHEET
    path.write_bytes(answer.content)
    return path


def events(client: httpx.Client, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the server-sent events at ``path`` that carry a document: their names and the documents."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
        if stream.status_code != httpx.codes.OK:
            stream.read()
            _checked(stream)
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
    """Send one image and show it beside the answer."""
    answer = _checked(
        client.post(f"/v1/models/{model['id']}/predict", files={"file": ("digit.png", held_out.png(index))})
    )
    guess = answer["predictions"][0]
    said = [
        "",
        f"{model['name']} says: {guess['label']} ({guess['score']:.1%})",
        *(f"  then {other['label']} ({other['score']:.1%})" for other in guess["top"][1:3]),
        f"it is: {digits.LABELS[held_out.targets[index]]}",
    ]
    for row, image in enumerate(drawing(held_out.images[index])):
        _say(f"   {image}   {said[row] if row < len(said) else ''}")


def drawing(image: digits.Pixels) -> list[str]:
    """Return a grey image [H, W], 0 to 255, as lines of text, two characters to a pixel."""
    shades = np.asarray(image, np.int64) * (len(_SHADES) - 1) // 255
    return ["".join(_SHADES[shade] * 2 for shade in row) for row in shades]


def table(model: dict[str, Any], quantized: Sequence[dict[str, Any]]) -> str:
    """Return what was gained and lost, a line for each model; the first is the original.

    Times are medians of one call; how many times as fast as the float model, measured in turns with it, stands beside.
    """
    first = quantized[0]["quantization"]
    batches = sorted(int(latency["batch"]) for latency in first["latency"])
    head = ("method", "bits", "accuracy", "size", *(f"latency, batch of {batch}" for batch in batches))
    rows: list[tuple[str, ...]] = [head, ("float", "32", f"{_top1(first)['before']:.1%}", f"{model['bytes']:,} B")]
    rows[1] += tuple(f"{_latency(first, batch)['before_ms']:.3f} ms" for batch in batches)
    for made in quantized:
        report, settings = made["quantization"], made["quantization"]["settings"]
        bits = f"W{settings['weight_bits']}A{settings['activation_bits']}"
        row = (settings["method"], bits, f"{_top1(report)['after']:.1%}", f"{report['size']['packed']:,} B")
        rows.append(row + tuple(_timing(_latency(report, batch)) for batch in batches))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


@contextlib.contextmanager
def service(port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Have ``faceter up`` running for as long as the block lasts; gives its address and its process."""
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    log = DATA_DIR / "service.log"
    _say(f"Starting the service (API, worker, embedded Valkey) at {url}; what it says goes to {log}")
    command = [sys.executable, "-m", "faceter", "up", "--port", str(port), "--data-dir", str(DATA_DIR)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with log.open("wb") as output:
        # A session of its own: Ctrl-C comes to us, and we stop it in order.
        process = subprocess.Popen(
            tether.command(command, signal.SIGTERM),
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
    began = time.monotonic()
    while time.monotonic() - began < _STARTUP_SECONDS:
        if process.poll() is not None:
            raise QuickstartError(f"the service did not come up. It said:\n{log.read_text(errors='replace')[-3000:]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK:
                _say(f"   ready after {time.monotonic() - began:.1f} s")
                return
        time.sleep(0.2)
    raise QuickstartError(f"the service was not ready after {_STARTUP_SECONDS:.0f} s; see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise QuickstartError(f"{response.request.url} answered {response.status_code}: {response.text}")
    document: dict[str, Any] = response.json()
    return document


def _top1(report: dict[str, Any]) -> dict[str, Any]:
    return next(quality for quality in report["quality"] if quality["metric"] == "top1")


def _latency(report: dict[str, Any], batch: int) -> dict[str, Any]:
    return next(latency for latency in report["latency"] if latency["batch"] == batch)


def _timing(latency: dict[str, Any]) -> str:
    return f"{latency['after_ms']:.3f} ms ({latency['before_ms'] / latency['after_ms']:.2f}× as fast)"


def _epoch(number: int, loss: float) -> None:
    _say(f"   epoch {number}: loss {loss:.3f}")


def _progress(name: str, fraction: float, step: str, *, last: bool = False) -> None:
    bar = ("#" * round(24 * fraction)).ljust(24, ".")
    line = f"   {name:<16} [{bar}] {fraction:4.0%} {step}"
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="\n" if last else "", flush=True)
    else:
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

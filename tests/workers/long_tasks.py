"""Quantization tasks for tests of jobs and workers, which only sleep, fail, or make a fake model.

The name in the request selects the behavior.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from faceter.contracts.base import Provenance, StoredFile, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, QuantizationJob, Training
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.quantizations import QuantizationRequest
from workers.jobs.context import JobContext, run_task

TASKS = "tests.workers.long_tasks"
"""Where a job queue finds the tasks of this file."""


def job_spec(behavior: str, *arguments: object) -> QuantizationJob:
    """Return the specification of a job with one of the behaviors in `do`."""
    request = QuantizationRequest(name=" ".join([behavior, *map(str, arguments)]))
    return QuantizationJob(model_id="mdl_0000000000000000test", request=request)


def quantization(specification: dict[str, Any]) -> dict[str, Any]:
    return run_task(QuantizationJob, do, specification)


def do(context: JobContext, specification: QuantizationJob) -> JobResult:
    behavior, *arguments = (specification.request.name or "").split()
    match behavior:
        case "succeeds":
            context.progress("working", 0.5)
        case "sleeps":
            sleep(context, float(arguments[0]))
        case "sleeps-once":
            if begin(context, Path(arguments[0])) == 1:
                sleep(context, 600)
        case "begins-and-sleeps":
            begin(context, Path(arguments[0]))
            sleep(context, 600)
        case "tunes":
            return tune(context, Path(arguments[0]), *map(int, arguments[1:]))
        case "kills-itself":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kills-itself-once":
            if begin(context, Path(arguments[0])) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        case "raises":
            raise RuntimeError("a secret of the house")
        case "refuses":
            raise FaceterError(ProblemKind.NOTHING_TO_QUANTIZE, "There is nothing here to quantize.")
        case "hogs":
            np.zeros(2**60, np.uint8)
        case "hangs":
            time.sleep(600)
        case _:
            raise ValueError(behavior)
    return make_model(context)


def begin(context: JobContext, log: Path) -> int:
    """Append the attempt to a file; return its number."""
    with log.open("a") as file:
        file.write(f"{context.job_id} {os.getpid()}\n")
    return len(log.read_text().splitlines())


def sleep(context: JobContext, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.progress("sleeping", 1 - left / seconds)
        time.sleep(0.02)


def tune(context: JobContext, log: Path, steps: int, pause_after: int | None = None) -> JobResult:
    """Take steps with a checkpoint after each, until the last one or a request to stop.

    The first attempt sleeps after step ``pause_after``, so that a test can end it there.
    """
    first = begin(context, log) == 1
    step = int(context.load_checkpoint() or 0)
    context.progress(f"from step {step}", step / steps)
    while step < steps and not context.stop_requested():
        step += 1
        context.save_checkpoint(str(step).encode())
        context.progress("tuning", step / steps, Training(phase="tuning", step=step, losses={"kl": 1 / step}))
        if first and step == pause_after:
            context.progress("resting", step / steps)
            time.sleep(600)
        time.sleep(0.02)
    inputs, sheet = context.store_blob(b"inputs of " + context.job_id.encode()), context.store_blob(b"a contact sheet")
    dataset = context.add(
        Dataset(
            id=context.new_id("dts"),
            name="made",
            kind=DatasetKind.IMAGES,
            created_at=utc_now(),
            sha256=inputs.sha256,
            bytes=inputs.bytes,
            samples=1,
            derived_from_id="mdl_0000000000000000test",
            files={"contact-sheet.png": StoredFile(sha256=sheet.sha256, bytes=sheet.bytes, media_type="image/png")},
        )
    )
    made = make_model(context, f"the model after step {step}".encode())
    return made.model_copy(update={"by_products": [dataset]})


def make_model(context: JobContext, content: bytes | None = None) -> JobResult:
    blob = context.store_blob(content or b"the model of " + context.job_id.encode())
    return context.result(
        Model(
            id=context.new_id("mdl"),
            name="made",
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            metadata=ModelMetadata(),
            inputs=[],
            outputs=[],
            opset=20,
            parameters=0,
            provenance=Provenance(seed=7),
        )
    )

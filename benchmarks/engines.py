"""OpenVINO against ONNX Runtime and torch eager: speed, difference and accuracy.

``python -m benchmarks.engines`` measures ResNet-20 in float and at W8A8 (RQ), FastestDet, EfficientNet-Lite0 and
CycleGAN's generator at 256², with one thread and with two. All engines of a network run in turns in one process, so
that other load on the host affects all of them; times are medians. It prints Markdown tables and whether the goals are
met: the generator five times as fast as torch eager, with `FAST`, and W8A8 five times as fast as ONNX Runtime in float
at batch 32.

Differences are relative to the largest output above 1, those of the generator are of pixels in 0 to 255. Accuracy is
that on CIFAR-10's test images.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.imagenet_rounding import load as imagenet
from benchmarks.large_translation import images
from benchmarks.quantized_speed import PREPROCESSING
from benchmarks.translation_serving import network, values
from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.serving import ServingPrecision
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.samples import evenly_spaced
from faceter.engines.agreement import agreement
from faceter.engines.base import LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.openvino import OpenVinoEngine, OpenVinoModel
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize
from workers.translation.onnx_writer import write_generator

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
REFERENCE = "ONNX Runtime"
FLOAT = f"{REFERENCE}, float"
EAGER = "torch eager"
GENERATOR, BATCH = "generator, 256²", "ResNet-20, batch 32"
GENERATOR_GOAL = QUANTIZED_GOAL = 5.0
_WARM_UP = 20
_CALLS_PER_TURN = 3

Array = NDArray[Any]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Quantized:
    """A quantized file, and the layout in which ONNX Runtime is the fastest on this host."""

    content: bytes
    layout: str


@dataclass(frozen=True)
class Case:
    """A network and an input of it, with the quantized network or the torch module if there is one."""

    name: str
    content: bytes
    inputs: dict[str, Array]
    quantized: Quantized | None = None
    module: torch.nn.Module | None = None


def engines(threads: int, case: Case) -> dict[str, LoadedModel]:
    """Return the models of a case by the name of the engine, the reference first."""
    exact, fast = OpenVinoEngine(ServingPrecision.EXACT, 1), OpenVinoEngine(ServingPrecision.FAST, 1)
    models: dict[str, LoadedModel] = {
        FLOAT: OnnxRuntimeEngine().load(case.content, threads=threads),
        "OpenVINO exact, float": exact.load(case.content, threads=threads),
        "OpenVINO fast, bfloat16": fast.load(case.content, threads=threads),
    }
    if case.quantized is not None:
        file, layout = case.quantized.content, case.quantized.layout
        models[f"{REFERENCE}, W8A8"] = OnnxRuntimeEngine().load(file, threads=threads, layout=layout)
        models["OpenVINO exact, W8A8"] = exact.load(file, threads=threads)
        models["OpenVINO fast, W8A8"] = fast.load(file, threads=threads)
    return models


def medians(calls: Mapping[str, Callable[[], Outputs]], seconds: float) -> tuple[dict[str, float], int]:
    """Return the median milliseconds of each call, in turns of one call to warm up and some measured ones."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    turns = 0
    while turns < 3 or time.perf_counter() - started < seconds:
        turns += 1
        for name, call in calls.items():
            call()
            for _ in range(_CALLS_PER_TURN):
                began = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(taken) for name, taken in times.items()}, turns * _CALLS_PER_TURN


def warm_up(models: Mapping[str, LoadedModel], inputs: dict[str, Array]) -> None:
    """Run each model until it has compiled what it compiles while running."""
    for model in models.values():
        began = time.perf_counter()
        for _ in range(_WARM_UP):
            model.run(inputs)
            if time.perf_counter() - began > 1:
                break
        if isinstance(model, OpenVinoModel):
            model.wait()


def measure(case: Case, threads: int, seconds: float) -> dict[str, float]:
    """Print the rows of a case; return the medians in milliseconds."""
    torch.set_num_threads(threads)
    models = engines(threads, case)
    warm_up(models, case.inputs)
    calls: dict[str, Callable[[], Outputs]] = {
        name: (lambda model=model: model.run(case.inputs))  # type: ignore[misc]
        for name, model in models.items()
    }
    if case.module is not None:
        calls[EAGER] = lambda: eager(case)
    expected = calls[FLOAT]()
    found, runs = medians(calls, seconds)
    for name, milliseconds in found.items():
        answers = calls[name]()
        ratio = f"{found[FLOAT] / milliseconds:.2f}"
        if case.module is None:
            agreed = agreement(expected, answers)
            difference, same = f"{agreed.difference:.1e}", agreed.same_class
            shown = "" if same is None or len(next(iter(answers.values()))) == 1 else f"{100 * same:.1f} %"
        else:
            pixels = 127.5 * np.abs(next(iter(expected.values())) - next(iter(answers.values())))
            difference, shown = f"mean {pixels.mean():.2f}, largest {pixels.max():.1f} of 255", ""
        print(f"| {case.name} | {threads} | {name} | {milliseconds:.2f} | {ratio} | {difference} | {shown} | {runs} |")
    for model in models.values():
        model.close()
    return found


def eager(case: Case) -> Outputs:
    """Return what torch answers."""
    assert case.module is not None
    with torch.inference_mode():
        return {"translation": case.module(torch.from_numpy(next(iter(case.inputs.values())))).numpy()}


def quantized_resnet(content: bytes) -> Quantized:
    """Return ResNet-20 at W8A8 by RQ, without data."""
    request = QuantizationRequest(method=QuantizationMethod.RQ)
    metadata = ModelMetadata(preprocessing=PREPROCESSING)
    made = quantize(content, metadata, request, JobDatasets(), Settings(_env_file=None))
    layout = next(choice.layout for choice in made.report.layouts if choice.served)
    return Quantized(made.exported.content, layout)


def test_images(archive: Path, count: int) -> tuple[Array, Array]:
    """Return images evenly spaced over an archive, float32 [count, 3, 32, 32], and their classes."""
    with ImagesDataset.open(archive, Settings(_env_file=None)) as data:
        (batch,) = data.batches(PREPROCESSING, count, indices=evenly_spaced(len(data), count))
    assert batch.labels is not None
    return batch.inputs, batch.labels


def accuracy(case: Case, inputs: Array, labels: Array) -> None:
    """Print the accuracy of each engine, and how often it answers as ONNX Runtime does on the same file."""
    answers: dict[str, Array] = {}
    for name, model in engines(2, case).items():
        parts = [next(iter(model.run({"image": part}).values())) for part in np.split(inputs, len(inputs) // 100)]
        answers[name] = np.concatenate(parts).argmax(1)
        model.close()
    print(f"\n| engine, ResNet-20 on {len(inputs):,} images | top-1 | as float | as ONNX Runtime on this file |")
    print("|---|---|---|---|")
    for name, classes in answers.items():
        same_file = answers[f"{REFERENCE}, W8A8" if "W8A8" in name else FLOAT]
        shares = [np.mean(classes == other) for other in (labels, answers[FLOAT], same_file)]
        print(f"| {name} | " + " | ".join(f"{100 * share:.2f} %" for share in shares) + " |")


def cases(data: Path) -> list[Case]:
    """Return the networks, each with real images."""
    resnet = (data / "cifar10" / "resnet20.onnx").read_bytes()
    quantized = quantized_resnet(resnet)
    small, _ = test_images(data / "cifar10" / "test.zip", 32)
    large, _ = imagenet(data)
    (room,) = images(data / "detection" / "indoor.zip", 1, 352, 352)
    detection = np.ascontiguousarray(room[None, ..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))
    module = network(64, 9)
    image = values(images(data / "camvid" / "train.zip", 1, 256, 256)[0])
    return [
        Case("ResNet-20, batch 1", resnet, {"image": small[:1]}, quantized),
        Case(BATCH, resnet, {"image": small}, quantized),
        Case("FastestDet", (data / "detection" / "fastestdet.onnx").read_bytes(), {"input.1": detection}),
        Case("EfficientNet-Lite0", (data / "imagenet" / "efficientnet_lite0.onnx").read_bytes(), {"image": large[:1]}),
        Case(GENERATOR, write_generator(module).SerializeToString(), {"image": image}, module=module),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 if the goals are met or the data is missing, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of models and datasets")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2), help="threads of a run")
    parser.add_argument("--seconds", type=float, default=6.0, help="approximate measuring time of each case")
    parser.add_argument("--images", type=int, default=2000, help="images for the accuracy, a multiple of 100")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        print("skipped: no shared data; give its folder with --data")
        return 0
    found = cases(options.data)
    print("| network | threads | engine | ms | × ONNX Runtime, float | difference | same class | runs |")
    print("|---|---|---|---|---|---|---|---|")
    met = True
    verdicts = []
    for threads in options.threads:
        times = {case.name: measure(case, threads, options.seconds) for case in found}
        for text, ratio, goal in (
            (
                "generator, fast, against torch eager",
                times[GENERATOR][EAGER] / times[GENERATOR]["OpenVINO fast, bfloat16"],
                GENERATOR_GOAL,
            ),
            (
                "W8A8 ResNet-20 at batch 32, fast, against float ONNX Runtime",
                times[BATCH][FLOAT] / times[BATCH]["OpenVINO fast, W8A8"],
                QUANTIZED_GOAL,
            ),
        ):
            met &= ratio >= goal
            verdict = "met" if ratio >= goal else "NOT met"
            verdicts.append(f"{text}, {threads} thread(s): {ratio:.2f} times, goal {goal:.0f}: {verdict}")
    accuracy(found[0], *test_images(options.data / "cifar10" / "test.zip", options.images))
    print("\n" + "\n".join(verdicts))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())

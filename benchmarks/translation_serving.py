"""Serving of a generator: ONNX Runtime against torch eager, W8A8 against float, and the memory of a large image.

``python -m benchmarks.translation_serving speed`` runs CycleGAN's generator at 256², 512² and 1024² with ONNX Runtime,
as it is served, and with torch eager, alternating in one process with equal threads. Claim: no slower at any size.

``… quantized`` quantizes the same generator to W8A8 by this project's own method, calibrated on real images, and
compares it with float: speed, and the error of its output. Claim: faster than float.

``… memory`` translates an image of 4000 × 3000 in a process of its own, `benchmarks.large_translation`, and prints its
peak resident memory. Claim: under 1.5 GiB.

The generator has initial weights from a seed; for the last two ``--model`` may name a trained one (ONNX). Images are
real ones, padded by reflection, if the archive exists.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from benchmarks.large_translation import LARGE, SHARED, images
from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.describe import input_specs
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.translation.pixels import DEFAULT_PREPROCESSING, PaddedImage
from faceter.vision.decoded_image import Pixels
from workers.quantization import layouts
from workers.quantization.methods import methods
from workers.quantization.noise import concrete_shape
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.statistics import StatisticsSource
from workers.translation.networks import ResnetGenerator, initialize
from workers.translation.onnx_writer import write_generator

SIDES = (256, 512, 1024)
CALIBRATION_IMAGES = 8

Array = NDArray[Any]


def network(channels: int, blocks: int) -> ResnetGenerator:
    """Return CycleGAN's generator with initial weights."""
    module = ResnetGenerator(channels, blocks)
    initialize(module, torch.Generator().manual_seed(0))
    return module.eval()


def values(colour: Pixels) -> Array:
    """Return an image as a generator's input, float32 [1, 3, H, W]."""
    return PaddedImage(colour, DEFAULT_PREPROCESSING).read((0, colour.shape[0]), (0, colour.shape[1]))[None]


def in_turns(calls: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Return the median seconds of each call, alternating; at least three runs each, after a warm-up."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    started = time.perf_counter()
    while len(times[0]) < 3 or time.perf_counter() - started < seconds:
        for call, taken in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


def speed(options: argparse.Namespace) -> bool:
    """Print the table of ONNX Runtime against torch; return whether the claim holds."""
    module = network(options.channels, options.blocks)
    content = write_generator(module).SerializeToString()
    torch.set_num_threads(options.threads)
    loaded = OnnxRuntimeEngine().load(content, threads=options.threads)
    print(f"{options.threads} thread(s) each, medians of alternating calls\n")
    print(f"  {'size':>6} {'torch ms':>10} {'ORT ms':>10} {'ratio':>7} {'largest difference':>20}")
    held = True
    for side in options.sides:
        image = values(images(options.data, 1, side, side)[0])
        tensor = torch.from_numpy(image)
        with torch.inference_mode():
            eager, served = in_turns(
                [lambda x=tensor: module(x), lambda x=image: loaded.run({"image": x})],  # type: ignore[misc]
                options.seconds,
            )
            difference = np.abs(module(tensor).numpy() - loaded.run({"image": image})["translation"]).max()
        print(f"  {side:>5}² {1e3 * eager:10.1f} {1e3 * served:10.1f} {eager / served:7.2f} {difference:20.1e}")
        held &= eager >= served
    print("\nclaim: ONNX Runtime is no slower at any size")
    return held


def quantized(options: argparse.Namespace) -> bool:
    """Print W8A8 against float; return whether the claim holds."""
    content = model_of(options)
    model = canonicalize(onnx.load_model_from_string(content))
    folded = fold_batch_norms(model)
    side = options.sides[0]
    inputs = [values(colour) for colour in images(options.data, CALIBRATION_IMAGES + 1, side, side)]
    *calibration, image = inputs
    specs = input_specs(model)
    name = specs[0].name
    prepared = PreparedNetwork(
        original=model,
        model=folded.model,
        statistics=folded.statistics,
        inputs=specs,
        shapes={spec.name: tuple(concrete_shape(spec, 1)) for spec in specs},
        metadata=ModelMetadata(preprocessing=DEFAULT_PREPROCESSING),
        batches=[{name: item} for item in calibration],
        source=StatisticsSource.CALIBRATION,
    )
    request = QuantizationRequest(method=QuantizationMethod.RQ)
    file = pack_weights(write_qdq(methods[request.method](prepared, request).plan)).SerializeToString()
    engine = OnnxRuntimeEngine()
    chosen = layouts.choose(file, engine, {name: image}, threads=options.threads, saturates=sums_saturate(engine))
    before, after = engine.load(content, threads=options.threads), chosen.loaded
    print(f"{options.threads} thread(s), {side} × {side}, layout {chosen.layout}, medians of alternating calls\n")
    slow, fast = in_turns([lambda: before.run({name: image}), lambda: after.run({name: image})], options.seconds)
    exact, rounded = (next(iter(item.run({name: image}).values())) for item in (before, after))
    error = (rounded - exact) / 2
    decibel = -10 * np.log10(np.mean(error**2))
    print(f"  float {1e3 * slow:9.1f} ms {len(content):>12,} bytes")
    print(f"  W8A8  {1e3 * fast:9.1f} ms {len(file):>12,} bytes, {slow / fast:.2f} × as fast")
    print(f"  of values in [0, 1]: mean |difference| {np.abs(error).mean():.4f}, PSNR {decibel:.1f} dB")
    print("\nclaim: W8A8 is faster than float")
    return fast < slow


def memory(options: argparse.Namespace) -> bool:
    """Translate a large image in a process without torch, as in serving; return whether the claim holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        path.write_bytes(model_of(options))
        command = [sys.executable, "-m", "benchmarks.large_translation", str(path), "--data", str(options.data)]
        command += ["--threads", str(options.threads), "--size", *map(str, options.size), "--folder", folder]
        return subprocess.run(command, check=False).returncode == 0


def model_of(options: argparse.Namespace) -> bytes:
    """Return the generator's ONNX file: the one named, else one with initial weights."""
    if options.model is not None:
        return bytes(options.model.read_bytes())
    return bytes(write_generator(network(options.channels, options.blocks)).SerializeToString())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark; return 0 if its claim holds, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benchmarks = {"speed": speed, "quantized": quantized, "memory": memory}
    parser.add_argument("benchmark", choices=benchmarks, help="what to measure")
    parser.add_argument("--model", type=Path, help="a trained generator, ONNX")
    parser.add_argument("--channels", type=int, default=64, help="base channels of the untrained generator")
    parser.add_argument("--blocks", type=int, default=9, help="its residual blocks")
    parser.add_argument("--threads", type=int, default=1, help="threads of each side")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="sizes; `quantized` takes the first")
    parser.add_argument("--size", type=int, nargs=2, default=LARGE, help="height and width of the large image")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="approximate duration of the measurement at each size"
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="an archive of images")
    options = parser.parse_args(arguments)
    held = benchmarks[options.benchmark](options)
    print("The claim holds." if held else "The claim does NOT hold on this host, in this run.")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())

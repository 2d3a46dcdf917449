"""Speed of a quantized ResNet-20 as served, against float and ONNX Runtime's ``quantize_static``.

``python -m benchmarks.quantized_speed`` quantizes the network to 8, 4 and 2 bits, loads each file in the layout that is
fastest on this host, and measures all models interleaved, in one process, with one thread each, at batch sizes 1 and
32. It prints medians and checks the claims: at least 1.8 × float and at least 1.2 × plain ``quantize_static``.

Plain ``quantize_static`` has default settings, the same file and the same calibration images. A tuned variant (folded
BatchNorm, uint8 activations) is measured too, for comparison only: no claim depends on it.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.samples import evenly_spaced
from faceter.engines.base import LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.engines.timing import interleaved
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.describe import input_specs
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from workers.quantization import layouts
from workers.quantization.methods import methods
from workers.quantization.noise import concrete_shape
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.statistics import StatisticsSource

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
PREPROCESSING = Preprocessing(
    size=[32, 32], channel_order=ChannelOrder.RGB, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)
BITS = (8, 4, 2)
BATCHES = (1, 32)
CALIBRATION_IMAGES = 64
AGAINST_FLOAT, AGAINST_PLAIN = 1.8, 1.2

Array = NDArray[Any]


def read_images(archive: Path, count: int) -> Array:
    """Return images evenly spaced over an archive, preprocessed, float32 [count, 3, 32, 32]."""
    with ImagesDataset.open(archive, Settings(_env_file=None)) as data:
        (batch,) = data.batches(PREPROCESSING, count, indices=evenly_spaced(len(data), count))
    return batch.inputs


class Reader(CalibrationDataReader):
    """Calibration images, one per batch."""

    def __init__(self, name: str, images: Array) -> None:
        self._batches: Iterator[dict[str, Array]] = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, Array]:
        """Return the next image; an empty dict after the last."""
        return next(self._batches, {})


def static_quantization(content: bytes, name: str, images: Array, **options: Any) -> bytes:
    """Return a model quantized by ``quantize_static``."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(content)
        quantize_static(before, after, Reader(name, images), **options)
        return after.read_bytes()


def packed_file(prepared: PreparedNetwork, bits: int) -> tuple[bytes, str]:
    """Return the packed file of the quantized model, and the fastest layout on this host."""
    request = QuantizationRequest(method=QuantizationMethod.RQ, weight_bits=bits, activation_bits=bits)
    plan = methods[request.method](prepared, request).plan
    name = prepared.inputs[0].name
    first = {name: prepared.batches[0][name][:1]}
    content = pack_weights(write_qdq(plan)).SerializeToString()
    engine = OnnxRuntimeEngine()
    chosen = layouts.choose(content, engine, first, threads=1, saturates=sums_saturate(engine))
    chosen.loaded.close()
    return content, chosen.layout


def table(models: Mapping[str, LoadedModel], name: str, images: Array, seconds: float) -> dict[str, float]:
    """Measure all models interleaved on one batch and print a table; return the medians in milliseconds."""
    times, runs = interleaved(list(models.values()), {name: images}, seconds=seconds)
    medians = dict(zip(models, times, strict=True))
    print(f"\nbatch {len(images)}, one thread, median of {runs} calls each, interleaved")
    print(f"  {'model':44} {'ms':>8} {'× float':>8} {'× plain':>8} {'× tuned':>8}")
    for label, milliseconds in medians.items():
        ratios = [medians[other] / milliseconds for other in ("float", "quantize_static", "quantize_static, tuned")]
        print(f"  {label:44} {milliseconds:8.3f} " + " ".join(f"{ratio:8.2f}" for ratio in ratios))
    return medians


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 if the claims hold or the data is missing, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with resnet20.onnx and test.zip")
    parser.add_argument("--seconds", type=float, default=12.0, help="approximate measuring time per batch size")
    options = parser.parse_args(arguments)
    if not (options.data / "resnet20.onnx").is_file():
        print(f"skipped: no resnet20.onnx in {options.data.name}; give its folder with --data")
        return 0
    content = (options.data / "resnet20.onnx").read_bytes()
    images = read_images(options.data / "test.zip", CALIBRATION_IMAGES)
    model = onnx.load_model_from_string(content)
    specs = input_specs(model)
    name = specs[0].name
    canonical = canonicalize(model)
    folded = fold_batch_norms(canonical)
    prepared = PreparedNetwork(
        original=canonical,
        model=folded.model,
        statistics=folded.statistics,
        inputs=specs,
        shapes={spec.name: tuple(concrete_shape(spec, 1)) for spec in specs},
        metadata=ModelMetadata(preprocessing=PREPROCESSING),
        batches=[{name: images}],
        source=StatisticsSource.CALIBRATION,
    )
    plain = static_quantization(content, name, images)
    tuned = static_quantization(
        folded.model.SerializeToString(), name, images, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
    )
    engine = OnnxRuntimeEngine()
    files = {"float": content, "quantize_static": plain, "quantize_static, tuned": tuned}
    models: dict[str, LoadedModel] = {label: engine.load(file, threads=1) for label, file in files.items()}
    for bits in BITS:
        file, layout = packed_file(prepared, bits)
        models[f"W{bits}A{bits} ({layout}, {len(file):,} bytes)"] = engine.load(file, threads=1, layout=layout)
    claims_hold = True
    for batch in BATCHES:
        medians = table(models, name, images[:batch], options.seconds)
        slowest = max(milliseconds for label, milliseconds in medians.items() if label.startswith("W"))
        against_float, against_plain = medians["float"] / slowest, medians["quantize_static"] / slowest
        claims_hold &= against_float >= AGAINST_FLOAT and against_plain >= AGAINST_PLAIN
        print(
            f"  slowest quantized model: {against_float:.2f} × float (claim {AGAINST_FLOAT}), "
            f"{against_plain:.2f} × plain quantize_static (claim {AGAINST_PLAIN})"
        )
        against_tuned = medians["quantize_static, tuned"] / slowest
        verdict = "reached" if against_tuned >= AGAINST_PLAIN else "NOT reached"
        print(f"  not a claim: {against_tuned:.2f} × tuned quantize_static; {AGAINST_PLAIN} is {verdict}")
    print("\nThe claims hold." if claims_hold else "\nThe claims do NOT hold on this host, in this run.")
    return 0 if claims_hold else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Decoding large JPEG files at a part of their size (`decoder` `scaled`) against decoding them in full.

    python -m benchmarks.decoders --data ../shared/data

The first table has times of decoding and resizing, and differences of pixels. The files are photographs that were
enlarged; some noise makes them as large as those of a camera. Both decoders take turns in one thread; times are its CPU
time, medians of all photographs and turns. Differences are of pixel values, 0 to 255, at the size of the model's input.

The second has the top-1 accuracy of EfficientNet-Lite0 on 500 ImageNet images, as they are and enlarged four times.
"""

import argparse
import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.imagenet_rounding import preprocessing as trained
from faceter.contracts.preprocessing import Decoder, Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.decoder import open_input_image

SIZES = ((640, 480), (1920, 1080), (4000, 3000))
TARGETS = (224, 352, 640)
RESIZING: dict[str, dict[str, Any]] = {
    "Pillow, stretch": {},
    "OpenCV, pad": {"resampler": "opencv", "resize": "pad"},
}
_ENLARGED = 4
_QUALITY = 90
_NOISE = 4.0
"""Standard deviation, in pixel values."""
_MOST_PIXELS = 100_000_000

Floats = NDArray[np.float32]


def opened(data: Path) -> ImagesDataset:
    """Return the ImageNet images."""
    return ImagesDataset.open(data / "imagenet" / "sample.zip", Settings(_env_file=None))


def photographs(dataset: ImagesDataset, size: tuple[int, int], count: int) -> list[bytes]:
    """Return images in landscape format, cut and enlarged to a size, with noise, as JPEG files."""
    random, files = np.random.default_rng(0), []
    for index in range(len(dataset)):
        image = dataset.image(index)
        if image.width <= image.height:
            continue
        height = min(image.height, image.width * size[1] // size[0])
        large = image.crop((0, 0, height * size[0] // size[1], height)).resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(large) + random.normal(0, _NOISE, (size[1], size[0], 1))
        files.append(jpeg(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))))
        if len(files) == count:
            break
    return files


def jpeg(image: Image.Image) -> bytes:
    """Return an image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def decoded(content: bytes, preprocessing: Preprocessing) -> tuple[Floats, int]:
    """Return the model's input, and by what the size of the file was divided."""
    image = open_input_image(content, preprocessing, max_pixels=_MOST_PIXELS, name="image")
    return image.preprocessed()[0], image.reduction


def times(dataset: ImagesDataset, count: int, turns: int) -> Iterator[str]:
    """Yield the rows of the first table."""
    for size in SIZES:
        files = photographs(dataset, size, count)
        for name, fields in RESIZING.items():
            for target in TARGETS:
                ways = {
                    decoder: Preprocessing.model_validate({"size": [target, target], "decoder": decoder, **fields})
                    for decoder in Decoder
                }
                yield f"| {size[0]} × {size[1]} | {name} | {target} | {_row(files, ways, turns)} |"


def _row(files: list[bytes], ways: dict[Decoder, Preprocessing], turns: int) -> str:
    taken: dict[Decoder, list[float]] = {decoder: [] for decoder in ways}
    reductions: dict[Decoder, int] = {}
    means, largest = [], 0.0
    for content in files:
        inputs = {}
        for turn in range(turns):
            for decoder in list(Decoder)[:: 1 if turn % 2 else -1]:
                began = time.thread_time()
                inputs[decoder], reductions[decoder] = decoded(content, ways[decoder])
                taken[decoder].append(1e3 * (time.thread_time() - began))
        apart = 255 * np.abs(inputs[Decoder.FULL] - inputs[Decoder.SCALED])
        means.append(float(apart.mean()))
        largest = max(largest, float(apart.max()))
    reduction = reductions[Decoder.SCALED]
    full, scaled = (statistics.median(taken[decoder]) for decoder in Decoder)
    return " | ".join(
        [
            "1" if reduction == 1 else f"1/{reduction}",
            f"{full:.1f}",
            f"{scaled:.1f}",
            f"{full / scaled:.2f}",
            f"{np.mean(means):.2f}",
            f"{largest:.0f}",
        ]
    )


def accuracies(dataset: ImagesDataset, data: Path) -> Iterator[str]:
    """Yield the rows of the second table."""
    classes = dataset.sample_labels((data / "imagenet" / "labels.txt").read_text(encoding="utf-8").splitlines())
    assert classes is not None
    loaded = OnnxRuntimeEngine().load((data / "imagenet" / "efficientnet_lite0.onnx").read_bytes(), threads=1)
    ways = [trained().model_copy(update={"decoder": decoder}) for decoder in Decoder]
    for factor in (1, _ENLARGED):
        answers = np.zeros((len(ways), len(dataset)), np.int64)
        reduced, apart = 0, []
        for index, name in enumerate(dataset.names):
            content = dataset.archive.read(name, max_bytes=_MOST_PIXELS)
            if factor > 1:
                image = dataset.image(index)
                content = jpeg(image.resize((factor * image.width, factor * image.height), Image.Resampling.BICUBIC))
            (full, _), (scaled, reduction) = (decoded(content, way) for way in ways)
            reduced += reduction > 1
            apart.append(float(np.abs(full - scaled).mean()) * trained().std[0])
            for row, values in enumerate((full, scaled)):
                (logits,) = loaded.run({"image": values[None]}).values()
                answers[row, index] = int(logits.argmax())
        correct = [f"{100 * np.mean(row == classes):.1f} %" for row in answers]
        same = f"{100 * np.mean(answers[0] == answers[1]):.1f} %"
        yield f"| {factor} | {reduced} | {correct[0]} | {correct[1]} | {same} | {np.mean(apart):.2f} |"
    loaded.close()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--photographs", type=int, default=5, help="of each size")
    parser.add_argument("--turns", type=int, default=5, help="of both decoders, with each photograph")
    given = parser.parse_args()
    with opened(given.data) as dataset:
        print("| JPEG | resizing | to | scale | full, ms | scaled, ms | ratio | mean difference | largest |")
        print("|---|---|---|---|---|---|---|---|---|")
        for row in times(dataset, given.photographs, given.turns):
            print(row, flush=True)
        print("\n| enlarged | reduced | full | scaled | same class | mean difference |\n|---|---|---|---|---|---|")
        for row in accuracies(dataset, given.data):
            print(row, flush=True)


if __name__ == "__main__":
    main()

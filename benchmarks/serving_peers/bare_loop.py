"""The limit: ONNX Runtime in a process of its own, with Faceter's decoding, and without a server.

``python -m benchmarks.serving_peers.bare_loop MODEL CASE IMAGE`` answers lines of its input, `THREADS SECONDS`, each by
a line of JSON with calls, seconds, CPU seconds and latencies.
"""

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.preprocessing import Preprocessing
from faceter.translation.pixels import PaddedImage, TranslationBuffer
from faceter.vision.classification import softmax_top
from faceter.vision.decoded_image import decode_with_alpha
from faceter.vision.detection import decode_to_image_pixels
from faceter.vision.encoded_image import ImageFormat, encode_image
from faceter.vision.images import open_rgb_image
from faceter.vision.preprocess import Placement, preprocess

_MOST_PIXELS = 100_000_000


class BareLoop:
    """A model, and one request to it.

    Args:
        model: The ONNX file.
        settings: What `ServingCase.settings` returns.
        content: The image file; or the model's input as bytes of float32.
    """

    def __init__(self, model: Path, settings: str, content: bytes, *, tensor: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name
        given = json.loads(settings)
        self._kind = given.pop("kind")
        self._preprocessing = Preprocessing.model_validate(given)
        self._content = content
        self._tensor = np.frombuffer(content, np.float32).reshape(1, 3, *given["size"]) if tensor else None
        self._decoding = DetectionDecoding(
            head="grid",
            boxes=self._output,
            objectness_offset=0,
            box_offset=1,
            class_offset=5,
            center_activation="tanh",
            size_activation="sigmoid",
            objectness_power=0.6,
            class_power=0.4,
        )

    def answer(self) -> dict[str, Any] | bytes:
        """Answer the request once."""
        if self._kind == "image":
            return self._translation()
        if self._tensor is not None:
            return self._document(self._run(self._tensor), None)
        image = open_rgb_image(self._content, max_pixels=_MOST_PIXELS, name="image")
        values, placement = preprocess(image, self._preprocessing)
        return self._document(self._run(values[None]), placement)

    def _run(self, values: Any) -> Any:
        return self._session.run(None, {self._input: values})[0]

    def _translation(self) -> bytes:
        colour = decode_with_alpha(self._content, max_pixels=_MOST_PIXELS, name="image").colour
        height, width = colour.shape[:2]
        output = self._run(PaddedImage(colour, self._preprocessing).read((0, height), (0, width))[None])
        buffer = TranslationBuffer(height, width, self._preprocessing)
        buffer.write(output[0], 0, 0)
        return encode_image(buffer.colour, None, ImageFormat.PNG).content

    def _document(self, output: Any, placement: Placement | None) -> dict[str, Any]:
        if self._kind == "classes":
            found = softmax_top(output, None, 5)[0].top
            return {"predictions": [{"top": [{"index": item.index, "score": item.score} for item in found]}]}
        assert placement is not None
        height, width = self._preprocessing.size
        (found_boxes,) = decode_to_image_pixels({self._output: output}, self._decoding, (height, width), [placement])
        rows = zip(found_boxes.classes.tolist(), found_boxes.scores.tolist(), found_boxes.boxes.tolist(), strict=True)
        return {"detections": [[{"index": index, "score": score, "box": box} for index, score, box in rows]]}


def measured(call: Callable[[], object], threads: int, seconds: float) -> dict[str, Any]:
    """Return what calls in a number of threads take."""
    latencies: list[list[float]] = [[] for _ in range(threads)]
    used = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()

    def repeat(taken: list[float]) -> None:
        while (began := time.perf_counter()) < started + seconds:
            call()
            taken.append(time.perf_counter() - began)

    workers = [threading.Thread(target=repeat, args=(taken,)) for taken in latencies]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    joined = np.concatenate([np.array(taken) for taken in latencies]) * 1000
    return {
        "requests": len(joined),
        "seconds": took,
        "cpu": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        "p50_ms": float(np.percentile(joined, 50)),
        "p99_ms": float(np.percentile(joined, 99)),
    }


def main() -> None:
    """Answer lines of the input."""
    model, settings, content, form = sys.argv[1:]
    loop = BareLoop(Path(model), settings, Path(content).read_bytes(), tensor=form == "tensor")
    for line in sys.stdin:
        threads, seconds = line.split()
        print(json.dumps(measured(loop.answer, int(threads), float(seconds))), flush=True)


if __name__ == "__main__":
    main()

"""Uploads a detector as far as metadata go, runs it by ONNX Runtime, and decodes its boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.models import ModelMetadata
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.check import check_model
from faceter.graphs.describe import input_specs, output_specs
from faceter.vision.boxes import Detections
from faceter.vision.completion import CompletedMetadata, complete_metadata
from faceter.vision.detection import decode
from faceter.vision.metadata import check_metadata
from tests.references.boxes import suppress
from tests.references.detection_heads import Found


def completed(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> CompletedMetadata:
    """Return the metadata of an upload as they are understood, checked."""
    checked = check_model(model.SerializeToString(), max_bytes=2**31).model
    inputs, outputs = input_specs(checked), output_specs(checked)
    result = complete_metadata(ModelMetadata.model_validate(metadata), checked, inputs, outputs)
    check_metadata(result.metadata, inputs, outputs)
    return result


def decoding_of(model: onnx.ModelProto, detection: Mapping[str, Any], classes: int | None) -> DetectionDecoding:
    """Return the decoding of an upload that gives `detection` and this number of labels."""
    metadata: dict[str, Any] = {"task": "object_detection", "detection": dict(detection)}
    if classes is not None:
        metadata["labels"] = [f"class {number}" for number in range(classes)]
    decoding = completed(model, metadata).metadata.detection
    assert decoding is not None
    assert DetectionDecoding.model_validate_json(decoding.model_dump_json()) == decoding
    return decoding


def run(model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the outputs of a model by ONNX Runtime."""
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    try:
        return loaded.run(dict(inputs))
    finally:
        loaded.close()


def boxes_of(model: onnx.ModelProto, decoding: DetectionDecoding, size: tuple[int, int]) -> Detections:
    """Return the boxes of one image of noise."""
    image = np.random.default_rng(0).random((1, 3, *size), np.float32)
    (found,) = decode(run(model, {"images": image}), decoding, size)
    return found


def assert_found(found: Detections, expected: Sequence[Found], decoding: DetectionDecoding) -> None:
    """The boxes equal expected candidates, best first, after non-maximum suppression."""
    kept = suppress(
        [box.tolist() for box, _, _ in expected],
        [score for _, score, _ in expected],
        [number for _, _, number in expected],
        decoding.iou_threshold,
        decoding.max_detections,
        decoding.class_agnostic,
    )
    assert len(kept) > 3, "the example shows nothing"
    np.testing.assert_allclose(found.scores, [expected[index][1] for index in kept], rtol=1e-4)
    np.testing.assert_allclose(found.boxes, [expected[index][0] for index in kept], rtol=1e-3, atol=1e-3)
    assert found.classes.tolist() == [expected[index][2] for index in kept]

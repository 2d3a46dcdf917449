"""A whole quantization, from a file to a file and its report."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.detection import Activation, DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.graphs.check import load_model
from faceter.graphs.packing import is_packed
from faceter.graphs.quantized_operators import is_quantized
from tests.graphs.builders import GraphBuilder, residual_net
from tests.workers.quantization.evaluation_data import LABELS, SETTINGS, classifier, digits_zip, evaluating
from tests.workers.quantization.networks import PREPROCESSING, Digits, accuracy, outputs_of, request_for
from workers.jobs.provenance import provenance_of
from workers.jobs.stages import Stage
from workers.quantization.datasets import JobDatasets
from workers.quantization.methods import methods
from workers.quantization.pipeline import QuantizedModel, quantize


def run_on(
    model: onnx.ModelProto, metadata: ModelMetadata, data: JobDatasets | None = None, **fields: object
) -> QuantizedModel:
    request = request_for(**{"method": "rq", **fields})
    return quantize(model.SerializeToString(), metadata, request, data or JobDatasets(), SETTINGS)


@pytest.mark.parametrize("method", list(methods))
def test_a_quantized_classifier_and_its_report(method: QuantizationMethod, digits: Digits, tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    path = digits_zip(tmp_path, digits)
    with ImagesDataset.open(path, SETTINGS) as data:
        made = quantize(
            digits.model.SerializeToString(),
            classifier(),
            request_for(method=method, weight_bits=6, activation_bits=6),
            evaluating(data),
            SETTINGS,
            Stage(lambda step, fraction, training: steps.append((step, fraction)), "quantizing"),
        )
    report = made.report
    model = load_model(made.exported.content, max_bytes=SETTINGS.max_model_bytes)
    assert is_quantized(model)
    assert is_packed(model)
    (quality,) = report.quality
    assert quality.metric == "top1"
    assert quality.samples == 120
    whole = outputs_of(digits.model, digits.images[:120])
    assert quality.before == pytest.approx(accuracy(whole, digits.classes[:120]), abs=0.02)
    answers = outputs_of(model, digits.images[:120])
    assert quality.after == pytest.approx(accuracy(answers, digits.classes[:120]), abs=0.02)
    assert report.agreement.source == "evaluation"
    assert report.agreement.top1 is not None
    assert report.agreement.top1 > 0.9
    assert 0 < report.agreement.relative_error < 0.5
    assert report.float_layers == []
    assert report.size.weights_packed < report.size.weights_before / 4
    assert report.size.before == digits.model.ByteSize()
    assert report.size.packed == len(made.exported.content)
    assert report.energy.after_joules < 0.3 * report.energy.before_joules
    assert [item.batch for item in report.latency] == [1, 32]
    assert sum(choice.served for choice in report.layouts) == 1
    assert made.inputs[0].shape[0] == "batch"
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert {"comparing with the original", "measuring speed"} <= {step for step, _ in steps}


def test_every_quantized_tensor_is_reported(digits: Digits) -> None:
    report = run_on(digits.model, classifier(), weight_bits=4, activation_bits=4).report
    roles = {role: [t for t in report.tensors if t.role == role] for role in ("weight", "bias", "activation")}
    assert len(roles["weight"]) == 6
    assert len(roles["bias"]) == 6
    for tensor in report.tensors:
        assert tensor.clip[0] <= 0 <= tensor.clip[1]
        assert len(tensor.scale) == len(tensor.zero_point)
        assert tensor.layer or tensor.tensor == "image"
    weights, biases, activations = roles["weight"], roles["bias"], roles["activation"]
    assert all(10 < (tensor.signal_to_noise_db or 0) < 40 for tensor in weights)
    assert all((tensor.signal_to_noise_db or 99) > 10 for tensor in biases)
    assert all(tensor.signal_to_noise_db is not None for tensor in activations)
    assert next(tensor for tensor in activations if tensor.tensor == "image").bits == 8


def test_channel_bits_are_reported_where_a_method_allots_them(digits: Digits) -> None:
    report = run_on(digits.badly_scaled, classifier(), method="aciq", weight_bits=4).report
    allotted = [tensor for tensor in report.tensors if tensor.channel_bits is not None]
    assert allotted
    assert all(np.mean(tensor.channel_bits or []) <= 4 for tensor in allotted)


def test_without_data_agreement_is_on_noise_and_says_so(digits: Digits) -> None:
    made = run_on(digits.model, classifier())
    assert made.report.agreement.source == "noise"
    assert made.report.agreement.samples == 256
    assert made.report.quality == []
    assert any("seeded noise" in note for note in made.report.warnings)


def test_a_calibration_dataset_is_measured_and_compared_on(digits: Digits, tmp_path: Path) -> None:
    with ImagesDataset.open(digits_zip(tmp_path, digits, labelled=False), SETTINGS) as data:
        made = run_on(digits.model, classifier(), JobDatasets(calibration=data), calibration_dataset_id="dts_test")
    assert made.report.agreement.source == "calibration"
    assert made.report.agreement.samples == 120
    assert any("from the calibration data" in note for note in made.report.warnings)


def test_progress_only_goes_forward_when_activations_are_measured() -> None:
    steps: list[tuple[str, float]] = []
    quantize(
        residual_net(0).SerializeToString(),
        ModelMetadata(preprocessing=Preprocessing(size=[16, 16])),
        request_for(method="rq"),
        JobDatasets(),
        SETTINGS,
        Stage(lambda step, fraction, training: steps.append((step, fraction)), "quantizing"),
    )
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert any(step == "measuring activations" for step, _ in steps)


def test_equal_seeds_give_equal_files_weights_and_scales(digits: Digits) -> None:
    first, second = (run_on(digits.model, classifier(), method="dfq", seed=5) for _ in range(2))
    assert first.exported.content == second.exported.content
    assert first.report.tensors == second.report.tensors


def test_a_model_of_fixed_batch_is_run_at_that_batch(tmp_path: Path, digits: Digits) -> None:
    net = GraphBuilder([3, 1, 8, 8], name="image")
    net.conv(4, 1)
    net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(10, 4), net.weight(10), transB=1)
    with ImagesDataset.open(digits_zip(tmp_path, digits, count=50), SETTINGS) as data:
        report = run_on(net.build(), classifier(), evaluating(data), evaluation_dataset_id="dts_test").report
    assert report.agreement.samples == 50
    assert report.quality[0].samples == 50
    assert [item.batch for item in report.latency] == [3]


def test_layers_that_stay_float_are_named() -> None:
    net = GraphBuilder(["batch", 1, 8, 8], name="image")
    net.conv(4, 1)
    net.add("Softplus", output="soft")
    net.conv(4, 4)
    model = net.build()
    layers = run_on(model, ModelMetadata(preprocessing=PREPROCESSING)).report.float_layers
    assert layers == [node.name for node in model.graph.node if node.op_type == "Softplus"]


def detection_zip(folder: Path) -> Path:
    """Write four images with a bright square each, and its box."""
    path = folder / "squares.zip"
    rng = np.random.default_rng(0)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    with zipfile.ZipFile(path, "w") as archive:
        for index, (left, top) in enumerate([(2, 3), (8, 4), (3, 9), (7, 7)]):
            pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            pixels[top : top + 6, left : left + 6] = 230
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            archive.writestr(f"images/{index}.png", buffer.getvalue())
            images.append({"id": index, "file_name": f"{index}.png", "width": 16, "height": 16})
            box = {"id": index + 1, "image_id": index, "category_id": 1, "bbox": [left, top, 6, 6], "area": 36}
            annotations.append({**box, "iscrowd": 0})
        categories = [{"id": 1, "name": "square"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        archive.writestr("annotations.json", json.dumps(document))
    return path


def square_detector() -> onnx.ModelProto:
    """Find bright squares of 6 × 6: a box filter's logit, and the same box size for every pixel."""
    net = GraphBuilder(["batch", 3, 16, 16], name="image")
    bright = np.zeros((6, 3, 7, 7), np.float32)
    bright[0, :, 1:, 1:] = 30 / (3 * 36)
    head = np.array([-24, 0, 0, -0.51, -0.51, 5], np.float32)
    net.add("Conv", "image", net.constant(bright, "filter"), net.constant(head, "head"), pads=[3] * 4, output="grid")
    return net.build()


def test_a_detector_is_graded_on_boxes(tmp_path: Path) -> None:
    metadata = ModelMetadata(
        task=Task.OBJECT_DETECTION,
        preprocessing=Preprocessing(size=[16, 16]),
        labels=["square"],
        detection=DetectionDecoding(
            head="grid",
            boxes="grid",
            objectness_offset=0,
            box_offset=1,
            class_offset=5,
            objectness_activation=Activation.SIGMOID,
            class_activation=Activation.SIGMOID,
            size_activation=Activation.SIGMOID,
        ),
    )
    with DetectionDataset.open(detection_zip(tmp_path), SETTINGS) as data:
        report = run_on(square_detector(), metadata, evaluating(data, DatasetKind.DETECTION)).report
    assert report.agreement.top1 is None
    assert report.agreement.boxes is not None
    assert report.agreement.boxes > 0.5
    assert [quality.metric for quality in report.quality] == ["map_50", "map_50_95"]
    assert report.quality[0].before > 0.9
    assert report.quality[0].after > 0.5
    assert report.quality[0].samples == 4


def test_a_quantized_model_is_refused(digits: Digits) -> None:
    made = run_on(digits.model, classifier())
    with pytest.raises(FaceterError) as error:
        quantize(made.exported.content, classifier(), request_for(), JobDatasets(), SETTINGS)
    assert error.value.kind is ProblemKind.ALREADY_QUANTIZED


def test_a_model_without_weights_to_quantize_is_refused() -> None:
    net = GraphBuilder(["n", 4])
    net.add("Relu", "x")
    with pytest.raises(FaceterError) as error:
        run_on(net.build(), ModelMetadata())
    assert error.value.kind is ProblemKind.NOTHING_TO_QUANTIZE


def test_an_operator_that_is_not_known_is_named() -> None:
    net = GraphBuilder(["n", 4, 8, 8], name="image")
    net.conv(4, 4)
    net.add("Sigmoid")
    net.add("Bernoulli")
    net.conv(4, 4)
    model = net.build()
    with pytest.raises(FaceterError) as error:
        run_on(model, ModelMetadata())
    assert error.value.kind is ProblemKind.UNSUPPORTED_OPERATOR
    assert "Bernoulli" in error.value.detail


def test_evaluation_needs_classes(digits: Digits, tmp_path: Path) -> None:
    with (
        ImagesDataset.open(digits_zip(tmp_path, digits, labelled=False), SETTINGS) as data,
        pytest.raises(FaceterError, match="no class folders") as error,
    ):
        run_on(digits.model, classifier(), evaluating(data), evaluation_dataset_id="dts_test")
    assert error.value.kind is ProblemKind.DATASET_MISMATCH
    assert error.value.errors[0].field == "evaluation_dataset_id"


def test_evaluation_needs_the_models_labels(digits: Digits, tmp_path: Path) -> None:
    with (
        ImagesDataset.open(digits_zip(tmp_path, digits), SETTINGS) as data,
        pytest.raises(FaceterError, match="no labels of the model"),
    ):
        run_on(digits.model, classifier([f"digit {label}" for label in LABELS[:5]]), evaluating(data))


def test_evaluation_of_a_detector_needs_boxes(digits: Digits, tmp_path: Path) -> None:
    metadata = ModelMetadata(task=Task.OBJECT_DETECTION, preprocessing=PREPROCESSING)
    with (
        ImagesDataset.open(digits_zip(tmp_path, digits), SETTINGS) as data,
        pytest.raises(FaceterError) as error,
    ):
        run_on(digits.model, metadata, evaluating(data))
    assert error.value.kind is ProblemKind.WRONG_DATASET_KIND


def test_images_need_preprocessing(digits: Digits, tmp_path: Path) -> None:
    with (
        ImagesDataset.open(digits_zip(tmp_path, digits), SETTINGS) as data,
        pytest.raises(FaceterError, match="has no preprocessing"),
    ):
        run_on(digits.model, ModelMetadata(), JobDatasets(calibration=data))


def test_a_residual_network_in_colour() -> None:
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[16, 16]))
    report = run_on(residual_net(0), metadata, method="dfq").report
    assert report.agreement.top1 is None, "its task is not classification"
    assert report.agreement.relative_error < 0.2


def test_provenance_is_enough_to_make_it_again() -> None:
    made = provenance_of(request_for(seed=7).model_dump(mode="json"), {"model": "a" * 64}, 7)
    assert made.seed == 7
    assert made.settings["weight_bits"] == 8
    assert {"faceter", "torch", "onnx", "onnxruntime", "numpy"} <= made.versions.keys()
    assert made.host is not None
    assert "cores" in made.host

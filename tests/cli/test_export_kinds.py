"""Exports of the kinds of modules that people have, with all their sizes open, compared at sizes that no trial used."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from faceter.export.errors import ExportError
from faceter.export.inputs import ExportInput
from faceter.export.module import export_module
from tests.cli.torch_modules import (
    Checked,
    CountedInPython,
    Detector,
    Encoder,
    FlatClassifier,
    Generator,
    Recurrent,
    TwoImages,
)


def exported(
    module: nn.Module, inputs: Sequence[ExportInput], sizes: Mapping[str, int] | None = None
) -> onnx.ModelProto:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    model = export_module(module, inputs, sizes=sizes)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, **inputs: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [np.asarray(output) for output in outputs]


def shapes(values: Sequence[onnx.ValueInfoProto]) -> dict[str, list[int | str]]:
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in values
    }


def test_a_text_encoder_with_keyword_inputs_and_two_open_sizes() -> None:
    module = Encoder()
    ids = ExportInput("input_ids", ("N", "L"), "int64", (0, 59))
    inputs = [ExportInput("attention_mask", ("N", "L"), "int64"), ids]  # not in the order of forward
    model = exported(module, inputs)
    assert shapes(model.graph.input) == {"input_ids": ["N", "L"], "attention_mask": ["N", "L"]}
    assert shapes(model.graph.output) == {"output": ["N", 16]}
    tokens = torch.randint(0, 60, (5, 23))
    mask = (torch.arange(23)[None] < torch.tensor([23, 4, 9, 1, 17])[:, None]).long()
    with torch.no_grad():
        expected = module(tokens, mask).numpy()
    np.testing.assert_allclose(run(model, input_ids=tokens, attention_mask=mask)[0], expected, atol=1e-5)


def test_an_lstm_with_an_open_time_axis_stays_one() -> None:
    module = Recurrent()
    model = exported(module, [ExportInput("eeg", ("N", "T", 4))])
    assert {"LSTM"} <= {node.op_type for node in model.graph.node}
    assert shapes(model.graph.output) == {"output_0": ["N", "T", 3], "output_1": [2, "N", 8], "output_2": [2, "N", 8]}
    signal = torch.randn(3, 41, 4)
    with torch.no_grad():
        steps, (hidden, cell) = module(signal)
    for actual, expected in zip(run(model, eeg=signal), (steps, hidden, cell), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), atol=1e-5)


def test_a_detector_with_open_height_and_width_keeps_its_norms() -> None:
    module = Detector()
    model = exported(module, [ExportInput("images", ("N", 3, "H", "W"))])
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == 4
    assert shapes(model.graph.input) == {"images": ["N", 3, "H", "W"]}
    assert shapes(model.graph.output) == {"output": ["N", 9, "output_2"]}
    images = torch.randn(1, 3, 160, 112)
    with torch.no_grad():
        expected = module(images).numpy()
    np.testing.assert_allclose(run(model, images=images)[0], expected, atol=1e-3)


def test_a_generator_at_open_sizes() -> None:
    module = Generator()
    model = exported(module, [ExportInput("image", (1, 3, "H", "W"))])
    assert shapes(model.graph.output) == {"output": [1, 3, "H", "W"]}
    image = torch.randn(1, 3, 44, 70)
    with torch.no_grad():
        expected = module(image).numpy()
    np.testing.assert_allclose(run(model, image=image)[0], expected, atol=1e-4)


def test_a_dictionary_names_the_outputs_and_fixed_sizes_stay_fixed() -> None:
    inputs = [ExportInput("first", ("N", 3, 8, 8)), ExportInput("second", ("N", 3, 8, 8), range=(0.0, 1.0))]
    model = exported(TwoImages(), inputs)
    assert shapes(model.graph.output) == {"mixed": ["N", 3, 8, 8], "difference": ["N", 3, 8, 8]}
    first, second = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    mixed, difference = run(model, first=first, second=second)
    np.testing.assert_allclose(mixed, (0.25 * first + 0.75 * second).numpy(), atol=1e-6)
    np.testing.assert_allclose(difference, (first - second).numpy(), atol=1e-6)


def test_the_older_exporter_is_tried_where_the_newer_one_fails() -> None:
    module = Checked()
    model = exported(module, [ExportInput("x", ("N", 3, "H", "W"))])
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 1
    assert shapes(model.graph.output) == {"output": ["N", 4, "H", "W"]}
    image = torch.randn(1, 3, 20, 9)
    with torch.no_grad():
        expected = module.eval()(image).numpy()
    np.testing.assert_allclose(run(model, x=image)[0], expected, atol=1e-5)


def test_a_size_that_the_module_needs_is_named_with_the_remedy() -> None:
    with pytest.raises(ExportError, match="size 'H' cannot be opened: the module takes 32, but no other") as caught:
        exported(FlatClassifier(), [ExportInput("image", ("N", 3, "H", "W"))])
    assert "--input-shape: image=N,3,32,W" in str(caught.value)
    assert "cannot be multiplied" in str(caught.value)


def test_a_size_that_is_a_number_in_the_graph_is_named() -> None:
    with pytest.raises(ExportError, match="size 'T' cannot be opened, since the module computes with 5 as a fixed"):
        exported(CountedInPython(), [ExportInput("x", ("N", "T", 4))], sizes={"T": 5})


def test_no_size_that_is_tried_fits() -> None:
    with pytest.raises(ExportError, match=r"Correct --input-shape.*--size W=300"):
        exported(nn.Linear(7, 2), [ExportInput("x", ("N", "W"))])
    model = exported(nn.Conv1d(1, 1, 300), [ExportInput("x", ("N", 1, "W"))], sizes={"W": 400})
    assert shapes(model.graph.output) == {"output": ["N", 1, "output_2"]}


def test_inputs_must_fit_forward() -> None:
    with pytest.raises(ExportError, match=r"no input 'mask'; forward takes \(input_ids"):
        exported(Encoder(), [ExportInput("input_ids", ("N", "L"), "int64"), ExportInput("mask", ("N", "L"), "int64")])
    with pytest.raises(ExportError, match=r"other inputs than --input-shape gives .*missing.*'second'"):
        exported(TwoImages(), [ExportInput("first", ("N", 3))])

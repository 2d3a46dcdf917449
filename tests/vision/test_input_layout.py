from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.graphs.describe import input_specs, output_specs
from faceter.vision.input_layout import complete_preprocessing, with_complete_preprocessing
from faceter.vision.metadata import check_metadata

Shape = Sequence[int | str | None]


def network(shape: Shape, *before: str, dtype: int = TensorProto.FLOAT, channels: int = 3) -> onnx.ModelProto:
    """Return operators in a row behind the input `image`, then a convolution; "NHWC" stands for a transposition."""
    nodes, tensor = [], "image"
    for place, operator in enumerate(before):
        output = f"t{place}"
        if operator == "NHWC":
            nodes.append(helper.make_node("Transpose", [tensor], [output], perm=[0, 3, 1, 2]))
        elif operator == "Cast":
            nodes.append(helper.make_node("Cast", [tensor], [output], to=TensorProto.FLOAT))
        else:
            nodes.append(helper.make_node(operator, [tensor, "one"], [output]))
        tensor = output
    nodes.append(helper.make_node("Conv", [tensor, "w"], ["y"]))
    weights = {"w": np.ones((2, channels, 1, 1), np.float32), "one": np.ones(1, np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def complete(model: onnx.ModelProto, **fields: Any) -> Preprocessing:
    return complete_preprocessing(Preprocessing.model_validate(fields), input_specs(model), model)


@pytest.mark.parametrize(
    ("shape", "before", "layout"),
    [
        (["N", 3, 32, 32], [], "channels_first"),
        (["N", 32, 32, 3], ["NHWC"], "channels_last"),
        (["N", "h", "w", 3], ["NHWC"], "channels_last"),
        (["N", 3, None, None], [], "channels_first"),
        (["N", None, None, None], [], "channels_first"),
        (["N", None, None, None], ["NHWC"], "channels_last"),
        (["N", None, None, None], ["Cast", "Mul", "Sub", "NHWC"], "channels_last"),
        (["N", None, None, None], ["Div"], "channels_first"),
        ([1, 3, 3, 3], ["NHWC"], "channels_last"),
        ([1, 3, 3, 3], [], "channels_first"),
    ],
)
def test_the_layout_is_found(shape: Shape, before: list[str], layout: str) -> None:
    assert complete(network(shape, *before), preset="imagenet-timm").layout == layout


def test_the_size_decides_between_two_axes_of_three() -> None:
    assert complete(network(["N", 3, 224, 3], "Add"), size=[224, 3]).layout == "channels_first"
    assert complete(network(["N", 3, 224, 3], "NHWC"), size=[3, 224]).layout == "channels_last"


def test_a_layout_that_was_said_stays() -> None:
    model = network(["N", None, None, None])
    assert complete(model, size=[8, 8], layout="channels_last").layout == "channels_last"


def test_a_layout_that_nothing_tells_is_asked_for() -> None:
    model = network(["N", None, None, None])
    model.graph.node[0].CopyFrom(helper.make_node("Relu", ["image"], ["y"]))
    with pytest.raises(FaceterError) as caught:
        complete(model, size=[8, 8])
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert caught.value.errors[0].field == "metadata.preprocessing.layout"
    for words in ("'image' is [N, ?, ?, ?]", "'channels_last' for [N, H, W, C]"):
        assert words in caught.value.detail


def test_the_size_of_a_preset_is_that_of_the_model() -> None:
    assert complete(network(["N", 3, 240, 256]), preset="imagenet-timm").size == [240, 256]
    assert complete(network(["N", 240, 256, 3], "NHWC"), preset="imagenet-timm").size == [240, 256]
    assert complete(network(["N", 3, "h", "w"]), preset="imagenet-timm").size == [224, 224]
    assert complete(network(["N", 3, 240, 240]), preset="imagenet-timm", size=[224, 224]).size == [224, 224]


@pytest.mark.parametrize(("shape", "before"), [(["N", 1, 28, 28], []), (["N", 28, 28, 1], ["NHWC"])])
def test_an_input_of_one_channel_is_grey(shape: Shape, before: list[str]) -> None:
    model = network(shape, *before, channels=1)
    found = complete(model, size=[28, 28])
    assert found.channel_order == "gray"
    check_metadata(ModelMetadata(preprocessing=found), input_specs(model), output_specs(model))
    said = complete(model, size=[28, 28], channel_order="rgb")
    with pytest.raises(FaceterError, match="rgb has 3 channels"):
        check_metadata(ModelMetadata(preprocessing=said), input_specs(model), output_specs(model))


@pytest.mark.parametrize(("shape", "before"), [(["N", 3, 8, 8], ["Cast"]), (["N", 8, 8, 3], ["Cast", "NHWC"])])
def test_an_input_of_whole_numbers_takes_pixel_values(shape: Shape, before: list[str]) -> None:
    model = network(shape, *before, dtype=TensorProto.UINT8)
    found = complete(model, size=[8, 8])
    assert found.scale == 1
    check_metadata(ModelMetadata(preprocessing=found), input_specs(model), output_specs(model))


@pytest.mark.parametrize("fields", [{"scale": 1 / 255}, {"mean": [0.5]}, {"preset": "imagenet-timm"}])
def test_values_that_an_input_of_whole_numbers_cannot_hold_are_refused(fields: dict[str, Any]) -> None:
    model = network(["N", 3, 8, 8], "Cast", dtype=TensorProto.UINT8)
    found = complete(model, **{"size": [8, 8], **fields})
    with pytest.raises(FaceterError) as caught:
        check_metadata(ModelMetadata(preprocessing=found), input_specs(model), output_specs(model))
    assert [error.field for error in caught.value.errors] == ["metadata.preprocessing.scale"]
    assert "need scale 1" in caught.value.detail


def test_metadata_without_images_are_unchanged() -> None:
    model = network(["N", 3, 8, 8])
    bare = ModelMetadata()
    assert with_complete_preprocessing(bare, input_specs(model), model) is bare
    other = ModelMetadata(preprocessing=Preprocessing(size=[8, 8], input="mask"))
    assert with_complete_preprocessing(other, input_specs(model), model) is other
    found = with_complete_preprocessing(
        ModelMetadata(preprocessing=Preprocessing(size=[8, 8])), input_specs(model), model
    )
    assert found.preprocessing is not None
    assert found.preprocessing.layout == "channels_first"
    assert with_complete_preprocessing(found, input_specs(model), model) is found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"size": [32, 32], "layout": "channels_first"}, "metadata.preprocessing.channel_order"),
        ({"size": [32, 16], "layout": "channels_last"}, "metadata.preprocessing.size"),
        (
            {"size": [32, 32], "layout": "channels_last", "channel_order": "gray"},
            "metadata.preprocessing.channel_order",
        ),
    ],
)
def test_a_layout_that_contradicts_the_input_is_refused(fields: dict[str, Any], field: str) -> None:
    model = network(["N", 32, 32, 3], "NHWC")
    with pytest.raises(FaceterError) as caught:
        check_metadata(ModelMetadata(preprocessing=complete(model, **fields)), input_specs(model), output_specs(model))
    assert field in [error.field for error in caught.value.errors]

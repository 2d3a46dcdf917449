import numpy as np
import onnx
import pytest

from faceter.translation.local_operators import NotTileableError
from faceter.translation.stages import MAX_HALO, TilingPlan, plan_stages
from tests.translation import generators
from tests.translation.generators import GeneratorBuilder, one_node

WIDTHS = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
KERNEL = np.ones((3, 3, 3, 3), np.float32)


def operators(plan: TilingPlan, stage: int) -> list[str]:
    model = onnx.load_model_from_string(plan.stages[stage].content)
    onnx.checker.check_model(model)
    return [node.op_type for node in model.graph.node]


def test_a_stage_ends_before_each_norm() -> None:
    plan = plan_stages(generators.resnet(blocks=2))
    assert len(plan.stages) == 3 + 4 + 2 + 1
    assert operators(plan, 0) == ["Pad", "Conv"]
    assert operators(plan, 1) == ["BatchNormalization", "Relu", "Conv"]
    assert operators(plan, 5) == ["BatchNormalization", "Add", "Pad", "Conv"]
    assert operators(plan, 9) == ["BatchNormalization", "Relu", "Pad", "Conv", "Tanh"]
    assert plan.stride == (4, 4)
    assert [stage.stride[0] for stage in plan.stages] == [1, 2, 4, 4, 4, 4, 4, 4, 2, 1]


def test_a_skip_connection_is_held_until_it_is_added() -> None:
    plan = plan_stages(generators.resnet(blocks=2))
    first, added = plan.stages[3], plan.stages[5]
    (skipped,) = set(first.outputs) & set(added.inputs)
    assert skipped not in first.normalized
    assert skipped in added.released
    freed = [name for stage in plan.stages for name in stage.released]
    assert len(freed) == len(set(freed))
    assert set(freed) == {name for stage in plan.stages for name in stage.outputs} - {plan.output}


def test_without_norms_a_stage_ends_at_the_largest_halo() -> None:
    plan = plan_stages(generators.resnet(norm="none", blocks=9))
    assert 1 < len(plan.stages) < 5
    for stage in plan.stages:
        halo = sum(node.rows.halo * 4 for node in stage.nodes if node.node.op_type == "Conv")
        assert halo <= 2 * MAX_HALO
    assert len(plan_stages(generators.inverter()).stages) == 1


def test_every_weight_is_in_one_stage() -> None:
    content = generators.resnet()
    weights = [tensor.name for tensor in onnx.load_model_from_string(content).graph.initializer]
    stages = [onnx.load_model_from_string(stage.content) for stage in plan_stages(content).stages]
    held = [tensor.name for model in stages for tensor in model.graph.initializer if tensor.name in weights]
    assert len(held) == len(set(held))
    assert {name for name in weights if name.startswith("w")} <= set(held)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (one_node("GlobalAveragePool"), "local operator"),
        (one_node("Softmax", axis=3), "local operator"),
        (one_node("Transpose", perm=[0, 1, 3, 2]), "local operator"),
        (one_node("Pad", WIDTHS, mode="wrap", opset=19), "'wrap'"),
        (one_node("Pad", -WIDTHS), "negative padding"),
        (one_node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "rounds its output size up"),
        (one_node("ConvTranspose", KERNEL, strides=[2, 2], output_shape=[64, 64]), "specifies output_shape"),
        (one_node("Add", np.ones((1, 1, 8, 8), np.float32)), "varies over the image"),
        (one_node("InstanceNormalization", *[np.ones(3, np.float32)] * 2), "the image itself"),
    ],
)
def test_nodes_that_are_not_local_are_named(content: bytes, words: str) -> None:
    with pytest.raises(NotTileableError, match=words):
        plan_stages(content)


def test_resizing_by_half_or_to_corners_is_not_local() -> None:
    for scale, mode in ((0.5, "half_pixel"), (2.0, "align_corners"), (1.5, "half_pixel")):
        builder = GeneratorBuilder()
        scales = builder.constant(np.array([1, 1, scale, scale], np.float32))
        builder.add("Resize", "image", "", scales, coordinate_transformation_mode=mode, mode="linear")
        with pytest.raises(NotTileableError, match="upsampling"):
            plan_stages(builder.content())


def test_adding_a_tensor_of_another_size_is_not_local() -> None:
    builder = GeneratorBuilder()
    builder.conv(3, 3, pads=[0] * 4)
    builder.add("Add", builder.last, "image")
    with pytest.raises(NotTileableError, match="different sizes"):
        plan_stages(builder.content())

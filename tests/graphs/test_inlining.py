import numpy as np
import onnx
import pytest
from onnx import helper

from faceter.graphs.inlining import courses, inline_control_flow
from tests.graphs import control_flow
from tests.graphs.builders import Array, run


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def x(rows: int = 3) -> Array:
    return np.random.default_rng(0).normal(size=(rows, control_flow.WIDTH)).astype(np.float32)


def assert_inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    before = model.SerializeToString()
    inlined = inline_control_flow(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(inlined, full_check=True)
    assert not {"If", "Loop"} & set(operators(inlined))
    for expected, actual in zip(run(model, x=x()), run(inlined, x=x()), strict=True):
        np.testing.assert_array_equal(actual, expected)
    return inlined


def test_nested_branches_become_one_graph_with_unique_names() -> None:
    inlined = assert_inlined(control_flow.nested())
    assert operators(inlined).count("MatMul") == 2
    outputs = [name for node in inlined.graph.node for name in node.output]
    assert len(set(outputs)) == len(outputs)


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
@pytest.mark.parametrize(("count", "below"), [(3, None), (5, 2), (None, 4), (1, None)])
def test_a_loop_of_known_length_is_unrolled(count: int | None, below: int | None, opset: int) -> None:
    inlined = assert_inlined(control_flow.loop(count=count, runs_while_below=below, opset=opset))
    assert operators(inlined).count("MatMul") == min(count or 9, below or 9)


def test_the_weights_of_a_loop_are_there_once() -> None:
    inlined = assert_inlined(control_flow.loop(count=6))
    assert sum(list(tensor.dims) == [4, 4] for tensor in inlined.graph.initializer) == 1


def test_a_loop_that_never_runs_gives_its_input_and_no_steps() -> None:
    model = control_flow.loop(count=0)
    body = model.graph.node[0].attribute[0].g
    body.output[2].CopyFrom(control_flow.value("kept", [3, control_flow.WIDTH]))
    inlined = assert_inlined(model)
    assert run(inlined, x=x())[1].shape == (0, 3, control_flow.WIDTH)


def test_a_loop_that_never_runs_stays_if_the_shape_of_a_step_is_unknown() -> None:
    model = control_flow.loop(count=0)
    assert inline_control_flow(model) is model


@pytest.mark.parametrize(
    "model",
    [control_flow.by_data(), control_flow.by_sampling_rate(), control_flow.by_size(), control_flow.loop(count=5000)],
    ids=["data", "input", "size", "long"],
)
def test_what_depends_on_the_input_or_is_too_long_stays(model: onnx.ModelProto) -> None:
    assert inline_control_flow(model) is model


def test_the_course_of_what_stays_is_told() -> None:
    (by_data,) = courses(control_flow.by_data())
    assert (by_data.node.name, by_data.values, by_data.sizes) == ("which", ["x"], [])
    (by_rate,) = courses(control_flow.by_sampling_rate())
    assert (by_rate.values, by_rate.sizes) == (["sr"], [])
    (by_size,) = courses(control_flow.by_size())
    assert (by_size.values, by_size.sizes) == ([], ["x"])
    (by_count,) = courses(control_flow.loop(count=1, count_as_input=True))
    assert by_count.values == ["count"]


def test_a_condition_on_a_size_that_the_file_fixes_is_inlined() -> None:
    model = control_flow.by_size()
    size = model.graph.input[0].type.tensor_type.shape.dim[1]
    size.Clear()
    size.dim_value = control_flow.WIDTH
    assert operators(assert_inlined(model)).count("MatMul") == 1


def test_a_branch_that_stays_keeps_names_of_its_own() -> None:
    """A constant If and one that depends on the data, both with a tensor ``h``: one of them is renamed."""
    model = control_flow.by_data()
    constant = helper.make_node(
        "If", ["yes"], ["z"], "fixed", then_branch=control_flow.branch(4.0), else_branch=control_flow.branch(5.0)
    )
    model.graph.node.insert(0, constant)
    model.graph.node.append(helper.make_node("Add", ["y", "z"], ["sum"]))
    model.graph.initializer.append(control_flow.tensor("yes", np.array(True)))
    model.graph.output[0].name = "sum"
    inlined = inline_control_flow(model)
    assert operators(inlined).count("If") == 1
    onnx.checker.check_model(inlined, full_check=True)
    for seed in (0, 1, 2):
        given = np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32)
        np.testing.assert_array_equal(run(inlined, x=given)[0], run(model, x=given)[0])


def test_many_loops_that_are_too_long_are_given_up_early() -> None:
    """Each would be unrolled to a thousand steps and dropped; together they stay within one limit."""
    model = control_flow.loop(count=None, runs_while_below=900)
    (node,) = model.graph.node
    for number in range(60):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"loop_{number}"
        copy.input[2], copy.output[0], copy.output[1] = "x", f"y_{number}", f"all_{number}"
        model.graph.node.append(copy)
    inlined = inline_control_flow(model)
    assert operators(inlined).count("Loop") > 50
    assert len(inlined.graph.node) < 21_000

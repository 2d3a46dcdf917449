"""Small models that take tokens."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from tests.engines.graphs import Shape, model

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def token_model(
    rows: int,
    *,
    names: Sequence[str] = NAMES,
    size: int = 6,
    classes: int = 3,
    outputs: Sequence[str] = ("logits",),
    shape: Shape = ("batch", "length"),
    dtype: int = TensorProto.INT64,
    positions: int | None = None,
    seed: int = 0,
) -> bytes:
    """Return a model of the mean of token embeddings, masked if it has a second input.

    Args:
        rows: Rows of the embedding table.
        names: Names of the inputs: ids, and optionally mask and token types.
        size: Width of an embedding.
        classes: Number of classes.
        outputs: Some of `tokens` [N, L, size], `hidden` [N, size] and `logits` [N, classes].
        shape: Shape of the inputs.
        dtype: Their type.
        positions: Rows of a table of positions, longer inputs than which fail.
        seed: Of the weights.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "table": rng.normal(size=(rows, size)).astype(np.float32),
        "weight": rng.normal(size=(size, classes)).astype(np.float32),
        "bias": rng.normal(size=classes).astype(np.float32),
        "two": np.array([2]),
        "one": np.array([1]),
    }
    nodes = [helper.make_node("Gather", ["table", names[0]], ["found"])]
    last = "found"
    if len(names) > 2:
        weights["types"] = rng.normal(size=(2, size)).astype(np.float32)
        nodes += [
            helper.make_node("Gather", ["types", names[2]], ["typed"]),
            helper.make_node("Add", [last, "typed"], ["with_types"]),
        ]
        last = "with_types"
    if positions is not None:
        nodes += _positions(names[0], last)
        weights |= {"positions": rng.normal(size=(positions, size)).astype(np.float32), "zero": np.array(0)}
        weights |= {"step": np.array(1), "axis": np.array(1)}
        last = "with_positions"
    nodes.append(helper.make_node("Identity", [last], ["tokens"]))
    if len(names) > 1:
        nodes += [
            helper.make_node("Cast", [names[1]], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "two"], ["wide_mask"]),
            helper.make_node("Mul", ["tokens", "wide_mask"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "one"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["wide_mask", "one"], ["count"], keepdims=0),
            helper.make_node("Div", ["sum", "count"], ["mean"]),
        ]
    else:
        nodes.append(helper.make_node("ReduceMean", ["tokens", "one"], ["mean"], keepdims=0))
    nodes += [
        helper.make_node("Relu", ["mean"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "weight", "bias"], ["logits"]),
    ]
    batch, length = shape
    shapes: dict[str, Shape] = {
        "tokens": (batch, length, size),
        "hidden": (batch, size),
        "logits": (batch, classes),
    }
    return model(
        nodes,
        dict.fromkeys(names, (dtype, shape)),
        {name: (TensorProto.FLOAT, shapes[name]) for name in outputs},
        weights,
    )


def _positions(ids: str, last: str) -> list[NodeProto]:
    """Return the nodes that add a row of `positions` to each token."""
    return [
        helper.make_node("Shape", [ids], ["shape"]),
        helper.make_node("Gather", ["shape", "axis"], ["length"]),
        helper.make_node("Range", ["zero", "length", "step"], ["places"]),
        helper.make_node("Gather", ["positions", "places"], ["placed"]),
        helper.make_node("Add", [last, "placed"], ["with_positions"]),
    ]

"""Convolution, pooling, padding and resizing with all attributes, against ONNX Runtime."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.workers.operators.single_node import check, floats, ints


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 1], [0, 0, -1, 2, 0, 0, 1, -2]])
def test_pad(opset: int, mode: str, pads: list[int]) -> None:
    constants: dict[str, Any] = {"pads": ints(*pads)}
    if mode == "constant":
        constants["value"] = np.float32(1.5)
    check("Pad", opset, {"x": floats(1, 2, 5, 6)}, constants=constants, mode=mode)


def test_pad_takes_axes_from_opset_18_and_wraps_from_19() -> None:
    x = {"x": floats(2, 3, 4)}
    constants = {"pads": ints(1, 2, 0, 1), "axes": ints(1, -1)}
    check("Pad", 18, x, constants=constants, order=["x", "pads", "", "axes"])
    check("Pad", 19, x, constants={"pads": ints(0, 1, 2, 0, 3, 1)}, mode="wrap")


_TRANSFORMATIONS = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


_EXACT = [2.0, 0.5]
"""Scales with exact coordinates; half_pixel_symmetric has ties at others, which the last bit decides."""


@pytest.mark.parametrize(
    ("opset", "transformation", "scale"),
    [
        *product([11, 13, 18, 19], _TRANSFORMATIONS, [*_EXACT, 1.7, 0.6]),
        *product([11], ["tf_half_pixel_for_nn"], [*_EXACT, 1.7, 0.6]),
        *product([19], ["half_pixel_symmetric"], _EXACT),
    ],
)
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest(opset: int, transformation: str, nearest: str, scale: float) -> None:
    constants = {"scales": np.array([1, 1, scale, scale], np.float32)}
    settings = {"coordinate_transformation_mode": transformation, "nearest_mode": nearest}
    if opset < 13:
        constants["roi"] = np.zeros(0, np.float32)
    order = ["x", "roi" if opset < 13 else "", "scales"]
    check("Resize", opset, {"x": floats(1, 2, 7, 8)}, constants=constants, order=order, mode="nearest", **settings)


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("transformation", _TRANSFORMATIONS)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(14, 16), (5, 11), (1, 8)])
def test_resize_by_weights(opset: int, transformation: str, mode: str, size: tuple[int, int]) -> None:
    constants = {"sizes": ints(1, 2, *size), "roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32)}
    order = ["x", "roi", "scales", "sizes"] if opset < 13 else ["x", "", "", "sizes"]
    check(
        "Resize",
        opset,
        {"x": floats(1, 2, 7, 8)},
        constants=constants if opset < 13 else {"sizes": constants["sizes"]},
        order=order,
        mode=mode,
        coordinate_transformation_mode=transformation,
    )


@pytest.mark.parametrize(("mode", "exclude_outside"), [("linear", 0), ("cubic", 0), ("cubic", 1)])
@pytest.mark.parametrize("size", [(14, 16), (5, 4), (3, 11)])
def test_resize_antialiased(mode: str, size: tuple[int, int], exclude_outside: int) -> None:
    constants = {"sizes": ints(1, 2, *size)}
    x = {"x": floats(1, 2, 9, 10)}
    settings = {"antialias": 1, "exclude_outside": exclude_outside, "mode": mode}
    check("Resize", 18, x, constants=constants, order=["x", "", "", "sizes"], **settings)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_crops(mode: str) -> None:
    constants = {"roi": np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.1], np.float32), "sizes": ints(1, 2, 5, 6)}
    settings = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": mode}
    check("Resize", 13, {"x": floats(1, 2, 7, 8)}, constants=constants, order=["x", "roi", "", "sizes"], **settings)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("auto_pad", "dilation"),
    [("SAME_UPPER", 1), ("SAME_LOWER", 1), ("VALID", 1), ("VALID", 2), ("NOTSET", 1), ("NOTSET", 2)],
)
@pytest.mark.parametrize(("group", "strides"), [(1, 1), (2, 2), (4, 1), (4, 3)])
def test_convolutions(rank: int, auto_pad: str, group: int, strides: int, dilation: int) -> None:
    settings: dict[str, Any] = {"strides": [strides] * rank, "dilations": [dilation] * rank, "group": group}
    if auto_pad == "NOTSET":
        settings["pads"] = [1] * rank + [2] * rank
    weight = floats(8, 4 // group, *[3, 2, 3][:rank])
    constants = {"weight": weight, "bias": floats(8)}
    check("Conv", 11, {"x": floats(2, 4, *[9, 8, 7][:rank])}, constants=constants, auto_pad=auto_pad, **settings)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pads": 1},
        {"pads": 1, "output_padding": 1},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"output_shape": 9},
        {"output_shape": 12},
        {"uneven": True},
        {"dilations": 2},
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions(rank: int, settings: dict[str, Any], group: int) -> None:
    given: dict[str, Any] = {"strides": [2] * rank, "group": group}
    for name, value in settings.items():
        if name == "uneven":
            given["pads"] = [0] * rank + [1] * rank
        elif name == "auto_pad":
            given[name] = value
        else:
            given[name] = [value] * (2 * rank if name == "pads" else rank)
    constants = {"weight": floats(4, 6 // group, *[3] * rank), "bias": floats(6)}
    check("ConvTranspose", 11, {"x": floats(2, 4, *[5, 5, 5][:rank])}, constants=constants, **given)


_POOLINGS: list[dict[str, Any]] = [
    {},
    {"pads": 1},
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER"},
    {"uneven": True},
]


_CEILED: list[dict[str, Any]] = [{"pads": 1, "ceil_mode": 1}]


_COUNTED: list[dict[str, Any]] = [
    {"pads": 1, "count_include_pad": 1},
    {"pads": 1, "ceil_mode": 1, "count_include_pad": 1},
]


_DILATED: list[dict[str, Any]] = [{"dilations": 2}]


@pytest.mark.parametrize(
    ("op_type", "opset", "settings"),
    [
        *product(["MaxPool"], [11, 12], [*_POOLINGS, *_CEILED, *_DILATED]),
        *product(["AveragePool"], [11, 19], [*_POOLINGS, *_CEILED, *_COUNTED]),
        *product(["AveragePool"], [19], _DILATED),
        *product(["LpPool"], [11, 18], _POOLINGS),
        *product(["LpPool"], [18], _DILATED),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools(op_type: str, opset: int, rank: int, settings: dict[str, Any]) -> None:
    given: dict[str, Any] = {"kernel_shape": [3] * rank, "strides": [2] * rank}
    for name, value in settings.items():
        if name == "uneven":
            given["pads"] = [0] * rank + [2] * rank
        elif name in ("pads", "dilations"):
            given[name] = [value] * (2 * rank if name == "pads" else rank)
        else:
            given[name] = value
    check(op_type, opset, {"x": floats(2, 3, *[10, 9, 8][:rank])}, **given)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pads", [0, 1])
def test_positions_of_a_max_pool(rank: int, pads: int) -> None:
    x = {"x": floats(2, 3, *[10, 9, 8][:rank])}
    settings = {"kernel_shape": [3] * rank, "strides": [2] * rank, "pads": [pads] * rank + [0] * rank}
    check("MaxPool", 12, x, outputs=2, **settings)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_max_pool_of_codes(dtype: type[np.generic]) -> None:
    x = {"x": (floats(1, 2, 6, 6) * 40).astype(np.int8).view(dtype)}
    check("MaxPool", 12, x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

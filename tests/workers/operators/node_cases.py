"""ONNX's test cases for its operators, run by the torch interpreter."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx.backend.test.case.test_case import TestCase

from faceter.contracts.errors import FaceterError
from faceter.graphs.operators import unsupported
from faceter.graphs.view import is_standard
from workers.onnx_module import OnnxModule
from workers.operators.tensors import from_proto

SEVERAL = "functions expanded to several operators"

_RELATIVE = {torch.float16: 2e-3, torch.bfloat16: 2**-6}
_TYPE = "a type that torch does not have"

EXCEPTIONS = {
    "test_cast_FLOAT4E2M1_to_FLOAT": _TYPE,
    "test_cast_FLOAT4E2M1_to_FLOAT16": _TYPE,
    "test_cast_FLOAT_to_FLOAT4E2M1": _TYPE,
    "test_cast_FLOAT16_to_FLOAT4E2M1": _TYPE,
    "test_cast_e8m0_FLOAT_to_FLOAT8E8M0": _TYPE,
    "test_cast_e8m0_FLOAT16_to_FLOAT8E8M0": _TYPE,
    "test_cast_e8m0_FLOAT8E8M0_to_FLOAT": _TYPE,
    "test_cast_e8m0_FLOAT8E8M0_to_FLOAT16": _TYPE,
    "test_castlike_FLOAT4E2M1_to_FLOAT": _TYPE,
    "test_castlike_FLOAT4E2M1_to_FLOAT_expanded": _TYPE,
    "test_castlike_FLOAT4E2M1_to_FLOAT16": _TYPE,
    "test_castlike_FLOAT4E2M1_to_FLOAT16_expanded": _TYPE,
    "test_castlike_FLOAT_to_FLOAT4E2M1": _TYPE,
    "test_castlike_FLOAT_to_FLOAT4E2M1_expanded": _TYPE,
    "test_castlike_FLOAT16_to_FLOAT4E2M1": _TYPE,
    "test_castlike_FLOAT16_to_FLOAT4E2M1_expanded": _TYPE,
    "test_dequantizelinear_float4e2m1": _TYPE,
    "test_quantizelinear_float4e2m1": _TYPE,
    "test_equal_string": "strings",
    "test_equal_string_broadcast": "strings",
    "test_identity_sequence": "a sequence, not a tensor",
    "test_identity_opt": "an optional value, not a tensor",
    "test_training_dropout_default": "random numbers of another generator",
    "test_training_dropout_default_mask": "random numbers of another generator",
    "test_training_dropout": "random numbers of another generator",
    "test_training_dropout_mask": "random numbers of another generator",
    "test_resize_downsample_scales_linear_align_corners": "equal to ONNX Runtime, which differs",
    "test_resize_downsample_scales_cubic_align_corners": "equal to ONNX Runtime, which differs",
}
"""Known failures, with the reason."""


ROUNDED = frozenset(
    {
        "test_averagepool_2d_ceil_last_window_starts_on_pad",
        "test_gridsample_bicubic",
        "test_roialign_aligned_false",
        "test_roialign_aligned_true",
    }
)
"""Cases whose expected values have four decimals only."""


@dataclass(frozen=True)
class Outcome:
    """Result of one case: its operator, and what differs, if anything."""

    case: str
    operator: str
    fault: str | None


def run_all() -> Iterator[Outcome]:
    """Run every case whose graph has supported standard operators only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    subjects = {case.name: _operators(case) for case in cases}
    for case in cases:
        if unsupported(_model(case)) or not all(is_standard(node) for node in _model(case).graph.node):
            continue
        base = case.name.split("_expanded")[0]
        operators = subjects.get(base, subjects[case.name])
        yield Outcome(case.name, operators[0] if len(operators) == 1 else SEVERAL, _fault(case))


def _model(case: TestCase) -> onnx.ModelProto:
    assert case.model is not None
    return case.model


def _operators(case: TestCase) -> list[str]:
    return sorted({node.op_type for node in _model(case).graph.node})


def _fault(case: TestCase) -> str | None:
    assert case.data_sets is not None
    model = _model(case)
    graph = model.graph
    for given, expected in case.data_sets:
        inputs = {entry.name: value for entry, value in zip(graph.input, given, strict=True)}
        expected_values = {entry.name: value for entry, value in zip(graph.output, expected, strict=True)}
        try:
            with torch.no_grad():
                module = OnnxModule(model)
                results = module({name: _tensor(value) for name, value in inputs.items()})
        except (FaceterError, RuntimeError) as error:
            return str(error)
        atol = 1e-4 if case.name in ROUNDED else 0.0
        fault = _difference(results, {name: _tensor(value) for name, value in expected_values.items()}, atol)
        if fault:
            return fault
    return None


def _difference(
    results: Mapping[str, torch.Tensor], expected_values: Mapping[str, torch.Tensor], atol: float
) -> str | None:
    """Describe the first result that differs by more than 1e-4 relative (half types: two units in the last place)."""
    for name, value in expected_values.items():
        result = results[name]
        if result.dtype != value.dtype or result.shape != value.shape:
            return f"{name} is {result.dtype} {list(result.shape)} and not {value.dtype} {list(value.shape)}"
        if value.is_floating_point():
            tolerance = _RELATIVE.get(value.dtype, 1e-4 if value.element_size() > 1 else 0.0)
            a, b = result.double(), value.double()
            size = b[torch.isfinite(b)].abs().max().item() if torch.isfinite(b).any() else 0.0
            equal = torch.allclose(a, b, rtol=tolerance, atol=max(atol, 1e-2 * tolerance * size), equal_nan=True)
        else:
            equal = torch.equal(result, value)
        if not equal:
            return f"{name} differs"
    return None


def _tensor(value: Any) -> torch.Tensor:
    if isinstance(value, onnx.TensorProto):
        return from_proto(value)
    return from_proto(onnx.numpy_helper.from_array(np.asarray(value)))

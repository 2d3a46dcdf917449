"""Whole networks at old and new opsets: exported at that opset, or converted by ONNX's version converter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import version_converter
from torch import Tensor, nn

from faceter.graphs.check import load_model
from faceter.graphs.view import opset_of
from tests.workers.architectures import SHAPES, VisionTransformer, export_of, exported_by_tracing, seeded_module
from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime

Architecture = Callable[[], nn.Module]

every_architecture = pytest.mark.parametrize("architecture", SHAPES, ids=lambda architecture: architecture.__name__)


def traced(architecture: Architecture, opset: int, folder: Path) -> onnx.ModelProto:
    """Export an architecture at an opset that the current exporter does not support."""
    module = seeded_module(architecture)
    if isinstance(module, VisionTransformer) and opset < 14:
        for layer in module.encoder.layers:
            assert isinstance(layer, nn.TransformerEncoderLayer)
            layer.self_attn.register_forward_pre_hook(_in_plain_operators, with_kwargs=True)
    return exported_by_tracing(module, [torch.zeros(2, *SHAPES[architecture])], folder, opset=opset)


def _in_plain_operators(
    _: nn.Module, inputs: tuple[Tensor, ...], settings: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Make attention use separate products and a softmax, which opsets before 14 can represent."""
    query, key, value = inputs
    return (query, key.clone(), value.clone()), settings | {"need_weights": True}


def assert_runs(model: onnx.ModelProto, opset: int, shape: tuple[int, ...]) -> None:
    model = load_model(model.SerializeToString(), max_bytes=100_000_000)
    assert opset_of(model) == opset
    x = np.random.default_rng(opset).standard_normal((3, *shape)).astype(np.float32)
    assert_equal_to_onnxruntime(model, {model.graph.input[0].name: x})


@every_architecture
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_exported_at_an_older_opset(architecture: Architecture, opset: int, tmp_path: Path) -> None:
    assert_runs(traced(architecture, opset, tmp_path), opset, SHAPES[architecture])


@every_architecture
@pytest.mark.parametrize("opset", [13, 17, 21])
def test_converted_from_opset_11(architecture: Architecture, opset: int, tmp_path: Path) -> None:
    model = version_converter.convert_version(traced(architecture, 11, tmp_path), opset)
    assert_runs(model, opset, SHAPES[architecture])


@every_architecture
def test_converted_from_the_current_exporter(architecture: Architecture) -> None:
    assert_runs(version_converter.convert_version(export_of(architecture), 21), 21, SHAPES[architecture])

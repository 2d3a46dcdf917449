"""Gradients at points where those of torch are no numbers."""

import numpy as np
import pytest
import torch

from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import GraphBuilder
from workers.onnx_module import OnnxModule


@pytest.mark.parametrize("operator", ["Sqrt", "Pow"])
def test_the_magnitude_of_a_silent_spectrum_has_a_finite_gradient(operator: str) -> None:
    net = GraphBuilder(["n", 2])
    squares = net.add("Mul", "x", "x")
    axes = net.constant(np.array([1]))
    power = net.add("ReduceSum", squares, axes)
    net.add(operator, power, *([net.constant(np.float32(0.5))] if operator == "Pow" else []))
    module = OnnxModule(canonicalize(net.build()))
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    (magnitude,) = module({"x": x}).values()
    magnitude.sum().backward()
    assert magnitude.flatten().tolist() == [0.0, 5.0]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


def test_the_root_of_a_negative_number_is_none() -> None:
    net = GraphBuilder(["n"])
    net.add("Sqrt")
    module = OnnxModule(canonicalize(net.build()))
    x = torch.tensor([-1.0, 4.0], requires_grad=True)
    (roots,) = module({"x": x}).values()
    assert torch.isnan(roots[0])
    assert roots.detach()[1] == 2.0

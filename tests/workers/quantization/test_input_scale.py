"""Where the values of an input lie, by the normalization behind it."""

import numpy as np
import pytest
import torch
from torch import nn

from faceter.contracts.models import TensorSpec
from faceter.export.module import export
from faceter.graphs.view import GraphView
from tests.graphs.builders import GraphBuilder, run
from workers.quantization.input_scale import input_distribution
from workers.quantization.noise import noise_batches

MEAN = np.array([120.0, -3.0, 0.5], np.float32)
DEVIATION = np.array([60.0, 0.01, 2.0], np.float32)


def normalizing(form: str) -> GraphBuilder:
    """Return (x − mean) / deviation in one of the forms that exporters write."""
    net = GraphBuilder(["n", 3])
    if form == "subtract and divide":
        net.add("Sub", "x", net.constant(MEAN))
        net.add("Div", net.last, net.constant(DEVIATION))
    elif form == "multiply and add":
        net.add("Mul", "x", net.constant(1 / DEVIATION))
        net.add("Add", net.constant(-MEAN / DEVIATION), net.last)
    elif form == "mean minus x":
        net.add("Sub", net.constant(MEAN), "x")
        net.add("Div", net.last, net.constant(-DEVIATION))
    else:
        net.add("Add", "x", net.constant(-MEAN))
        net.add("Mul", net.last, net.constant(1 / DEVIATION))
    net.add("Relu")
    return net


@pytest.mark.parametrize("form", ["subtract and divide", "multiply and add", "mean minus x", "add and multiply"])
def test_an_input_is_normal_behind_its_normalization(form: str) -> None:
    model = normalizing(form).build()
    mean, deviation = input_distribution(GraphView(model), "x")
    np.testing.assert_allclose(mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(deviation, DEVIATION, rtol=1e-5)
    specs = [TensorSpec(name="x", dtype="float32", shape=["n", 3])]
    [batch] = noise_batches(model, specs, None, samples=4000, batch=4000, seed=0)
    positive = run(model, x=batch["x"])[0]
    np.testing.assert_allclose((positive**2).mean(0), 0.5, atol=0.05)


def test_batch_norm_tells_the_distribution_itself() -> None:
    norm = nn.BatchNorm1d(5)
    norm.running_mean = torch.tensor([0.0, 10.0, -4.0, 2.0, 100.0])
    norm.running_var = torch.tensor([1.0, 4.0, 0.25, 9.0, 400.0])
    model = export(nn.Sequential(norm, nn.Conv1d(5, 2, 3)), [2, 5, 30], input_name="signal")
    specs = [TensorSpec(name="signal", dtype="float32", shape=["n", 5, 30])]
    [batch] = noise_batches(model, specs, None, samples=400, batch=400, seed=0)
    np.testing.assert_allclose(batch["signal"].mean((0, 2)), [0.0, 10.0, -4.0, 2.0, 100.0], atol=0.8)
    np.testing.assert_allclose(batch["signal"].std((0, 2)), [1.0, 2.0, 0.5, 3.0, 20.0], rtol=0.05)


def test_a_feature_that_never_varied_stays_finite() -> None:
    net = GraphBuilder(["n", 3])
    net.add("Mul", "x", net.constant(np.array([0.0, 2.0, 0.0], np.float32)))
    net.add("Relu")
    mean, deviation = input_distribution(GraphView(net.build()), "x")
    np.testing.assert_allclose(mean, 0)
    np.testing.assert_allclose(deviation, [1.0, 0.5, 1.0])


@pytest.mark.parametrize("follows", ["several readers", "a convolution", "the output"])
def test_anything_else_leaves_it_standard_normal(follows: str) -> None:
    net = GraphBuilder(["n", 3])
    if follows == "several readers":
        net.add("Mul", "x", net.constant(DEVIATION))
        net.add("Add", net.last, "x")
    elif follows == "a convolution":
        net.add("MatMul", "x", net.weight(3, 2))
    else:
        net.add("Relu", "x")
    mean, deviation = input_distribution(GraphView(net.build()), "x")
    assert (float(mean.max()), float(deviation.max())) == (0.0, 1.0)

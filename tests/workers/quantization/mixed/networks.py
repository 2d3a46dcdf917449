"""Small networks for bit allocation."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from faceter.contracts.quantizations import QuantizationMethod
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.graphs.builders import Array, GraphBuilder, residual_net
from tests.workers.quantization.networks import Floats, prepared_for, request_for
from workers.quantization.methods import methods


def plan_of(model: onnx.ModelProto, granularity: str = "channel", activation_bits: int = 8) -> QuantizationPlan:
    """Return RQ's plan, which leaves the float network as it is."""
    request = request_for(weight_granularity=granularity, activation_bits=activation_bits)
    return methods[QuantizationMethod.RQ](prepared_for(model), request).plan


def classifier_plan(granularity: str = "channel") -> QuantizationPlan:
    """Return the plan of a residual network, images ``image`` [N, 3, 16, 16] to ``logits`` [N, 5]."""
    return plan_of(residual_net(), granularity)


def two_headed() -> onnx.ModelProto:
    """Return a network with outputs ``boxes``, of large values, ``mask`` and ``best``, of integers."""
    net = GraphBuilder(["n", 3, 16, 16], name="image")
    net.conv(6, 3)
    trunk = net.add("Relu")
    net.conv(4, 6, 1)
    net.add("Mul", net.last, net.constant(np.full(1, 300, np.float32)), output="boxes")
    net.conv(2, 6, 3, source=trunk)
    net.add("Sigmoid", output="mask")
    net.add("ArgMax", "mask", output="best", axis=1, keepdims=0)
    model = net.build("boxes", "mask")
    model.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["n", 16, 16]))
    return model


def images(count: int, seed: int = 0) -> Floats:
    """Return inputs [count, 3, 16, 16]."""
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 16, 16)).astype(np.float32)


def with_value(model: onnx.ModelProto, name: str, value: Array) -> onnx.ModelProto:
    """Return the model with another value of an initializer."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
    return changed

import numpy as np
import pytest
import torch

from tests.graphs.builders import GraphBuilder, residual_net
from tests.references import batch_norm as reference
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import CPU, IMAGES, prepared_for, signal_network
from workers.onnx_module import OnnxModule
from workers.quantization.tuning.inputs.batch_norm import (
    BatchNormInput,
    BatchNormTeacher,
    batch_norm_inputs,
    batch_norm_loss,
    input_moment_loss,
    mean_and_deviation,
)
from workers.quantization.tuning.session import TuningSession


def test_the_loss_of_a_small_example() -> None:
    """Channel means 2 and 0 and deviations 1 and 2, against 1, 0 and 3, 2: (2 − 1)² + (1 − 3)²."""
    x = torch.tensor([[[1.0, 3.0], [2.0, -2.0]], [[1.0, 3.0], [-2.0, 2.0]]])
    layer = BatchNormInput("x", torch.tensor([1.0, 0.0]), torch.tensor([9.0, 4.0]))
    assert batch_norm_loss([layer], {"x": x}).item() == pytest.approx(5)
    assert input_moment_loss(x).item() == pytest.approx(2**2 + 0**2 + (1 - 1) ** 2 + (2 - 1) ** 2)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_against_loops(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.normal(2, 3, size=shape) for _ in range(2)]
    means, variances = rng.normal(size=(2, 3)), rng.uniform(0.5, 2, size=(2, 3))
    layers = [
        BatchNormInput(str(index), torch.tensor(mean, dtype=torch.float32), torch.tensor(var, dtype=torch.float32))
        for index, (mean, var) in enumerate(zip(means, variances, strict=True))
    ]
    found = {str(index): torch.tensor(x, dtype=torch.float32) for index, x in enumerate(inputs)}
    expected = reference.batch_norm_loss(inputs, list(means), list(variances))
    assert batch_norm_loss(layers, found).item() == pytest.approx(expected, rel=1e-4)


def test_a_constant_channel_has_finite_gradients() -> None:
    x = torch.ones(4, 2, 3, 3, requires_grad=True)
    mean, deviation = mean_and_deviation(x)
    torch.autograd.backward((mean + deviation).sum())
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_statistics_are_those_of_the_networks_batch_norm() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    net.conv(4, 3)
    taken = net.last
    net.batch_norm(4)
    net.add("Relu")
    [layer] = batch_norm_inputs(net.build())
    assert layer.tensor == taken
    constants = {item.name: np.frombuffer(item.raw_data, np.float32) for item in net.initializers}
    node = net.nodes[1]
    assert np.array_equal(layer.mean.numpy(), constants[node.input[3]])
    assert np.array_equal(layer.variance.numpy(), constants[node.input[4]])


def test_a_network_with_batch_norm_computes_what_the_folded_one_does() -> None:
    for model, metadata, shape in (
        (residual_net(), IMAGES, (5, 3, 16, 16)),
        (signal_network(), IMAGES.model_copy(update={"preprocessing": None}), (5, 2, 24)),
    ):
        session = TuningSession(prepared_for(model, metadata), request_for(method="zeroq"), CPU)
        x = session.to_device(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        session.precision = type(session.precision)("float32", CPU)
        found, loss = BatchNormTeacher(session).run(x)
        for name, values in session.teacher_outputs(x).items():
            torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4)
        layers = batch_norm_inputs(session.prepared.original)
        assert len(layers) > 1
        with torch.no_grad():
            seen = OnnxModule(session.prepared.original)(x, watch=[layer.tensor for layer in layers])
        expected = reference.batch_norm_loss(
            [seen[layer.tensor].double().numpy() for layer in layers],
            [layer.mean.double().numpy() for layer in layers],
            [layer.variance.double().numpy() for layer in layers],
        )
        assert loss.item() == pytest.approx(expected, rel=1e-3)

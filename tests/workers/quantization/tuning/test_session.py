"""What a method works with: networks in any batch, seeds, devices."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from tests.graphs.builders import GraphBuilder, residual_net, run
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import CPU, IMAGES, SIGNALS, prepared_for, signal_network
from tests.workers.quantization.tuning.student.test_heads import integer_output
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.inputs.space import can_tune
from workers.quantization.tuning.session import TuningSession


def fixed(batch: int, *, mixing: bool = False) -> onnx.ModelProto:
    """Return a network of a fixed batch with a Reshape; ``mixing`` lets samples of one batch see each other."""
    net = GraphBuilder([batch, 3, 16, 16], name="image")
    net.conv(4, 3, strides=[2, 2])
    net.add("Relu")
    net.add("Reshape", net.last, net.constant(np.array([batch, 4, 64])))
    if mixing:
        mean = net.add("ReduceMean", net.last, axes=[0], keepdims=1)
        net.add("Sub", "t2", mean)
    net.add("Reshape", net.last, net.constant(np.array([batch, 256])))
    net.add("Gemm", net.last, net.weight(5, 256), net.weight(5), transB=1, output="logits")
    return net.build()


def session_for(model: onnx.ModelProto, metadata: ModelMetadata = IMAGES, **fields: object) -> TuningSession:
    return TuningSession(prepared_for(model, metadata), request_for(**fields), CPU)


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def in_onnx_runtime(model: onnx.ModelProto, x: torch.Tensor, batch: int) -> torch.Tensor:
    """Return the answers to inputs that are run ``batch`` at a time, the last ones filled up by repetition."""
    parts = []
    for part in torch.split(x, batch):
        whole = np.resize(part.numpy(), (batch, *part.shape[1:]))
        parts.append(torch.from_numpy(run(model, image=whole)[0])[: len(part)])
    return torch.cat(parts)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_of_a_fixed_batch_runs_in_any_other_with_equal_answers(batch: int) -> None:
    session = session_for(fixed(batch))
    assert session.fixed_batch is None, "it is run at once"
    x = images(7)
    with torch.no_grad():
        found = session.teacher(x)["logits"]
    torch.testing.assert_close(found, in_onnx_runtime(fixed(batch), x, batch), rtol=1e-4, atol=1e-5)


def merging() -> onnx.ModelProto:
    """Return a network that runs in batches of two and in no others: it takes samples and channels together."""
    net = GraphBuilder([2, 3, 16, 16], name="image")
    net.conv(4, 3, strides=[2, 2])
    net.add("Relu")
    net.add("Reshape", net.last, net.constant(np.array([8, -1])))
    net.add("Reshape", net.last, net.constant(np.array([2, -1])))
    net.add("Gemm", net.last, net.weight(5, 256), net.weight(5), transB=1, output="logits")
    return net.build()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["mixing", "merging"])
def test_a_network_that_takes_samples_together_runs_in_its_own_batch(count: int, kind: str) -> None:
    session = session_for(fixed(2, mixing=True) if kind == "mixing" else merging())
    assert session.fixed_batch == 2
    x = images(count)
    found = session.teacher_outputs(x, ["t1"])
    assert found["t1"].shape == (count, 4, 8, 8)
    expected = in_onnx_runtime(session.prepared.model, x, 2)
    loose = 0.05 if session.precision.name == "bfloat16" else 1e-4
    torch.testing.assert_close(found["logits"].float(), expected, rtol=loose, atol=loose)


def test_chunks_have_gradients() -> None:
    session = session_for(fixed(2, mixing=True), weight_bits=4)
    plan = RawQuantization()(session.prepared, session.request).plan
    student = session.student(plan, learned_steps=True)
    session.run(student, session.to_device(images(5)))["logits"].float().square().mean().backward()  # type: ignore[no-untyped-call]
    assert all(step.grad is not None for step in student.weight_steps())


def test_heads_and_what_is_watched_are_answered_and_nothing_else() -> None:
    session = session_for(residual_net())
    assert session.run(session.teacher, images(2)).keys() == {"logits"}
    assert session.teacher_outputs(images(2), session.features).keys() == {"logits", *session.features}
    assert session.features


def test_a_network_without_answers_to_learn_from_is_refused() -> None:
    net = GraphBuilder(["batch", 4])
    net.add("Gemm", net.last, net.weight(4, 4))
    net.add("Cast", output="best", to=TensorProto.INT64)
    prepared = prepared_for(integer_output(net), SIGNALS)
    assert not can_tune(prepared)
    with pytest.raises(FaceterError, match="rq, dfq and aciq") as caught:
        TuningSession(prepared, request_for(), CPU)
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE
    assert can_tune(prepared_for(signal_network(), SIGNALS))


def test_the_float_network_is_never_trained() -> None:
    session = session_for(residual_net())
    assert not any(parameter.requires_grad for parameter in session.teacher.parameters())
    x = images(2).requires_grad_(True)
    session.run(session.teacher, x)["logits"].float().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None, "though inputs are"
    assert session.teacher_outputs(x)["logits"].grad_fn is None


def test_random_numbers_depend_on_the_seed_and_on_what_they_are_for() -> None:
    one, again, other = (session_for(signal_network(), SIGNALS, seed=seed) for seed in (1, 1, 2))

    def drawn(session: TuningSession, name: str) -> list[float]:
        return torch.rand(4, generator=session.random(name)).tolist()

    assert drawn(one, "tuning") == drawn(again, "tuning") == drawn(one, "tuning")
    assert drawn(one, "tuning") != drawn(one, "synthesis")
    assert drawn(one, "tuning") != drawn(other, "tuning")


def test_images_lie_channels_last_and_signals_as_they_come() -> None:
    session = session_for(residual_net())
    assert session.to_device(images(2)).is_contiguous(memory_format=torch.channels_last)
    weight = session.teacher.parameter("w0")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    signals = session_for(signal_network(), SIGNALS)
    assert signals.to_device(torch.zeros(4, 3, 2).transpose(1, 2)).is_contiguous()


def test_large_networks_get_smaller_batches_that_depend_on_nothing_else() -> None:
    small, large = session_for(signal_network(), SIGNALS), session_for(signal_network(400_000), SIGNALS)
    assert small.scaled_batch(128) == 128
    assert 1 <= large.scaled_batch(128) < 128
    assert large.scaled_batch(1) == 1

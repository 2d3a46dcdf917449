import numpy as np
import pytest
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from tests.graphs.builders import GraphBuilder
from tests.references import relation_maps as reference
from tests.workers.architectures import UNet, export_of
from tests.workers.quantization.mixed.networks import two_headed
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    prepared_for,
    signal_network,
    without_batch_norm,
)
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.session import TuningSession
from workers.quantization.zaq import (
    ZAQ,
    ZAQTrainer,
    activation_regularizer,
    output_discrepancy,
    relation_map_layers,
)
from workers.training.precision import Precision


def new_trainer(prepared: PreparedNetwork, bits: int = 4, **settings: object) -> ZAQTrainer:
    method = ZAQ(**{"batch": 32, "latent": 16, "width": 16, **settings})  # type: ignore[arg-type]
    request = request_for(method="zaq", weight_bits=bits, activation_bits=bits)
    session = TuningSession(prepared, request, CPU)
    session.precision = Precision("float32", CPU)
    return method.trainer(session, method.start(prepared, request).plan)


def test_output_discrepancy_by_hand() -> None:
    """Two samples, heads of 2 and of 1 × 1 × 2 nodes: (1 + 2 + 0 + 3) / 4 and (0 + 0 + 2 + 0) / 4, their mean 1."""
    teacher = {"a": torch.zeros(2, 2), "b": torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])}
    student = {"a": torch.tensor([[1.0, -2.0], [0.0, 0.0]]), "b": torch.tensor([[[[1.0, 3.0]]], [[[-1.0, 1.0]]]])}
    assert output_discrepancy(["a", "b"], teacher, student).item() == pytest.approx(1.0)


def test_output_discrepancy_against_loops() -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (3, 2, 5, 1), (3, 7)]
    teacher, student = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    found = output_discrepancy(
        ["0", "1", "2"], *({str(i): torch.from_numpy(x) for i, x in enumerate(side)} for side in (teacher, student))
    )
    assert found.item() == pytest.approx(reference.output_discrepancy(teacher, student), rel=1e-5)


def test_the_regularizer_by_hand() -> None:
    assert activation_regularizer(torch.tensor([[[-1.0, 2.0]], [[0.0, 3.0]]])).item() == pytest.approx(-1.5)


def test_losses_are_those_of_the_paper(digits: Digits) -> None:
    trainer = new_trainer(prepared_for(digits.model))
    trainer.weights.update(torch.linspace(0, 3, len(trainer.layers)))
    trainer.weights.end_epoch()
    before = trainer.state()["random"].clone()
    session, weights = trainer.session, trainer.weights.values.double().numpy()
    with torch.no_grad():
        x, _ = trainer.generate()
        p = session.teacher_outputs(x, session.features)
        q = session.run(trainer.student, x, session.features)

    def values(tensor: Tensor) -> np.ndarray:
        return tensor.double().numpy()

    outputs = reference.output_discrepancy(
        [values(p[name]) for name in session.heads.tensors], [values(q[name]) for name in session.heads.tensors]
    )
    differences = [reference.map_difference(values(p[name]), values(q[name])) for name in trainer.layers]
    expected = {"outputs": outputs, "relations": float(np.dot(weights, differences))}
    assert np.ptp(weights) > 0.1
    for step, prefix in ((trainer.train_generator, "generator_"), (trainer.train_student, "")):
        trainer._random.set_state(before)
        losses = {name: float(value) for name, value in step().items()}
        if prefix:
            last = np.abs(values(p[session.features[-1]])).mean()
            assert losses["activation"] == pytest.approx(float(last), rel=1e-4)
            assert {name: losses[prefix + name] for name in expected} == pytest.approx(expected, rel=1e-3)
        else:
            assert set(losses) == set(expected), "G has changed by now"


def test_the_generator_raises_the_discrepancy_and_the_quantized_network_lowers_it(digits: Digits) -> None:
    trainer = new_trainer(prepared_for(digits.model), beta=0.0, generator_learning_rate=0.003)
    noise = trainer.state()["random"].clone()

    def discrepancy() -> float:
        kept = trainer._random.get_state()
        trainer._random.set_state(noise)
        with torch.no_grad():
            x, _ = trainer.generate(256)
            wanted = trainer.session.teacher_outputs(x, trainer.layers)
            outputs, relations = trainer._discrepancies(wanted, trainer.session.run(trainer.student, x, trainer.layers))
        trainer._random.set_state(kept)
        return float(outputs + relations)

    values = [value.detach().clone() for value in trainer.student.weights_and_biases()]
    first = discrepancy()
    for _ in range(30):
        trainer.train_generator()
    raised = discrepancy()
    assert raised > 1.1 * first
    assert all(torch.equal(a, b) for a, b in zip(values, trainer.student.weights_and_biases(), strict=True))
    made = [value.detach().clone() for value in trainer.generator.parameters()]
    found = []
    for _ in range(5):
        for _ in range(30):
            trainer.train_student()
        found.append(discrepancy())
    assert np.median(found) < 0.8 * raised, "one step of SGD may go wrong; most do not"
    assert all(torch.equal(a, b) for a, b in zip(made, trainer.generator.parameters(), strict=True))


def test_a_round_is_five_student_steps_and_one_generator_step(digits: Digits) -> None:
    trainer = new_trainer(prepared_for(digits.model), rounds_per_epoch=2)
    kinds = ["G" if "activation" in trainer.step(step / 24) else "Q" for step in range(24)]
    assert "".join(kinds) == 4 * "QQQQQG"
    assert trainer.weights.epochs == 2


def test_inputs_are_held_out_at_the_given_fractions(digits: Digits) -> None:
    trainer = new_trainer(prepared_for(digits.model), held_out_at=(0.2, 0.6))
    seen = []
    for step in range(10):
        trainer.step(step / 10)
        held_out = trainer.held_out()
        seen.append(0 if held_out is None else len(held_out))
        assert trainer.held_out() is held_out
    assert seen == [0, 0, *[256] * 4, *[512] * 4]


def test_synthetic_inputs_are_the_same_at_every_call(digits: Digits) -> None:
    one, two = (new_trainer(prepared_for(digits.model), student_steps=1) for _ in range(2))
    assert one.synthetic() is None
    for step in range(4):
        one.step(step / 4)
        one.synthetic()
        two.step(step / 4)
    first, second = one.synthetic(), two.synthetic()
    assert first is not None
    assert second is not None
    assert first.shape == (1024, 1, 8, 8)
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["classifier without BatchNorm", "two heads", "signals", "segmentation"])
def test_any_network_and_any_outputs(kind: str, digits: Digits) -> None:
    model, metadata = {
        "classifier without BatchNorm": (without_batch_norm(digits.model), CLASSIFIER),
        "two heads": (two_headed(), IMAGES),
        "signals": (signal_network(), SIGNALS),
        "segmentation": (export_of(UNet), ModelMetadata()),
    }[kind]
    trainer = new_trainer(prepared_for(model, metadata), batch=4, student_steps=1)
    assert trainer.layers
    for step in range(4):
        losses = trainer.step(step / 4)
        assert all(torch.isfinite(torch.as_tensor(value)) for value in losses.values())
        assert any(float(value) > 0 for name, value in losses.items() if "relations" in name)


def test_layers_are_spread_over_the_depth(digits: Digits) -> None:
    trainer = new_trainer(prepared_for(digits.model))
    every = relation_map_layers(trainer.session, 100)
    assert len(every) == 4, "each activation that enters a convolution, but for the image"
    assert relation_map_layers(trainer.session, 3) == [every[0], every[2], every[3]]
    assert relation_map_layers(trainer.session, 2) == [every[0], every[3]]


def test_integer_inputs_are_refused() -> None:
    net = GraphBuilder(["batch", 4])
    net.inputs[0].type.tensor_type.elem_type = 7
    table = net.weight(9, 3)
    net.add("Gather", table, net.last)
    net.add("MatMul", net.last, net.weight(3, 2))
    with pytest.raises(FaceterError, match="inputs are floats") as caught:
        ZAQ().check(prepared_for(net.build(), ModelMetadata()))
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE

import pytest
import torch
from torch.nn import functional

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from tests.workers.quantization.networks import PREPROCESSING, Digits, request_for
from tests.workers.quantization.tuning.light_methods import CPU, prepared_for, take_step, without_batch_norm
from workers.quantization.gdfq import GDFQ, GDFQTrainer
from workers.quantization.tuning.session import TuningSession
from workers.training.precision import Precision

FLOAT32 = Precision("float32", CPU)


def new_trainer(digits: Digits, **settings: object) -> GDFQTrainer:
    method = GDFQ(**{"batch": 40, "latent": 16, "width": 32, **settings})  # type: ignore[arg-type]
    prepared = prepared_for(digits.model)
    request = request_for(method="gdfq", weight_bits=4, activation_bits=4)
    session = TuningSession(prepared, request, CPU)
    session.precision = FLOAT32
    return method.trainer(session, method.start(prepared, request).plan)


def test_the_generator_learns_to_make_inputs_of_a_class(digits: Digits) -> None:
    trainer = new_trainer(digits, generator_learning_rate=0.005)

    def confidence() -> float:
        with torch.no_grad():
            x, labels = trainer.generate(200)
        assert labels is not None
        scores = trainer.session.teacher_outputs(x)[trainer.logits].softmax(1)
        return float(scores.gather(1, labels.unsqueeze(1)).mean())

    before = confidence()
    losses = [trainer.train_generator() for _ in range(250)]
    assert before < 0.15
    assert confidence() > before + 0.15
    assert float(losses[-1]["statistics"]) < 0.7 * float(losses[0]["statistics"])


def test_losses_are_those_of_the_paper(digits: Digits) -> None:
    """Q's step, on the inputs of G's: CE(Q(x̂), y) and KL(P(x̂) ‖ Q(x̂)), with Σ P (log P − log Q) by hand."""
    trainer = new_trainer(digits)
    made = trainer.train_generator()
    last = trainer.state()["last_batch"]
    assert last is not None
    x, labels = last["x"], last["labels"]
    with torch.no_grad():
        p = trainer.session.teacher(x)[trainer.logits]
        q = trainer.session.run(trainer.student, x)[trainer.logits]
    assert float(made["generator_classes"]) == pytest.approx(float(functional.cross_entropy(p, labels)), rel=1e-4)
    losses = trainer.train_student()
    log_p, log_q = p.double().log_softmax(1), q.double().log_softmax(1)
    by_class = -sum(log_q[n, label] for n, label in enumerate(labels.tolist())) / len(labels)
    assert float(losses["classes"]) == pytest.approx(float(by_class), rel=1e-4)
    assert float(losses["kl"]) == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum(1).mean()), rel=1e-3)


def test_the_generator_warms_up_then_both_alternate(digits: Digits) -> None:
    trainer = new_trainer(digits, warm_up=0.3)
    weights = [value.detach().clone() for value in trainer.student.weights_and_biases()]
    kinds = []
    for step in range(10):
        losses = take_step(trainer, step / 10)
        kinds.append("G" if "statistics" in losses else "Q")
        if step == 2:
            assert all(torch.equal(a, b) for a, b in zip(weights, trainer.student.weights_and_biases(), strict=True))
            assert trainer.phase == "generator"
    assert "".join(kinds) == "GGG" + "QGQGQGQ"
    assert trainer.phase == "tuning"
    assert trainer.generator_steps == 6
    assert not all(torch.equal(a, b) for a, b in zip(weights, trainer.student.weights_and_biases(), strict=True))


def test_a_network_without_batch_norm_is_refused(digits: Digits) -> None:
    with pytest.raises(FaceterError, match="zaq, auto, ft, rq, dfq and aciq") as caught:
        GDFQ().check(prepared_for(without_batch_norm(digits.model)))
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE


@pytest.mark.parametrize("task", [Task.OBJECT_DETECTION, Task.OTHER, Task.IMAGE_TRANSLATION])
def test_other_tasks_than_classification_are_refused(digits: Digits, task: Task) -> None:
    metadata = ModelMetadata(task=task, preprocessing=PREPROCESSING)
    with pytest.raises(FaceterError, match="zaq, auto, zeroq, ft, rq, dfq and aciq") as caught:
        GDFQ().check(prepared_for(digits.model, metadata))
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE
    assert str(task) in caught.value.detail
    assert caught.value.errors[0].field == "method"

"""What methods that synthesize inputs need of a session: input space, batch size, number of classes."""

from __future__ import annotations

from workers.quantization.tuning.inputs.space import InputSpace, require_input_space
from workers.quantization.tuning.session import TuningSession


def input_space_of(session: TuningSession) -> InputSpace:
    """Return a session's input space.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE`` if inputs cannot be synthesized.
    """
    if session.space is not None:
        return session.space
    return require_input_space(session.prepared.model, session.prepared.inputs, session.prepared.preprocessing)


def batch_size_for(session: TuningSession, small_network_batch: int) -> int:
    """Return a batch size that fits the network's size and memory; at least 2, for the sake of batch statistics.

    Args:
        small_network_batch: Batch size for a small network, see :meth:`TuningSession.scaled_batch`.
    """
    return max(2, min(session.scaled_batch(small_network_batch), session.max_batch))


def class_count(session: TuningSession) -> int:
    """Return the number of classes of a network with logits [N, K]; 0 for other networks."""
    logits, space = session.heads.logits, session.space
    if logits is None or space is None:
        return 0
    scores = session.teacher_outputs(session.to_device(space.noise(space.fixed_batch or 1, 0)))[logits]
    return scores.shape[1] if scores.ndim == 2 else 0

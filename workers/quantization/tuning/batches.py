"""What every method that makes inputs begins with: where they lie, and how many of them to take at once."""

from __future__ import annotations

from workers.quantization.tuning.inputs import InputSpace, require_input_space
from workers.quantization.tuning.session import Session


def space_of(session: Session) -> InputSpace:
    """Return where a session's inputs lie.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE`` if they cannot be made.
    """
    if session.space is not None:
        return session.space
    return require_input_space(session.prepared.model, session.prepared.inputs, session.prepared.preprocessing)


def batch_of(session: Session, wanted: int) -> int:
    """Return how many inputs to take at once: as many as wanted for a small network, as many as memory has room for.

    Never a single one, over which there would be no statistics.

    Args:
        session: The network.
        wanted: How many inputs of a small network to take.
    """
    return max(2, min(session.affordable(wanted), session.most))


def class_count(session: Session) -> int:
    """Return how many classes a network chooses among for an input; 0 if it does not."""
    logits, space = session.heads.logits, session.space
    if logits is None or space is None:
        return 0
    found = session.ask_teacher(session.arranged(space.noise(space.fixed or 1, 0)))[logits]
    return found.shape[1] if found.ndim == 2 else 0

"""The node of a graph at which an exception was raised."""

from dataclasses import dataclass

_ATTRIBUTE = "faceter_node"


@dataclass(frozen=True)
class NodeFailure:
    """A node that could not be run or rewritten.

    Attributes:
        name: Its name.
        operator: Its ONNX operator.
        inputs: Type and shape of each input, such as ``float32 [1, 3, 8, 8]``; no values.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]


def note_failure(error: BaseException, failure: NodeFailure) -> None:
    """Name the node at which an exception was raised, unless it is named already."""
    if not hasattr(error, _ATTRIBUTE):
        setattr(error, _ATTRIBUTE, failure)
        error.add_note(f"in the {failure.operator} node {failure.name!r} ({', '.join(failure.inputs)})")


def failure_of(error: BaseException | None) -> NodeFailure | None:
    """Return the node that an exception, or one that caused it, was raised at; None if none is named."""
    while error is not None:
        found = getattr(error, _ATTRIBUTE, None)
        if isinstance(found, NodeFailure):
            return found
        error = error.__cause__ or error.__context__
    return None

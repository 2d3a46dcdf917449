"""ONNX Runtime on the CPU: the reference engine."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, cast

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array, Interrupt
from faceter.graphs.layouts import PLAIN, apply_layout
from faceter.graphs.packing import unpack_weights

DTYPES: Final = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
}
"""Supported element types: ONNX Runtime's names and numpy's."""

_FATAL: Final = 4
_SESSION_OVERHEAD: Final = 256 * 1024
_FAILURES: Final = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NotImplemented,
    states.RuntimeException,
    states.NoSuchFile,
    states.EPFail,
    MemoryError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class OnnxRuntimeEngine:
    """Loads graphs with ONNX Runtime for the CPU; all instances are equal."""

    def load(self, content: bytes, *, threads: int, layout: str = PLAIN) -> "OnnxRuntimeModel":
        """Return the graph of an ONNX file, ready to run; see `faceter.engines.base.Engine.load`."""
        plain = unpack_weights(onnx.load_model_from_string(content))
        content = apply_layout(plain, layout).SerializeToString()
        try:
            session = onnxruntime.InferenceSession(content, _session_options(threads), ["CPUExecutionProvider"])
        except _FAILURES as error:
            raise FaceterError(
                ProblemKind.MODEL_NOT_RUNNABLE, f"ONNX Runtime cannot load the model: {_message(error)}"
            ) from error
        return OnnxRuntimeModel(session, 2 * len(content) + _SESSION_OVERHEAD)


class OnnxRuntimeModel:
    """A graph in an ONNX Runtime session; see `faceter.engines.base.LoadedModel`.

    Args:
        memory: Estimated bytes: the weights, once as in the file and once prepacked for the kernels.
    """

    def __init__(self, session: onnxruntime.InferenceSession, memory: int) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self.inputs = [_spec(argument, "input") for argument in session.get_inputs()]
        self.outputs = [_spec(argument, "output") for argument in session.get_outputs()]
        self.bytes = memory

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once; see `faceter.engines.base.LoadedModel.run`."""
        if self._session is None:
            raise RuntimeError("this model was closed")
        names = list(outputs) if outputs is not None else [output.name for output in self.outputs]
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL

        def stop() -> None:
            options.terminate = True

        try:
            with interrupt.stopping(stop) if interrupt else nullcontext():
                values = cast(list[Array], self._session.run(names, dict(inputs), options))
        except _FAILURES as error:
            if interrupt is not None and interrupt.triggered:
                raise FaceterError(
                    ProblemKind.INFERENCE_FAILED, "The model was stopped: it took longer than this server allows."
                ) from error
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED, f"ONNX Runtime could not run the model on this input: {_message(error)}"
            ) from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Free the memory."""
        self._session = None


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return options for quiet sessions whose idle threads sleep, so that many sessions can coexist."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _spec(argument: onnxruntime.NodeArg, role: str) -> TensorSpec:
    dtype = DTYPES.get(argument.type)
    if dtype is None:
        raise FaceterError(
            ProblemKind.MODEL_NOT_RUNNABLE,
            f"The {role} {argument.name!r} is a {argument.type}, which is not supported. "
            f"Supported are {', '.join(sorted(DTYPES))}.",
        )
    return TensorSpec(name=argument.name, dtype=dtype, shape=list(argument.shape))


def _node_prefix(match: re.Match[str]) -> str:
    return f"{match[1]} node {match[2]!r}: " if match[2] else f"{match[1]} node: "


def _message(error: BaseException) -> str:
    """Return ONNX Runtime's message without error code, source lines and paths."""
    text = str(error).strip() or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"\S*/[\w./-]+\.(?:cc|h):\d+ ?", "", text)
    text = re.sub(
        r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ", _node_prefix, text
    )
    text = re.sub(r"\w+(?:::[\w~<>]+)+\([^()]*\) ", "", text)
    text = re.sub(r"\w+ [=!<>]=? \w+ was false\. ", "", text)
    text = " ".join(text.split())
    return text if len(text) <= 500 else text[:500] + "…"

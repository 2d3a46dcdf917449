"""ONNX Runtime on the CPU, which is the reference engine, and on an NVIDIA GPU."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from typing import Final, cast

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.serving import ServingPrecision
from faceter.engines.base import Array, Interrupt
from faceter.engines.shared_weights import SHARED_FROM, SharedFile, SharedWeights
from faceter.engines.text_locales import lacks_locale, with_available_locale
from faceter.graphs.float_types import has_bfloat16_signature, in_float32, other_float_types
from faceter.graphs.layouts import PLAIN, apply_layout
from faceter.graphs.open_axes import clear_unknown_sizes
from faceter.graphs.output_activation import probability_outputs
from faceter.graphs.packing import unpack_weights
from faceter.graphs.value_types import is_tensor

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

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_NO_GPU: Final = (
    "ONNX Runtime cannot use a GPU here. It needs the package onnxruntime-gpu in place of onnxruntime, an NVIDIA GPU, "
    "CUDA and cuDNN."
)
_FATAL: Final = 4
_AS_REQUESTED: Final = 1
_NO_ROOM: Final = re.compile(r"Available memory of (\d+) is smaller than requested bytes of (\d+)")
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


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime has kernels for CUDA; a GPU may be missing all the same."""
    return _CUDA in onnxruntime.get_available_providers()


_limited_to: int | None = None
"""Memory of all sessions of this process that runs on the CPU may take, bytes."""


def limit_memory(bytes: int) -> None:
    """Limit the memory of all sessions of this process together: weights, and the tensors of runs.

    Sessions that are loaded afterwards share one arena of that size. A run that needs more fails by itself. The first
    call holds for the life of the process.
    """
    global _limited_to
    if _limited_to is None:
        kind, place = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
        # Regions of the size that is asked for: larger ones would be counted against the limit.
        settings = onnxruntime.OrtArenaCfg({"max_mem": bytes, "arena_extend_strategy": _AS_REQUESTED})
        onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, place), settings)
        _limited_to = bytes


def free_unused_memory() -> None:
    """Return memory of that arena that no session uses at the moment to the system."""
    if _limited_to is not None:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        _nothing().run(None, {"x": np.zeros(1, np.float32)}, options)


@cache
def _nothing() -> onnxruntime.InferenceSession:
    """Return a session that does nothing."""
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "nothing", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), _session_options(1), [_CPU])


@dataclass(frozen=True)
class OnnxRuntimeEngine:
    """Loads graphs with ONNX Runtime.

    Args:
        weights: Where processes share the weights of large models; they are not shared without it.
        cuda: Precision to run with on the GPU: `EXACT` multiplies float32 in full, `FAST` in TF32. None runs on the
            CPU.
    """

    weights: SharedWeights | None = field(default=None, compare=False)
    cuda: ServingPrecision | None = None

    def load(self, content: bytes, *, threads: int, layout: str = PLAIN) -> "OnnxRuntimeModel":
        """Return the graph of an ONNX file, ready to run; see `faceter.engines.base.Engine.load`.

        A model in float16, bfloat16 or float64 runs in float32 where ONNX Runtime has no kernel for its type.
        """
        plain = unpack_weights(onnx.load_model_from_string(content))
        clear_unknown_sizes(plain)
        model = apply_layout(plain, layout)
        probabilities = probability_outputs(plain)
        native = not has_bfloat16_signature(model)
        key = _key(content, layout) if self.weights is not None and len(content) >= SHARED_FROM else None
        try:
            if native:
                try:
                    return self._loaded(model, key, threads, probabilities)
                except states.NotImplemented:
                    if not other_float_types(model):
                        raise
            float32, key = in_float32(model, keep_signature=native), key and f"{key}-float32"
            return self._loaded(float32, key, threads, probabilities, substitutes_float32=True)
        except _FAILURES as error:
            if lacks_locale(error) and (changed := with_available_locale(plain)) != plain:
                return self.load(changed.SerializeToString(), threads=threads, layout=layout)
            raise FaceterError(
                ProblemKind.MODEL_NOT_RUNNABLE, f"ONNX Runtime cannot load the model: {_message(error)}"
            ) from error

    def _loaded(
        self,
        model: onnx.ModelProto,
        key: str | None,
        threads: int,
        probabilities: frozenset[str],
        *,
        substitutes_float32: bool = False,
    ) -> "OnnxRuntimeModel":
        """Return a session of a model; its weights are shared if it has a key."""
        file = None if key is None or self.weights is None else self.weights.open(key, model)
        memory = 2 * model.ByteSize() + _SESSION_OVERHEAD
        try:
            source = model.SerializeToString() if file is None else str(file.path)
            session = onnxruntime.InferenceSession(source, _session_options(threads), _providers(self.cuda))
            if self.cuda is not None and _CUDA not in session.get_providers():
                raise FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, _NO_GPU)
            return OnnxRuntimeModel(session, memory, probabilities, file, substitutes_float32=substitutes_float32)
        except BaseException:
            if file is not None:
                file.close()
            raise


def _key(content: bytes, layout: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:32]}-{layout}-{onnxruntime.__version__}"


class OnnxRuntimeModel:
    """A graph in an ONNX Runtime session; see `faceter.engines.base.LoadedModel`.

    Args:
        memory: Estimated bytes: the weights, once as in the file and once prepacked for the kernels.
        probability_outputs: Names of the outputs that are probabilities.
        file: File of its weights, closed with it.
        substitutes_float32: Whether it computes in float32 in place of a type that ONNX Runtime has no kernels for.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        memory: int,
        probability_outputs: frozenset[str] = frozenset(),
        file: SharedFile | None = None,
        *,
        substitutes_float32: bool = False,
    ) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self.probability_outputs = probability_outputs
        self.substitutes_float32 = substitutes_float32
        self.inputs = [_spec(argument, "input") for argument in session.get_inputs()]
        self.outputs = [_spec(argument, "output") for argument in session.get_outputs()]
        self.bytes = memory
        self._file = file

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
                values = cast(list[Array], self._session.run(names, _fed(inputs), options))
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
        if self._file is not None:
            self._file.close()
            self._file = None


def _fed(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs as ONNX Runtime's Python interface takes them; it has no bfloat16."""
    return {
        name: values.astype(np.float32) if str(getattr(values, "dtype", "")) == "bfloat16" else values
        for name, values in inputs.items()
    }


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return options for quiet sessions whose idle threads sleep, so that many sessions can coexist."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if _limited_to is not None:
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _load_cuda() -> None:
    """Load CUDA and cuDNN from their Python packages, where they are installed so; else the system's are found."""
    with redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


def _providers(cuda: ServingPrecision | None) -> list[str | tuple[str, dict[str, str]]]:
    """Return the execution providers, the first for all operators that it has."""
    if cuda is None:
        return [_CPU]
    if not has_cuda():
        raise FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, _NO_GPU)
    _load_cuda()
    options = {
        "use_tf32": str(int(cuda is ServingPrecision.FAST)),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(_CUDA, options), _CPU]


def _spec(argument: onnxruntime.NodeArg, role: str) -> TensorSpec:
    dtype = re.sub(r"tensor\((\w+)\)", lambda match: DTYPES.get(match[0], match[0]), argument.type)
    dtype = dtype.replace("seq(", "sequence(").replace("map(string,", "map(str, ").replace("map(int64,", "map(int64, ")
    if "tensor(" in dtype:
        raise FaceterError(
            ProblemKind.MODEL_NOT_RUNNABLE,
            f"The {role} {argument.name!r} is a {argument.type}, which is not supported. "
            f"Supported are {', '.join(sorted(DTYPES))}, and sequences and maps of them.",
        )
    return TensorSpec(name=argument.name, dtype=dtype, shape=list(argument.shape) if is_tensor(dtype) else [])


def _node_prefix(match: re.Match[str]) -> str:
    return f"{match[1]} node {match[2]!r}: " if match[2] else f"{match[1]} node: "


def _message(error: BaseException) -> str:
    """Return ONNX Runtime's message without error code, source lines and paths."""
    text = str(error).strip() or type(error).__name__
    if no_room := _NO_ROOM.search(text):
        return (
            f"a tensor of {int(no_room[2]):,} bytes exceeds the {int(no_room[1]):,} that are left of the memory for "
            "predictions (`FACETER_PREDICTION_BYTES`). Send less at a time."
        )
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"(?<!\S)[\w./-]+\.(?:cc|cpp|h):\d+ (?:[\w:~<>]+(?=(?: |$)) ?)?", "", text)
    text = re.sub(
        r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ", _node_prefix, text
    )
    text = re.sub(r"\w+(?:::[\w~<>]+)+\([^()]*\) ", "", text)
    text = re.sub(r"\w+ [=!<>]=? \w+ was false\. ", "", text)
    text = " ".join(text.split())
    return text if len(text) <= 500 else text[:500] + "…"

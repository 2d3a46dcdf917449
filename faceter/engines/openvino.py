"""OpenVINO on the CPU: an optional engine, often faster than the reference, with bfloat16 and integer kernels for AMX.

It differs from ONNX Runtime where no tensor of floats shows it: integers of 32 and 64 bits are computed in 32 bits,
those of 8 bits saturate where ONNX wraps, and a Gather beyond the end gives 0 where ONNX Runtime fails. What a host
can serve by it is a question of measuring; see `faceter.engines.agreement`.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.serving import ServingPrecision
from faceter.engines.base import Array, Interrupt
from faceter.engines.openvino_compiled import (
    FAILURES,
    OWN_SHAPES,
    CompiledGraph,
    OwnShapes,
    core,
    failed,
    message_of,
    package,
    stopped,
)
from faceter.graphs.describe import input_specs, output_specs
from faceter.graphs.float_types import has_bfloat16_signature, in_float32, other_float_types
from faceter.graphs.layouts import PLAIN, apply_layout
from faceter.graphs.open_axes import clear_unknown_sizes, open_axes
from faceter.graphs.output_activation import probability_outputs
from faceter.graphs.packing import unpack_weights
from faceter.graphs.view import subgraphs
from faceter.host import processor_count

DTYPES: Final = ("bool", "float16", "float32", "int16", "int32", "int64", "int8", "uint16", "uint8")
"""Element types of inputs and outputs. Others would be computed in fewer bits than they have, or are no numbers."""

_MOST_CONCURRENT_RUNS: Final = 4
_COMPILED_OVERHEAD: Final = 2 * 2**20
_OWN_SHAPE_FILE_BYTES: Final = 8 * 2**20
_INT32 = np.iinfo(np.int32)
_WITHOUT_STOP = frozenset({"Loop", "Scan"})


def is_available() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@dataclass(frozen=True)
class OpenVinoEngine:
    """Loads graphs with OpenVINO for the CPU; see `is_available`.

    Pass quantized graphs in the plain layout: it is the one that runs with integer kernels throughout.

    Args:
        precision: `EXACT` computes in float32. `FAST` also in bfloat16, where the processor has instructions for it.
            Quantized layers run in integers in both; their roundings may fall otherwise than those of ONNX Runtime.
        concurrent_runs: Most runs of a model at the same time, each with a copy of the model that is compiled when it
            is first needed; further ones wait. By default as many as the cores have room for, at most four.
    """

    precision: ServingPrecision
    concurrent_runs: int | None = None

    def load(self, content: bytes, *, threads: int, layout: str = PLAIN) -> "OpenVinoModel":
        """Return the graph of an ONNX file, ready to run; see `faceter.engines.base.Engine.load`.

        Models in float16 and bfloat16 run in float32, or in bfloat16 with `FAST`.

        Raises:
            FaceterError: `MODEL_NOT_RUNNABLE` also if OpenVINO is not installed, for types of inputs and outputs beside
                `DTYPES`, and for loops, whose runs it could not stop.
        """
        plain = unpack_weights(onnx.load_model_from_string(content))
        clear_unknown_sizes(plain)
        model = apply_layout(plain, layout)
        substitutes = bool(other_float_types(model))
        if has_bfloat16_signature(model):
            model = in_float32(model, keep_signature=False)
        inputs, outputs = input_specs(model), output_specs(model)
        _refuse_unsupported(model, inputs, outputs)
        package()
        file = model.SerializeToString()
        runs = self.concurrent_runs or max(1, min(_MOST_CONCURRENT_RUNS, processor_count() // threads))
        options = _options(self.precision, threads)
        try:
            general = CompiledGraph(core().read_model(file), None, options, runs)
            _check_ports(general, inputs, outputs)
        except FAILURES as error:
            raise FaceterError(
                ProblemKind.MODEL_NOT_RUNNABLE, f"OpenVINO cannot load the model: {message_of(error)}"
            ) from error
        is_open = any(open_axes(spec.shape) for spec in inputs)
        own = OwnShapes(file, options, runs) if is_open and len(file) <= _OWN_SHAPE_FILE_BYTES else None
        memory = runs * (1 + (OWN_SHAPES if own else 0)) * (2 * len(file) + _COMPILED_OVERHEAD)
        return OpenVinoModel(
            general, own, inputs, outputs, memory, probability_outputs(plain), substitutes_float32=substitutes
        )


class OpenVinoModel:
    """A graph compiled by OpenVINO; see `faceter.engines.base.LoadedModel`.

    Args:
        general: Compiled for all shapes.
        own: Those compiled for one shape each, or None if the shape is fixed or the model large.
        memory: Estimated bytes, with all own shapes and copies.
        probability_outputs: Names of the outputs that are probabilities.
        substitutes_float32: Whether it computes in float32 in place of the model's own type.
    """

    def __init__(
        self,
        general: CompiledGraph,
        own: OwnShapes | None,
        inputs: list[TensorSpec],
        outputs: list[TensorSpec],
        memory: int,
        probability_outputs: frozenset[str],
        *,
        substitutes_float32: bool,
    ) -> None:
        self._general: CompiledGraph | None = general
        self._own = own
        self.inputs = inputs
        self.outputs = outputs
        self.bytes = memory
        self.probability_outputs = probability_outputs
        self.substitutes_float32 = substitutes_float32

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once; see `faceter.engines.base.LoadedModel.run`.

        Raises:
            FaceterError: `INFERENCE_FAILED` also for integers beyond 32 bits.
        """
        general, shapes = self._general, self._own
        if general is None:
            raise RuntimeError("this model was closed")
        names = [output.name for output in self.outputs]
        unknown = set(outputs or ()) - set(names)
        if unknown:
            raise failed(f"it has no output {sorted(unknown)[0]!r}.")
        fed = _fed(self.inputs, inputs)
        values = [fed[name] for name in general.inputs]
        general.check_shapes(values)
        own = shapes.find(tuple(value.shape for value in values)) if shapes is not None else None
        compiled = own or general
        try:
            with compiled.request(interrupt) as request:
                compiled.run(request, values, interrupt)
                wanted = names if outputs is None else outputs
                return {name: request.get_output_tensor(names.index(name)).data.copy() for name in wanted}
        except FAILURES as error:
            if interrupt is not None and interrupt.triggered:
                raise stopped() from error
            raise failed(message_of(error)) from error

    def wait(self) -> None:
        """Wait for a compilation in the background; afterwards runs take what they take from then on."""
        if self._own is not None:
            self._own.wait()

    def close(self) -> None:
        """Free the memory, after the runs in progress."""
        if self._own is not None:
            self._own.close()
        self._general = self._own = None


def _options(precision: ServingPrecision, threads: int) -> dict[str, Any]:
    """Return OpenVINO's properties, for one run at a time."""
    options: dict[str, Any] = {
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "EXECUTION_MODE_HINT": "PERFORMANCE",
    }
    if precision is ServingPrecision.EXACT:
        options |= {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
    return options


def _refuse_unsupported(model: onnx.ModelProto, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> None:
    for role, specs in (("input", inputs), ("output", outputs)):
        for spec in specs:
            if spec.dtype not in DTYPES:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The {role} {spec.name!r} is of type {spec.dtype}, which Faceter does not run with OpenVINO.",
                )
    operators = set(_operators(model.graph.node)).union(*(_operators(item.node) for item in model.functions))
    loops = sorted(operators & _WITHOUT_STOP)
    if loops:
        raise FaceterError(
            ProblemKind.MODEL_NOT_RUNNABLE, f"The model has a {loops[0]}, whose runs cannot be stopped with OpenVINO."
        )


def _operators(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield node.op_type
        for inner in subgraphs(node):
            yield from _operators(inner.node)


def _check_ports(compiled: CompiledGraph, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> None:
    """Raise ValueError unless OpenVINO has the file's outputs in order, and inputs of the file, all or those in use."""
    if not set(compiled.inputs) <= {spec.name for spec in inputs}:
        raise ValueError("it reads other inputs than the file has.")
    ports = compiled.outputs
    if len(ports) != len(outputs):
        raise ValueError(f"it has {len(ports)} outputs, the file {len(outputs)}.")
    for port, spec in zip(ports, outputs, strict=True):
        if spec.name not in port.get_names() or port.get_element_type().to_dtype() != np.dtype(spec.dtype):
            raise ValueError(f"its output {spec.name!r} differs from that of the file.")


def _fed(specs: list[TensorSpec], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs as contiguous arrays that OpenVINO may read in place."""
    names = {spec.name for spec in specs}
    if names != set(inputs):
        listed = ", ".join(repr(spec.name) for spec in specs)
        given = ", ".join(repr(name) for name in inputs)
        raise failed(f"it takes the inputs {listed}, not {given or 'none'}.")
    fed = {}
    for spec in specs:
        value = np.asarray(inputs[spec.name])
        if str(value.dtype) == "bfloat16":
            value = value.astype(np.float32)
        if value.dtype != np.dtype(spec.dtype):
            raise failed(f"its input {spec.name!r} takes {spec.dtype}, not {value.dtype}.")
        if spec.dtype == "int64" and value.size and (value.min() < _INT32.min or value.max() > _INT32.max):
            raise failed(f"its input {spec.name!r} has integers beyond 32 bits, which OpenVINO does not compute with.")
        fed[spec.name] = np.require(value, requirements=["C", "A", "W"])
    return fed

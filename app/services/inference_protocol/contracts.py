"""Messages of the protocol in JSON, without the data of tensors.

Members that are not described here are ignored, as the protocol has it.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

VERSION = "1"
"""The one version of every model."""

Parameters = dict[str, Any]
"""Parameters of a request, an input or an output, by name."""


class ProtocolMessage(BaseModel):
    """A frozen message that ignores members it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class ServerDescription(ProtocolMessage):
    """What the server is."""

    name: str = Field(examples=["faceter"])
    """Name of the server."""
    version: str = Field(examples=["0.1.0"])
    """Its version."""
    extensions: list[str] = Field(examples=[["binary_tensor_data", "classification", "model_repository"]])
    """Extensions of the protocol that it has."""


class TensorDescription(ProtocolMessage):
    """An input or an output of a model."""

    name: str = Field(examples=["image"])
    """Name of the tensor."""
    datatype: str = Field(examples=["FP32"])
    """Element type: BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BF16 or BYTES."""
    shape: list[int] = Field(examples=[[-1, 3, 32, 32]])
    """Size of each axis; −1 if it differs from request to request."""


class ModelMetadataResponse(ProtocolMessage):
    """What a model takes and returns. Values that are no tensors are left out."""

    name: str = Field(examples=["mdl_…"])
    """Id of the model."""
    versions: list[str] = Field(examples=[[VERSION]])
    """Versions of the model: always the one."""
    platform: str = Field(examples=["onnxruntime_onnx"])
    """Runtime and format."""
    inputs: list[TensorDescription]
    """Inputs of the graph."""
    outputs: list[TensorDescription]
    """Outputs of the graph."""


class ServerLiveness(ProtocolMessage):
    """Whether the server responds."""

    live: bool = Field(examples=[True])
    """Always true."""


class ServerReadiness(ProtocolMessage):
    """Whether the server can run models."""

    ready: bool = Field(examples=[True])
    """Whether the stores of records and of files can be used."""


class ModelReadiness(ProtocolMessage):
    """Whether a model can be run."""

    name: str = Field(examples=["mdl_…"])
    """Id of the model."""
    ready: bool = Field(examples=[True])
    """Always true: a model that is not in memory is loaded by its first request."""


class RepositoryQuery(ProtocolMessage):
    """Body of a request for the index."""

    ready: bool = Field(default=False, examples=[True])
    """Only models that are ready, which all are."""


class RepositoryEntry(ProtocolMessage):
    """A stored model."""

    name: str = Field(examples=["mdl_…"])
    """Id of the model."""
    version: str = Field(default=VERSION, examples=[VERSION])
    """Version of the model."""
    state: str = Field(default="READY", examples=["READY"])
    """Always `READY`: a model that is not in memory is loaded by its first request."""
    reason: str = Field(default="", examples=[""])
    """Why a model is not ready; always empty."""


class RepositoryCommand(ProtocolMessage):
    """Body of a request to load or unload a model."""

    parameters: Parameters = Field(
        default_factory=dict,
        examples=[{"unload_dependents": False}],
        json_schema_extra={"properties": {"unload_dependents": {}}, "additionalProperties": False},
    )
    """`unload_dependents`, which changes nothing. A model's file or configuration cannot be sent here."""


class InferInput(ProtocolMessage):
    """An input of an inference request."""

    name: str = Field(examples=["image"])
    """Name of the input."""
    datatype: str = Field(examples=["FP32"])
    """Element type; that of the model's input."""
    shape: list[int] = Field(examples=[[1, 1, 2, 2]])
    """Size of each axis."""
    parameters: Parameters = Field(default_factory=dict, examples=[{"binary_data_size": 16}])
    """`binary_data_size`: the input has that many bytes after the JSON, in the order of the inputs."""
    data: Any = Field(default=None, examples=[[0.0, 0.5, 0.5, 1.0]])
    """Elements in row-major order, as a flat or nested list; absent if they are sent in binary form."""


class InferRequestedOutput(ProtocolMessage):
    """An output that an inference request asks for."""

    name: str = Field(examples=["logits"])
    """Name of the output."""
    parameters: Parameters = Field(default_factory=dict, examples=[{"binary_data": True}])
    """`binary_data`: whether to return it in binary form. `classification`: return that many of the highest values of
    each row as `VALUE:INDEX:LABEL`, in place of the tensor."""


class InferRequest(ProtocolMessage):
    """An inference request; with binary inputs the part of the body that is JSON."""

    id: str | None = Field(default=None, examples=["42"])
    """Returned in the response."""
    parameters: Parameters = Field(default_factory=dict, examples=[{"binary_data_output": False}])
    """`binary_data_output`: whether to return outputs in binary form that do not say it themselves. `timeout`:
    microseconds after which the answer is of no use; 0 is no deadline. Others have no effect."""
    inputs: list[InferInput]
    """All inputs of the model."""
    outputs: list[InferRequestedOutput] = Field(default_factory=list)
    """Outputs to compute and return, in this order; by default all."""


class InferOutput(ProtocolMessage):
    """An output of an inference response."""

    name: str = Field(examples=["logits"])
    """Name of the output."""
    datatype: str = Field(examples=["FP32"])
    """Element type."""
    shape: list[int] = Field(examples=[[1, 3]])
    """Size of each axis."""
    parameters: Parameters | None = Field(default=None, examples=[{"binary_data_size": 12}])
    """`binary_data_size`: the output has that many bytes after the JSON, in the order of the outputs."""
    data: list[Any] | None = Field(default=None, examples=[[0.1, 2.5, -1.0]])
    """Elements in row-major order, as a flat list. NaN and infinities are null; the binary form has them."""


class InferResponse(ProtocolMessage):
    """An inference response; with binary outputs the part of the body that is JSON."""

    model_name: str = Field(examples=["mdl_…"])
    """Id of the model."""
    model_version: str = Field(examples=[VERSION])
    """Version of the model."""
    id: str | None = Field(default=None, examples=["42"])
    """The `id` of the request, if it had one."""
    outputs: list[InferOutput]
    """Outputs, in the order of the request."""


class ProtocolFailure(ProtocolMessage):
    """An error."""

    error: str = Field(examples=["The input 'image' is missing; the model takes image."])
    """What happened, and how to fix it."""

"""Formats of predictions: JSON, MessagePack, and NumPy's for tensors alone."""

import gzip
import io
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np
from starlette.responses import Response

from app.http.negotiation import accepted
from app.services.predictions.json_outputs import check_json_size, to_json
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.predictions import Prediction

_COMPRESSED_FROM: Final = 16 * 1024
_COMPRESSION_LEVEL: Final = 1


class PredictionFormat(StrEnum):
    """Media types of predictions, the most preferred first."""

    JSON = "application/json"
    MESSAGEPACK = "application/msgpack"
    NPZ = "application/x-npz"
    NPY = "application/x-npy"

    @property
    def holds_tensors_only(self) -> bool:
        """Whether it has the raw outputs and nothing else."""
        return self in (PredictionFormat.NPZ, PredictionFormat.NPY)


def prediction_format(accept: str) -> PredictionFormat:
    """Return the format that an `Accept` header prefers; JSON among equals.

    Raises:
        FaceterError: `NOT_ACCEPTABLE` if it accepts none.
    """
    preferences = {item: accepted(accept, item.value) for item in PredictionFormat}
    best = max(preferences, key=lambda item: preferences[item])
    if preferences[best][0] <= 0:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The Accept header {accept[:200]!r} accepts none of the available formats: {', '.join(PredictionFormat)}.",
        )
    return best


def prediction_response(prediction: Prediction, format: PredictionFormat, accept_encoding: str) -> Response:
    """Return a prediction in a format, compressed by gzip if it is large and the client accepts that.

    Args:
        prediction: Its `outputs` are arrays, or nested lists.
        format: Tensors are nested lists in JSON, and `dtype`, `shape` and bytes in `data` in MessagePack.
        accept_encoding: The header.

    Raises:
        FaceterError: `NOT_ACCEPTABLE` for NumPy's formats of outputs that are no tensors, or several in one `.npy`.
    """
    content = _encoded(prediction, format)
    headers = {"Vary": "Accept, Accept-Encoding"}
    if len(content) >= _COMPRESSED_FROM and _accepts_gzip(accept_encoding):
        content, headers["Content-Encoding"] = gzip.compress(content, _COMPRESSION_LEVEL), "gzip"
    return Response(content, headers=headers, media_type=format.value)


def _encoded(prediction: Prediction, format: PredictionFormat) -> bytes:
    outputs = prediction.outputs
    if format is PredictionFormat.JSON:
        check_json_size(outputs or {}, f"Accept {PredictionFormat.NPZ} or {PredictionFormat.MESSAGEPACK}.")
        shown = prediction if outputs is None else prediction.model_copy(update={"outputs": to_json(outputs)})
        return shown.model_dump_json(exclude_none=True).encode()
    if format is PredictionFormat.MESSAGEPACK:
        document = prediction.model_dump(exclude_none=True, exclude={"outputs"})
        if outputs is not None:
            document["outputs"] = {name: _packed(value) for name, value in outputs.items()}
        return msgspec.msgpack.encode(document)
    tensors = {name: _tensor(name, value) for name, value in (outputs or {}).items()}
    file = io.BytesIO()
    if format is PredictionFormat.NPZ:
        np.savez(file, allow_pickle=False, **tensors)
    elif len(tensors) == 1:
        np.save(file, next(iter(tensors.values())), allow_pickle=False)
    else:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The model has {len(tensors)} outputs; {PredictionFormat.NPY} holds one. Accept {PredictionFormat.NPZ}.",
        )
    return file.getvalue()


def _packed(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return to_json(value)
    return {"dtype": value.dtype.name, "shape": list(value.shape), "data": np.ascontiguousarray(value).tobytes()}


def _tensor(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    tensor = np.asarray(value)
    if tensor.dtype.kind not in "biuf":
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The output {name!r} is no tensor of numbers. Accept {PredictionFormat.JSON}.",
        )
    return tensor


def _accepts_gzip(accept_encoding: str) -> bool:
    return bool(accept_encoding.strip()) and accepted(accept_encoding, "gzip")[0] > 0

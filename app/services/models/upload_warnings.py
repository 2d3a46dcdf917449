"""What an upload is told about its file, beyond errors."""

from itertools import islice
from typing import Final

from faceter.graphs.check import CheckedModel
from faceter.graphs.finite_weights import non_finite_weights
from faceter.graphs.float_types import other_float_types
from faceter.graphs.shapes import dtype_name

_MOST_WEIGHTS: Final = 3


def upload_warnings(checked: CheckedModel, *, substitutes_float32: bool) -> list[str]:
    """Return what was corrected in an uploaded file, and what is wrong with it but does not keep it from being served.

    Args:
        checked: The file.
        substitutes_float32: Whether the engine computes in float32 in place of the model's own type.
    """
    warnings = list(checked.warnings)
    faults = list(islice(non_finite_weights(checked.model), _MOST_WEIGHTS))
    if faults:
        warnings += [*faults, "A model with such weights is served, but cannot be quantized."]
    if substitutes_float32:
        names = " and ".join(dtype_name(item) for item in other_float_types(checked.model))
        warnings.append(f"ONNX Runtime has no kernels in {names} for this model on a CPU; it is served in float32.")
    return warnings

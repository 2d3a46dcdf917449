"""In which layout a host serves a quantized model."""

import onnx

from faceter.contracts.quantizations import QuantizationReport
from faceter.graphs.layouts import PLAIN, UNSIGNED, apply_layout, has_wide_codes, layouts
from faceter.graphs.packing import unpack_weights


def layout_of(report: QuantizationReport | None) -> str:
    """Return the layout that a model's report says was served.

    Args:
        report: None for a model that was not quantized here.

    Returns:
        One of `layouts`; the plain one where nothing is said or the name is not known here.
    """
    choices = [] if report is None else report.layouts
    return next((choice.layout for choice in choices if choice.served and choice.layout in layouts), PLAIN)


def is_exact(layout: str, model: onnx.ModelProto, *, saturates: bool) -> bool:
    """Return whether a host's kernels give a quantized graph's own answers in a layout.

    Args:
        layout: One of `layouts`.
        model: The plain graph, weights unpacked.
        saturates: Whether the host's kernels add products of signed weights in 16 bits; see `sums_saturate`.
    """
    return not saturates or not has_wide_codes(apply_layout(model, layout))


def layout_for(report: QuantizationReport | None, content: bytes, *, saturates: bool) -> str:
    """Return the layout to load a model by on this host: its report's, unless that would be wrong here.

    A worker may have other kernels than the host that serves. All layouts answer the same where they are exact, and
    unsigned weights are exact everywhere.

    Args:
        report: The model's, None if it was not quantized here.
        content: Its ONNX file; weights may be packed.
        saturates: Whether this host's kernels add products of signed weights in 16 bits; see `sums_saturate`.

    Raises:
        FaceterError: `INVALID_MODEL` if packed weights cannot be unpacked.
    """
    layout = layout_of(report)
    if not saturates:
        return layout
    model = unpack_weights(onnx.load_model_from_string(content))
    return layout if is_exact(layout, model, saturates=saturates) else UNSIGNED

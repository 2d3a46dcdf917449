"""The layout in which a host serves a quantized model."""

import onnx

from faceter.contracts.quantizations import QuantizationReport
from faceter.graphs.layouts import PLAIN, UNSIGNED, apply_layout, has_wide_codes, layouts
from faceter.graphs.packing import unpack_weights


def served_layout(report: QuantizationReport | None) -> str:
    """Return the layout that a model's report marks as served.

    Args:
        report: None for a model that was not quantized here.

    Returns:
        One of `layouts`; the plain one if there is none or its name is unknown.
    """
    choices = [] if report is None else report.layouts
    return next((choice.layout for choice in choices if choice.served and choice.layout in layouts), PLAIN)


def is_exact(layout: str, model: onnx.ModelProto, *, saturates: bool) -> bool:
    """Return whether a host's kernels compute a quantized graph exactly in a layout.

    Args:
        layout: One of `layouts`.
        model: The plain graph, weights unpacked.
        saturates: Whether the host's kernels saturate; see `sums_saturate`.
    """
    return not saturates or not has_wide_codes(apply_layout(model, layout))


def host_layout(report: QuantizationReport | None, content: bytes, *, saturates: bool) -> str:
    """Return the layout for a model on this host: that of its report, unless it would be inexact here.

    A worker may have other kernels than the serving host. All exact layouts compute the same, and unsigned weights are
    exact on every host.

    Args:
        report: None if the model was not quantized here.
        content: Its ONNX file; weights may be packed.
        saturates: Whether this host's kernels saturate; see `sums_saturate`.

    Raises:
        FaceterError: `INVALID_MODEL` if packed weights cannot be unpacked.
    """
    layout = served_layout(report)
    if not saturates:
        return layout
    model = unpack_weights(onnx.load_model_from_string(content))
    return layout if is_exact(layout, model, saturates=saturates) else UNSIGNED

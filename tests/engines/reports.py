"""Made-up quantization reports, for tests of their readers."""

from faceter.contracts.quantizations import (
    Agreement,
    Energy,
    LayoutChoice,
    QuantizationReport,
    QuantizationRequest,
    Size,
)


def report_of(served: str, *others: str) -> QuantizationReport:
    """Return a report with a served layout and slower others."""
    return QuantizationReport(
        settings=QuantizationRequest(),
        tensors=[],
        agreement=Agreement(source="noise", samples=1, mean_absolute_error=0, relative_error=0),
        size=Size(before=1, packed=1, served=1, weights_before=1, weights_packed=1),
        energy=Energy(before_joules=1, after_joules=1, assumptions=[]),
        latency=[],
        layouts=[
            *(LayoutChoice(layout=name, milliseconds=2, served=False) for name in others),
            LayoutChoice(layout=served, milliseconds=1, served=True),
        ],
    )

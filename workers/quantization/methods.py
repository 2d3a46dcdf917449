"""The methods there are. A new one is one file and one line here."""

from __future__ import annotations

from faceter.contracts.quantizations import QuantizationMethod
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.dfq import DataFreeQuantization
from workers.quantization.prepared import Method
from workers.quantization.rq import RawQuantization

methods: dict[QuantizationMethod, Method] = {
    QuantizationMethod.RQ: RawQuantization(),
    QuantizationMethod.DFQ: DataFreeQuantization(),
    QuantizationMethod.ACIQ: AnalyticClipping(),
}

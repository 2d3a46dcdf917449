"""The methods there are. A new one is one file and one line here."""

from __future__ import annotations

from faceter.contracts.quantizations import QuantizationMethod
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.auto import Automatic
from workers.quantization.dfq import DataFreeQuantization
from workers.quantization.ft import FineTuning
from workers.quantization.gdfq import GenerativeQuantization
from workers.quantization.prepared import Method
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.zaq import AdversarialQuantization
from workers.quantization.zeroq import DistilledQuantization

methods: dict[QuantizationMethod, Method] = {
    QuantizationMethod.RQ: RawQuantization(),
    QuantizationMethod.DFQ: DataFreeQuantization(),
    QuantizationMethod.ACIQ: AnalyticClipping(),
}
"""Those that round, from the network as it is."""

tuned_methods: dict[QuantizationMethod, TunedMethod] = {
    QuantizationMethod.ZEROQ: DistilledQuantization(),
    QuantizationMethod.GDFQ: GenerativeQuantization(),
    QuantizationMethod.ZAQ: AdversarialQuantization(),
    QuantizationMethod.FT: FineTuning(),
    QuantizationMethod.AUTO: Automatic(),
}
"""Those that train after rounding."""

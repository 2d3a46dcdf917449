"""All quantization methods. A new one is one file and one line here."""

from __future__ import annotations

from faceter.contracts.quantizations import QuantizationMethod
from workers.quantization.aciq import ACIQ
from workers.quantization.auto import Automatic
from workers.quantization.dfq import DFQ
from workers.quantization.ft import FineTuning
from workers.quantization.gdfq import GDFQ
from workers.quantization.method import Method
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.zaq import ZAQ
from workers.quantization.zeroq import ZeroQ

methods: dict[QuantizationMethod, Method] = {
    QuantizationMethod.RQ: RawQuantization(),
    QuantizationMethod.DFQ: DFQ(),
    QuantizationMethod.ACIQ: ACIQ(),
}
"""Methods that only round."""

tuned_methods: dict[QuantizationMethod, TunedMethod] = {
    QuantizationMethod.ZEROQ: ZeroQ(),
    QuantizationMethod.GDFQ: GDFQ(),
    QuantizationMethod.ZAQ: ZAQ(),
    QuantizationMethod.FT: FineTuning(),
    QuantizationMethod.AUTO: Automatic(),
}
"""Methods that tune the network after rounding."""

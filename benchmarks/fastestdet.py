"""Decoding of FastestDet's output."""

from faceter.contracts.detection import Activation, DetectionDecoding

DECODING = DetectionDecoding(
    head="grid",
    boxes="758",
    objectness_offset=0,
    box_offset=1,
    class_offset=5,
    center_activation=Activation.TANH,
    size_activation=Activation.SIGMOID,
    objectness_power=0.6,
    class_power=0.4,
)

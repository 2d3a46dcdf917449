"""Metadata of generators trained by this service."""

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.serving import ServingPrecision, ServingSettings


def generator_metadata(size: int, precision: ServingPrecision = ServingPrecision.EXACT) -> ModelMetadata:
    """Return the metadata of a generator, with pixels scaled to [−1, 1].

    Args:
        size: Side of the training images, pixels; other sizes are accepted too.
        precision: Which engines may serve it.
    """
    serving = None if precision is ServingPrecision.EXACT else ServingSettings(precision=precision)
    return ModelMetadata(
        task=Task.IMAGE_TRANSLATION,
        preprocessing=Preprocessing(size=[size, size], mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
        serving=serving,
    )

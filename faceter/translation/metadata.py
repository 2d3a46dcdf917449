"""Metadata of generators trained by this service."""

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing


def generator_metadata(size: int) -> ModelMetadata:
    """Return the metadata of a generator, with pixels scaled to [−1, 1].

    Args:
        size: Side of the training images, pixels; other sizes are accepted too.
    """
    return ModelMetadata(
        task=Task.IMAGE_TRANSLATION,
        preprocessing=Preprocessing(size=[size, size], mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
    )

"""What is said of a generator that was trained here."""

from faceter.contracts.models import ModelMetadata, Preprocessing, Task


def generator_metadata(size: int) -> ModelMetadata:
    """Return the metadata of a generator: pixels become values from −1 to 1, and values pixels.

    Args:
        size: Sides of the images it was trained on, pixels; it takes others.
    """
    return ModelMetadata(
        task=Task.IMAGE_TRANSLATION,
        preprocessing=Preprocessing(size=[size, size], mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
    )

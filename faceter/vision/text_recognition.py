"""Decodes the output of a text recognizer trained with CTC (connectionist temporal classification)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.predictions import RecognizedText
from faceter.vision.classification import probabilities


def greedy_texts(
    scores: NDArray[Any], characters: Sequence[str] | None, *, are_probabilities: bool = False
) -> list[RecognizedText]:
    """Return the most likely text of each image: the best class of each step, repeats joined, blanks left out.

    Args:
        scores: [N, steps, 1 + characters] logits or probabilities; class 0 is the blank.
        characters: Names of the classes without the blank; without them a class is named by its index.
        are_probabilities: As of `probabilities`.

    Returns:
        For each image the text without spaces at its ends, where the margin is, and the mean probability of its
        characters; 0 for an empty text.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if the output is not of this shape, or is not finite.
    """
    if scores.ndim != 3 or (characters is not None and scores.shape[2] != len(characters) + 1):
        expected = "characters" if characters is None else str(len(characters))
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"A text recognizer's output must be [N, steps, 1 + {expected}], but has shape {list(scores.shape)}.",
        )
    images, steps, classes = scores.shape
    rows = probabilities(scores.reshape(images * steps, classes), are_probabilities=are_probabilities)
    texts = []
    for image in rows.reshape(images, steps, classes):
        best, score = image.argmax(axis=1), image.max(axis=1)
        kept = (best != 0) & np.append(True, best[1:] != best[:-1])[:steps]
        names = [str(index) if characters is None else characters[index - 1] for index in best[kept].tolist()]
        mean = float(score[kept].mean()) if kept.any() else 0.0
        texts.append(RecognizedText(text="".join(names).strip(" "), score=min(mean, 1.0)))
    return texts

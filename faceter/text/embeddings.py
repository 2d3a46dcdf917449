"""The outputs of a model as one vector for each text.

References:
    Reimers, Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", EMNLP 2019, section 3.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.text import Pooling, TextProcessing


def embed(output: NDArray[Any], mask: NDArray[np.bool_], processing: TextProcessing) -> NDArray[np.float32]:
    """Return embeddings, float32 [N, H].

    Args:
        output: [N, length, H] with pooling `mean` or `cls`, [N, H] with `model`.
        mask: Places of tokens, special ones included, bool [N, length].
        processing: Says the pooling and whether vectors are normalized; a vector of zeros stays one.
    """
    values = output.astype(np.float64)
    if processing.pooling is Pooling.MEAN:
        weights = mask.astype(np.float64)[:, :, None]
        values = (values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    elif processing.pooling is Pooling.CLS:
        values = values[np.arange(len(values)), mask.argmax(axis=1)]
    if processing.normalize:
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        values = values / np.where(norms > 0, norms, 1)
    return values.astype(np.float32)

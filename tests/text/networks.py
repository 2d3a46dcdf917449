"""A small BERT, trained in seconds to tell what sentences are about."""

import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import torch
from torch.nn import functional

from examples.bert import BertClassifier, BertConfig
from faceter.contracts.base import StoredFile
from faceter.contracts.models import Model, ModelMetadata, Task
from faceter.contracts.text import Pooling, TextProcessing
from faceter.export.inputs import ExportInput
from faceter.export.module import export_module
from tests.text.graphs import NAMES
from tests.text.tokenizer_files import vocabulary, word_piece

LABELS = ["animal", "music", "weather"]
_NOUNS = (("dog", "cat", "horse"), ("guitar", "piano", "violin"), ("rain", "snow", "wind"))
_ADJECTIVES = ("old", "small", "loud", "white")
_VERBS = ("arrives", "stays", "surprises")
_OTHERS = ("everyone", "nobody", "the man", "a woman")
TAGS = {word: "NN" for nouns in _NOUNS for word in nouns} | dict.fromkeys(_ADJECTIVES, "JJ")
"""Tag of a word; others have `O`."""

HIDDEN = 32
LENGTH = 24
"""Maximum number of tokens."""


@dataclass(frozen=True)
class Sentences:
    """Labelled sentences."""

    texts: list[str]
    labels: list[int]

    @property
    def lines(self) -> bytes:
        """The file of a `texts` dataset, with tags."""
        return "\n".join(
            json.dumps({"text": text, "label": LABELS[label], "tags": [TAGS.get(word, "O") for word in text.split()]})
            for text, label in zip(self.texts, self.labels, strict=True)
        ).encode()


def sentences(count: int, seed: int) -> Sentences:
    """Return sentences whose only noun of a list says their label."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        label = int(rng.integers(3))
        words = [rng.choice(_NOUNS[label]), rng.choice(_ADJECTIVES), rng.choice(_VERBS), rng.choice(_OTHERS)]
        noun, adjective, verb, other = (str(word) for word in words)
        texts.append(f"the {adjective} {noun} {verb} {other} ." if rng.integers(2) else f"{other} : the {noun} {verb}")
        labels.append(label)
    return Sentences(texts, labels)


def tokenizer_file() -> bytes:
    """Return the tokenizer, whose vocabulary is too small for whole words."""
    return word_piece(tuple(sentences(400, 1).texts), size=80, max_length=LENGTH)


@cache
def trained_classifier() -> onnx.ModelProto:
    """Return the trained network: outputs `output_0`, logits, and `output_1`, what they are computed from."""
    import tokenizers

    torch.manual_seed(0)
    rows = max(vocabulary(tokenizer_file()).values()) + 1
    network = BertClassifier(BertConfig(rows, HIDDEN, 1, 2, 64, max_position_embeddings=LENGTH), len(LABELS))
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_file().decode())
    tokenizer.enable_padding()
    data = sentences(600, 2)
    encoded = tokenizer.encode_batch(data.texts)
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    labels = torch.tensor(data.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.004)
    for step in range(120):
        chosen = torch.arange(64) + 64 * step % (len(ids) - 64)
        logits, _ = network(ids[chosen], mask[chosen], torch.zeros_like(ids[chosen]))
        loss = functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return export_module(network.eval(), [ExportInput(name, ("N", "L"), "int64") for name in NAMES])


def text_processing(pooling: Pooling | None = None) -> TextProcessing:
    """Return how texts become inputs of the network."""
    names = {name: name for name in NAMES}
    return TextProcessing(**names, max_length=LENGTH, pooling=pooling)


def classifier_metadata() -> ModelMetadata:
    """Return the metadata of the network, as an upload completes them."""
    return ModelMetadata(
        task=Task.TEXT_CLASSIFICATION,
        labels=LABELS,
        text=text_processing(),
        input_shapes={name: [1, 16] for name in NAMES},
    )


def with_tokenizer(model: Model, sha256: str, size: int) -> Model:
    """Return the record of a model with a stored tokenizer."""
    file = StoredFile(sha256=sha256, bytes=size, media_type="application/json")
    return model.model_copy(update={"files": {**model.files, "tokenizer.json": file}})

r"""BERT as a plain torch module, with the weights of a folder as Hugging Face stores them.

Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019. ``from_folder`` reads
``config.json`` and ``model.safetensors``; nothing is unpickled and the package transformers is not needed. To export
the model of a folder, with the open sizes N (texts) and L (tokens):

    faceter export-torch examples.bert:encoder --argument folder=FOLDER \
        --input-shape input_ids=N,L --input-shape attention_mask=N,L --input-shape token_type_ids=N,L \
        --input-dtype input_ids=int64 --input-dtype attention_mask=int64 --input-dtype token_type_ids=int64
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

_PREFIX = "bert."
_UNUSED = ("pooler.", "cls.", "embeddings.position_ids")


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT encoder, named as in ``config.json``."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """Return the sizes in a ``config.json``; what else it says is ignored."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})


class BertEmbeddings(nn.Module):
    """Sum of the embeddings of token, position and segment, normalized."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return float32 [N, L, H] for ids int64 [N, L]."""
        positions = self.position_embeddings(torch.arange(input_ids.shape[1], device=input_ids.device))
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids) + positions
        normalized: Tensor = self.LayerNorm(summed)
        return normalized


class BertLayer(nn.Module):
    """Self-attention and two linear layers, each with a residual and a normalization after it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.attended = nn.Linear(size, size)
        self.attended_norm = nn.LayerNorm(size, eps)
        self.wide = nn.Linear(size, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, size)
        self.narrow_norm = nn.LayerNorm(size, eps)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Return float32 [N, L, H].

        Args:
            hidden: float32 [N, L, H].
            bias: Added to attention scores, float32 [N, 1, 1, L].
        """
        query, key, value = (self._heads(layer(hidden)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / (query.shape[-1] ** 0.5) + bias
        context = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        hidden = self.attended_norm(hidden + self.attended(context))
        out: Tensor = self.narrow_norm(hidden + self.narrow(functional.gelu(self.wide(hidden))))
        return out

    def _heads(self, values: Tensor) -> Tensor:
        batch, length, size = values.shape
        return values.view(batch, length, self.heads, size // self.heads).transpose(1, 2)


class BertEncoder(nn.Module):
    """The encoder: from token ids to one vector for each token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states, float32 [N, L, H].

        Args:
            input_ids: int64 [N, L].
            attention_mask: int64 [N, L]: 1 for tokens, 0 for padding.
            token_type_ids: int64 [N, L]: 0 for the first text, 1 for the second.
        """
        bias = (1.0 - attention_mask[:, None, None, :].float()) * -10_000.0
        hidden: Tensor = self.embeddings(input_ids, token_type_ids)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        return hidden

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Return the encoder of a folder with ``config.json`` and ``model.safetensors``.

        Raises:
            RuntimeError: If a weight is missing or has another shape.
        """
        encoder = cls(BertConfig.of(json.loads((folder / "config.json").read_text())))
        encoder.load_state_dict(_renamed(load_file(folder / "model.safetensors")))
        return encoder.eval()


class BertClassifier(nn.Module):
    """An encoder with a linear layer over the first token."""

    def __init__(self, config: BertConfig, classes: int) -> None:
        super().__init__()
        self.encoder = BertEncoder(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, float32 [N, classes], and what they are computed from, float32 [N, H]; see `BertEncoder`."""
        pooled = functional.relu(self.pooler(self.encoder(input_ids, attention_mask, token_type_ids)[:, 0]))
        return self.classifier(pooled), pooled


def encoder(folder: str) -> BertEncoder:
    """Return the encoder of a folder; see `BertEncoder.from_folder`."""
    return BertEncoder.from_folder(Path(folder))


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names of this module."""
    names = {
        "encoder.layer.": "layers.",
        "attention.self.": "",
        "attention.output.dense": "attended",
        "attention.output.LayerNorm": "attended_norm",
        "intermediate.dense": "wide",
        "output.dense": "narrow",
        "output.LayerNorm": "narrow_norm",
    }
    renamed: dict[str, Tensor] = {}
    for name, weight in weights.items():
        short = name.removeprefix(_PREFIX)
        if short.startswith(_UNUSED):
            continue
        for theirs, ours in names.items():
            short = short.replace(theirs, ours)
        renamed[short] = weight
    return renamed

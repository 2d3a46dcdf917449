"""Datasets of texts as batches of a model's inputs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task, TensorSpec
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.text import TextProcessing
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import TokenSource
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.text.inputs import find_token_inputs
from faceter.text.tokenizer import Tokenizer
from tests.datasets.archives import write_zip
from tests.datasets.text_pairs import members
from tests.text.graphs import NAMES, token_model
from tests.text.networks import LENGTH, sentences, text_processing, tokenizer_file
from tests.text.tokenizer_files import vocabulary
from workers.input_batch import InputBatch
from workers.model_input import as_model_input
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize
from workers.quantization.prepare import load_float_model, sized_metadata
from workers.text_input import TextLengths

SETTINGS = Settings(_env_file=None)
COUNT = 11


def specs(length: int | str, names: Sequence[str] = NAMES) -> list[TensorSpec]:
    return [TensorSpec(name=name, dtype="int64", shape=["batch", length]) for name in names]


def source(inputs: list[TensorSpec]) -> TokenSource:
    return TokenSource(Tokenizer(tokenizer_file(), seconds=60), find_token_inputs(TextProcessing(), inputs), LENGTH)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[TextsDataset]:
    (tmp_path / "texts").write_bytes(sentences(COUNT, 3).lines)
    with TextsDataset.open(tmp_path / "texts", SETTINGS) as opened:
        opened.use_tokenizer(source(specs("length")))
        yield opened


def batches(data: TextsDataset, lengths: TextLengths, size: int = 4) -> list[InputBatch]:
    source_input = as_model_input(data, ModelMetadata(), specs(9), "calibration_dataset_id", lengths=lengths)
    return list(source_input.batches(size, [10, *range(10)]))


def alone(data: TextsDataset, index: int) -> list[int]:
    assert data.token_source is not None
    return data.token_source.tokenize([data.text(index)])[0].ids


def test_batches_are_as_long_as_their_longest_text(data: TextsDataset) -> None:
    found = batches(data, "own")
    assert [batch.indices.tolist() for batch in found] == [[10, 0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    for batch in found:
        assert set(batch.inputs) == set(NAMES)
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert ids.shape[1] == max(len(alone(data, int(index))) for index in batch.indices)
        for row, index in enumerate(batch.indices.tolist()):
            np.testing.assert_array_equal(ids[row][mask[row] == 1], alone(data, index))


def test_all_batches_may_have_one_length(data: TextsDataset) -> None:
    longest = max(len(alone(data, index)) for index in range(COUNT))
    assert {batch.inputs["input_ids"].shape[1] for batch in batches(data, "equal", 2)} == {longest}


def test_texts_are_cut_or_padded_to_the_shapes_of_a_run(data: TextsDataset) -> None:
    for batch in batches(data, "exact"):
        for row, index in enumerate(batch.indices.tolist()):
            ids = alone(data, index)
            expected = [*ids[:8], ids[-1]] if len(ids) > 9 else ids + [0] * (9 - len(ids))
            assert batch.inputs["input_ids"][row].tolist() == expected


def test_jobs_run_at_the_length_of_the_texts_or_at_a_short_one(data: TextsDataset) -> None:
    rows = max(vocabulary(tokenizer_file()).values()) + 1
    metadata = ModelMetadata(task=Task.TEXT_EMBEDDING, output="hidden", text=text_processing())
    original = load_float_model(token_model(rows, outputs=("hidden",)), metadata, 10**6)
    request = QuantizationRequest.model_validate({"method": "rq"})
    longest = max(len(alone(data, index)) for index in range(COUNT))
    for datasets, length in ((JobDatasets(), LENGTH), (JobDatasets(data), longest), (JobDatasets(None, data), longest)):
        shapes = sized_metadata(original, metadata, request, datasets).input_shapes
        assert shapes == {name: [1, length] for name in NAMES}


def test_without_a_mask_each_text_is_a_batch(tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(sentences(3, 3).lines)
    ids_only = specs("length", NAMES[:1])
    with TextsDataset.open(tmp_path / "texts", SETTINGS) as data:
        data.use_tokenizer(source(ids_only))
        found = list(as_model_input(data, ModelMetadata(), ids_only, "field").batches(4, range(3)))
        assert [batch.indices.tolist() for batch in found] == [[0], [1], [2]]


def test_pairs_of_a_vocabulary_become_two_inputs(tmp_path: Path) -> None:
    inputs = specs("length", ("premise", "hypothesis"))
    with TextPairsDataset.open(write_zip(tmp_path / "a.zip", members()), SETTINGS) as data:
        found = as_model_input(data, ModelMetadata(), inputs, "field")
        assert (len(found), found.shapes) == (2, {"premise": (4,), "hypothesis": (3,)})
        (batch,) = found.batches(8, range(2))
        premises, hypotheses = data.encoded([0, 1], 4, 3)
        np.testing.assert_array_equal(batch.inputs["premise"], premises)
        np.testing.assert_array_equal(batch.inputs["hypothesis"], hypotheses)


def test_texts_need_a_tokenizer(data: TextsDataset) -> None:
    data.close()
    data.use_tokenizer(None)
    with pytest.raises(FaceterError, match="this model has none") as caught:
        as_model_input(data, ModelMetadata(), specs(9), "evaluation_dataset_id")
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert caught.value.errors[0].field == "evaluation_dataset_id"


def test_an_nli_classifier_is_evaluated_on_the_real_pairs(shared_data: Path) -> None:
    content = (shared_data / "nli" / "snli_mlp.onnx").read_bytes()
    labels = ["entailment", "neutral", "contradiction"]
    metadata = ModelMetadata(task=Task.TEXT_PAIR_CLASSIFICATION, labels=labels, output="logits")
    request = QuantizationRequest.model_validate({"method": "rq", "weight_bits": 8, "activation_bits": 8})
    with TextPairsDataset.open(shared_data / "nli" / "snli.zip", SETTINGS) as data:
        made = quantize(content, metadata, request, JobDatasets(data, data), SETTINGS)
        premises, hypotheses = data.encoded(range(len(data)), 40, 24)
        expected = data.sample_labels(labels)
    logits = OnnxRuntimeEngine().load(content, threads=1).run({"premise": premises, "hypothesis": hypotheses})["logits"]
    (quality,) = made.report.quality
    assert quality.before == pytest.approx(float((logits.argmax(axis=1) == expected).mean()))
    assert quality.before > 0.6
    assert quality.after > quality.before - 0.01
    longer = "41 texts are longer than its inputs; the model saw their beginning."
    assert f"The evaluation data: {longer}" in made.report.warnings
    assert f"The calibration data: {longer}" in made.report.warnings

"""Texts as a probe dataset for a model with a tokenizer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.graded_sets import model_of
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model, ModelMetadata, Task
from faceter.contracts.settings import Settings
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import TokenSource
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.text.inputs import find_token_inputs
from faceter.text.tokenizer import Tokenizer
from tests.datasets.archives import write_zip
from tests.datasets.text_pairs import members
from tests.text.graphs import NAMES, token_model
from tests.text.networks import LABELS, LENGTH, sentences, text_processing, tokenizer_file
from tests.text.tokenizer_files import vocabulary
from workers.explanation.activations import OnnxActivationExtractor
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.probe.tokenized import TokenizedProbeDataset
from workers.explanation.request_settings import with_default_quantile

SETTINGS = Settings(_env_file=None)
ROWS = max(vocabulary(tokenizer_file()).values()) + 1
REQUEST = ExplanationRequest(dataset_id="d", layer="tokens")


def content(names: tuple[str, ...] = NAMES) -> bytes:
    return token_model(ROWS, names=names, outputs=("logits", "hidden", "tokens"))


def model(task: Task = Task.TEXT_CLASSIFICATION, names: tuple[str, ...] = NAMES) -> Model:
    labels = LABELS if task.classifies else None
    text = text_processing().model_copy(update=dict.fromkeys(NAMES[len(names) :]))
    return model_of(content(names), ModelMetadata(task=task, labels=labels, text=text))


def source(of: Model, max_length: int = LENGTH) -> TokenSource:
    assert of.metadata.text is not None
    inputs = find_token_inputs(of.metadata.text, of.inputs)
    return TokenSource(Tokenizer(tokenizer_file(), seconds=60), inputs, max_length)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[TextsDataset]:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(sentences(40, 3).lines)
    with TextsDataset.open(path, SETTINGS) as opened:
        yield opened


def probe_of(data: TextsDataset, of: Model, max_length: int = LENGTH) -> TokenizedProbeDataset:
    data.use_tokenizer(source(of, max_length))
    probe = build_probe_dataset(data, DatasetKind.TEXTS, of, REQUEST)
    assert isinstance(probe, TokenizedProbeDataset)
    return probe


def test_a_text_has_its_words_and_tags_as_concepts(data: TextsDataset) -> None:
    probe = probe_of(data, model())
    names = [concept.name for concept in probe.concepts]
    assert len(set(names)) == len(names)
    for sample, concepts in zip(data.samples, probe.read(range(len(data))).concepts, strict=True):
        words = set(sample.text.split()) - {"the", "a", ".", ":"}
        expected = {f"tok:{word}" for word in words} | {f"tag:{tag}" for tag in sample.tags}
        assert {names[number] for number in concepts.sample_level} == expected
    assert probe.warnings == []
    assert probe.classes is not None
    assert probe.classes.tolist() == sentences(40, 3).labels


def test_truncated_texts_are_counted_and_lose_words(data: TextsDataset) -> None:
    probe = probe_of(data, model(), max_length=6)
    assert probe.warnings == ["40 texts have more tokens than the model takes; it saw their beginning."]
    assert "tok:arrives" not in [concept.name for concept in probe.concepts]


def test_an_activation_of_tokens_is_the_largest_over_those_of_words(data: TextsDataset) -> None:
    of = model()
    probe = probe_of(data, of)
    extractor = OnnxActivationExtractor(content(), of.metadata, ["tokens", "hidden"], "logits")
    loaded = OnnxRuntimeEngine().load(content(), threads=1)
    tokenizer = source(of)
    for index, found in enumerate(extractor.run(probe, range(6))):
        (tokens,) = tokenizer.tokenize([data.text(index)])
        outputs = loaded.run(tokenizer.arrays([data.text(index)]))
        of_words = [place for place, special in enumerate(tokens.special) if not special]
        expected = outputs["tokens"][0][of_words].max(axis=0)
        np.testing.assert_allclose(found.maps[0][:, 0, 0], expected, rtol=1e-5)
        np.testing.assert_allclose(found.maps[1][:, 0, 0], outputs["hidden"][0], rtol=1e-5, atol=1e-6)
        assert found.predicted == int(outputs["logits"][0].argmax())
    tokenizer.tokenizer.close()


def test_a_model_without_a_mask_gets_one_text_at_a_time(data: TextsDataset) -> None:
    of = model(names=NAMES[:1])
    extractor = OnnxActivationExtractor(content(NAMES[:1]), of.metadata, ["tokens"], None)
    assert extractor.batch_size(probe_of(data, of)) == 1
    data.close()
    assert extractor.batch_size(probe_of(data, model())) == 8


def test_units_of_such_models_have_a_threshold_of_their_own(data: TextsDataset) -> None:
    probe = probe_of(data, model())
    assert with_default_quantile(REQUEST, probe).quantile == 0.05
    said = REQUEST.model_copy(update={"threshold": 0.5})
    assert with_default_quantile(said, probe) == said


def test_pairs_have_the_concepts_of_pairs(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "pairs.zip", members(vocab=None))
    of = model(Task.OTHER)
    with TextPairsDataset.open(path, SETTINGS) as pairs:
        pairs.use_tokenizer(source(of))
        probe = build_probe_dataset(pairs, DatasetKind.TEXT_PAIRS, of, REQUEST)
        names = [concept.name for concept in probe.concepts]
        batch = probe.read(range(2))
        assert {names[number] for number in batch.concepts[0].sample_level} == {
            *("pre:tok:man", "pre:tok:plays", "hyp:tok:man", "hyp:tok:sleeps"),
            *("pre:tag:DT", "pre:tag:NN", "pre:tag:VBZ", "hyp:tag:DT", "hyp:tag:NN", "hyp:tag:VBZ"),
            "overlap-25",
        }
        assert batch.words is not None
        assert set(batch.inputs) == set(NAMES)
        assert batch.inputs["token_type_ids"].max() == 1

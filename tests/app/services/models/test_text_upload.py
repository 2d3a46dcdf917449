import io

import pytest

from app.services.models.text_upload import TextModelUpload
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.settings import Settings
from tests.text.test_inputs import spec
from tests.text.tokenizer_files import changed, word_piece

SETTINGS = Settings(_env_file=None)
INPUTS = [spec("input_ids"), spec("attention_mask")]
OUTPUTS = [spec("logits", "batch", 3, dtype="float32")]


def read(content: bytes, settings: Settings = SETTINGS, task: Task = Task.TEXT_CLASSIFICATION) -> TextModelUpload:
    return TextModelUpload.read(io.BytesIO(content), ModelMetadata(task=task), settings)


def test_a_tokenizer_larger_than_the_limit_is_refused() -> None:
    content = word_piece()
    assert read(content, SETTINGS.model_copy(update={"max_tokenizer_bytes": len(content)})).content == content
    with pytest.raises(FaceterError, match="is larger than") as caught:
        read(content, SETTINGS.model_copy(update={"max_tokenizer_bytes": len(content) - 1}))
    assert caught.value.kind is ProblemKind.INVALID_TOKENIZER
    assert caught.value.errors[0].field == "tokenizer"


def test_a_tokenizer_that_never_ends_is_refused_at_the_time_limit() -> None:
    grows = {"type": "Replace", "pattern": {"String": "w"}, "content": "ww"}
    content = changed(word_piece(), normalizer={"type": "Sequence", "normalizers": [grows] * 40})
    with pytest.raises(FaceterError, match="was stopped") as caught:
        read(content, SETTINGS.model_copy(update={"inference_seconds": 0.5}))
    assert caught.value.kind is ProblemKind.INVALID_TOKENIZER
    assert caught.value.errors[0].field == "tokenizer"


def test_a_pair_classifier_is_tried_on_a_pair() -> None:
    assert set(read(word_piece(), task=Task.TEXT_PAIR_CLASSIFICATION).sample.types) == {0, 1}
    assert set(read(word_piece()).sample.types) == {0}


def test_jobs_run_at_a_short_length_unless_the_metadata_say_more() -> None:
    upload = read(word_piece())
    completed = upload.completed(ModelMetadata(task=Task.TEXT_CLASSIFICATION), INPUTS, OUTPUTS)
    assert upload.with_job_shapes(completed, INPUTS).input_shapes == {
        "input_ids": [1, 32],
        "attention_mask": [1, 32],
    }
    said = completed.model_copy(update={"input_shapes": {"input_ids": [1, 100], "attention_mask": [1, 100]}})
    assert upload.with_job_shapes(said, INPUTS) == said
    fixed = [spec("input_ids", "batch", 48), spec("attention_mask", "batch", 48)]
    assert upload.with_job_shapes(completed, fixed).input_shapes is None

"""Tokenizer files, trained on a few sentences, and with changes."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = (
    "A dog runs across the green field.",
    "A brown dog is running after a ball.",
    "A man plays the guitar on a stage.",
    "The woman is playing an old guitar.",
    "Two children sleep under a tree.",
    "Nobody is sleeping, everyone is awake!",
    "It rains on the empty street.",
    "The rain has stopped and the street is dry.",
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def word_piece(texts: Sequence[str] = SENTENCES, *, max_length: int | None = None, size: int = 120) -> bytes:
    """Return a BERT-like tokenizer trained on texts: small letters, words in pieces, [CLS] and [SEP]."""
    tokenizer = Tokenizer.from_str(_trained(tuple(texts), size))
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    return tokenizer.to_str().encode()


@cache
def _trained(texts: Sequence[str], size: int) -> str:
    """Return a trained tokenizer; each training numbers equally frequent pieces otherwise."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=16)
    return tokenizer.to_str()


@cache
def byte_level() -> bytes:
    """Return a tokenizer of byte pairs like GPT-2's, which pads on the left and adds no special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<|endoftext|>")
    return tokenizer.to_str().encode()


def changed(content: bytes, **parts: Any) -> bytes:
    """Return a tokenizer file with other parts."""
    return json.dumps({**json.loads(content), **parts}).encode()


def vocabulary(content: bytes) -> dict[str, int]:
    """Return the ids of a tokenizer file's tokens."""
    return Tokenizer.from_str(content.decode()).get_vocab(with_added_tokens=True)

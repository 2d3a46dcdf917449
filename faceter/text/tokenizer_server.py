"""A process that tokenizes: it loads one ``tokenizer.json`` and answers requests until its input ends.

A tokenizer file may hold regular expressions that backtrack for hours and rules that multiply a text, and its library
cannot be interrupted. So it runs in this process, within limits of time and memory that the kernel enforces: after the
seconds of a request SIGALRM ends it. This file is run as a script and imports nothing of the project.

A message is its length, 8 bytes big-endian, and JSON; only the first message, the tokenizer, is the file itself.
"""

import contextlib
import json
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

_MEMORY_BYTES = 4 * 2**30


def _read(source: BinaryIO) -> bytes | None:
    header = source.read(8)
    if len(header) < 8:
        return None
    return source.read(struct.unpack(">Q", header)[0])


def _write(target: BinaryIO, value: dict[str, Any]) -> None:
    content = json.dumps(value).encode()
    target.write(struct.pack(">Q", len(content)) + content)
    target.flush()


def _properties(tokenizer: Any) -> dict[str, Any]:
    truncation, padding = tokenizer.truncation or {}, tokenizer.padding or {}
    pad = padding.get("pad_id")
    if pad is None:
        found = (tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>", "<|endoftext|>"))
        pad = next((number for number in found if number is not None), 0)
    return {
        "largest_id": max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0),
        "max_length": truncation.get("max_length"),
        "strategy": truncation.get("strategy", "longest_first"),
        "direction": truncation.get("direction", "right"),
        "pad_id": pad,
        "pad_type_id": padding.get("pad_type_id", 0),
        "pad_left": padding.get("direction") == "left",
        "special": [tokenizer.num_special_tokens_to_add(False), tokenizer.num_special_tokens_to_add(True)],
    }


def _words(encoding: Any, sequence: int) -> list[tuple[int, int]]:
    """Return start and end of each word of a text, in characters: pieces of one word are joined."""
    spans: dict[int, tuple[int, int]] = {}
    for word, owner, (start, end) in zip(encoding.word_ids, encoding.sequence_ids, encoding.offsets, strict=True):
        if word is not None and owner == sequence:
            first, last = spans.get(word, (start, end))
            spans[word] = (min(first, start), max(last, end))
    return list(spans.values())


def _encoded(encoding: Any, words: bool) -> dict[str, Any]:
    value = {
        "ids": encoding.ids,
        "types": encoding.type_ids,
        "special": encoding.special_tokens_mask,
        "truncated": bool(encoding.overflowing),
    }
    if words:
        value["words"] = [_words(encoding, sequence) for sequence in range(encoding.n_sequences)]
    return value


def _answer(tokenizer: Any, truncation: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    tokenizer.enable_truncation(request["max_length"], **truncation)
    texts = [text if isinstance(text, str) else tuple(text) for text in request["texts"]]
    return {"texts": [_encoded(encoding, request["words"]) for encoding in tokenizer.encode_batch(texts)]}


def serve(source: BinaryIO, target: BinaryIO, seconds: float) -> None:
    """Answer requests until the input ends.

    Args:
        source: The tokenizer's file, then requests.
        target: Takes its properties, then answers.
        seconds: Time limit of loading.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    content = _read(source)
    if content is None:
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    from tokenizers import Tokenizer

    # A panic of the library is a BaseException.
    try:
        tokenizer = Tokenizer.from_str(content.decode())
        properties = _properties(tokenizer)
        tokenizer.no_padding()
    except BaseException as error:
        _write(target, {"error": f"{error}"})
        return
    truncation = {"strategy": properties["strategy"], "direction": properties["direction"]}
    _write(target, properties)
    signal.setitimer(signal.ITIMER_REAL, 0)
    while (message := _read(source)) is not None:
        request = json.loads(message)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        try:
            answer = _answer(tokenizer, truncation, request)
        except BaseException as error:
            answer = {"error": f"{error}"}
        _write(target, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))

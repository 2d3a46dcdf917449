"""A model's tokenizer, in a process of its own with limits of time and memory."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.text import tokenizer_server
from faceter.text.tokenizer_file import check_tokenizer_file

TOKENIZER: Final = "tokenizer.json"
"""Name of the tokenizer among the files of a model."""

LONGEST_TEXT: Final = 100_000
"""Maximum number of characters of a text."""

Text = str | tuple[str, str]
"""A text, or a pair of texts."""

_Message = bytes
_LOAD_SECONDS: Final = 30.0
_PROCESS_BYTES: Final = 32 * 2**20
_BYTES_PER_BYTE: Final = 8
_MOST_CHARACTERS: Final = 2_000_000
"""Characters of one request to the process."""


@dataclass(frozen=True)
class TokenizerProperties:
    """What a tokenizer says of itself."""

    largest_id: int
    """Largest id of its vocabulary, added tokens included."""
    max_length: int | None
    """Maximum number of tokens, special ones included; None if the file does not say it."""
    pad_id: int
    """Id of padding."""
    pad_type_id: int
    """Type id of padding."""
    pad_left: bool
    """Whether padding comes before the tokens."""
    special: tuple[int, int]
    """Number of special tokens added to a text, and to a pair."""


@dataclass(frozen=True)
class TokenizedText:
    """Tokens of a text or of a pair."""

    ids: list[int]
    """Ids of the tokens, special ones included."""
    types: list[int]
    """0 for tokens of the first text, 1 for those of the second."""
    special: list[bool]
    """Whether each token is a special one, such as [CLS], and of no text."""
    truncated: bool
    """Whether the text had more tokens."""
    words: list[list[tuple[int, int]]]
    """For each text, start and end of its words in characters, of those within the maximum length; empty if not asked
    for. The pieces of a word are joined."""


class Tokenizer:
    """Tokenizes texts; safe to call from several threads, which wait for each other.

    The process starts with the first use, and anew after a request that exceeded its limits.

    Args:
        content: The file `tokenizer.json`.
        seconds: Time limit of a call.

    Raises:
        FaceterError: ``INVALID_TOKENIZER`` if the file is none; see `check_tokenizer_file`.
    """

    def __init__(self, content: bytes, *, seconds: float) -> None:
        check_tokenizer_file(content)
        self._content, self._seconds = content, seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._properties: TokenizerProperties | None = None

    @property
    def bytes(self) -> int:
        """Estimated memory of the process."""
        return _PROCESS_BYTES + _BYTES_PER_BYTE * len(self._content)

    @property
    def properties(self) -> TokenizerProperties:
        """What the tokenizer says of itself.

        Raises:
            FaceterError: ``INVALID_TOKENIZER`` if it cannot be loaded.
        """
        with self._lock:
            return self._started()

    def tokenize(self, texts: Sequence[Text], max_length: int, *, words: bool = False) -> list[TokenizedText]:
        """Return the tokens of each text.

        Args:
            texts: Texts, or pairs.
            max_length: Maximum number of tokens of a text or a pair, special ones included; the rest is cut off as the
                tokenizer says.
            words: Whether to return the words.

        Raises:
            FaceterError: ``INVALID_INPUT`` for a text that is too long; ``INFERENCE_FAILED`` if the tokenizer fails, or
                exceeds its limits of time and memory.
        """
        for index, text in enumerate(texts):
            length = max(len(part) for part in ([text] if isinstance(text, str) else text))
            if length > LONGEST_TEXT:
                raise FaceterError(
                    ProblemKind.INVALID_INPUT,
                    f"Text {index} has {length:,} characters; send {LONGEST_TEXT:,} at most, for example in parts.",
                )
        tokenized: list[TokenizedText] = []
        with self._lock:
            for part in _parts(texts):
                tokenized += self._tokenize(part, max_length, words)
        return tokenized

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _tokenize(self, texts: Sequence[Text], max_length: int, words: bool) -> list[TokenizedText]:
        least = self._started().special[any(not isinstance(text, str) for text in texts)] + 1
        request = {
            "texts": texts,
            "max_length": max(max_length, least),
            "words": words,
            "seconds": self._seconds,
        }
        answer = self._ask(json.dumps(request).encode())
        if "error" in answer:
            raise FaceterError(ProblemKind.INFERENCE_FAILED, f"The tokenizer failed on a text: {_short(answer)}.")
        return [
            TokenizedText(
                ids=item["ids"],
                types=item["types"],
                special=[bool(one) for one in item["special"]],
                truncated=item["truncated"],
                words=[[(start, end) for start, end in spans] for spans in item.get("words", [])],
            )
            for item in answer["texts"]
        ]

    def _started(self) -> TokenizerProperties:
        """Return the properties, and start the process if there is none."""
        if self._process is not None and self._properties is not None:
            return self._properties
        command = [sys.executable, "-I", str(Path(tokenizer_server.__file__)), str(_LOAD_SECONDS)]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RUST_BACKTRACE": "0"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            said = self._ask(self._content)
        except FaceterError as error:
            raise FaceterError(
                ProblemKind.INVALID_TOKENIZER, f"The tokenizer cannot be loaded: {error.detail}"
            ) from error
        if "error" in said:
            self._stop()
            raise FaceterError(
                ProblemKind.INVALID_TOKENIZER,
                f"The file is not a tokenizer that the package tokenizers can load: {_short(said)}. Save it again with "
                "a current version of that package.",
            )
        self._properties = TokenizerProperties(
            largest_id=said["largest_id"],
            max_length=said["max_length"],
            pad_id=said["pad_id"],
            pad_type_id=said["pad_type_id"],
            pad_left=said["pad_left"],
            special=(said["special"][0], said["special"][1]),
        )
        return self._properties

    def _ask(self, message: _Message) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            FaceterError: ``INFERENCE_FAILED`` if the process died: of its limits, or of an error of the library.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(struct.pack(">Q", len(message)) + message)
            process.stdin.flush()
        except BrokenPipeError:
            header = b""
        else:
            header = process.stdout.read(8)
        content = process.stdout.read(struct.unpack(">Q", header)[0]) if len(header) == 8 else b""
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError as error:
            status = self._stop()
            reason = (
                "it took longer than this server allows"
                if status == -signal.SIGALRM
                else "it crashed or needed too much memory"
            )
            raise FaceterError(ProblemKind.INFERENCE_FAILED, f"The tokenizer was stopped: {reason}.") from error
        return answer

    def _stop(self) -> int:
        """End the process, if there is one, and return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _parts(texts: Sequence[Text]) -> list[list[Text]]:
    """Return texts in parts of a bounded number of characters."""
    parts: list[list[Text]] = []
    size = 0
    for text in texts:
        length = len(text) if isinstance(text, str) else sum(len(part) for part in text)
        if not parts or size + length > _MOST_CHARACTERS:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += length
    return parts


def _short(answer: dict[str, Any]) -> str:
    text = " ".join(str(answer["error"]).split()).rstrip(".")
    return text if len(text) <= 300 else text[:300] + "…"

"""Tokenized texts as the inputs of a model, found by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec, shape_text
from faceter.contracts.text import TextProcessing
from faceter.text.tokenizer import TokenizedText, TokenizerProperties

TEXT_FIELD: Final = "metadata.text"
"""Where the metadata say it."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_ids": ("input_ids", "input_word_ids", "token_ids", "tokens", "ids"),
    "attention_mask": ("attention_mask", "input_mask", "mask"),
    "token_type_ids": ("token_type_ids", "segment_ids", "input_type_ids", "type_ids"),
    "position_ids": ("position_ids", "positions"),
}
"""Names of inputs by role, in lower case without a suffix such as `:0`."""

_JOB_LENGTH: Final = 32
"""Tokens of inputs that jobs make without data."""

_ID_DTYPES: Final = ("int32", "int64")
_OTHER_DTYPES: Final = ("int32", "int64", "float32", "float16", "bool", "uint8", "int8")


@dataclass(frozen=True)
class TokenInputs:
    """The inputs of a model that takes tokens: name and dtype by role."""

    roles: dict[str, TensorSpec]
    """`input_ids`, and those of `attention_mask`, `token_type_ids` and `position_ids` that the model has."""

    @property
    def ids(self) -> TensorSpec:
        """The input for token ids."""
        return self.roles["input_ids"]

    @property
    def fixed_length(self) -> int | None:
        """The number of tokens that the model always takes; None if any."""
        return next((size for spec in self.roles.values() if isinstance(size := spec.shape[1], int)), None)

    @property
    def masked(self) -> bool:
        """Whether padding does not matter: the model has a mask, or a fixed length."""
        return "attention_mask" in self.roles or self.fixed_length is not None

    def length(self, texts: Sequence[TokenizedText]) -> int:
        """Return the number of tokens that texts are padded to: the fixed length, else that of the longest."""
        return self.fixed_length or max((len(text.ids) for text in texts), default=1)

    def arrays(
        self, texts: Sequence[TokenizedText], properties: TokenizerProperties, length: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the inputs for some texts, [N, length] each, in the dtypes of the model.

        Args:
            texts: N tokenized texts, none longer than ``length``.
            properties: Of the tokenizer, for the padding.
            length: Number of tokens; by default what `length` returns.
        """
        length = self.length(texts) if length is None else length
        ids = np.full((len(texts), length), properties.pad_id, np.int64)
        types = np.full((len(texts), length), properties.pad_type_id, np.int64)
        mask = np.zeros((len(texts), length), np.int64)
        for row, text in enumerate(texts):
            place = token_places(text, length, properties)
            ids[row, place], types[row, place], mask[row, place] = text.ids, text.types, 1
        positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "position_ids": positions}
        return {spec.name: values[role].astype(spec.dtype) for role, spec in self.roles.items()}


def token_places(text: TokenizedText, length: int, properties: TokenizerProperties) -> slice:
    """Return where the tokens of a text lie in its padded row."""
    return slice(length - len(text.ids), length) if properties.pad_left else slice(0, len(text.ids))


def token_mask(
    texts: Sequence[TokenizedText], length: int, properties: TokenizerProperties, *, special: bool
) -> NDArray[np.bool_]:
    """Return which places of padded rows are tokens, bool [N, length].

    Args:
        special: Whether special tokens count.
    """
    mask = np.zeros((len(texts), length), np.bool_)
    for row, text in enumerate(texts):
        mask[row, token_places(text, length, properties)] = True if special else [not one for one in text.special]
    return mask


def find_token_inputs(processing: TextProcessing, inputs: Sequence[TensorSpec]) -> TokenInputs:
    """Return which input of a model takes what: named in the metadata, else found by its name.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if there is no input for token ids, or one that is for none of the roles.
    """
    roles: dict[str, TensorSpec] = {}
    for role in _NAMES:
        named = getattr(processing, role)
        if named is None:
            continue
        spec = next((spec for spec in inputs if spec.name == named), None)
        if spec is None:
            listed = ", ".join(repr(spec.name) for spec in inputs)
            raise _mismatch(f"The model has no input {named!r}; it has {listed}.", f"{TEXT_FIELD}.{role}")
        roles[role] = spec
    taken = {spec.name for spec in roles.values()}
    free = [spec for spec in inputs if spec.name not in taken]
    for role, names in _NAMES.items():
        by_name = {_plain(spec.name): spec for spec in free}
        found = next((by_name[name] for name in names if name in by_name), None)
        if role not in roles and found is not None:
            roles[role] = found
            free.remove(found)
    if "input_ids" not in roles and len(free) == 1 and free[0].dtype in _ID_DTYPES and len(free[0].shape) == 2:
        roles["input_ids"] = free.pop()
    _validate(roles, free, inputs)
    return TokenInputs(roles)


def job_shapes(processing: TextProcessing, inputs: Sequence[TensorSpec]) -> dict[str, list[int]]:
    """Return shapes at which jobs run a model without data, batch 1: short texts; empty if the file fixes the length.

    Args:
        processing: Completed on upload.
        inputs: The model's inputs.
    """
    found = find_token_inputs(processing, inputs)
    if found.fixed_length is not None:
        return {}
    length = min(_JOB_LENGTH, processing.max_length or _JOB_LENGTH)
    return {spec.name: [1, length] for spec in found.roles.values()}


def _validate(roles: Mapping[str, TensorSpec], free: Sequence[TensorSpec], inputs: Sequence[TensorSpec]) -> None:
    listed = ", ".join(f"{spec.name!r} {spec.dtype} {shape_text(spec.shape)}" for spec in inputs)
    if "input_ids" not in roles:
        raise _mismatch(
            f"No input of the model is for token ids, [N, length] of whole numbers; it takes {listed}. Name it as "
            "`input_ids` in the metadata's `text`, or upload the model without a tokenizer.",
            f"{TEXT_FIELD}.input_ids",
        )
    if free:
        raise _mismatch(
            f"It is not known what the input {free[0].name!r} takes. Say in the metadata's `text` which input is which "
            f"({', '.join(_NAMES)}); the model takes {listed}.",
            TEXT_FIELD,
        )
    for role, spec in roles.items():
        dtypes = _ID_DTYPES if role == "input_ids" else _OTHER_DTYPES
        if len(spec.shape) != 2 or spec.dtype not in dtypes:
            raise _mismatch(
                f"The input {spec.name!r} for {role} is {spec.dtype} {shape_text(spec.shape)}; it must be [N, length] "
                f"of {' or '.join(dtypes)}.",
                f"{TEXT_FIELD}.{role}",
            )
    lengths = {spec.shape[1] for spec in roles.values() if isinstance(spec.shape[1], int)}
    if len(lengths) > 1:
        raise _mismatch(f"The inputs for tokens have different lengths: {listed}.", TEXT_FIELD)


def _plain(name: str) -> str:
    """Return a name in lower case, without scope and suffix: `serving/input_ids:0` as `input_ids`."""
    return name.lower().rsplit("/", 1)[-1].split(":", 1)[0].replace("-", "_").replace(".", "_")


def _mismatch(detail: str, field: str) -> FaceterError:
    return FaceterError(ProblemKind.METADATA_MISMATCH, detail, field=field)

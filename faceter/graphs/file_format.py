"""The format of an uploaded file: ONNX, or what it is instead."""

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from faceter.contracts.errors import FaceterError, ProblemKind

EXPORT_HINT = "Export the network to ONNX and upload the .onnx file (`faceter export-torch` does it for torch modules)."
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive, which is also what torch's .pt, .pth and .pt2 and Keras's .keras files are"),
    (b"\x80\x02", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x03", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x04", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x05", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"ustar", "a tar archive"),
    (b"ORTM", "ONNX Runtime's own .ort format"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"),
)

_NOTES = ("doc_string", "metadata_props")
"""Fields that do not matter to what a model computes."""


def invalid_model(detail: str) -> FaceterError:
    """Return the error of a file that is no usable model."""
    return FaceterError(ProblemKind.INVALID_MODEL, detail, field="file")


def parse_model(content: bytes) -> onnx.ModelProto:
    """Parse a file as ONNX; nothing in it is checked but that it is text where ONNX has text.

    Raises:
        FaceterError: INVALID_MODEL, with the format that the file has instead if it can be told.
    """
    if not content:
        raise invalid_model("The file is empty. Upload the .onnx file itself.")
    for magic, kind in _OTHER_FORMATS:
        if content.startswith(magic) or content[4:8] == magic or content[257:262] == magic:
            raise invalid_model(f"The file looks like {kind}. {EXPORT_HINT}")
    if content[4:8] == b"TFL3":
        raise invalid_model(f"The file looks like a TensorFlow Lite model. {EXPORT_HINT}")
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content):
        raise invalid_model(f"The file looks like safetensors: weights without a graph. {EXPORT_HINT}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise invalid_model(
            "The file cannot be read as ONNX: it is truncated, damaged or in another format. "
            "Upload it again, or export the model again."
        ) from error
    _check_text(model)
    return model


def _check_text(message: Message) -> None:
    """Reject names and texts that are not UTF-8, which protobuf returns as bytes, except notes that nothing reads."""
    for field, value in message.ListFields():
        if field.name in _NOTES:
            continue
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for item in (value,) if isinstance(value, str | bytes | Message) else value:
            if isinstance(item, bytes):
                raise invalid_model(
                    "The file is damaged: it has a name that is not UTF-8 text. Export the model again."
                )
            if isinstance(item, Message):
                _check_text(item)


def first_line(error: Exception) -> str:
    """Return an error's text in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return text[:300].rstrip(" .")

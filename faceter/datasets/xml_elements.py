"""Reads XML of untrusted origin: no document type, so no entities that expand or name other files."""

from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from faceter.datasets.errors import invalid_dataset

_DEEPEST: Final = 100


def read_xml(content: bytes, name: str) -> Element:
    """Return the outermost element of a document.

    Args:
        content: The document.
        name: Its name, for problem details.

    Raises:
        FaceterError: ``INVALID_DATASET`` if it is not well-formed, nested too deeply, or has a document type.
    """
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise invalid_dataset(f"{name}: its elements are nested too deeply. Save it again as Pascal VOC has it.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise invalid_dataset(f"{name} has a document type (<!DOCTYPE …>), which is not read. Remove it.")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    # unknown encodings are a LookupError, or a ValueError if they have several bytes a character
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise invalid_dataset(f"{name} is not XML ({error}). Correct it, or leave it out.") from error
    return builder.close()

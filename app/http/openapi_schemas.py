"""Corrections of the OpenAPI document: what FastAPI and pydantic say more loosely than the API takes it."""

from collections.abc import Iterator
from typing import Any, Final

_NULL: Final = {"type": "null"}


def tighten(document: dict[str, Any]) -> None:
    """Make the document say what requests are refused for.

    Parameters are never null: they are left out. The property that chooses among schemas is required, as OpenAPI
    itself demands.
    """
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
    for node in _objects(document):
        discriminator = node.get("discriminator")
        if isinstance(discriminator, dict) and "oneOf" in node:
            for reference in discriminator.get("mapping", {}).values():
                schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
                name = discriminator["propertyName"]
                schema["required"] = [name, *(other for other in schema.get("required", []) if other != name)]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", []) if kind != _NULL]
    if len(kinds) != 1 or len(kinds) == len(schema["anyOf"]):
        return schema
    return {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)

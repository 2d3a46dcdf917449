"""All contracts, and an instance of each built from the examples of its fields."""

import importlib
import inspect
import json
import pkgutil
import types
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import faceter.contracts
from faceter.contracts.base import Contract

C = TypeVar("C", bound=BaseModel)

REQUIRED_ONLY = ("DetectionDecoding", "Preprocessing")
"""Contracts whose examples belong to different configurations that exclude each other."""
ALTERNATIVES = {"Target": ("max_bytes",), "TranslatorTraining": ("max_minutes",)}
"""Optional fields that exclude another one."""


def contracts() -> list[type[Contract]]:
    """Return every concrete contract, sorted by module and name."""
    for module in pkgutil.iter_modules(faceter.contracts.__path__):
        importlib.import_module(f"faceter.contracts.{module.name}")
    found = {cls for cls in _subclasses(Contract) if _is_public(cls)}
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


def _subclasses(cls: type[Contract]) -> set[type[Contract]]:
    direct = set(cls.__subclasses__())
    return direct.union(*(_subclasses(child) for child in direct))


def _is_public(cls: type[Contract]) -> bool:
    generic = cls.__pydantic_generic_metadata__
    return (
        cls.__module__.startswith("faceter.contracts.")
        and not cls.__name__.startswith("_")
        and not inspect.isabstract(cls)
        and not generic["parameters"]
        and generic["origin"] is None
    )


def values_of(cls: type[BaseModel]) -> dict[str, Any]:
    """Return JSON values of the fields of a contract: their first examples, and built ones where a field needs one."""
    values: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        if name in ALTERNATIVES.get(cls.__name__, ()) or (cls.__name__ in REQUIRED_ONLY and not field.is_required()):
            continue
        if field.examples:
            values[name] = field.examples[0]
        elif field.is_required() or get_origin(field.annotation) is Literal:
            values[name] = _built(field.annotation, field)
    return values


def example(cls: type[C]) -> C:
    """Return an instance of a contract."""
    return cls.model_validate_json(json.dumps(values_of(cls)))


def _built(annotation: Any, field: FieldInfo | None = None) -> Any:
    """Return a JSON value of a type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        infos = [part for part in arguments[1:] if isinstance(part, FieldInfo) and part.examples]
        return infos[0].examples[0] if infos and infos[0].examples else _built(arguments[0])
    if origin in (Union, types.UnionType):
        return _built(arguments[0])
    if origin is Literal:
        return arguments[0].value if isinstance(arguments[0], Enum) else arguments[0]
    if origin is list:
        lengths = [
            item.min_length for item in (field.metadata if field else ()) if isinstance(item, annotated_types.MinLen)
        ]
        return [_built(arguments[0])] * max([1, *lengths])
    if origin is dict:
        return {_built(arguments[0]): _built(arguments[1])}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return values_of(annotation)
    return {bool: True, int: 3, float: 0.5, str: "text"}[annotation]

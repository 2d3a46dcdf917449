"""Hook of mkdocs: write the generated reference pages, check the width of lines and the paths that pages name.

A page under ``docs/reference/`` has markers such as ``<!-- generated: settings -->``. At build time each is replaced by
what the code, or ``docs/reference/openapi.json``, says, so that the reference cannot differ from the service.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import ProblemKind
from faceter.contracts.metrics import Metric
from faceter.contracts.preprocessing import PRESETS, Preprocessing, PreprocessingPreset
from faceter.contracts.settings import Settings

_DOCS = Path(__file__).parent
_ROOT = _DOCS.parent
_OPENAPI = _DOCS / "reference" / "openapi.json"
_COLUMNS = 100
_MARKER = re.compile(r"<!-- generated: (\w+) -->")
_LINK_TARGET = re.compile(r"\]\([^)]*\)|https?://\S+")
_PATH = re.compile(r"`((?:app|benchmarks|docs|examples|faceter|scripts|tests|workers)/[\w./-]+)`")
_METHODS = ("get", "post", "put", "patch", "delete")


def on_pre_build(config: object) -> None:
    """Raise if a line of a page is too long, or a page names a file of the project that does not exist."""
    pages = [*_DOCS.rglob("*.md"), *(_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
    long = [place for page in sorted(pages) for place in long_lines(page)]
    if long:
        raise PluginError(f"Lines of more than {_COLUMNS} columns:\n  " + "\n  ".join(long))
    if missing := [place for page in sorted(pages) if page.name != "CHANGELOG.md" for place in missing_paths(page)]:
        raise PluginError("Files that do not exist:\n  " + "\n  ".join(missing))


def on_page_markdown(markdown: str, page: Any, config: object, files: object) -> str:
    """Replace each marker by its generated text."""

    def generated(marker: re.Match[str]) -> str:
        name = marker.group(1)
        if name not in _GENERATED:
            raise PluginError(f"{page.file.src_uri}: there is nothing to generate by the name {name}")
        return _GENERATED[name]()

    return _MARKER.sub(generated, markdown)


def long_lines(page: Path) -> Iterable[str]:
    """Yield the lines of a page that are too long. Rows of tables may be, and the addresses of links do not count."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.lstrip().startswith("|") and len(_LINK_TARGET.sub("]", line)) > _COLUMNS:
            yield f"{page.relative_to(_ROOT)}:{number}: {len(line)} columns"


def missing_paths(page: Path) -> Iterable[str]:
    """Yield the paths in backquotes, such as `faceter/store/blobs.py`, that do not exist."""
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        if not (_ROOT / path).exists():
            yield f"{page.relative_to(_ROOT)}: {path}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def member_docstrings(kind: type[Enum]) -> dict[str, str]:
    """Return the docstrings that follow the members of an enumeration in its source, by the member's name."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            (target,) = statement.targets
            found[ast.unparse(target)] = inspect.cleandoc(ast.literal_eval(following.value))
    return found


def settings() -> str:
    """Return the table of settings: variable, default, meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = default.value if isinstance(default, Enum) else default
        rows.append(
            (f"`FACETER_{name.upper()}`", "" if shown is None else f"`{shown}`{_size(name, shown)}", _about(field))
        )
    return table(("variable", "default", "meaning"), rows)


def _about(field: Any) -> str:
    return str(field.description or "")


def _size(name: str, value: object) -> str:
    """Return a number of bytes or seconds in larger units, where it is a round number of them."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for suffix, units in (
            ("_bytes", ((1 << 30, "GiB"), (1 << 20, "MiB"))),
            ("_seconds", ((86400, "days"), (3600, "hours"), (60, "minutes"))),
        ):
            for size, unit in units if name.endswith(suffix) else ():
                if value > size and value % size == 0:
                    return f" ({int(value / size)} {unit})"
                if value == size:
                    return f" (1 {unit.removesuffix('s')})"
    return ""


def _enumeration(kind: type[Enum], head: Sequence[str]) -> str:
    said = member_docstrings(kind)
    return table(head, ((f"`{member.value}`", said.get(member.name, "")) for member in kind))


def preprocessing_presets() -> str:
    """Return the table of presets of preprocessing: a row for each field, a column for each preset."""
    about = member_docstrings(PreprocessingPreset)
    made = {preset: Preprocessing.model_validate({"preset": preset}).model_dump(mode="json") for preset in PRESETS}
    fields = list(dict.fromkeys(name for values in PRESETS.values() for name in values))
    rows = [("pipeline", *(about[preset.name] for preset in PRESETS))]
    rows += [
        (f"`{name}`", *(json.dumps(_short(values[name])) for values in made.values()))
        for name in [*fields, "antialias"]
    ]
    return table(("", *(f"`{preset.value}`" for preset in PRESETS)), rows)


def _short(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


def problems() -> str:
    """Return the table of problems, with an anchor for each."""
    rows = []
    for kind in sorted(ProblemKind, key=lambda kind: (kind.status, kind.type)):
        slug = kind.type.removeprefix("/problems/")
        rows.append((f'<span id="{slug}"></span>`{slug}`', str(kind.status), kind.title))
    return table(("type", "status", "title"), rows)


def api() -> str:
    """Return a section for each tag of the OpenAPI document, with its operations."""
    if not _OPENAPI.is_file():
        raise PluginError(f"{_OPENAPI.relative_to(_ROOT)} is missing")
    document = json.loads(_OPENAPI.read_text(encoding="utf-8"))
    parts = []
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}")
        for path, methods in document["paths"].items():
            for method in _METHODS:
                if tag["name"] in methods.get(method, {}).get("tags", []):
                    parts.extend(_operation(document, path, method))
    return "\n\n".join(parts)


def _operation(document: dict[str, Any], path: str, method: str) -> Iterable[str]:
    operation = document["paths"][path][method]
    yield f"### {operation['summary']} {{ #{operation['operationId']} }}"
    yield f"`{method.upper()} {path}`"
    if description := operation.get("description", "").strip():
        yield _relinked(description.replace("\n### ", "\n#### "))
    if parameters := [_resolved(document, each) for each in operation.get("parameters", [])]:
        rows = (
            (
                f"`{each['name']}`",
                each["in"],
                _type(document, each.get("schema", {})),
                _relinked(each.get("description", "")),
            )
            for each in parameters
        )
        yield table(("parameter", "in", "type", "meaning"), rows)
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _body(document, media_type, content.get("schema", {}))
    answers = (
        (status, _relinked(_resolved(document, answer)["description"]))
        for status, answer in operation["responses"].items()
    )
    yield table(("status", "answer"), answers)


def _body(document: dict[str, Any], media_type: str, schema: dict[str, Any]) -> Iterable[str]:
    """Yield the fields of a body, one table for each form it may have."""
    for form in schema.get("oneOf") or schema.get("anyOf") or [schema]:
        fields = _resolved(document, form)
        required = fields.get("required", [])
        if not fields.get("properties"):
            yield f"Body: `{media_type}`"
            continue
        title = f" ({fields['title']})" if "title" in fields else ""
        yield f"Body: `{media_type}`{title}"
        yield table(
            ("field", "type", "default", "meaning"),
            (
                (
                    f"`{name}`",
                    _type(document, field),
                    _default(name, field, required),
                    _relinked(field.get("description", "")),
                )
                for name, field in fields["properties"].items()
            ),
        )


def _default(name: str, field: dict[str, Any], required: Sequence[str]) -> str:
    if name in required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if field.get("default") is not None else ""


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        target: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return a schema's type: the values of an enumeration, or a name."""
    if "$ref" in schema and "enum" not in _resolved(document, schema):
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    schema = _resolved(document, schema)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            kinds = [_type(document, each) for each in schema[key] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _relinked(text: str) -> str:
    """Return a text of the API with its links leading to these pages."""
    text = re.sub(r"\]\(/problems/([\w-]+)\)", r"](problems.md#\1)", text)
    return text.replace("](/problems)", "](problems.md)")


_GENERATED: dict[str, Callable[[], str]] = {
    "api": api,
    "dataset_kinds": lambda: _enumeration(DatasetKind, ("kind", "file")),
    "metrics": lambda: _enumeration(Metric, ("metric", "meaning")),
    "preprocessing_presets": preprocessing_presets,
    "problems": problems,
    "settings": settings,
}

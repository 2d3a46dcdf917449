"""What a part of the product loads: modules reached by imports, and the distributions of the packages among them."""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.utils import canonicalize_name

_ROOT = Path(__file__).resolve().parents[1]
_PRODUCT = ("app", "faceter", "workers")
_OURS = {*_PRODUCT, "benchmarks", "examples", "tests"}
_SHARED = {
    "google.protobuf": "protobuf",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}
"""Distributions of packages that several of them share, by the beginning of the module's name."""


def modules_of(*rooms: str) -> set[str]:
    """Return the names of all modules of packages."""
    return {_name(path) for room in rooms for path in (_ROOT / room).rglob("*.py")}


def reached(roots: Iterable[str], *, not_into: Iterable[str] = ()) -> set[str]:
    """Return the modules of the product that importing and running the roots may load, with those that they name.

    Args:
        roots: Names of modules.
        not_into: Packages that are not followed, since another extra has what they need.
    """
    closed = tuple(not_into)
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen or any(f"{name}.".startswith(f"{room}.") for room in closed):
            continue
        seen.add(name)
        waiting += [other for other in imports_of(name) if other.partition(".")[0] in _PRODUCT]
    return seen


def distributions(modules: Iterable[str]) -> set[str]:
    """Return the distributions that modules import; for one not installed, its package's name."""
    names = {name for module in modules for name in imports_of(module)}
    shared = {name: part for name in names for part in reversed(_SHARED) if f"{name}.".startswith(f"{part}.")}
    tops = {name.partition(".")[0] for name in names - set(shared)} - _OURS - set(sys.stdlib_module_names)
    providers = packages_distributions()
    return {_SHARED[part] for part in shared.values()} | {
        canonicalize_name(providers.get(top, [top])[0]) for top in tops
    }


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return the modules that a module of ours imports anywhere but for types alone."""
    path = _path(module)
    if path is None:
        return frozenset()
    found = set(_imported(ast.parse(path.read_text())))
    return frozenset(found | {parent for name in found for parent in _parents(name)})


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imported(ast.Module([other], []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module
            if node.module.partition(".")[0] in _OURS:
                for alias in node.names:
                    if _path(f"{node.module}.{alias.name}") is not None:
                        yield f"{node.module}.{alias.name}"
        yield from _imported(node)


def _parents(name: str) -> Iterator[str]:
    if name.partition(".")[0] in _OURS:
        parts = name.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts)))


def _path(module: str) -> Path | None:
    base = _ROOT / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _name(path: Path) -> str:
    parts = path.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

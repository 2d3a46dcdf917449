"""Renders what `deploy/kubernetes` uses of kustomize; the test compares it with kubectl where there is one."""

import json
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

KNOWN = {
    *("apiVersion", "kind", "namespace", "labels", "images", "resources", "components"),
    *("configMapGenerator", "patches"),
}
"""Fields of a kustomization that are rendered here."""


def render(folder: Path) -> list[Manifest]:
    """Return the manifests of a kustomization, its generated names without their hashes."""
    return _built(folder, [])


def kustomization(folder: Path) -> Manifest:
    """Return the kustomization of a folder; AssertionError if it has a field that is not known here."""
    read: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(read) <= KNOWN, set(read) - KNOWN
    return read


def _built(folder: Path, found: list[Manifest]) -> list[Manifest]:
    config = kustomization(folder)
    for name in config.get("resources", []):
        path = folder / name
        found = found + (_built(path, []) if path.is_dir() else list(yaml.safe_load_all(path.read_text())))
    for name in config.get("components", []):
        found = _built(folder / name, found)
    for generator in config.get("configMapGenerator", []):
        found = _generated(folder, generator, found)
    for patch in config.get("patches", []):
        found = _patched(found, patch)
    for manifest in found:
        metadata = manifest["metadata"]
        if manifest["kind"] == "Namespace":
            metadata["name"] = config.get("namespace", metadata["name"])
        elif "namespace" in config:
            metadata["namespace"] = config["namespace"]
        for label in config.get("labels", []):
            metadata["labels"] = {**metadata.get("labels", {}), **label["pairs"]}
        for container in _containers(manifest):
            for image in config.get("images", []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['name']}:{image['newTag']}"
    return found


def _generated(folder: Path, generator: Manifest, found: list[Manifest]) -> list[Manifest]:
    data = {Path(name).name: (folder / name).read_text() for name in generator.get("files", [])}
    lines = [line for name in generator.get("envs", []) for line in (folder / name).read_text().splitlines()]
    data |= dict(line.split("=", 1) for line in [*lines, *generator.get("literals", [])])
    others = [item for item in found if (item["kind"], item["metadata"]["name"]) != ("ConfigMap", generator["name"])]
    if generator.get("behavior") in ("merge", "replace"):
        (earlier,) = [item for item in found if item not in others]
        kept = earlier["data"] if generator["behavior"] == "merge" else {}
        return [*others, {**earlier, "data": {**kept, **data}}]
    assert others == found
    return [*found, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}]


def _patched(found: list[Manifest], patch: Manifest) -> list[Manifest]:
    target = patch["target"]
    chosen = [
        item
        for item in found
        if item["kind"] == target["kind"] and target.get("name") in (None, item["metadata"]["name"])
    ]
    assert chosen, f"nothing is the target {target}"
    steps = yaml.safe_load(patch["patch"])
    if isinstance(steps, dict):
        assert steps["$patch"] == "delete"
        return [item for item in found if item not in chosen]
    changed = {id(item): json.loads(json.dumps(item)) for item in chosen}
    for item in changed.values():
        for step in steps:
            _apply(item, step)
    return [changed.get(id(item), item) for item in found]


def _apply(manifest: Manifest, step: Manifest) -> None:
    """Apply a step of a JSON patch (RFC 6902); KeyError or IndexError if its path is not there."""
    *path, last = step["path"].strip("/").split("/")
    place: Any = manifest
    for name in path:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if isinstance(place, list):
        if step["op"] == "add":
            place.insert(len(place) if last == "-" else int(last), step["value"])
        elif step["op"] == "remove":
            del place[int(last)]
        else:
            place[int(last)] = step["value"]
    elif step["op"] == "remove":
        del place[last]
    else:
        assert step["op"] == "add" or last in place, step
        place[last] = step["value"]


def _containers(manifest: Manifest) -> list[Manifest]:
    template = manifest.get("spec", {}).get("template", {})
    containers: list[Manifest] = template.get("spec", {}).get("containers", [])
    return containers

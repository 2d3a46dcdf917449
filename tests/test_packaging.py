"""The house: scripts, container and project files say what is there. No container is built here."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from faceter.contracts.settings import Settings
from tests.import_closure import distributions, modules_of, reached

_ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_NAME: str = _PROJECT["project"]["name"]
_EXTRAS: dict[str, list[str]] = _PROJECT["project"]["optional-dependencies"]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_PAGES = [
    *("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "CHANGELOG.md"),
    *sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "docs").rglob("*.md")),
]
_EXPORT_COMMAND = ["faceter.cli.export_torch", "faceter.cli.export_target", "faceter.cli.export_weights"]
_OPTIONAL = {
    *("botocore", "grpcio"),
    *("opentelemetry-api", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"),
}
"""Asked for where it is installed; its absence is seen to."""
_SETTINGS = {f"FACETER_{name.upper()}" for name in Settings.model_fields}


def _dockerfile() -> list[tuple[str, str]]:
    lines = (_ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip() and not line.startswith("#")]


def _json(words: str) -> list[str]:
    found: list[str] = yaml.safe_load(words)
    return found


def _runs(command: list[str]) -> bool:
    done = subprocess.run([_BIN / "faceter", *command, "--help"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def _schema_fault(compose: Path) -> str:
    """Return what the official schema of the compose specification has against a file."""
    command: list[str | Path] = [_BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode else ""


def _names(requirements: list[str]) -> set[str]:
    """Return the distributions of requirements, those of our own extras instead of ours."""
    found = [Requirement(text) for text in requirements]
    ours = [_EXTRAS[extra] for requirement in found if requirement.name == _NAME for extra in requirement.extras]
    names = {canonicalize_name(requirement.name) for requirement in found if requirement.name != _NAME}
    return names.union(*map(_names, ours))


class TestCompose:
    def test_it_has_the_parts_and_the_gpu_worker_only_by_profile(self) -> None:
        assert set(_SERVICES) == {"redis", "api", "worker", "worker-gpu"}
        assert {name for name, service in _SERVICES.items() if "profiles" in service} == {"worker-gpu"}
        (device,) = _SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]

    def test_it_is_valid_by_the_schema_of_the_compose_specification(self, tmp_path: Path) -> None:
        assert _schema_fault(_ROOT / "docker-compose.yml") == ""
        wrong = tmp_path / "docker-compose.yml"
        wrong.write_text(yaml.safe_dump(_COMPOSE | {"services": {"api": {"image": "faceter", "restarts": "always"}}}))
        assert "restarts" in _schema_fault(wrong)

    def test_what_it_names_is_there(self) -> None:
        for service in _SERVICES.values():
            for volume in service.get("volumes", []):
                assert volume.partition(":")[0] in _COMPOSE["volumes"]
            for other, condition in service.get("depends_on", {}).items():
                assert condition == {"condition": "service_healthy"}
                assert "test" in _SERVICES[other]["healthcheck"]
            if "build" in service:
                assert (_ROOT / service["build"] / "Dockerfile").is_file()
                assert set(service["environment"]) <= _SETTINGS
                assert _runs(service["command"])

    def test_its_containers_are_confined(self) -> None:
        for service in _SERVICES.values():
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert "mem_limit" in service
            assert service.get("user", "999:1000") == "999:1000"

    def test_it_publishes_the_api_alone_and_to_this_host(self) -> None:
        published = {name: service["ports"] for name, service in _SERVICES.items() if "ports" in service}
        assert published == {"api": ["${FACETER_BIND:-127.0.0.1}:${FACETER_PORT:-8000}:8000"]}

    def test_the_version_of_the_image_is_ours(self) -> None:
        ours = {service["image"] for service in _SERVICES.values() if "build" in service}
        assert ours == {f"faceter:{_PROJECT['project']['version']}"}


class TestDockerfile:
    def test_every_file_it_copies_is_there_and_is_let_through(self) -> None:
        let_through = {line[1:] for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        sources = [
            source
            for instruction, words in _dockerfile()
            if instruction == "COPY" and "--from" not in words
            for source in words.split()[:-1]
        ]
        assert sources
        for source in sources:
            assert (_ROOT / source).exists()
            assert source.removeprefix("./") in let_through

    def test_the_package_finds_what_its_build_names(self) -> None:
        copied = " ".join(words for instruction, words in _dockerfile() if instruction == "COPY")
        project = _PROJECT["project"]
        needed = [*_PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["readme"]]
        for name in [*needed, *project["license-files"], "constraints.txt", "pyproject.toml"]:
            assert name in copied

    def test_it_runs_as_somebody_other_than_root(self) -> None:
        instructions = _dockerfile()
        user = max(index for index, (instruction, _) in enumerate(instructions) if instruction == "USER")
        assert instructions[user][1] not in {"root", "0"}
        assert all(instruction not in {"RUN", "COPY", "ADD"} for instruction, _ in instructions[user:])

    def test_every_command_and_setting_it_names_exists(self) -> None:
        instructions = dict(_dockerfile())
        assert _json(instructions["ENTRYPOINT"]) == ["faceter"]
        assert _runs(_json(instructions["CMD"]))
        program, *arguments = _json(instructions["HEALTHCHECK"].partition("CMD")[2])
        assert program == "faceter"
        assert _runs(arguments)
        assert set(re.findall(r"FACETER_\w+", str(_dockerfile()))) <= _SETTINGS

    def test_every_extra_it_installs_exists(self) -> None:
        text = (_ROOT / "Dockerfile").read_text()
        extras = re.findall(r'"\.\[([\w,]+)\]"', text)
        assert extras
        assert set(",".join(extras).split(",")) <= set(_PROJECT["project"]["optional-dependencies"])


class TestScripts:
    def test_ci_runs_what_we_run(self) -> None:
        assert (_ROOT / ".ci" / "run").read_text().rstrip().endswith("exec bash scripts/test")

    @pytest.mark.parametrize(
        "name",
        [
            ".ci/run",
            "scripts/audit",
            "scripts/generate-client",
            "scripts/generate-grpc",
            "scripts/quickstart",
            "scripts/setup",
            "scripts/test",
        ],
    )
    def test_it_is_sound_bash_and_can_be_run(self, name: str) -> None:
        path = _ROOT / name
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith("#!/usr/bin/env bash\n")
        subprocess.run(["bash", "-n", path], check=True)

    def test_quickstart_explains_itself_and_refuses_what_it_does_not_know(self) -> None:
        told = subprocess.run(["bash", "scripts/quickstart", "--help"], cwd=_ROOT, capture_output=True, check=True)
        assert b"--keep" in told.stdout
        refused = subprocess.run(["bash", "scripts/quickstart", "--kep"], cwd=_ROOT, capture_output=True, check=False)
        assert refused.returncode == 2
        assert b"unknown option --kep" in refused.stderr

    def test_setup_says_which_python_it_needs(self, tmp_path: Path) -> None:
        for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(_ROOT / name, tmp_path / name)
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("bash", "dirname", "cat"):
            (programs / name).symlink_to(str(shutil.which(name)))
        old = programs / "python3"
        old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
        old.chmod(0o755)
        done = subprocess.run(
            ["bash", "scripts/setup", "dev"],
            cwd=tmp_path,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "needs Python 3.11 or newer" in done.stderr
        assert "Python 3.9.2" in done.stderr
        assert not (tmp_path / ".venv").exists()

    def test_scripts_name_no_package_index(self) -> None:
        for path in [*(_ROOT / "scripts").iterdir(), _ROOT / ".ci" / "run", _ROOT / "Dockerfile"]:
            if path.is_file():
                assert not re.search(r"https?://|index-url", path.read_text())


class TestProject:
    def test_every_dependency_is_pinned_within_its_range(self) -> None:
        lines = (_ROOT / "constraints.txt").read_text().split()
        pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
        project = _PROJECT["project"]
        extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
        for text in [*project["dependencies"], *extras]:
            requirement = Requirement(text)
            if requirement.name == _NAME:
                assert requirement.extras <= set(_EXTRAS)
                continue
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text

    def test_licence_and_changelog_are_there(self) -> None:
        licence = (_ROOT / "LICENSE").read_text()
        assert "Apache License" in licence
        assert "END OF TERMS AND CONDITIONS" in licence
        assert "## [Unreleased]" in (_ROOT / "CHANGELOG.md").read_text()

    def test_the_hooks_are_valid_and_their_tools_are_those_of_the_test_script(self) -> None:
        subprocess.run(
            [_BIN / "pre-commit", "validate-config", _ROOT / ".pre-commit-config.yaml"], check=True, capture_output=True
        )
        hooks = yaml.safe_load((_ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
        script = (_ROOT / "scripts" / "test").read_text()
        for hook in hooks:
            tool = Path(shlex.split(hook["entry"])[0]).name
            assert (_BIN / tool).is_file()
            assert f"$bin/{tool}" in script

    def test_every_benchmark_is_listed_and_exists(self) -> None:
        folder = _ROOT / "benchmarks"
        listed = re.findall(r"^\| `(\w+)", (folder / "README.md").read_text(), re.MULTILINE)
        scripts = [path.stem for path in folder.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()]
        assert sorted(listed) == sorted(scripts)

    @pytest.mark.parametrize("name", _PAGES)
    def test_every_link_to_a_file_leads_to_one(self, name: str) -> None:
        path = _ROOT / name
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), target

    def test_the_index_of_decisions_has_every_page_by_its_number(self) -> None:
        folder = _ROOT / "docs" / "decisions"
        listed = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \|", (folder / "README.md").read_text(), re.MULTILINE)
        assert [page for _, page in listed] == sorted(path.name for path in folder.glob("0*.md"))
        assert [int(number) for number, _ in listed] == list(range(1, len(listed) + 1))
        for number, page in listed:
            assert page.startswith(f"{number}-")
            text = (folder / page).read_text()
            assert text.startswith(f"# {number} ")
            assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Decided", "Why", "Weighed", "Follows"], page

    def test_every_package_that_tests_and_tools_import_is_a_dependency_of_its_own(self) -> None:
        base = _names(_PROJECT["project"]["dependencies"])
        for room in ("examples", "benchmarks"):
            needed = base | _names(_EXTRAS[room]) | (_names(_EXTRAS["dev"]) if room == "benchmarks" else set())
            assert distributions(modules_of(room)) <= needed
        assert distributions(modules_of("tests")) <= base | _names(_EXTRAS["dev"])
        for extra in ("examples", "s3", "grpc", "opencv", "otel"):
            assert _names(_EXTRAS[extra]) <= _names(_EXTRAS["dev"]) | base


class TestExtras:
    """Each extra is what its part of the product imports, and no more."""

    def test_the_client_needs_httpx_and_pydantic_alone(self) -> None:
        needed = distributions(reached(modules_of("faceter/client"), not_into=["faceter.export"]))
        assert _names(_PROJECT["project"]["dependencies"]) == {"httpx", "pydantic"}
        assert _EXTRAS["client"] == []
        # Used where it is installed, for arrays, images, a bar, and modules of torch.
        assert needed - {"httpx", "pydantic"} == {
            "numpy",
            "pillow",
            "rich",
            "tqdm",
            *_names(_EXTRAS["export"]) - {"safetensors"},
        }

    def test_the_server_needs_no_torch(self) -> None:
        elsewhere = ["workers", "faceter.export", "faceter.client", "faceter.cli.work", *_EXPORT_COMMAND]
        needed = distributions(reached(modules_of("app") | {"faceter.cli.main"}, not_into=elsewhere))
        # Found by name: a form parser by Starlette, a parser of HTTP by uvicorn, the font that comes with matplotlib.
        by_name = {"python-multipart", "httptools", "matplotlib", "uvloop"}
        assert needed - _OPTIONAL - {"pydantic"} == _names(_EXTRAS["server"]) - by_name
        assert by_name < _names(_EXTRAS["server"])

    def test_the_worker_needs_nothing_of_http(self) -> None:
        elsewhere = [
            *("app", "faceter.export", "faceter.client", "faceter.cli.work", "faceter.processes.supervisor"),
            *("faceter.processes.embedded_store", *_EXPORT_COMMAND),
        ]
        needed = distributions(reached(modules_of("workers") | {"faceter.cli.main"}, not_into=elsewhere))
        assert needed - _OPTIONAL - {"pydantic"} == _names(_EXTRAS["worker"])
        assert not needed & {"fastapi", "starlette", "uvicorn", "httpx"}

    def test_the_export_needs_what_the_users_machine_has_beside_torch(self) -> None:
        command = {"faceter.cli.export_target", "faceter.cli.export_weights"}
        needed = distributions(reached(modules_of("faceter/export") | command, not_into=["faceter.client"]))
        assert needed == _names(_EXTRAS["export"])

    def test_the_commands_that_work_by_a_service_need_a_table(self) -> None:
        needed = distributions(
            reached({"faceter.cli.work"}, not_into=["faceter.client", "faceter.cli.embedded_service"])
        )
        assert needed - {"httpx", "pydantic"} == _names(_EXTRAS["cli"])

    def test_no_part_of_the_product_is_in_no_extra(self) -> None:
        everything = distributions(modules_of("app", "faceter", "workers"))
        installed = set().union(*(_names(_EXTRAS[name]) for name in ("server", "worker", "export", "cli")))
        assert everything - _OPTIONAL - {"httpx", "pydantic", "tqdm"} <= installed

"""The manifests in `deploy/kubernetes`: valid, complete, and confined."""

import json
import re
import shutil
import subprocess
import tomllib
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from faceter.contracts.settings import Settings
from tests.deploy.custom_resources import SCHEMAS
from tests.deploy.kustomize import Manifest, kustomization, render
from tests.workers.processes import ROOT
from workers.main import _STOP_GRACE_SECONDS

_FOLDER = ROOT / "deploy" / "kubernetes"
_ROOTS = ["base", *sorted(f"overlays/{path.name}" for path in (_FOLDER / "overlays").iterdir())]
_VERSIONS = ("1.30", kubernetes_validate.latest_version())
_SETTINGS = {f"FACETER_{name.upper()}" for name in Settings.model_fields}
_OURS = {"api", "worker", "worker-gpu"}


@pytest.fixture(params=_ROOTS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(_FOLDER / request.param)


def _workloads(manifests: list[Manifest]) -> list[Manifest]:
    return [item for item in manifests if item["kind"] in ("Deployment", "StatefulSet")]


def _pod(workload: Manifest) -> Manifest:
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def _component(workload: Manifest) -> str:
    return str(workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"])


def _named(manifests: list[Manifest], kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in manifests if item["kind"] == kind}


class TestManifests:
    def test_they_are_valid_by_the_schemas_of_kubernetes(self, manifests: list[Manifest]) -> None:
        for item in manifests:
            if item["apiVersion"] in SCHEMAS:
                jsonschema.validate(item, SCHEMAS[item["apiVersion"]][item["kind"]])
                continue
            for version in _VERSIONS:
                kubernetes_validate.validate(item, version, strict=True)

    def test_a_field_that_there_is_not_is_noticed(self) -> None:
        (worker,) = [item for item in render(_FOLDER / "base") if item["metadata"]["name"] == "faceter-worker"][:1]
        worker["spec"]["template"]["spec"]["readOnlyRoot"] = True
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(worker, _VERSIONS[0], strict=True)

    @pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here to compare with")
    @pytest.mark.parametrize("name", _ROOTS)
    def test_kubectl_renders_the_same(self, name: str) -> None:
        done = subprocess.run(["kubectl", "kustomize", _FOLDER / name], capture_output=True, timeout=60, check=True)
        text = re.sub(r"(faceter-settings|valkey-configuration)-[0-9a-z]{10}\b", r"\1", done.stdout.decode())
        assert _sorted(yaml.safe_load_all(text)) == _sorted(render(_FOLDER / name))

    def test_every_file_belongs_to_something(self) -> None:
        used = set()
        for path in _FOLDER.rglob("kustomization.yaml"):
            config = kustomization(path.parent)
            generators = config.get("configMapGenerator", [])
            files = [name for item in generators for name in [*item.get("files", []), *item.get("envs", [])]]
            used |= {(path.parent / name).resolve() for name in [*config.get("resources", []), *files]}
        there = {path.resolve() for path in _FOLDER.rglob("*") if path.is_file()}
        assert {path for path in there - used if path.name not in ("kustomization.yaml", "README.md")} == set()

    def test_what_they_refer_to_is_there(self, manifests: list[Manifest]) -> None:
        secrets = {"faceter-store", "faceter-store-tls", "faceter-bucket", "faceter-metrics"}
        labels = {_component(item) for item in _workloads(manifests)}
        for workload in _workloads(manifests):
            pod = _pod(workload)
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            claimed = {item["metadata"]["name"] for item in workload["spec"].get("volumeClaimTemplates", [])}
            (container,) = pod["containers"]
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys() | claimed
            for volume in volumes.values():
                if "configMap" in volume:
                    assert volume["configMap"]["name"] in _named(manifests, "ConfigMap")
                if "persistentVolumeClaim" in volume:
                    assert volume["persistentVolumeClaim"]["claimName"] in _named(manifests, "PersistentVolumeClaim")
                if "secret" in volume:
                    assert volume["secret"]["secretName"] in secrets
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                found = container.get(probe, {})
                assert found.get("httpGet", found.get("tcpSocket", {"port": None}))["port"] in ports | {None}
        for item in manifests:
            spec = item.get("spec", {})
            if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
                assert spec["scaleTargetRef"]["name"] in _named(manifests, "Deployment")
            if item["kind"] in ("Service", "PodDisruptionBudget"):
                selector = spec["selector"].get("matchLabels", spec["selector"])
                assert selector["app.kubernetes.io/component"] in labels
            if "scaleTargetRef" in spec:
                workloads = {other["metadata"]["name"]: other["spec"] for other in _workloads(manifests)}
                assert "replicas" not in workloads[spec["scaleTargetRef"]["name"]]


class TestPods:
    def test_they_are_confined(self, manifests: list[Manifest]) -> None:
        for workload in _workloads(manifests):
            pod = _pod(workload)
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
                assert "memory" in container["resources"]["limits"]

    def test_no_variable_of_a_service_is_taken_for_a_setting(self, manifests: list[Manifest]) -> None:
        for workload in _workloads(manifests):
            assert _pod(workload)["enableServiceLinks"] is False

    def test_ours_write_to_data_and_tmp_alone(self, manifests: list[Manifest]) -> None:
        settings = _settings(manifests)
        for workload in _workloads(manifests):
            if _component(workload) not in _OURS:
                continue
            (container,) = _pod(workload)["containers"]
            writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert {settings["FACETER_DATA_DIR"], "/tmp"} <= writable
            blobs = settings["FACETER_BLOB_URL"]
            assert blobs.startswith("s3://") or any(blobs.startswith(f"{path}/") for path in writable)

    def test_they_have_the_time_to_stop(self, manifests: list[Manifest]) -> None:
        for workload in _workloads(manifests):
            if _component(workload) in ("worker", "worker-gpu"):
                assert _pod(workload)["terminationGracePeriodSeconds"] > _STOP_GRACE_SECONDS + 10

    def test_every_setting_exists_and_can_be_used(self, manifests: list[Manifest]) -> None:
        settings = _settings(manifests)
        own: list[dict[str, Any]] = []
        for workload in _workloads(manifests):
            (container,) = _pod(workload)["containers"]
            own += [item for item in container.get("env", []) if item["name"].startswith("FACETER_")]
        values = settings | {item["name"]: item.get("value") for item in own}
        ours = {name: value for name, value in values.items() if name.startswith("FACETER_")}
        assert ours.keys() <= _SETTINGS
        Settings.model_validate({name.removeprefix("FACETER_").lower(): value for name, value in ours.items()})

    def test_the_image_is_that_of_this_version(self, manifests: list[Manifest]) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        images = {_component(item): _pod(item)["containers"][0]["image"] for item in _workloads(manifests)}
        assert {images[name] for name in images.keys() & _OURS} == {f"faceter:{version}"}


def test_all_jobs_are_taken_by_some_worker(manifests: list[Manifest]) -> None:
    taken = set()
    for workload in _workloads(manifests):
        if _component(workload) in ("worker", "worker-gpu"):
            env = {item["name"]: item.get("value") for item in _pod(workload)["containers"][0]["env"]}
            taken |= set((env.get("FACETER_WORKER_QUEUES") or Settings(_env_file=None).worker_queues).split(","))
    assert taken == set(Settings(_env_file=None).worker_queues.split(","))


def test_only_what_needs_the_store_reaches_it(manifests: list[Manifest]) -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in manifests if item["kind"] == "NetworkPolicy"}
    assert policies["deny-by-default"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (source,) = policies["faceter-store"]["ingress"][0]["from"]
    assert set(source["podSelector"]["matchExpressions"][0]["values"]) == _OURS


def test_the_alerts_of_the_operator_are_those_of_prometheus() -> None:
    rule = yaml.safe_load((_FOLDER / "components" / "monitoring" / "alerts.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())


def _settings(manifests: list[Manifest]) -> dict[str, str]:
    (found,) = [item for item in manifests if item["metadata"]["name"] == "faceter-settings"]
    data: dict[str, str] = found["data"]
    return data


def _sorted(manifests: Any) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in manifests)

"""The dashboard and the alerts name metrics that `/metrics` has, and the page on operations explains each alert."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store.connection import connect
from tests.app.uploads import add_model, image
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import ROOT, WorkerProcess, has

_ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
_RULES: list[dict[str, Any]] = [rule for group in _ALERTS["groups"] for rule in group["rules"]]
_DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "faceter.json").read_text())
_PANELS: list[dict[str, Any]] = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]
_SCALER = yaml.safe_load((ROOT / "deploy/kubernetes/components/keda/worker-scaler.yaml").read_text())
_OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
_QUERIES = {
    **{rule["alert"]: rule["expr"] for rule in _RULES},
    **{
        f"{panel['title']} {target['refId']}": re.sub(r"\$__rate_interval", "5m", target["expr"])
        for panel in _PANELS
        for target in panel["targets"]
    },
    **{f"KEDA: {trigger['name']}": trigger["metadata"]["query"] for trigger in _SCALER["spec"]["triggers"]},
}
_OF_PROMETHEUS = {"up"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, valkey_server: Any) -> Iterator[dict[str, set[str]]]:
    """Names of labels by name of the samples in `/metrics` of a running API that has done everything once."""
    from tests.end_to_end.test_api_process import ApiProcess

    folder = tmp_path_factory.mktemp("monitored")
    url = f"unix://{valkey_server.unix_socket_path}?db=2"
    settings = Settings(_env_file=None, data_dir=folder / "data", redis_url=url, measure_serving=False)
    api = ApiProcess(settings, folder / "api.log")
    with connect(settings) as redis, WorkerProcess(settings, folder / "worker.log"):
        redis.flushdb()
        queue = JobQueue(redis, settings, TASKS)
        has(queue, queue.enqueue(job_spec("succeeds")), JobStatus.SUCCEEDED)
        model = add_model(api.client)
        api.client.post(model["actions"]["predict"], files={"file": ("a.png", image())}).raise_for_status()
        yield _samples(api.client)
    api.close()


def _samples(api: httpx.Client) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(api.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        if family.type == "counter":
            found.setdefault(f"{family.name}_total", set()).add("reason")
    return found


def _selectors(node: Any) -> Iterator[Any]:
    """Yield the selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    if isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    for name in ("expr", "lhs", "rhs", "args"):
        part = getattr(node, name, None)
        for child in part if isinstance(part, list) else [part]:
            if child is not None and not isinstance(child, str):
                yield from _selectors(child)


@pytest.mark.end_to_end
def test_every_metric_is_one_of_a_running_service(exported: dict[str, set[str]]) -> None:
    for title, query in _QUERIES.items():
        selectors = list(_selectors(promql_parser.parse(query)))
        assert selectors, title
        for selector in selectors:
            assert selector.name in exported.keys() | _OF_PROMETHEUS, (title, selector.name)
            labels = {matcher.name for matcher in selector.matchers.matchers} - {"job"}
            assert labels <= exported.get(selector.name, set()), (title, labels)
    for variable in _DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert re.findall(r"label_values\((\w+),", variable["query"]["query"])[0] in exported


@pytest.mark.end_to_end
def test_the_page_on_operations_has_every_metric(exported: dict[str, set[str]]) -> None:
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported}
    assert {name for name in families if f"`{name}" not in _OPERATIONS} == set()


def test_a_query_that_is_none_is_noticed() -> None:
    with pytest.raises(ValueError, match="paren"):
        promql_parser.parse("sum(rate(faceter_requests_total[5m])")


def test_every_alert_is_explained() -> None:
    explained = re.findall(r"^### (Faceter\w+)$", _OPERATIONS, re.MULTILINE)
    assert explained == [rule["alert"] for rule in _RULES]
    for rule in _RULES:
        assert rule["annotations"]["runbook"] == f"operations/#{rule['alert'].lower()}"
        section = _OPERATIONS.partition(f"### {rule['alert']}\n")[2].partition("\n##")[0]
        assert [word for word in ("**Means.**", "**Look.**", "**Do.**") if word not in section] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here (Debian: prometheus)")
def test_alerts_fire_when_they_should() -> None:
    tests = ROOT / "deploy" / "prometheus" / "alerts_test.yml"
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_places_of_their_own() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in _DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns, rows = (range(place[start], place[start] + place[size]) for start, size in (("x", "w"), ("y", "h")))
        own = set(itertools.product(columns, rows))
        assert columns.stop <= 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in _DASHBOARD["panels"]}) == len(_DASHBOARD["panels"])


def test_the_page_on_operations_has_every_rule_of_the_user() -> None:
    rules = (ROOT / "deploy" / "valkey" / "users.acl").read_text().splitlines()[1].split()[4:]
    section = _OPERATIONS.partition("### User\n")[2].partition("\n##")[0].replace("\\|", "|")
    assert [rule for rule in rules if rule not in section] == []

"""Retries against real broken connections: what is safe is sent again, and done once."""

import random
from pathlib import Path

import httpx
import pytest

from faceter import Client
from faceter.client.calls import retry_after
from faceter.client.configuration import Configuration, RetryPolicy
from faceter.client.errors import ConnectionFailed, Overloaded
from tests.app.uploads import METADATA, image, images
from tests.client.flaky_proxy import Fault, FlakyProxy
from tests.engines import graphs


@pytest.mark.parametrize("fault", ["busy", "bad-gateway", "lose-request", "lose-answer"])
def test_an_upload_is_sent_again_from_its_beginning_and_done_once(
    proxy: FlakyProxy, client: Client, tmp_path: Path, fault: Fault
) -> None:
    path = tmp_path / f"once {fault}.onnx"
    path.write_bytes(graphs.classifier(seed=21))
    with Client(proxy.url) as flaky:
        proxy.fail(fault, fault)
        model = flaky.models.upload(path, metadata=METADATA)
    assert len(proxy.seen) == 3
    assert len(proxy.idempotency_keys()) == 1
    assert None not in proxy.idempotency_keys()
    assert all(path.read_bytes() in seen.body for seen in proxy.seen)
    assert [item.id for item in client.models.list(name=f"once {fault}")] == [model.id]


def test_a_job_is_queued_once(proxy: FlakyProxy, client: Client) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    with Client(proxy.url) as flaky:
        proxy.fail("lose-answer")
        job = flaky.quantizations.create(model, weight_bits=4, method="rq")
    assert [item.id for item in client.jobs.list(model_id=model)] == [job.id]
    client.jobs.cancel(job)


def test_each_call_has_a_key_of_its_own(proxy: FlakyProxy) -> None:
    with Client(proxy.url) as client:
        for _ in range(2):
            client.datasets.upload(images(["cat", "dog"]), kind="images")
    assert len(proxy.idempotency_keys()) == 2


def test_reading_and_predicting_are_sent_again(proxy: FlakyProxy) -> None:
    with Client(proxy.url) as client:
        model = client.models.upload(graphs.classifier(), metadata=METADATA)
        proxy.fail("lose-answer", "busy")
        assert model.refresh() == model
        proxy.fail("busy", "lose-answer")
        assert model.predict(image()).predictions
    assert proxy.idempotency_keys() == {None}


def test_a_download_is_begun_again_and_leaves_nothing_half(proxy: FlakyProxy, tmp_path: Path) -> None:
    content = graphs.classifier(seed=22)
    with Client(proxy.url) as client:
        model = client.models.upload(content)
        proxy.fail("lose-request")
        assert model.download(tmp_path / "m.onnx").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_deleting_and_canceling_are_not_sent_twice(proxy: FlakyProxy, client: Client) -> None:
    model = client.models.upload(graphs.classifier())
    with Client(proxy.url) as flaky:
        proxy.fail("lose-answer")
        with pytest.raises(ConnectionFailed):
            flaky.models.delete(model)
    assert len(proxy.seen) == 1


def _nine(fault: Fault) -> list[Fault]:
    return [fault] * 9


def test_it_gives_up(proxy: FlakyProxy) -> None:
    with Client(proxy.url, retries=2) as client:
        proxy.fail(*_nine("busy"))
        with pytest.raises(Overloaded, match="Come back"):
            client.models.upload(graphs.classifier())
        assert len(proxy.seen) == 3
        proxy.fail(*_nine("lose-request"))
        with pytest.raises(ConnectionFailed, match="Tried 3 times"):
            client.models.upload(graphs.classifier())
        proxy.fail("busy-long")
        with pytest.raises(Overloaded) as caught:
            client.models.upload(graphs.classifier())
        assert caught.value.retry_after == 3600
        assert len(proxy.seen) == 1


def test_the_key_and_the_address_come_from_the_environment(proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETER_URL", f"{proxy.url}/")
    monkeypatch.setenv("FACETER_API_KEY", "secret")
    with Client() as client:
        assert client.url == proxy.url
        list(client.models.list())
        assert "secret" not in repr(client) + repr(client.transport.configuration)
    assert proxy.seen[-1].headers["authorization"] == "Bearer secret"
    assert proxy.seen[-1].headers["user-agent"].startswith("faceter-python/")
    with Client(proxy.url, key="other") as client:
        list(client.models.list())
    assert proxy.seen[-1].headers["authorization"] == "Bearer other"


def test_without_a_key_none_is_sent(proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACETER_API_KEY", raising=False)
    with Client(proxy.url) as client:
        list(client.models.list())
    assert "authorization" not in proxy.seen[-1].headers


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x.test"])
def test_an_address_must_be_one_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Client(url)
    with pytest.raises(ValueError, match="retries"):
        Client(retries=-1)


def test_pauses_double_are_bounded_and_never_undercut_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    policy = RetryPolicy(retries=9, first=1.0, longest=10.0)
    assert [policy.pause(failures) for failures in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert policy.pause(10) is None
    assert policy.pause(1, 11) is None
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    assert policy.pause(1, 3) == 3
    assert policy.pause(2) == 1


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    far = retry_after("Wed, 21 Oct 2115 07:28:00 GMT")
    assert far is not None
    assert far > 1e9
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_a_timeout_of_httpx_is_taken_as_it_is() -> None:
    timeout = httpx.Timeout(3, connect=1)
    assert Configuration.of("http://x.test", None, timeout, 0).timeout is timeout
    assert Configuration.of("http://x.test", None, 2.0, 0).timeout == httpx.Timeout(2)

"""What other programs tell a monitor over HTTP: business events and labels."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from barograph import Monitor, naming
from barograph.integrations.fastapi import instrument
from barograph.logs import Log


def ask(app, path, method="GET", client="127.0.0.1", **options):
    async def send():
        transport = httpx.ASGITransport(app, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as session:
            return await session.request(method, path, **options)

    return asyncio.run(send())


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def monitor(tmp_path):
    with Monitor(
        "m", version="1", directory=tmp_path / "counts", strict=True, flush_interval=60, log=tmp_path / "log"
    ) as made:
        yield made


@pytest.fixture
def app(monitor, registry):
    made = FastAPI()
    instrument(made, monitor, registry=registry)
    return made


# POST /business.


def post(app, content, token=None, client="127.0.0.1", **headers):
    given = {"content-type": "application/json", **headers}
    if token:
        given["authorization"] = f"Bearer {token}"
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(app, "/business", "POST", client=client, content=body, headers=given)


def orders(monitor, event="order"):
    monitor.flush()
    return monitor.total(naming.BUSINESS, event=event)


def test_business_events_are_counted(app, monitor):
    assert post(app, {"event": "order"}).status_code == 202
    answer = post(app, [{"event": "order", "n": 3}, {"event": "refund", "n": 1}])
    assert (answer.status_code, answer.json()) == (202, {"counted": 2})
    assert (orders(monitor), orders(monitor, "refund")) == (4, 1)
    assert 'ml_business_events_total{event="order",model="m"} 4\n' in ask(app, "/metrics").text


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (7, "no object"),
        ({"n": 1}, "event is no text"),
        ({"event": ""}, "event is no text"),
        ({"event": "x" * 81}, "event is no text"),
        ({"event": 3}, "event is no text"),
        ({"event": "order", "n": 0}, "n is no integer"),
        ({"event": "order", "n": -2}, "n is no integer"),
        ({"event": "order", "n": 1.5}, "n is no integer"),
        ({"event": "order", "n": True}, "n is no integer"),
        ({"event": "order", "n": 10**30}, "n is no integer"),
        ({"event": "order", "count": 2}, "'count' is no key"),
    ],
)
def test_an_item_that_is_no_event_is_refused_and_the_others_are_counted(app, monitor, item, said):
    answer = post(app, [{"event": "order"}, item, {"event": "order", "n": 2}])
    found = answer.json()
    assert (answer.status_code, found["counted"]) == (422, 2)
    ((refused),) = found["refused"]
    assert refused["item"] == 1 and said in refused["what"]
    assert "1 of 3 items" in found["error"]["what"] and "the others are counted" in found["error"]["what"]
    assert orders(monitor) == 3


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 60_000])
def test_a_body_that_is_no_json_is_refused(app, body):
    assert post(app, body).status_code == 400


def test_business_events_that_are_too_long_are_refused_before_they_are_read(app, monitor):
    assert post(app, b'{"event": "order", "n": 1' + b" " * 70_000 + b"}").status_code == 413
    assert orders(monitor) == 0


def test_a_form_of_another_site_counts_nothing(app, monitor):
    assert post(app, {"event": "order"}, **{"content-type": "text/plain"}).status_code == 415
    assert orders(monitor) == 0


def test_strange_names_of_events_harm_no_metrics(app, monitor):
    assert post(app, b'[{"event": "\\ud800"}, {"event": "a\\"b\\n\\u0000"}]').status_code == 202
    assert ask(app, "/metrics").status_code == 200
    assert orders(monitor, 'a"b\n\x00') == 1


def test_without_a_token_only_this_machine_counts_events(app, monitor):
    assert post(app, {"event": "order"}, client="10.0.0.7").status_code == 403
    assert post(app, {"event": "order"}, **{"x-forwarded-for": "10.0.0.7"}).status_code == 403
    assert orders(monitor) == 0


def test_with_a_token_who_has_it_counts_events(tmp_path, registry):
    with Monitor("m", directory=tmp_path, strict=True, token="s3cret", flush_interval=60) as monitor:
        app = FastAPI()
        instrument(app, monitor, registry=registry)
        assert post(app, {"event": "order"}).status_code == 401
        assert "/business" in post(app, {"event": "order"}, "wrong").json()["error"]["what"]
        assert post(app, {"event": "order"}, "s3cret", client="10.0.0.7").status_code == 202
        assert orders(monitor) == 1


def test_business_is_written_and_not_read(app):
    assert ask(app, "/business").status_code == 405


def test_an_application_keeps_its_own_business(monitor, registry):
    app = FastAPI()

    @app.post("/business")
    def business() -> str:
        return "mine"

    instrument(app, monitor, registry=registry)
    assert post(app, {"event": "order"}).json() == "mine"
    assert orders(monitor) == 0


# POST /feedback.


def tell(app, content, kind="application/json", **options):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(app, "/feedback", "POST", content=body, headers={"content-type": kind}, **options)


def stored(tmp_path, model="m"):
    found = [row for table in Log(tmp_path / "log").read("feedback", model) for row in table.to_pylist()]
    return [(row["id"], row["label"] if row["label_text"] is None else row["label_text"]) for row in found]


def test_a_label_is_on_the_disk_when_it_is_answered(app, monitor, tmp_path):
    answer = tell(app, {"id": "b41f", "label": True})
    assert (answer.status_code, answer.json()) == (202, {"stored": 1})
    assert stored(tmp_path) == [("b41f", 1.0)]
    many = [
        {"id": "a", "label": 0},
        {"id": "b", "label": "late", "time": "2013-10-14T13:20:00Z", "kind": "label"},
    ]
    assert tell(app, many).json() == {"stored": 2}
    assert stored(tmp_path)[1:] == [("a", 0.0), ("b", "late")]
    assert monitor.total(naming.FEEDBACK) == 3


def test_labels_come_a_line_each_too(app, tmp_path):
    answer = tell(
        app, b'{"id": "a", "label": 1}\n\nno json\n{"id": "b", "label": 0.5}\n', "application/x-ndjson"
    )
    assert answer.status_code == 422 and answer.json()["refused"] == [{"item": 1, "what": "it is no object"}]
    assert stored(tmp_path) == [("a", 1.0), ("b", 0.5)]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("b41f", "no object"),
        ({"label": 1}, "id is no text"),
        ({"id": 7, "label": 1}, "id is no text"),
        ({"id": "x" * 257, "label": 1}, "id is no text"),
        ({"id": "a"}, "label is no number"),
        ({"id": "a", "label": None}, "label is no number"),
        ({"id": "a", "label": [1]}, "label is no number"),
        ({"id": "a", "label": 1, "time": "yesterday"}, "time"),
        ({"id": "a", "label": 1, "time": "2013-10-14T13:20:00"}, "has no zone"),
        ({"id": "a", "label": 1, "time": -5}, "neither epoch seconds nor ISO 8601"),
        ({"id": "a", "label": 1, "kind": ""}, "kind is no text"),
        ({"id": "a", "label": 1, "model": "other"}, "model is none of 'm'"),
        ({"id": "a", "label": 1, "value": 2}, "'value' is no key"),
    ],
)
def test_an_item_that_is_no_label_is_refused_and_the_others_are_stored(app, tmp_path, item, said):
    answer = tell(app, [{"id": "a", "label": 1}, item, {"id": "b", "label": 0}])
    found = answer.json()
    assert (answer.status_code, found["stored"]) == (422, 2)
    ((refused),) = found["refused"]
    assert refused["item"] == 1 and said in refused["what"]
    assert stored(tmp_path) == [("a", 1.0), ("b", 0.0)]


def test_labels_go_to_the_model_that_they_name(app, monitor, registry, tmp_path):
    with Monitor("other", directory=tmp_path / "counts2", log=tmp_path / "log", flush_interval=60) as second:
        instrument(app, second, registry=registry)
        assert (
            tell(app, [{"id": "a", "label": 1}, {"id": "b", "label": 0, "model": "other"}]).status_code == 202
        )
        assert (stored(tmp_path), stored(tmp_path, "other")) == ([("a", 1.0)], [("b", 0.0)])
        assert second.total(naming.FEEDBACK) == 1


def test_a_disk_that_takes_nothing_is_said_so_that_labels_are_sent_again(app, monitor, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(monitor.journal, "store", full)
    answer = tell(app, {"id": "a", "label": 1})
    assert answer.status_code == 503 and "No space left" in answer.json()["error"]["what"]
    assert monitor.total(naming.FEEDBACK) == 0


def test_labels_that_are_too_many_at_once_are_refused(app, tmp_path):
    assert tell(app, b"[" + b" " * (8 * 1024 * 1024) + b"]").status_code == 413


def test_only_this_machine_tells_labels_without_a_token(app, tmp_path):
    assert tell(app, {"id": "a", "label": 1}, client="10.0.0.7").status_code == 403
    assert stored(tmp_path) == []


def test_without_a_log_there_is_no_feedback(registry, tmp_path):
    with Monitor("m", directory=tmp_path) as monitor:
        app = FastAPI()
        instrument(app, monitor, registry=registry)
        assert tell(app, {"id": "a", "label": 1}).status_code == 404


def test_the_id_that_a_request_was_answered_with_names_its_prediction(app, monitor, tmp_path):
    @app.post("/predict")
    def predict() -> float:
        monitor.record({"x": 1.0}, score=0.7)
        return 0.7

    given = ask(app, "/predict", "POST").headers["x-prediction-id"]
    monitor.flush()
    (table,) = Log(tmp_path / "log").read("predictions", "m", ["id"])
    assert table.to_pylist() == [{"id": f"{given}/0"}]

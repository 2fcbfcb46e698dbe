"""What the query API answers, good and bad, and what scrapes say, one by one."""

import contextlib
import re
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from barograph import Reference, naming
from barograph.cells import CellMap
from barograph.prometheus import CoarseReference, Endpoint, PrometheusPoller, ReferenceFiles
from barograph.prometheus.book import Book
from barograph.sources import Status
from barograph.tiles import Tiles
from test_prometheus import program


def total(tiles: Tiles, metric: naming.Metric, **labels: str) -> int:
    found = [tiles.window(s, 0, 4e9).counts.sum() for s in tiles.series(metric.name, **labels)]
    return int(sum(found))


# Answers that are none, from a server of our own.

EMPTY = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'
MATRIX = b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'


class Answers(BaseHTTPRequestHandler):
    """Answers as the test says; keeps what was asked."""

    status, body, pause, headed = 200, b"", 0.0, ()
    widest = 10**9  # seconds that may be asked for
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        time.sleep(self.pause)
        span = re.search(r"%5B(\d+)s%5D&", self.path)
        body, status = self.body or (MATRIX if span else EMPTY), self.status
        if span is not None and int(span[1]) > self.widest:
            body, status = ERROR % b"execution", 422
        self.send_response(status)
        for name, value in self.headed:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def answers(certificate: Path | None = None, **options: object) -> Iterator[tuple[str, type[Answers]]]:
    handler = type("Once", (Answers,), {**options, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()


def status_of(endpoint: Endpoint) -> Status:
    with Tiles() as tiles:
        reader = PrometheusPoller(tiles, endpoint, history=60)
        reader.poll()
        assert reader.until(time.time()) is None
        return reader.statuses()[0]


ERROR = b'{"status": "error", "errorType": "%s", "error": "too many samples"}'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"status": 401}, "refused who asks (401); give token_file"),
        ({"status": 403}, "refused who asks (403)"),
        ({"status": 404}, "is not there (404); give the address before /api/v1"),
        ({"status": 302, "headed": (("location", "http://x/login"),)}, "redirects to http://x/login"),
        ({"status": 400, "body": ERROR % b"bad_data"}, "answered 400 (too many samples); look at its log"),
        ({"status": 422, "body": ERROR % b"execution"}, "could not answer (too many samples); narrow `match`"),
        ({"status": 500, "body": b"oh"}, "answered 500 (oh)"),
        ({"body": b"<html>"}, "not as Prometheus' query API does"),
        ({"body": b"[1]"}, "not as Prometheus' query API does"),
        ({"body": b'{"status": "success", "data": {"resultType": "scalar", "result": []}}'}, "(a scalar)"),
        (
            {"body": EMPTY.replace(b'"data"', b'"warnings": ["store 2 is away"], "data"')},
            "answered in part (store 2 is away); nothing is judged until it answers in full",
        ),
        ({"headed": (("content-encoding", "gzip"),)}, "answered compressed"),
        ({"body": b" " * 2_000_000}, "more than 1,000,000 bytes"),
        ({"pause": 1.5}, "did not answer within 0.5 s"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_a_status_that_says_what_to_do(given, said):
    with answers(**given) as (url, _):
        status = status_of(Endpoint(url, timeout=0.5, most_bytes=1_000_000))
    assert status.up is False and status.failures == 1
    assert said in status.error


def test_a_long_time_is_asked_for_in_pieces_and_too_long_a_piece_in_smaller_ones():
    with answers(widest=100) as (url, handler), Tiles() as tiles:
        PrometheusPoller(tiles, Endpoint(url), history=300).poll()
    spans = [int(n) for path, _ in handler.asked for n in re.findall(r"%5B(\d+)s%5D", path) if "ml_" in path]
    read = [n - 1 for n in spans if n <= 100]
    assert sum(read) >= 600 and len(spans) > len(read)


def test_a_secret_is_read_from_its_file_each_time_and_shown_nowhere(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("one\n")
    with answers() as (url, handler), Tiles() as tiles:
        endpoint = Endpoint(url, token_file=str(secret), headers={"X-Scope-OrgID": "ml"})
        reader = PrometheusPoller(tiles, endpoint, history=0)
        reader.poll()
        assert {h["Authorization"] for _, h in handler.asked} == {"Bearer one"}
        assert {h["X-Scope-OrgID"] for _, h in handler.asked} == {"ml"}
        secret.write_text("two")
        reader.poll()
        assert handler.asked[-1][1]["Authorization"] == "Bearer two"
        secret.unlink()
        reader.poll()
        assert "token_file: cannot read" in reader.statuses()[0].error
    assert "s3cret" not in repr(Endpoint("http://h", token="s3cret"))
    with answers() as (url, handler):
        (tmp_path / "password").write_text("pass word")
        status_of(Endpoint(url, username="ann", password_file=str(tmp_path / "password")))
    assert handler.asked[0][1]["Authorization"] == f"Basic {b64encode(b'ann:pass word').decode()}"


def test_certificates_are_verified(tmp_path):
    certificate = tmp_path / "server.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", certificate.with_suffix(".key")]  # fmt: skip
    subprocess.run([program("openssl"), *make[1:]], check=True, capture_output=True)
    with answers(certificate) as (url, _):
        assert "CERTIFICATE_VERIFY_FAILED" in status_of(Endpoint(url)).error
        assert status_of(Endpoint(url, ca_file=str(certificate))).up
        assert status_of(Endpoint(url, verify=False)).up
        assert "ca_file: cannot read" in status_of(Endpoint(url, ca_file=str(tmp_path / "gone"))).error


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "prometheus:9090"}, "is no base address"),
        ({"url": "http://a:b@h"}, "give username and password_file"),
        ({"url": "http://h?x=1"}, "is no base address"),
        ({"url": "http://h", "token": "t", "username": "u"}, "give one of them"),
        ({"url": "http://h", "timeout": 0}, "must be above 0"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Endpoint(**given)


def test_matchers_go_with_every_question():
    with answers() as (url, handler), Tiles() as tiles:
        PrometheusPoller(tiles, Endpoint(f"{url}/api/v1/", match='{namespace="ml"}'), history=0).poll()
    asked = [parse_qs(urlsplit(path).query)["query"][0] for path, _ in handler.asked]
    assert len(asked) >= 2
    assert all('namespace="ml"' in query for query in asked)


# What scrapes say, one by one.

A = {"instance": "a:1", "job": "models"}
B = {"instance": "b:1", "job": "models"}
RISK = {"model": "risk", "version": "1"}
T0 = 1_380_499_200.0  # a whole hour


def series(name: str, target: dict[str, str], values: dict[float, float], **labels: str) -> dict:
    """A series as the query API gives it; `values` by seconds since T0."""
    metric = {"__name__": name, **target, **labels}
    return {"metric": metric, "values": [[T0 + at, f"{value:g}"] for at, value in values.items()]}


def rows(target: dict[str, str], values: dict[float, float], **labels: str) -> dict:
    return series("ml_predictions_total", target, values, **{**RISK, **labels})


class Counting:
    """A book that is given pages, one after the other."""

    def __init__(self, tiles: Tiles, began: float = 0, files: Sequence[str] = ()) -> None:
        self.tiles, self.references = tiles, ReferenceFiles(files, {})
        self.references.refresh()
        self.book = Book(tiles, self.references)
        self.book.begin(T0 + began)

    def page(self, *found: dict, until: float, starts: dict[str, float] | None = None) -> "Counting":
        page = self.book.parse(found)
        known = {t: T0 + at for t in page.samples for i, at in (starts or {}).items() if ("instance", i) in t}
        self.book.count(page, T0 + until, known)
        return self

    def total(self, metric: naming.Metric = naming.PREDICTIONS, **labels: str) -> int:
        return total(self.tiles, metric, **labels)


@pytest.fixture
def counting() -> Iterator[Counting]:
    with Tiles() as tiles:
        yield Counting(tiles)


def test_a_counter_that_is_new_counts_from_zero_and_one_that_was_there_from_where_it_was(counting):
    counting.page(rows(A, {-30: 100, 30: 105}), rows(B, {30: 7}), until=60)
    assert counting.total() == 5 + 7


def test_a_restart_is_found_in_any_count_of_a_version(counting):
    errors = {**RISK, "error": "ValueError"}
    failed = "ml_prediction_errors_total"
    counting.page(rows(A, {-30: 100, 30: 100}), series(failed, A, {-30: 2, 30: 2}, **errors), until=60)
    # 3 errors are more than 2, and yet all three are new: the predictions fell.
    counting.page(rows(A, {90: 40}), series(failed, A, {90: 3}, **errors), until=120)
    assert (counting.total(), counting.total(naming.ERRORS)) == (40, 3)


def test_a_version_that_begins_at_zero_again_is_no_restart_of_another(counting):
    counting.page(rows(A, {-30: 900, 30: 900}), rows(A, {-30: 50, 30: 60}, version="2"), until=60)
    counting.page(rows(A, {90: 5}), rows(A, {90: 70}, version="2"), until=120)
    assert (counting.total(version="1"), counting.total(version="2")) == (5, 20)


def test_a_sum_of_seconds_that_rounding_lowers_is_no_restart(counting):
    used = "ml_monitor_flush_seconds_total"
    counting.page(rows(A, {-30: 9, 30: 9}), series(used, A, {-30: 1.5, 30: 1.5}, **RISK), until=60)
    counting.page(rows(A, {90: 10}), series(used, A, {90: 1.4999}, **RISK), until=120)
    assert counting.total() == 1


def test_what_is_not_in_one_scrape_is_counted_with_the_next(counting):
    counting.page(rows(A, {-30: 10}), rows(A, {-30: 10}, version="2"), until=0)
    counting.page(rows(A, {30: 11}), until=60)
    counting.page(rows(A, {90: 13}), rows(A, {90: 17}, version="2"), until=120)
    assert (counting.total(version="1"), counting.total(version="2")) == (3, 7)


def test_a_histogram_is_taken_whole_or_not_yet(counting):
    def buckets(values: dict[float, list[int]], missing: float | None = None) -> list[dict]:
        bounds = [*map(str, naming.DURATION_BUCKETS), "+Inf"]
        found = []
        for i, bound in enumerate(bounds):
            shown = {at: counts[0] + (counts[1] if i >= 12 else 0) for at, counts in values.items()}
            if i == len(bounds) - 1:
                shown.pop(missing, None)
            labels = {**RISK, "stage": "total", "le": bound}
            found.append(series("ml_prediction_duration_seconds_bucket", A, shown, **labels))
        return found

    counting.page(*buckets({-30: [0, 0], 30: [1, 2], 90: [4, 8]}, missing=30), until=120)
    (timed,) = counting.tiles.series(naming.DURATION.name)
    minutes = counting.tiles.windows(timed, T0, T0 + 120, 60).counts
    assert minutes.sum(axis=0)[[0, 12]].tolist() == [4, 8]
    assert (minutes >= 0).all()


def test_an_old_process_under_new_labels_is_not_counted_again(counting):
    scrapes = {at: 10.0 * at for at in range(30, 3600, 30)}
    counting.page(rows(A, {30: 300}), until=60, starts={"a:1": 10})
    counting.page(rows(A, scrapes), until=3600)
    before = counting.total()
    assert before == 35_700
    counting.page(rows(A | {"team": "x"}, {3630: 36_300, 3660: 36_600}), until=3690, starts={"a:1": 10})
    assert counting.total() == before + 300


def test_a_process_that_began_while_nothing_was_scraped_is_counted_whole(counting):
    counting.page(rows(A, {30: 300, 60: 600}), until=90, starts={"a:1": 0})
    counting.page(rows(A, {4000: 700}), rows(B, {4010: 500}), until=4020, starts={"b:1": 1000})
    assert counting.total() == 700 + 500
    (rate,) = counting.tiles.series(naming.PREDICTIONS.name)
    spread = counting.tiles.windows(rate, T0 + 1020, T0 + 3960, 60).counts[:, 0]
    assert spread.min() >= 9 and spread.max() <= 13  # of B since it began, and of A


def test_labels_that_a_process_and_its_target_share_stay_apart(counting):
    found = rows(A, {-30: 1, 30: 4})
    found["metric"] |= {"exported_version": "1", "version": "chart-7"}
    event = series(
        "ml_business_events_total", A, {-30: 1, 30: 2}, model="risk", event="order", version="chart-7"
    )
    counting.page(found, event, until=60)
    assert counting.total(version="1") == 3
    assert counting.total(naming.BUSINESS) == 1
    assert list(counting.book.cursors) == [tuple(sorted((A | {"version": "chart-7"}).items()))]


def test_gauges_of_replicas_add_up_or_are_the_highest(counting):
    counting.page(
        *(rows(t, {30: 0}) for t in (A, B)),
        *(series("ml_monitor_workers", t, {-30: 2, 30: 2, 45: 3}) for t in (A, B)),
        *(series("ml_monitor_buffer_ratio", t, {30: v}, **RISK) for t, v in ((A, 0.5), (B, 0.1))),
        until=60,
    )
    workers, fill = (
        counting.tiles.window(counting.tiles.series(m.name)[0], T0, T0 + 60).sums[0]
        for m in (naming.WORKERS, naming.BUFFER_FILL)
    )
    assert (workers, fill) == (6, 0.5)


def test_what_counts_nothing_is_no_process_of_ours(counting):
    evaluator = {"instance": "evaluator:8700", "job": "barograph"}
    hidden = series("ml_monitor_series_hidden", evaluator, {30: 0})
    counting.page(hidden, rows(A, {-30: 1, 30: 2}), until=60)
    assert [dict(target)["instance"] for target in counting.book.cursors] == ["a:1"]


def test_references_of_the_same_bins_are_counted_apart(tmp_path):
    frame = {"x": ["a", "b"] * 50}
    for name, more in (("one", ["a"] * 10), ("two", ["a"] * 900)):
        made = Reference.fit({"x": frame["x"] + more}, task="regression")
        made.save(tmp_path / f"{name}.json")
    one, two = (Reference.load(tmp_path / f"{name}.json") for name in ("one", "two"))
    assert one.bins.id == two.bins.id and one.id != two.id

    def columns(target: dict[str, str], made: Reference, values: dict[float, float]) -> list[dict]:
        lines = CellMap.of_reference(made.to_json()).lines
        labels = {**RISK, "bins": made.bins.id}
        info = series("ml_model_info", target, dict.fromkeys(values, 1), **labels, reference=made.id)
        cells = [
            series("ml_column_values_total", target, values, **labels, column=c, role=r, cell=cell)
            for c, r, cell in lines
        ]
        return [info, *cells]

    with Tiles() as tiles:
        counting = Counting(tiles, files=[str(tmp_path)])
        counting.page(*columns(A, one, {-30: 0, 30: 3}), *columns(B, two, {-30: 0, 30: 5}), until=60)
        found = tiles.series(naming.COLUMN_VALUES.name)
        made = {CoarseReference.of(r).reference.bins.id: n for r, n in ((one, 3), (two, 5))}
        assert {s.label("bins") for s in found} == made.keys()
        for one_series in found:
            counts = tiles.window(one_series, 0, 4e9).counts
            assert set(counts.tolist()) <= {0, made[one_series.label("bins")]}


def test_what_could_not_be_stored_is_counted_when_it_is_read_again(counting, monkeypatch):
    counting.page(rows(A, {-30: 10, 30: 20}), until=60)

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(counting.tiles, "add", full)
        with pytest.raises(OSError, match="full"):
            counting.page(rows(A, {90: 25}), until=120)
    assert counting.book.read == T0 + 60
    again = Counting.__new__(Counting)
    again.tiles, again.book = counting.tiles, Book(counting.tiles, counting.references)  # as after a crash
    assert again.book.read == T0 + 60 and again.book.began == T0
    again.page(rows(A, {30: 20, 90: 25, 150: 26}), until=180)
    assert again.total() == 16


def test_processes_that_are_gone_for_days_are_forgotten(counting):
    counting.page(rows(A, {-30: 1, 30: 2}), until=60)
    days = 3 * 86_400
    counting.page(rows(B, {days: 5}), until=days, starts={"b:1": days - 10})
    counting.page(rows(B, {days + 30: 6}), until=days + 60)
    assert [dict(t)["instance"] for t in counting.book.cursors] == ["b:1"]
    again = Book(counting.tiles, counting.references)
    assert again.cursors.keys() == counting.book.cursors.keys()
    assert counting.total() == 1 + 6


@pytest.mark.parametrize("seed", range(8))
def test_cells_that_lie_apart_are_counted_whole(seed):
    """Every slot of a reference goes into the one slot of its cell, whatever lies between its parts."""
    rng = np.random.default_rng(seed)
    n = 3000
    frame = {
        "around": np.round(rng.normal(0, 3, n), int(rng.integers(0, 3))),  # on both sides of 0 and -1
        "positive": np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(0, 2, n)),
        "far": rng.uniform(1e6, 1e6 + rng.integers(1, 9), n),
        "names": rng.choice([f"n{i}" for i in range(200)], n, p=rng.dirichlet(np.ones(200))).tolist(),
        "p": rng.beta(0.5, 5, n),
    }
    frame["around"][rng.random(n) < 0.1] = np.nan
    made = Reference.fit(frame, task="binary", score="p", threshold=0.2)
    coarse = CoarseReference.of(made)
    cells = CellMap.of_reference(made.to_json())
    counts = rng.integers(0, 50, made.bins.size)
    merged = coarse.merge(counts)
    by_line = np.bincount(cells.index, weights=counts).astype(int)
    for (column, _, cell), n_line in zip(cells.lines, by_line, strict=True):
        assert merged[coarse.slots[column, cell]] == n_line
    assert merged.sum() == counts.sum() and len(set(coarse.slots.values())) == len(cells.lines)
    assert np.isfinite(coarse.typical).all()
    for name, bins in coarse.reference.bins.columns.items():
        fine, where = made.bins.columns[name], coarse.reference.bins.slice(name)
        assert merged[where][bins.outside].sum() == counts[made.bins.slice(name)][fine.outside].sum()
        assert merged[where][bins.missing] == counts[made.bins.slice(name)][fine.missing]
        assert merged[where][bins.invalid] == counts[made.bins.slice(name)][fine.invalid]
        assert len(bins.labels()) == bins.size
    assert Reference.from_json(coarse.reference.to_json()).id == coarse.reference.id

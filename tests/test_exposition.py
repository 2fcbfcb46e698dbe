"""What Prometheus reads: every number exact, every name legal, every family once; and who may read the profile."""

import asyncio
import io
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from barograph import Reference, exposition, naming
from barograph.bins import BinSet, CategoryBins, NumericBins, category_bins, numeric_bins, score_bins
from barograph.cells import SCORE_CELLS, CellMap, violations
from barograph.counters import Series, Snapshot, Vector
from barograph.exposition import asgi_app, with_registry, wsgi_app

RNG = np.random.default_rng(0)


def render(snapshot: Snapshot, cells) -> bytes:
    """The text, without what it says of itself."""
    text, _, after = exposition.render(snapshot, cells).partition(b"# HELP ml_monitor_series ")
    assert after.count(b"\n") == 6
    return text


MODEL = {"model": "flight-delay", "version": "3"}
NUMBERS = RNG.normal(100, 10, 5000)
SCORES = RNG.beta(2, 5, 5000)
VALUES = {
    "delay": NUMBERS,
    "carrier": ["AA"] * 500 + ["B6"] * 300 + ["UA"] * 100,
    "tail": ["N1"] * 5 + ["N2"] * 5,
    "score": SCORES,
    "prediction": (SCORES >= 0.5).astype(float),
}
BINS = BinSet(
    {
        "delay": numeric_bins(NUMBERS),
        "carrier": category_bins({"AA": 500, "B6": 300, "UA": 100}),
        "tail": category_bins({"N1": 5, "N2": 5}, novelty=0.5),
        "score": numeric_bins(SCORES, quantiles=512, points=[0.5]),
        "prediction": numeric_bins(np.array([0.0, 1.0] * 50)),
    },
    {
        "delay": "feature",
        "carrier": "feature",
        "tail": "feature",
        "score": "score",
        "prediction": "prediction",
    },
)
MASS = np.concatenate([np.bincount(b.index(VALUES[n]), minlength=b.size) for n, b in BINS.columns.items()])
CELLS = CellMap.of(BINS, MASS, threshold=0.5)
COLUMNS = Series.of(naming.COLUMN_VALUES, {**MODEL, "bins": BINS.id}, size=BINS.size)


def snapshot(*pairs: tuple[Series, Vector]) -> Snapshot:
    return Snapshot(0.0, "e", 1, dict(pairs))


def count(series: Series, *counts: int, sums: tuple[float, ...] = ()) -> tuple[Series, Vector]:
    return series, Vector(np.array(counts, dtype=np.int64), np.array(sums, dtype=np.float64))


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample as prometheus_client's own parser reads it; fails on a sample that comes twice."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(text: bytes, metric: str, **labels: str) -> float:
    return samples(text)[metric, frozenset(labels.items())]


# Text.


def test_counters_gauges_and_infos_read_as_prometheus_writes_them():
    text = render(
        snapshot(
            count(Series.of(naming.CLOCK, {}), sums=(1.5e9,)),
            count(Series.of(naming.PREDICTIONS, MODEL), 2**62),
            count(Series.of(naming.FLUSH_SECONDS, MODEL), sums=(0.1,)),
            count(Series.of(naming.IN_PROGRESS, MODEL), sums=(-1.0,)),
        ),
        {},
    )
    assert text.decode() == (
        "# HELP ml_predictions_total Rows predicted.\n"
        "# TYPE ml_predictions_total counter\n"
        'ml_predictions_total{model="flight-delay",version="3"} 4611686018427387904\n'
        "# HELP ml_predictions_in_progress Prediction requests being answered now.\n"
        "# TYPE ml_predictions_in_progress gauge\n"
        'ml_predictions_in_progress{model="flight-delay",version="3"} -1.0\n'
        "# HELP ml_monitor_clock_seconds The process's clock: injected, else wall time.\n"
        "# TYPE ml_monitor_clock_seconds gauge\n"
        "ml_monitor_clock_seconds 1500000000.0\n"
        "# HELP ml_monitor_flush_seconds_total CPU seconds that the flusher has used.\n"
        "# TYPE ml_monitor_flush_seconds_total counter\n"
        'ml_monitor_flush_seconds_total{model="flight-delay",version="3"} 0.1\n'
    )


def test_an_empty_snapshot_is_an_empty_text():
    assert render(snapshot(), {}) == b""


@given(st.lists(st.integers(0, 2**40), min_size=27, max_size=27), st.floats(0, 1e9))
def test_a_histogram_is_cumulative_and_complete(counts, seconds):
    text = render(
        snapshot(count(Series.of(naming.DURATION, {**MODEL, "stage": "total"}), *counts, sums=(seconds,))), {}
    )
    bounds = [*(str(float(bound)) for bound in naming.DURATION_BUCKETS), "+Inf"]
    found = {(name[30:], dict(pairs).get("le")): number for (name, pairs), number in samples(text).items()}
    assert [found["_bucket", bound] for bound in bounds] == np.cumsum(counts).tolist()
    assert found["_count", None] == sum(counts)
    assert found["_sum", None] == seconds
    assert len(found) == len(bounds) + 2


@pytest.mark.parametrize(
    ("number", "text"),
    [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (0.1, "0.1"), (1e-7, "1e-07")],
)
def test_numbers_that_are_not_finite_have_prometheus_names(number, text):
    last = render(snapshot(count(Series.of(naming.CLOCK, {}), sums=(number,))), {}).splitlines()[-1]
    assert last == f"ml_monitor_clock_seconds {text}".encode()


@given(st.text(max_size=50))
def test_any_text_survives_as_the_value_of_a_label(name):
    text = render(snapshot(count(Series.of(naming.BUSINESS, {"model": "m", "event": name}), 3)), {})
    assert len(text.splitlines(keepends=False)) >= 3
    assert text.count(b"\n") == 3
    readable = name.encode("utf-8", "replace").decode()
    assert value(text, "ml_business_events_total", model="m", event=readable) == 3


def test_a_name_of_ten_kilobytes_with_quotes_and_newlines_is_escaped():
    name = '\\"\n' * 3500
    text = render(snapshot(count(Series.of(naming.BUSINESS, {"model": "m", "event": name}), 3)), {})
    assert text.count(b"\n") == 3
    assert rb'event="\\\"\n\\\"\n' in text
    assert value(text, "ml_business_events_total", model="m", event=name) == 3


def test_each_family_stands_once_with_its_lines_together():
    pairs = []
    for version in ("1", "2", "3"):
        labels = {"model": "m", "version": version}
        pairs.append(count(Series.of(naming.PREDICTIONS, labels), 1))
        pairs.append(count(Series.of(naming.DURATION, {**labels, "stage": "total"}), *[1] * 27, sums=(1.0,)))
        pairs.append(count(Series.of(naming.EMPTY, labels), 1))
    lines = render(snapshot(*pairs), {}).decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert types == ["ml_predictions_total", "ml_prediction_duration_seconds", "ml_empty_responses_total"]
    current = ""
    for line in lines:
        current = line.split()[2] if line.startswith("#") else current
        assert line.startswith(("#", current))


# Columns.


def test_columns_read_by_cell_and_nothing_is_lost():
    counts = RNG.integers(0, 1000, BINS.size)
    text = render(snapshot((COLUMNS, Vector(counts, np.zeros(BINS.size)))), {BINS.id: CELLS})
    read = {k: v for k, v in samples(text).items() if k[0] == "ml_column_values_total"}
    assert len(read) == len(CELLS.lines) == len(set(CELLS.lines))
    for column in BINS.columns:
        shown = sum(v for (_, labels), v in read.items() if ("column", column) in labels)
        assert shown == counts[BINS.slice(column)].sum()
    for line, (column, role, cell) in enumerate(CELLS.lines):
        labels = {**MODEL, "bins": BINS.id, "column": column, "role": role, "cell": cell}
        assert value(text, "ml_column_values_total", **labels) == counts[CELLS.index == line].sum()


def cell_of(column: str, number: object) -> str:
    slot = BINS.offsets[column] + int(BINS.columns[column].index([number])[0])
    return CELLS.lines[CELLS.index[slot]][2]


@pytest.mark.parametrize(
    ("column", "number", "cell"),
    [
        ("delay", -1e5, "below"),
        ("delay", 1e5, "above"),
        ("delay", BINS.columns["delay"].low, "c00"),
        ("delay", np.nextafter(BINS.columns["delay"].low, -np.inf), "below"),
        ("delay", BINS.columns["delay"].high, "above"),
        ("delay", np.nextafter(BINS.columns["delay"].high, -np.inf), "c15"),
        ("delay", 0.0, "zero"),
        ("delay", -1, "sentinel"),
        ("delay", None, "missing"),
        ("delay", math.inf, "invalid"),
        ("delay", "late", "invalid"),
        ("delay", float(NUMBERS.min()), "c00"),
        ("delay", float(NUMBERS.max()), "c15"),
        ("carrier", "AA", "c04"),
        ("carrier", "Cessna", "unseen"),
        ("carrier", None, "missing"),
        ("carrier", {}, "invalid"),
        ("tail", "N999", "c15"),
        ("score", -0.1, "c00"),
        ("score", 1.5, "c31"),
        ("prediction", 0.0, "zero"),
    ],
)
def test_a_value_falls_into_the_cell_that_says_what_it_is(column, number, cell):
    assert cell_of(column, number) == cell


def test_cells_refine_the_18_cells_of_the_signals():
    """Each label lies wholly in one of the cells over which drift is judged, so that drift can be judged on labels alone."""
    for name, column in BINS.columns.items():
        coarse = column.cells(MASS[BINS.slice(name)])
        fine = CELLS.index[BINS.slice(name)]
        for line in set(fine):
            assert len(set(coarse[fine == line])) == 1, CELLS.lines[line]


def test_no_cell_of_a_score_spans_the_decision_threshold():
    edges = BINS.columns["score"].edges
    below = np.flatnonzero(edges == 0.5)[0] + 1
    index = CELLS.index[BINS.slice("score")]
    values = BINS.columns["score"].values
    assert not set(index[:below]) & set(index[below:values])
    cells = [cell for column, _, cell in CELLS.lines if column == "score" and cell.startswith("c")]
    assert cells == [naming.cell_label(i) for i in range(SCORE_CELLS)]


def test_a_score_without_a_reference_is_shown_over_even_cells():
    bins = BinSet({"score": score_bins()}, {"score": "score"})
    series = Series.of(naming.COLUMN_VALUES, {**MODEL, "bins": bins.id}, size=bins.size)
    counts = np.bincount(bins.columns["score"].index([0.5] * 7), minlength=bins.size)
    text = render(snapshot((series, Vector(counts, np.zeros(bins.size)))), {})
    read = {k: v for k, v in samples(text).items() if k[0] == "ml_column_values_total"}
    assert len(read) <= SCORE_CELLS + 6
    assert sum(read.values()) == max(read.values()) == 7


def test_columns_over_bins_that_nobody_knows_are_left_out():
    text = render(
        snapshot((COLUMNS, Vector.zero(COLUMNS)), count(Series.of(naming.PREDICTIONS, MODEL), 1)), {}
    )
    assert b"ml_column_values_total" not in text
    assert b"ml_predictions_total" in text


def test_columns_read_by_the_reference_that_a_worker_published():
    frame = {"x": NUMBERS[:500], "p": SCORES[:500]}
    reference = Reference.fit(frame, task="binary", score="p", threshold=0.5)
    bins, baseline = reference.bins, reference.baseline
    series = Series.of(naming.COLUMN_VALUES, {**MODEL, "bins": bins.id}, size=bins.size)
    one = snapshot((series, Vector(baseline.counts, baseline.sums)))
    by_hand = CellMap.of(bins, baseline.counts, threshold=0.5)
    assert render(one, {bins.id: reference.to_json()}) == render(one, {bins.id: by_hand})


@pytest.mark.parametrize("mine", ["a" * 16, "b" * 16])
def test_columns_are_shown_by_the_reference_that_their_version_names(mine):
    """Two references of the same bins and other counts: the cells are those of the one in ml_model_info."""
    rows = np.arange(BINS.size)
    maps = {"a" * 16: CellMap.of(BINS, rows), "b" * 16: CellMap.of(BINS, rows[::-1].copy())}
    info = Series.of(naming.MODEL_INFO, {**MODEL, "reference": mine, "bins": BINS.id})
    columns = (COLUMNS, Vector(rows, np.zeros(BINS.size)))
    both = snapshot(columns, (info, Vector(np.zeros(0, np.int64), np.ones(1))))
    alone = {cells: render(snapshot(columns), {"x": one}) for cells, one in maps.items()}
    assert alone["a" * 16] != alone["b" * 16]
    shown = [line for line in render(both, maps).splitlines() if b"ml_column_values_total{" in line]
    assert shown == [line for line in alone[mine].splitlines() if b"ml_column_values_total{" in line]


def test_a_reference_that_cannot_be_read_hides_its_columns_and_nothing_else(caplog):
    one = snapshot((COLUMNS, Vector.zero(COLUMNS)), count(Series.of(naming.PREDICTIONS, MODEL), 1))
    for _ in range(3):
        text = render(one, {BINS.id: b'{"format": "of tomorrow"}'})
        assert b"ml_column_values_total" not in text
        assert value(text, "ml_predictions_total", **MODEL) == 1
    assert caplog.text.count(f"no columns by reference {BINS.id}") == 1


def test_violations_are_those_of_features_and_are_there_at_0():
    counts = np.zeros(BINS.size, dtype=np.int64)
    assert violations(BINS, counts) == {
        ("delay", "type"): 0, ("delay", "range"): 0, ("carrier", "type"): 0, ("carrier", "category"): 0,
        ("tail", "type"): 0, ("tail", "category"): 0,
    }  # fmt: skip
    for column, number, times in (
        ("delay", "x", 2),
        ("delay", -1e5, 3),
        ("delay", 1e5, 4),
        ("carrier", "Cessna", 5),
    ):
        counts[BINS.offsets[column] + BINS.columns[column].index([number])[0]] += times
    found = violations(BINS, counts)
    assert (found["delay", "type"], found["delay", "range"], found["carrier", "category"]) == (2, 7, 5)
    text = render(snapshot((COLUMNS, Vector(counts, np.zeros(BINS.size)))), {BINS.id: CELLS})
    for (column, kind), n in found.items():
        assert value(text, "ml_schema_violations_total", **MODEL, column=column, kind=kind) == n


def test_violations_over_two_references_of_one_model_are_one_line():
    other = BinSet({"delay": NumericBins(np.array([0.0, 1.0]), 0.0, 1.0)}, {"delay": "feature"})
    series = Series.of(naming.COLUMN_VALUES, {**MODEL, "bins": other.id}, size=other.size)
    theirs = np.bincount(other.columns["delay"].index([-5.0, 5.0, "x"]), minlength=other.size)
    ours = np.zeros(BINS.size, dtype=np.int64)
    ours[BINS.offsets["delay"] + BINS.columns["delay"].index([1e5])[0]] = 7
    text = render(
        snapshot(
            (COLUMNS, Vector(ours, np.zeros(BINS.size))),
            (series, Vector(theirs, np.zeros(other.size))),
            count(Series.of(naming.VIOLATIONS, {**MODEL, "column": "delay", "kind": "grid"}), 9),
        ),
        {BINS.id: CELLS, other.id: CellMap.of(other, theirs)},
    )
    assert value(text, "ml_schema_violations_total", **MODEL, column="delay", kind="range") == 9
    assert value(text, "ml_schema_violations_total", **MODEL, column="delay", kind="type") == 1
    assert value(text, "ml_schema_violations_total", **MODEL, column="delay", kind="grid") == 9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(-2e6, 2e6))
def test_every_slot_of_any_column_has_exactly_one_cell(values, threshold):
    data = np.array(values)
    bins = BinSet(
        {"x": numeric_bins(data), "s": numeric_bins(data, points=[threshold])}, {"x": "feature", "s": "score"}
    )
    counts = np.bincount(bins.columns["x"].index(data), minlength=bins.columns["x"].size)
    mass = np.concatenate(
        [counts, np.bincount(bins.columns["s"].index(data), minlength=bins.columns["s"].size)]
    )
    cells = CellMap.of(bins, mass, threshold=threshold)
    assert len(cells.index) == bins.size
    assert set(cells.index.tolist()) == set(range(len(cells.lines)))


# The process's own registry.


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    return prometheus_client.CollectorRegistry()


def test_a_users_own_metrics_stand_beside_ours(registry):
    prometheus_client.Counter("orders", "Orders.", ["shop"], registry=registry).labels("x").inc(3)
    ours = render(snapshot(count(Series.of(naming.PREDICTIONS, MODEL), 7)), {})
    text = with_registry(ours, registry)
    assert text.startswith(ours)
    assert value(text, "orders_total", shop="x") == 3
    assert value(text, "ml_predictions_total", **MODEL) == 7


def test_a_family_of_ours_is_not_emitted_twice(registry):
    labels = {"handler": "/", "method": "GET", "status": "2xx"}
    prometheus_client.Counter("http_requests", "Theirs.", list(labels), registry=registry).labels(
        **labels
    ).inc(99)
    prometheus_client.Gauge("ml_monitor_clock_seconds", "Theirs.", registry=registry).set(99)
    prometheus_client.Histogram("http_request_duration_seconds", "Theirs.", registry=registry).observe(99)
    ours = render(
        snapshot(
            count(Series.of(naming.HTTP_REQUESTS, labels), 7), count(Series.of(naming.CLOCK, {}), sums=(5.0,))
        ),
        {},
    )
    text = with_registry(ours, registry)
    assert value(text, "http_requests_total", **labels) == 7
    assert value(text, "ml_monitor_clock_seconds") == 5.0
    assert b"# TYPE http_request_duration_seconds histogram" in text  # ours has none


def test_a_registry_that_fails_does_not_take_ours_with_it(registry, caplog):
    class Broken:
        def collect(self):
            raise KeyError("their bug")

        def describe(self):
            return []

    registry.register(Broken())
    ours = render(snapshot(count(Series.of(naming.PREDICTIONS, MODEL), 7)), {})
    assert with_registry(ours, registry) == ours
    assert "registry failed" in caplog.text


def test_multiprocess_metrics_of_prometheus_client_are_read_from_their_directory(tmp_path):
    """As prometheus_client does it: from all processes that wrote there."""
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    count_it = "import prometheus_client as p; p.Counter('orders', 'Orders.').inc(2)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", count_it], env=environment, check=True)
    show = "from barograph.exposition import with_registry; print(with_registry(b'').decode())"
    text = subprocess.check_output([sys.executable, "-c", show], env=environment)
    assert b"orders_total 4.0" in text


# Endpoints.


class Exposed:
    """What endpoints need of a monitor."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def snapshot(self) -> Snapshot:
        return snapshot(count(Series.of(naming.PREDICTIONS, MODEL), 7))

    def render(self) -> bytes:
        return render(self.snapshot(), {})

    def reference_json(self, id: str) -> bytes | None:
        return b'{"id": "x"}' if id == "00c0ffee00c0ffee" else None


def by_asgi(app, method, path, client, headers):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    fields = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": fields, "root_path": ""}
    scope["client"] = None if client is None else (client, 5000)
    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    found = {k.decode(): v.decode() for k, v in start["headers"]}
    return start["status"], found, b"".join(message["body"] for message in rest)


def by_wsgi(app, method, path, client, headers):
    answered = []
    environ = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()}
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO()}
    if client is not None:
        environ["REMOTE_ADDR"] = client
    body = b"".join(app(environ, lambda status, fields: answered.append((status, dict(fields)))))
    return int(answered[0][0].split()[0]), answered[0][1], body


@pytest.fixture(params=["asgi", "wsgi"])
def get(request, registry):
    """Asks an application of either kind: (token, path, ...) -> (status, headers, body)."""

    def ask(path, *, token=None, method="GET", client="127.0.0.1", headers=None):
        make, call = (asgi_app, by_asgi) if request.param == "asgi" else (wsgi_app, by_wsgi)
        return call(make(Exposed(token), registry), method, path, client, headers or {})

    return ask


def test_metrics_are_answered_to_anybody(get):
    status, headers, body = get("/metrics", client="203.0.113.9", token="secret")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert value(body, "ml_predictions_total", **MODEL) == 7


def test_the_profile_is_a_snapshot(get):
    status, headers, body = get("/profile")
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert Snapshot.from_bytes(body).series[Series.of(naming.PREDICTIONS, MODEL)].counts[0] == 7


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_the_profile_answers_this_machine(get, client):
    assert get("/profile", client=client)[0] == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("203.0.113.9", {}),
        ("::ffff:203.0.113.9", {}),
        ("10.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),  # through a proxy on this machine, from anywhere
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
        ("localhost", {}),
        (None, {}),
        ("127.0.0.1", {"X-Real-IP": "203.0.113.9"}),
    ],
)
def test_without_a_token_nobody_else_reads_the_profile(get, client, headers):
    for path in ("/profile", "/profile/reference/00c0ffee00c0ffee"):
        status, _, body = get(path, client=client, headers=headers)
        assert status == 403
        assert "BAROGRAPH_TOKEN" in json.loads(body)["error"]["remedy"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer s3crét", 200),
        ("bearer s3crét", 200),
        ("Bearer s3cret", 401),
        ("Bearer", 401),
        ("Basic s3crét", 401),
        ("s3crét", 401),
        (None, 401),
    ],
)
def test_with_a_token_it_is_the_token_that_counts(get, header, status):
    headers = {} if header is None else {"Authorization": header.encode().decode("latin-1")}
    for client in ("127.0.0.1", "203.0.113.9"):
        found, answered, _ = get("/profile", token="s3crét", client=client, headers=headers)
        assert found == status
        assert ("www-authenticate" in answered) == (status == 401)


def test_a_reference_is_found_by_its_content_id(get):
    assert get("/profile/reference/00c0ffee00c0ffee")[2] == b'{"id": "x"}'
    status, _, body = get("/profile/reference/nothing")
    assert status == 404
    assert json.loads(body)["error"]["what"] == "there is no reference 'nothing'"


@pytest.mark.parametrize(
    "path", ["/", "/metric", "/metrics/x", "/profile/x", "/profile/reference/a/b", "/profile/reference"]
)
def test_other_paths_are_not_found(get, path):
    status, _, body = get(path)
    assert status == 404
    assert json.loads(body)["error"]["remedy"]


@pytest.mark.parametrize("path", ["/metrics", "/profile", "/profile/reference/00c0ffee00c0ffee"])
def test_only_get_and_head_are_answered(get, path):
    for method in ("POST", "PUT", "DELETE"):
        status, headers, _ = get(path, method=method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
    status, headers, body = get(path, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_a_mounted_application_finds_its_paths_below_the_mount(registry):
    app = asgi_app(Exposed(), registry)
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ops/metrics",
        "root_path": "/ops",
        "headers": [],
        "client": None,
    }
    asyncio.run(app(scope, None, send))
    assert sent[0]["status"] == 200


def test_the_asgi_application_runs_as_a_server_of_its_own(registry):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(asgi_app(Exposed(), registry)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# Speed.


def test_a_scrape_is_far_faster_than_prometheus_client(registry):
    """Beside it in the same run, as benchmarks/ does with the budgets; here only that the order of magnitude holds."""
    column = numeric_bins(RNG.normal(5, 1, 1000))
    bins = BinSet({f"column_{i}": column for i in range(200)}, {f"column_{i}": "feature" for i in range(200)})
    cells = CellMap.of(bins, np.ones(bins.size, dtype=np.int64))
    series = Series.of(naming.COLUMN_VALUES, {**MODEL, "bins": bins.id}, size=bins.size)
    one = snapshot((series, Vector(RNG.integers(0, 10**6, bins.size), np.zeros(bins.size))))
    one = Snapshot.from_bytes(one.to_bytes())
    theirs = prometheus_client.Counter(
        "values", "Values.", ["bins", "column", "role", "cell"], registry=registry
    )
    for place, line in enumerate(cells.lines):
        theirs.labels(bins.id, *line).inc(place)

    def seconds(work) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    ours = seconds(lambda: render(one, {bins.id: cells}))
    assert len(cells.lines) > 3000
    assert ours * 15 < seconds(lambda: prometheus_client.generate_latest(registry))


def test_a_category_column_has_a_cell_for_each_kind_of_slot():
    column = CategoryBins(("a", "b"))
    cells = CellMap.of(BinSet({"c": column}, {"c": "feature"}), np.array([30, 10, 0, 0, 0, 0]))
    assert [cells.lines[i][2] for i in cells.index] == ["c06", "c14", "c15", "unseen", "missing", "invalid"]


@pytest.mark.parametrize(
    "name", ["a b", "%2e%2e", "..", "00c0ffee", "00C0FFEE00C0FFEE", "00c0ffee00c0ffee1", "é" * 8]
)
def test_a_reference_of_an_odd_name_is_not_found(get, name):
    assert get(f"/profile/reference/{name}")[0] == 404


def test_values_with_other_lone_surrogates_are_other_lines():
    events = ["\ud800", "\ud801", "é"]
    pairs = [count(Series.of(naming.BUSINESS, {"model": "m", "event": event}), 1) for event in events]
    text = render(snapshot(*pairs), {}).decode("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("ml_business_events_total{")]
    assert len(set(lines)) == 3

"""PromQL: the names of recorded series, and the building blocks of queries. Rules, alerts and dashboards are made of these.

Names follow Prometheus' own convention, `level:metric:operation`: the labels that are left, the metric, what was done to it.
Nothing here adds up counts of different `bins`: their edges differ, and PromQL would not refuse.
"""

from bisect import bisect_left
from collections.abc import Iterable

from barograph import naming
from barograph.alert import BURNS
from barograph.naming import DURATION_BUCKETS, Metric

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 7 * 86_400

MODEL = ("model",)
VERSION = ("model", "version")
STAGE = ("model", "version", "stage")
EVENT = ("model", "event")
CELL = ("model", "version", "bins", "column", "role", "cell")
REPLICA = ("instance", "pod")  # what tells replicas apart: their counts add up

QUANTILES = (0.95,)  # those that are recorded; dashboards ask for others over the range that is shown
BURN_WINDOWS = tuple(sorted({seconds for burn in BURNS for seconds in (burn.long, burn.short)}))
SILENCE_WINDOWS = (300, 900, HOUR)  # looked at for silence: the shortest in which enough events are expected
STEADY_WINDOWS = (300, 900)  # gaps by which events that come in bursts are told
CELL_STEP = 300  # seconds between two recordings of a column's cells


def span(seconds: int) -> str:
    """A duration in Prometheus' notation.

    >>> span(300), span(6 * 3600), span(7 * 86_400), span(90)
    ('5m', '6h', '1w', '90s')
    """
    for unit, size in (("w", WEEK), ("d", DAY), ("h", HOUR), ("m", MINUTE)):
        if seconds % size == 0 and (seconds < 7 * size or unit != "d"):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def recorded(level: Iterable[str], metric: Metric, operation: str) -> str:
    """The name of a recorded series; a counter that was counted up over a window loses its `_total`.

    >>> recorded(VERSION, naming.PREDICTIONS, "rate5m")
    'model_version:ml_predictions:rate5m'
    """
    return f"{'_'.join(level)}:{metric.name.removesuffix('_total')}:{operation}"


# Names of recorded series.

PREDICTION_RATE = recorded(VERSION, naming.PREDICTIONS, "rate5m")
ERROR_RATE = recorded(VERSION, naming.ERRORS, "rate5m")
MEAN_SECONDS = recorded(STAGE, naming.DURATION, "mean5m")
EMPTY_RATIO = recorded(VERSION, naming.EMPTY, "ratio1h")
EMPTY_EXPECTED = recorded(VERSION, naming.EMPTY, "expected_ratio1h")
EMPTY_LIMIT = recorded(VERSION, naming.EMPTY, "limit_ratio1h")
ROWS_1H = recorded(VERSION, naming.PREDICTIONS, "increase1h")
REFERENCES = recorded((*VERSION, "reference"), naming.MODEL_INFO, "count")
# Every CELL_STEP only, as long as Prometheus looks back: ask for `latest` of these, else there are gaps.
EMPTY_5M = recorded(VERSION, naming.EMPTY, "increase5m")
ROWS_5M = recorded(VERSION, naming.PREDICTIONS, "increase5m")
EMPTY_USUAL = recorded(VERSION, naming.EMPTY, "usual_ratio1w")
EMPTY_USUAL_OF_MODEL = recorded(MODEL, naming.EMPTY, "usual_ratio1w")
CELLS_5M = recorded(CELL, naming.COLUMN_VALUES, "increase5m")
CELLS_1H = recorded(CELL, naming.COLUMN_VALUES, "increase1h")
SHARE_1H = recorded(CELL, naming.COLUMN_VALUES, "share1h")
RULES_ALIVE = "monitor:rules:alive"  # 1 at each evaluation of the rules


def answered_name(window: int) -> str:
    """Calls that were answered in one of BURN_WINDOWS (seconds): timed requests; where none is timed, rows."""
    return recorded(VERSION, naming.PREDICTIONS, f"answered{span(window)}")


def calls_name(window: int) -> str:
    """Calls in one of BURN_WINDOWS (seconds): those that were answered, and those that failed."""
    return recorded(VERSION, naming.PREDICTIONS, f"calls{span(window)}")


def failed_name(window: int) -> str:
    """Calls that failed in one of BURN_WINDOWS (seconds)."""
    return recorded(VERSION, naming.ERRORS, f"increase{span(window)}")


def timed_name(window: int) -> str:
    """Calls that were timed in one of BURN_WINDOWS (seconds)."""
    return recorded(VERSION, naming.DURATION, f"timed{span(window)}")


def slow_name(window: int) -> str:
    """Calls that took longer than the objective in one of BURN_WINDOWS (seconds)."""
    return recorded(VERSION, naming.DURATION, f"slow{span(window)}")


def error_ratio_name(window: int) -> str:
    """Share of calls that failed in one of BURN_WINDOWS (seconds)."""
    return recorded(VERSION, naming.ERRORS, f"ratio{span(window)}")


def slow_ratio_name(window: int) -> str:
    """Share of timed calls that took longer than the objective in one of BURN_WINDOWS (seconds)."""
    return recorded(VERSION, naming.DURATION, f"slow_ratio{span(window)}")


def quantile_name(q: float) -> str:
    """Seconds that a share q of calls took at most, by stage, over 5 minutes; q is one of QUANTILES."""
    return recorded(STAGE, naming.DURATION, f"p{q * 100:g}_5m")


def events_name(metric: Metric, window: int) -> str:
    """Predictions of a model, or business events of each kind, in one of SILENCE_WINDOWS (seconds)."""
    return recorded(events_level(metric), metric, f"increase{span(window)}")


def usual_name(metric: Metric, *, coming: bool = False) -> str:
    """Events usual for the hour that ends now, or for the coming one, by the same hours of earlier weeks."""
    return recorded(events_level(metric), metric, "usual_coming1h" if coming else "usual1h")


def expected_name(metric: Metric) -> str:
    """Events expected an hour: the lower of what is usual for the hour that ends now, and for the coming one."""
    return recorded(events_level(metric), metric, "expected1h")


def steady_name(metric: Metric, window: int) -> str:
    """There where events came without a gap as long as one of STEADY_WINDOWS (seconds): fewer of them are then news."""
    return recorded(events_level(metric), metric, f"steady{span(window)}")


def events_level(metric: Metric) -> tuple[str, ...]:
    """The labels by which events are counted: predictions by model, business events by model and kind."""
    return EVENT if metric is naming.BUSINESS else MODEL


# Building blocks. `matchers` are label matchers as PromQL has them: 'model=~"$model"'.


def selector(metric: Metric | str, *matchers: str, suffix: str = "") -> str:
    """A metric's series, with all matchers that are not empty.

    >>> selector(naming.PREDICTIONS, 'model="fraud"')
    'ml_predictions_total{model="fraud"}'
    """
    name = metric if isinstance(metric, str) else metric.name
    given = ",".join(m for m in matchers if m)
    return f"{name}{suffix}{{{given}}}" if given else f"{name}{suffix}"


def matcher(label: str, value: str, sign: str = "=") -> str:
    """A label matcher, its value escaped.

    >>> matcher("cell", 'a"b')
    'cell="a\\\\"b"'
    """
    return f'{label}{sign}"{value.translate(_ESCAPES)}"'


_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def total(expression: str, by: Iterable[str]) -> str:
    """The sum that keeps these labels."""
    return f"sum by ({', '.join(by)}) ({expression})"


def increase(
    metric: Metric | str, window: str, *matchers: str, by: Iterable[str] = VERSION, suffix: str = ""
) -> str:
    """What a counter grew by in a window, as an estimate: it need not be whole.

    >>> increase(naming.EMPTY, "1h", by=MODEL)
    'sum by (model) (increase(ml_empty_responses_total[1h]))'
    """
    return total(f"increase({selector(metric, *matchers, suffix=suffix)}[{window}])", by)


def rate(
    metric: Metric | str, window: str, *matchers: str, by: Iterable[str] = VERSION, suffix: str = ""
) -> str:
    """What a counter grows by a second, over a window; `$__rate_interval` in dashboards.

    >>> rate(naming.PREDICTIONS, "5m")
    'sum by (model, version) (rate(ml_predictions_total[5m]))'
    """
    return total(f"rate({selector(metric, *matchers, suffix=suffix)}[{window}])", by)


def ratio(part: str, whole: str, least: int = 0) -> str:
    """A share; absent where the whole is 0, below `least` or absent, never 0 or NaN.

    >>> ratio("failed", "calls"), ratio("failed", "calls", 30)
    ('failed / (calls > 0)', 'failed / (calls >= 30)')
    """
    simple = part.replace("_", "a").replace(":", "a").isalnum()
    enough = f"({whole} >= {least})" if least else f"({whole} > 0)"
    return f"{part} / {enough}" if simple else f"({part}) / {enough}"


TOTAL = matcher("stage", naming.TOTAL)  # of durations: the request as a whole


def calls(window: str, *matchers: str, by: Iterable[str] = VERSION, of: str = "rate") -> str:
    """Calls by a counter function `of` a window. A call is a timed request; where none is timed, a row; and one that failed."""
    by = tuple(by)
    timed = _counted(of, selector(naming.DURATION, TOTAL, *matchers, suffix="_count"), window, by)
    rows = _counted(of, selector(naming.PREDICTIONS, *matchers), window, by)
    failed = _counted(of, selector(naming.ERRORS, *matchers), window, by)
    answered = f"({timed} > 0 or {rows} or {timed})"
    return f"({answered} + {failed} or {answered} or {failed})"


def _counted(of: str, series: str, window: str, by: Iterable[str]) -> str:
    return total(f"{of}({series}[{window}])", by)


def error_ratio(window: str, *matchers: str, by: Iterable[str] = VERSION) -> str:
    """Share of calls that failed."""
    by = tuple(by)
    return ratio(rate(naming.ERRORS, window, *matchers, by=by), calls(window, *matchers, by=by))


def bucket(seconds: float) -> float:
    """The bound of a bucket of durations that is nearest to an objective, and not above it where it can be helped.

    >>> bucket(0.5), bucket(0.6), bucket(60)
    (0.5, 0.5, 30.0)
    """
    i = bisect_left(DURATION_BUCKETS, seconds)
    near = DURATION_BUCKETS[max(i - 1, 0) : i + 1]
    return min(near, key=lambda bound: (abs(bound - seconds), bound))


def le(seconds: float) -> str:
    """The matcher of a bucket, as all versions of clients and servers write its bound.

    >>> le(0.5), le(1.0)
    ('le="0.5"', 'le=~"1(\\\\\\\\.0)?"')
    """
    whole = float(seconds).is_integer()
    return matcher("le", rf"{seconds:g}(\.0)?", "=~") if whole else matcher("le", repr(float(seconds)))


def slow(window: str, seconds: float, *matchers: str, by: Iterable[str] = VERSION, of: str = "rate") -> str:
    """Calls that took longer than the bucket nearest to an objective. Buckets are cumulative: one is enough."""
    by = tuple(by)
    every = selector(naming.DURATION, TOTAL, *matchers, suffix="_count")
    soon = selector(naming.DURATION, TOTAL, le(bucket(seconds)), *matchers, suffix="_bucket")
    return f"{_counted(of, every, window, by)} - {_counted(of, soon, window, by)}"


def slow_ratio(window: str, seconds: float, *matchers: str, by: Iterable[str] = VERSION) -> str:
    """Share of calls that took longer than the bucket nearest to an objective."""
    by = tuple(by)
    every = rate(naming.DURATION, window, TOTAL, *matchers, by=by, suffix="_count")
    return ratio(slow(window, seconds, *matchers, by=by), every)


def quantile(
    q: float, window: str, *matchers: str, by: Iterable[str] = STAGE, metric: Metric = naming.DURATION
) -> str:
    """Seconds that a share q of requests took at most.

    >>> quantile(0.95, "5m", by=("stage",))
    'histogram_quantile(0.95, sum by (stage, le) (rate(ml_prediction_duration_seconds_bucket[5m])))'
    """
    return f"histogram_quantile({q:g}, {rate(metric, window, *matchers, by=(*by, 'le'), suffix='_bucket')})"


def highest(window: str, *matchers: str, by: Iterable[str] = STAGE, metric: Metric = naming.DURATION) -> str:
    """The upper bound of the highest bucket that any request fell into: the maximum, to the bucket; at most the last bound."""
    return quantile(1, window, *matchers, by=by, metric=metric)


def mean(window: str, *matchers: str, by: Iterable[str] = STAGE, metric: Metric = naming.DURATION) -> str:
    """Mean seconds of a request."""
    seconds, number = (rate(metric, window, *matchers, by=by, suffix=s) for s in ("_sum", "_count"))
    return ratio(seconds, number)


def cells(window: str, *matchers: str) -> str:
    """Values by cell in a window, over all replicas; versions and bins stay apart."""
    counted = selector(naming.COLUMN_VALUES, *matchers)
    return f"sum without ({', '.join(REPLICA)}) (increase({counted}[{window}]))"


def recorded_cells(window: str, *matchers: str) -> str:
    """The same from recorded series, over windows of whole multiples of CELL_STEP; right where counters are read late."""
    return f"sum_over_time({selector(CELLS_5M, *matchers)}[{window}])"


def latest(series: str) -> str:
    """The last recording of a series that is recorded every CELL_STEP.

    >>> latest(ROWS_5M)
    'last_over_time(model_version:ml_predictions:increase5m[10m])'
    """
    return f"last_over_time({series}[{span(2 * CELL_STEP)}])"


def count(metric: Metric, label: str, by: Iterable[str] = VERSION) -> str:
    """Processes by a label of theirs, where it is known.

    >>> count(naming.MODEL_INFO, "digest", by=("model",))
    'count by (model, digest) (ml_model_info{digest!=""})'
    """
    return f"count by ({', '.join((*by, label))}) ({selector(metric, matcher(label, '', '!='))})"


def smoothed_share(counts: str, *, cells: str = "cell") -> str:
    """Shares of a column's cells, (n + .5) / (N + .5 * cells): none is 0, and they add up to 1."""
    whole = f"sum without ({cells}) ({counts}) + 0.5 * count without ({cells}) ({counts})"
    return f"({counts} + 0.5) / ignoring ({cells}) group_left () ({whole})"

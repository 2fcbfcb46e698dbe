"""What can go wrong, as functions of rows: (rows, scene, f) -> rows. f = 0 changes nothing; the rows given stay as they are."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from barograph import frames
from barograph.drill.rows import Rows
from barograph.drill.scene import DAY, Scene
from barograph.reference import positive

HOUR = 3600
FLAWED_THRESHOLD = 0.05
SLOWER = 0.3  # seconds
Fault = Callable[[Rows, Scene, float], Rows]
Columns = Callable[[Scene], tuple[str, ...]]


def hit(rows: Rows, scene: Scene, f: float) -> np.ndarray:
    """bool[n]: the share f of the rows."""
    return np.asarray(scene.draw(len(rows)) < f)


# Columns that a fault is in: the most important ones that can have it.


def nowhere(_: Scene) -> tuple[str, ...]:
    """No column."""
    return ()


def number(scene: Scene) -> tuple[str, ...]:
    """The most important number."""
    return scene.numbers[:1]


def two_numbers(scene: Scene) -> tuple[str, ...]:
    """The two most important numbers."""
    return scene.numbers[:2] if len(scene.numbers) > 1 else ()


def category(scene: Scene) -> tuple[str, ...]:
    """The most important category."""
    return scene.categories[:1]


def feature(scene: Scene) -> tuple[str, ...]:
    """The most important feature."""
    return scene.features[:1]


def key(scene: Scene) -> tuple[str, ...]:
    """What batches are sorted by: the most important category, or number."""
    return (scene.categories or scene.numbers)[:1]


def hour(scene: Scene) -> tuple[str, ...]:
    """The hour of the day."""
    return () if scene.hour is None else (scene.hour,)


def rarely(value: float, *, within: bool | None = None, most: float = 0.01) -> Columns:
    """The most important number that is hardly ever `value`, be that within its range or not: nobody could tell it else."""

    def find(scene: Scene) -> tuple[str, ...]:
        rare = (name for name in scene.numbers if scene.share(name, value) < most)
        return tuple(n for n in rare if within is None or scene.reaches(n, value) == within)[:1]

    return find


def amount(scene: Scene) -> tuple[str, ...]:
    """The most important number that is above 0."""
    bins, counts = scene.reference.bins.columns, scene.reference.baseline.column
    for name in scene.numbers:
        below = int(bins[name].index(np.array([0.0]))[0])
        if counts(name)[0][: below + 1].sum() <= 0.01 * counts(name)[0].sum():
            return (name,)
    return ()


# Inputs.


def scaled(columns: Columns, factor: float) -> Fault:
    """Another unit in the share f of the rows."""

    def fault(rows: Rows, scene: Scene, f: float) -> Rows:
        (name,) = columns(scene)
        return rows.put(hit(rows, scene, f), **{name: rows.features[name] * factor})

    return fault


def cheaper(columns: Columns) -> Fault:
    """Another currency in all rows: amounts are smaller by the share f."""

    def fault(rows: Rows, scene: Scene, f: float) -> Rows:
        (name,) = columns(scene)
        return rows.put(np.full(len(rows), f > 0), **{name: rows.features[name] * (1 - f)})

    return fault


def filled(columns: Columns, value: object) -> Fault:
    """One value in place of others, in the share f of the rows."""

    def fault(rows: Rows, scene: Scene, f: float) -> Rows:
        (name,) = columns(scene)
        return rows.put(hit(rows, scene, f), **{name: value})

    return fault


def as_text(rows: Rows, scene: Scene, f: float) -> Rows:
    """A number arrives as a text."""
    (name,) = number(scene)
    values = rows.features[name]
    texts = np.array([None if v != v else f"{v:g}" for v in values.tolist()], dtype=object)
    return rows.put(hit(rows, scene, f), **{name: texts})


def renamed(rows: Rows, scene: Scene, f: float) -> Rows:
    """The most frequent category has another name, in the share f of all rows as far as it has so many."""
    (name,) = category(scene)
    top = scene.top(name)
    mine = rows.features[name] == top
    share = mine.mean() if len(mine) else 0.0
    return rows.put(mine & hit(rows, scene, min(1.0, f / max(share, 1e-9))), **{name: f"{top}_2"})


def swapped(rows: Rows, scene: Scene, f: float) -> Rows:
    """Two columns change places in the share f of the rows."""
    first, second = two_numbers(scene)
    values = {first: rows.features[second], second: rows.features[first]}
    return rows.put(hit(rows, scene, f), **values)


def hour_later(rows: Rows, scene: Scene, f: float) -> Rows:
    """The hour of the day is that of another time zone, in the share f of the rows."""
    (name,) = hour(scene)
    return rows.put(hit(rows, scene, f), **{name: (rows.features[name] + 1) % 24})


def stale(rows: Rows, scene: Scene, hours: float) -> Rows:
    """The most important number is what it was so many hours ago: of the last row by then."""
    (name,) = number(scene)
    at = np.searchsorted(rows.time, rows.time - hours * HOUR, side="right") - 1
    old = np.where(at >= 0, rows.features[name][np.maximum(at, 0)], rows.features[name][:1])
    return rows.put(np.full(len(rows), hours > 0), **{name: old})


def of_others(rows: Rows, scene: Scene, f: float) -> Rows:
    """The most important feature is that of another row, in the share f of the rows."""
    (name,) = feature(scene)
    here = np.flatnonzero(hit(rows, scene, f))
    values = rows.features[name].copy()
    values[here] = values[np.roll(here, 1)]
    return rows.put(hit(rows, scene, f), **{name: values})


def biased(rows: Rows, scene: Scene, f: float) -> Rows:
    """More and more rows of the most frequent category: f of all rows after a day, and no more from then on."""
    (name,) = category(scene)
    growing = f * np.clip((rows.time - scene.start) / DAY, 0, 1)
    here = scene.draw(len(rows)) < growing
    donors = np.flatnonzero(rows.features[name] == scene.top(name))
    if not len(donors):
        return rows
    places = np.arange(len(rows))
    at = np.where(here, donors[np.searchsorted(donors, places) % len(donors)], places)
    features = {n: values[at] for n, values in rows.features.items()}
    score, prediction, label = (
        None if values is None else values[at] for values in (rows.score, rows.prediction, rows.label)
    )
    return replace(rows, features=features, score=score, prediction=prediction, label=label)


# Rows.


def cut(rows: Rows, scene: Scene, f: float) -> Rows:
    """Each day is sorted by a key, and the first share f of it is lost."""
    (name,) = key(scene)
    keep = np.ones(len(rows), dtype=bool)
    for day in np.unique(rows.time // DAY):
        here = np.flatnonzero(rows.time // DAY == day)
        order = sorted(here.tolist(), key=lambda i: _sortable(rows.features[name][i]))
        keep[order[: round(f * len(order))]] = False
    return rows.take(keep)


def _sortable(value: object) -> tuple[bool, bool, object]:
    """Any value by its order: what is missing last."""
    missing = value is None or value != value
    return (missing, isinstance(value, str), 0 if missing else value)


def twice(rows: Rows, scene: Scene, f: float) -> Rows:
    """The share f of the rows is sent again, under the same ids."""
    here = hit(rows, scene, f)
    return Rows.joined([rows, rows.take(here)]) if here.any() else rows


def bots(rows: Rows, scene: Scene, f: float) -> Rows:
    """One request, again and again: in place of the share f of the others."""
    here = hit(rows, scene, f)
    if not here.any():
        return rows
    at = np.where(here, len(rows) // 2, np.arange(len(rows)))
    found = rows.take(at)
    return replace(found, time=rows.time, id=rows.id, duration=rows.duration, events=rows.events)


def none_at_all(rows: Rows, _: Scene, f: float) -> Rows:
    """No request comes any more."""
    return rows.take(slice(0, 0)) if f > 0 else rows


def late_run(rows: Rows, _: Scene, f: float) -> Rows:
    """A run starts f periods late: its rows come later by as much."""
    starts = np.unique(rows.time // HOUR)
    period = float(np.median(np.diff(starts))) * HOUR if len(starts) > 1 else HOUR
    return replace(rows, time=rows.time + f * period)


# Answers, and how requests go.


def emptied(rows: Rows, scene: Scene, f: float) -> Rows:
    """A filter leaves nothing of the answer, in the share f of the rows."""
    return replace(rows, empty=rows.empty | hit(rows, scene, f))


def fails(rows: Rows, scene: Scene, f: float) -> Rows:
    """Requests that are answered with an error."""
    return replace(rows, failed=rows.failed | hit(rows, scene, f))


def slower(rows: Rows, scene: Scene, f: float) -> Rows:
    """A stage takes 0.3 s longer in the share f of the requests."""
    assert rows.duration is not None
    return replace(rows, duration=rows.duration + SLOWER * hit(rows, scene, f))


def no_events(rows: Rows, scene: Scene, f: float) -> Rows:
    """Business events stop, in the share f of the requests."""
    assert rows.events is not None
    return replace(rows, events=np.where(hit(rows, scene, f), 0, rows.events))


def other_replica(rows: Rows, scene: Scene, f: float) -> Rows:
    """One replica, which answers the share f of the rows, is not what the others are."""
    return replace(rows, replica=hit(rows, scene, f).astype(np.int8))


def faulty_library(rows: Rows, scene: Scene, f: float) -> Rows:
    """One replica answers the opposite: 1 - score, or its mirror image about the mean."""
    found = other_replica(rows, scene, f)
    name = "score" if rows.score is not None else "prediction"
    values = getattr(rows, name)
    about = 1.0 if scene.reference.task == "binary" else 2 * float(np.nanmean(values)) if len(rows) else 0.0
    answers = {name: np.where(found.replica == 1, about - values, values)}
    if name == "score" and rows.prediction is not None:
        decided = positive(answers["score"], scene.reference.threshold or 0.5)
        answers["prediction"] = np.where(found.replica == 1, decided, rows.prediction)
    return replace(found, **answers)


def flawed_threshold(rows: Rows, scene: Scene, f: float) -> Rows:
    """The replica of the share f of the rows decides at 0.05."""
    assert rows.score is not None
    found = other_replica(rows, scene, f)
    here = found.replica == 1
    if not here.any():
        return found
    usual = (
        positive(rows.score, scene.reference.threshold or 0.5) if rows.prediction is None else rows.prediction
    )
    return replace(found, prediction=np.where(here, positive(rows.score, FLAWED_THRESHOLD), usual))


def inverted(rows: Rows, scene: Scene, f: float) -> Rows:
    """A rule delivers the opposite of the decision, in the share f of the rows."""
    assert rows.score is not None
    here = hit(rows, scene, f)
    decided = positive(rows.score, scene.reference.threshold or 0.5)
    delivered = np.full(len(rows), None, dtype=object)
    delivered[here] = (1.0 - decided)[here]
    return replace(rows, delivered=delivered)


def positives(rows: Rows, scene: Scene, f: float) -> Rows:
    """Rows called positive become 1 + f times as many: in place of others."""
    assert rows.score is not None
    called = rows.score >= (scene.reference.threshold or 0.5)
    donors, others = np.flatnonzero(called), np.flatnonzero(~called)
    share = min(1.0, f * len(donors) / max(len(others), 1))
    here = others[scene.draw(len(rows))[others] < share]
    if not len(here) or not len(donors):
        return rows
    at = np.arange(len(rows))
    at[here] = donors[np.searchsorted(donors, here) % len(donors)]
    found = rows.take(at)
    return replace(found, time=rows.time, id=rows.id, duration=rows.duration, events=rows.events)


# Labels.


def flipped(rows: Rows, scene: Scene, f: float) -> Rows:
    """Labels of the share f of the rows say the opposite; numbers and classes are those of another row."""
    return _relabelled(rows, scene, hit(rows, scene, f))


def dips(rows: Rows, scene: Scene, f: float) -> Rows:
    """On the first day answers are wrong in the share f of all rows more."""
    worse = np.where(rows.time < scene.start + DAY, f, 0.0)
    return _relabelled(rows, scene, scene.draw(len(rows)) < _of_right(rows, scene, worse))


def leaks(rows: Rows, scene: Scene, per_day: float) -> Rows:
    """Each day answers are wrong in the share `per_day` of all rows more than on the day before."""
    worse = per_day * (rows.time - scene.start) / DAY
    return _relabelled(rows, scene, scene.draw(len(rows)) < _of_right(rows, scene, worse))


def _of_right(rows: Rows, scene: Scene, worse: np.ndarray) -> np.ndarray:
    """float64[n]: the chance of each row to be made wrong, so that the share `worse` of all is; 0 for what is wrong already."""
    if scene.reference.task != "binary" or rows.score is None or rows.label is None:
        return worse
    right = positive(rows.score, scene.reference.threshold or 0.5) == frames.floats(rows.label)
    return np.where(right, worse / max(float(right.mean()), 1e-9), 0.0)


def _relabelled(rows: Rows, scene: Scene, here: np.ndarray) -> Rows:
    assert rows.label is not None
    if not here.any():
        return rows
    if scene.reference.task == "binary":
        values = frames.floats(rows.label)
        return replace(rows, label=np.where(here, 1.0 - values, values))
    label, places = rows.label.copy(), np.flatnonzero(here)
    label[places] = rows.label[np.roll(places, len(places) // 2)]
    return replace(rows, label=label)


def before_prediction(rows: Rows, scene: Scene, f: float) -> Rows:
    """Labels that became true a minute before their prediction: clocks differ."""
    assert rows.label_time is not None
    return replace(rows, label_time=np.where(hit(rows, scene, f), rows.time - 60.0, rows.label_time))

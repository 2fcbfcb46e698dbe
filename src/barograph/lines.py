"""What a line means: how often ordinary days cross it, in a sentence, and the smallest change that it finds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from barograph.calibrate import FAULTY_ROWS, FAULTY_SHARE, GROSS_MISSING, RISE, Calibration
from barograph.sentences import about, plural, share

POWER = 0.9
FEW_DAYS = 21
MOST = 8.0  # standard deviations that a mean is moved by at most, in search of a change that is found


@dataclass(frozen=True, slots=True)
class Effects:
    """The smallest changes of a column that windows of some size find; None where they find none.

    `shift` of the mean in standard deviations (of numbers), `missing` in points and `unseen` as a share of
    rows, 0 to 1.
    """

    shift: float | None
    missing: float | None
    unseen: float | None


def detectable(calibration: Calibration, column: str, n: int, power: float = POWER) -> Effects:
    """What is found with this power in as many windows of n rows as an alarm takes: the column's smallest changes.

    The shift is one of the column's normal scores: in a column that is normal, of its values. From the line,
    the error of the rows and the ordinary variation of the column: no simulation, but tested against one.

    >>> from barograph.reference import Reference
    >>> reference = Reference.fit({"x": [float(i) for i in range(1000)]}, task="regression")
    >>> from barograph.calibrate import calibrate
    >>> detectable(calibrate(reference), "x", 1000).shift is None  # nothing is known of ordinary days
    True
    """
    if not 0 < power < 1:
        raise ValueError(f"power: {power} is no probability; give one between 0 and 1, such as 0.9")
    lines = {s: float(v) for s, v in calibration.thresholds(column, n).items()}
    if n < calibration.lane.minimum:
        return Effects(None, None, None)
    i, reference = calibration.columns.names.index(column), calibration.columns.references[column]
    v, each = calibration.variation.at(i, reference), power ** (1 / calibration.lane.running)
    z, p = float(special.ndtri(each)), reference.missing_share
    shift = missing = None
    if np.isfinite(reference.ridit_sd) and np.isfinite(lines["L"]):
        ranks = special.ndtri(reference.ridits[: reference.bins.values] + 0.5)
        weights = reference.counts[: reference.bins.values] / max(reference.present, 1)
        held = weights > 0
        other = n if calibration.lane.before else reference.present
        error = np.sqrt(1 / n + 1 / other + v.tau_location**2)

        def moved(by: float) -> float:
            mean = float(weights[held] @ special.ndtr(ranks[held] + by)) - 0.5
            return mean / reference.ridit_sd - lines["L"] - z * float(error)

        shift = _least(moved, MOST)
    if np.isfinite(lines["A"]):

        def lost(by: float) -> float:
            q = p + by
            own = p * (1 - p) / reference.rows
            return by - lines["A"] - z * float(np.sqrt(q * (1 - q) / n + own + v.tau_missing**2))

        missing = _least(lost, 1 - p)
    unseen = None
    if reference.tests_unseen and np.isfinite(lines["U"]) and np.floor(lines["U"] * n) < n:
        unseen = float(special.bdtri(np.floor(lines["U"] * n), n, 1 - each)) + z * float(v.tau_unseen)
    return Effects(shift, missing, unseen if unseen is None or unseen <= 1 else None)


def _least(excess: Callable[[float], float], most: float) -> float | None:
    """The smallest change by which a signal is above its line; `excess` rises with it."""
    low, high = 0.0, most
    if excess(high) < 0:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) >= 0 else (middle, high)
    return high


def said(calibration: Calibration, column: str, signal: str, n: int) -> str:
    """What one line means, for windows of n rows: a sentence without a full stop.

    >>> from barograph.calibrate import calibrate
    >>> from barograph.reference import Reference
    >>> reference = Reference.fit({"x": [float(i) for i in range(1000)]}, task="regression")
    >>> said(calibrate(reference), "x", "L", 1000)
    'No line yet: the reference has no timestamps'
    """
    if signal == "O":
        return f"An alarm from {FAULTY_ROWS} rows and more than {share(FAULTY_SHARE)} beyond the reference's own on"
    line = float(calibration.thresholds(column, n)[signal])
    title = calibration.lane.title
    if n < calibration.lane.minimum:
        return f"No verdict below {calibration.lane.minimum} rows"
    if not np.isfinite(line) and calibration.learning is not None:
        return f"No line yet: {calibration.learning}"
    if not np.isfinite(line):
        return "No line: too few days had a verdict"
    if calibration.learning is not None:
        level = _level(signal, GROSS_MISSING if signal == "A" else line)
        return f"An alarm above {level}, until ordinary days are known: {calibration.learning}"
    if calibration.lane.before:
        return _jumps(calibration, column, signal, n, line)
    if line >= calibration.columns.references[column].ceilings[signal]:
        return f"Cannot alarm in windows of {article(title)}: ordinary days come as far as this can go"
    columns = int(calibration.judged.sum())
    months = columns * 2 / (calibration.budget * calibration.lane.share)
    text = (
        f"Ordinary days cross {_level(signal, line)} {_often(months)}, "
        f"and one of the lines of {plural(columns, 'column')} {_often(1 / calibration.budget)}"
    )
    return text + _proviso(calibration, column, signal, n, line)


def _jumps(calibration: Calibration, column: str, signal: str, n: int, line: float) -> str:
    """What the line of jumps means, at the hour of the day at which it is highest."""
    often = _often(calibration.outputs.tests / (calibration.budget * calibration.lane.share))
    text = (
        "In the hours in which it moves most, ordinary days move it by "
        f"{about(line)} sd from one quarter of an hour to the next {often}"
    )
    return text + _proviso(calibration, column, signal, n, line)


def _proviso(calibration: Calibration, column: str, signal: str, n: int, line: float) -> str:
    if _held(calibration, column, signal, n, line):
        return ", if they are as they were at first: the line may rise no farther"
    if calibration.days < FEW_DAYS:
        return f", as far as {plural(calibration.days, 'day')} can tell"
    return "" if calibration.note is None else f" ({calibration.note})"


def _held(calibration: Calibration, column: str, signal: str, n: int, line: float) -> bool:
    """Whether the line would be higher, were it not for the first one."""
    if calibration.first is None or (column, signal) in calibration.taught:
        return False
    most = RISE * float(calibration.first.thresholds(column, n)[signal])
    return line >= most * (1 - 1e-9)


def _level(signal: str, value: float) -> str:
    if signal == "A":
        return f"{about(value * 100)} points"
    if signal == "U":
        return share(value)
    return f"{about(value)} sd" if signal == "L" else about(value)


def _often(months: float) -> str:
    """How often: `about once a month`, `about once in 8 years`.

    >>> _often(1.0), _often(0.25), _often(5.0), _often(100.0)
    ('about once a month', 'about 4 times a month', 'about once in 5 months', 'about once in 8 years')
    """
    if months < 0.75:
        return f"about {1 / months:.0f} times a month"
    if months < 1.5:
        return "about once a month"
    return f"about once in {months:.0f} months" if months < 18 else f"about once in {months / 12:.0f} years"


def article(title: str) -> str:
    """A lane's title as it follows `windows of`: `5 minutes`, `an hour`, `a day`."""
    return title if title[0].isdigit() else f"an {title}" if title == "hour" else f"a {title}"

"""States as sentences: subject, verb, number, compared with usual. The same ones serve pages, alerts, webhooks and the CLI."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barograph.alert import PAGE, Alert, firing
from barograph.bins import CategoryBins
from barograph.drift import ColumnReference
from barograph.naming import LEARNING, NO_DATA, PREDICTION, SCORE
from barograph.quantiles import quantile

NBSP = "\u00a0"


@dataclass(frozen=True, slots=True)
class Than:
    """What a column is compared with, as it follows "3 times", "higher" and "3 times larger", and comes before a figure."""

    level: str
    higher: str
    larger: str
    was: str
    was_at: str


USUAL = Than("the usual level", " than usual", "", "usual", "usual")
_THEN = "a quarter of an hour before"
BEFORE = Than(f"the level of {_THEN}", f" than {_THEN}", f" than {_THEN}", "before", f"{_THEN} at")


def share(value: float) -> str:
    """A share as per cent, as exact as it is useful.

    >>> share(0.0312), share(0.4), share(0.00004)
    ('3.1\\xa0%', '40\\xa0%', 'under 0.01\\xa0%')
    """
    percent = value * 100
    if 0 < percent < 0.01:
        return f"under 0.01{NBSP}%"
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f}{NBSP}%"


def number(value: float) -> str:
    """A number in three figures, with thousands apart.

    >>> number(1234.5), number(0.01234), number(-41.0), number(2e-308)
    ('1,234', '0.0123', '−41', '0')
    """
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    text = f"{size:,.0f}" if size >= 1000 else "0" if size < 1e-12 else f"{size:.3g}"
    return f"−{text}" if value < 0 and text != "0" else text


def about(value: float) -> str:
    """A number in two figures, for what is usual.

    >>> about(1234.5), about(0.208)
    ('1,200', '0.21')
    """
    return number(float(f"{value:.2g}")) if math.isfinite(value) else number(value)


def times(ratio: float) -> str:
    """A ratio: `3.8 times`, `a third of`."""
    if ratio >= 10:
        return f"{number(round(ratio, -1) if ratio >= 100 else round(ratio))} times"
    return f"{ratio:.1f} times"


def compare(live: float, usual: float, than: Than = USUAL) -> str:
    """How a share stands against its usual level, or another one."""
    if usual > 0 and live / usual >= 1.5:
        return f"{times(live / usual)} {than.level}: {share(live)}, {than.was} {share(usual)}"
    return f"at {share(live)}, {than.was_at} {share(usual)}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 model`, `3 models`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _spelled(n: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[n] if n < len(words) else f"{n:,}"


def column(
    name: str,
    signal: str,
    reference: ColumnReference,
    counts: np.ndarray,
    sums: np.ndarray | None,
    than: Than = USUAL,
) -> str:
    """What a signal saw in a column: one sentence without a full stop. `counts` (size,) is the window's."""
    say = {"A": _missing, "U": _unseen, "O": _out_of_range}.get(signal)
    if say is not None:
        return say(name, reference, counts)
    if name == PREDICTION and _is_binary(reference):
        return _answers(reference, counts, than)
    if isinstance(reference.bins, CategoryBins):
        return _categories(name, reference, counts, than)
    subject = {SCORE: "The model's score", PREDICTION: "The model's answer"}.get(name, name)
    return _numbers(subject, reference, counts, sums, than)


def _missing(name: str, reference: ColumnReference, counts: np.ndarray) -> str:
    bins = reference.bins
    live = float((counts[bins.missing] + counts[bins.invalid]) / max(counts.sum(), 1))
    return f"{name} is missing in {share(live)} of rows, usual {share(reference.missing_share)}"


def _unseen(name: str, reference: ColumnReference, counts: np.ndarray) -> str:
    live = float(counts[reference.bins.unseen] / max(counts.sum(), 1))
    return f"{name} has values never seen in the reference in {share(live)} of rows"


def _out_of_range(name: str, reference: ColumnReference, counts: np.ndarray) -> str:
    bins = reference.bins
    live = float(counts[reference.faulty].sum() / max(counts.sum(), 1))
    if isinstance(bins, CategoryBins):
        return f"{name} is no category in {share(live)} of rows"
    if counts[bins.invalid] * 2 > live * counts.sum():
        return f"{name} is no number in {share(live)} of rows"
    return f"{name} is outside {number(bins.low)} to {number(bins.high)} in {share(live)} of rows"


def _is_binary(reference: ColumnReference) -> bool:
    """Whether the reference's answers are 0 and 1."""
    if isinstance(reference.bins, CategoryBins):
        return False
    values = reference.counts[: reference.bins.values]
    return bool(values[reference.bins.index([0.0, 1.0])].sum() == values.sum())


def _answers(reference: ColumnReference, counts: np.ndarray, than: Than) -> str:
    bins = reference.bins
    if isinstance(bins, CategoryBins):
        return _categories("The answer", reference, counts, than)
    yes = int(bins.index([1.0])[0])
    live, usual = (float(c[yes] / max(c.sum(), 1)) for c in (counts, reference.counts))
    return f"Positive answers are {compare(live, usual, than)}"


def _categories(name: str, reference: ColumnReference, counts: np.ndarray, than: Than) -> str:
    live, usual = counts / max(counts.sum(), 1), reference.counts / max(reference.counts.sum(), 1)
    slot = int(np.argmax(np.abs(live - usual)[: reference.bins.values]))
    label = reference.bins.labels()[slot]
    return f"{name} is {label} in {share(float(live[slot]))} of rows, {than.was} {share(float(usual[slot]))}"


def _numbers(
    subject: str, reference: ColumnReference, counts: np.ndarray, sums: np.ndarray | None, than: Than
) -> str:
    bins = reference.bins
    assert not isinstance(bins, CategoryBins)
    live = quantile(bins, counts, np.array([0.25, 0.5, 0.75, 0.95]), sums)
    usual = quantile(bins, reference.counts, np.array([0.25, 0.5, 0.75, 0.95]), reference.sums)
    steady = quotients(live, usual)
    if (
        len(steady) == len(usual)
        and steady.min() > 0
        and (steady.max() / steady.min() < 1.3)
        and not 0.4 < np.median(steady) < 2.5
    ):
        factor = float(np.median(steady))
        words = f"{times(factor)} larger" if factor > 1 else f"{times(1 / factor)} smaller"
        return f"{subject} is about {words}{than.larger}: median {number(live[1])}, {than.was} {number(usual[1])}"
    if abs(live[1] - usual[1]) > 0.1 * abs(usual[2] - usual[0]):
        word = "higher" if live[1] > usual[1] else "lower"
        return f"{subject} is {word}{than.higher}: median {number(live[1])}, {than.was} {number(usual[1])}"
    return (
        f"{subject} is spread differently{than.higher}: p25 to p95 {number(live[0])} to {number(live[3])}, "
        f"{than.was} {number(usual[0])} to {number(usual[3])}"
    )


def quotients(live: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Live / usual where both are numbers of one sign, well away from 0; NaN elsewhere is left out."""
    far = (np.abs(live) > 1e-9) & (np.abs(usual) > 1e-9) & (np.sign(live) == np.sign(usual))
    return np.asarray(live[far] / usual[far])


def no_traffic(expected: float, minutes: int) -> str:
    """Nothing where something was expected."""
    return f"No predictions in the last {minutes} minutes, usual about {expected:,.0f}"


def limited(text: str, limit: str) -> str:
    """What is past a limit of the owner, and the limit.

    >>> limited("2.5 % of answers are empty", "1 %")
    '2.5 % of answers are empty, limit 1 % (set by owner)'
    """
    return f"{text}, limit {limit} (set by owner)"


def errors(live: float, limit: float) -> str:
    """Failing predictions, beyond the owner's limit."""
    return limited(f"{share(live)} of predictions fail", share(limit))


def slow(seconds: float, limit: float, q: float = 0.95) -> str:
    """Slow predictions, beyond the owner's limit."""
    return limited(f"{share(q)} of predictions take up to {duration(seconds)}", duration(limit))


def few_rows(rows: int, limit: float) -> str:
    """Fewer predictions than the owner wants.

    >>> few_rows(12, 100.0)
    '12 predictions in the last hour, limit 100 (set by owner)'
    """
    return limited(f"{plural(rows, 'prediction')} in the last hour", number(limit))


def resource(url: str, what: str, value: float, limit: float) -> str:
    """What a serving process uses, beyond the owner's limit.

    >>> resource("http://a:8000", "memory", 2.5e9, 2e9)
    'http://a:8000 uses 2.5 GB of memory, limit 2 GB (set by owner)'
    >>> resource("http://a:8000", "cpu", 1.84, 1.5)
    'http://a:8000 uses 1.84 processors, limit 1.5 (set by owner)'
    """
    if what == "cpu":
        return limited(f"{url} uses {number(value)} processors", number(limit))
    if what == "disk":
        return limited(f"{url} works on a disk that is {share(value)} full", share(limit))
    return limited(f"{url} uses {size(value)} of memory", size(limit))


def size(count: float) -> str:
    """Bytes in the unit that people use for them.

    >>> size(512.0), size(2.5e9), size(999_999.0)
    ('512 B', '2.5 GB', '1 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if float(f"{count:.3g}") < 1000:
            return f"{number(count)} {unit}"
        count /= 1000
    return f"{number(count)} TB"


def errors_burn(failed: int, calls: int, seconds: float, budget: float) -> str:
    """Failing predictions, against the share that may fail."""
    return f"{_part(failed, calls, seconds)} failed, {_burn(failed / calls, budget)}"


def slow_burn(slow: int, calls: int, seconds: float, budget: float, objective: float) -> str:
    """Slow predictions, against the share that may take longer than the objective."""
    return f"{_part(slow, calls, seconds)} took over {duration(objective)}, {_burn(slow / calls, budget)}"


def _part(bad: int, calls: int, seconds: float) -> str:
    hours = round(seconds / 3600)
    last = "hour" if hours == 1 else f"{hours} hours"
    return f"{share(bad / calls)} of predictions in the last {last} ({bad:,} of {calls:,})"


def _burn(live: float, budget: float) -> str:
    return f"{times(live / budget)} the share that a month may have: {share(budget)}"


def business_stopped(event: str, expected: float, minutes: int) -> str:
    """No business events where some were expected."""
    return f"{event} rate fell to 0: about {expected:,.0f} were expected in the last {minutes} minutes"


def references(version: str, live: int, seen: int) -> str:
    """One version with several references: at once, or one after the other."""
    if live > 1:
        return (
            f"Version {version} runs with {live} references at once: drift is not measured against the same"
        )
    return f"Version {version} had {seen} references within a day: drift before and after is not measured against the same"


def artifacts(version: str, digests: int, configs: int) -> str:
    """Processes of one version that do not run the same."""
    differing = [plural(n, what) for n, what in ((digests, "artifact"), (configs, "configuration")) if n > 1]
    return (
        f"Processes of version {version} run {' and '.join(differing)}: answers depend on which one is asked"
    )


def unread(url: str, seconds: float) -> str:
    """A serving process that does not answer the monitor."""
    return f"{url} has not been read for {duration(seconds)}: what it counts is not known"


def apart(url: str, workers: int) -> str:
    """Workers whose counts are not in the totals."""
    return (
        f"{plural(workers, 'worker')} of {url} {'does' if workers == 1 else 'do'} not share counters: "
        "totals are too low"
    )


def empty(live: float, usual: float) -> str:
    """Empty answers."""
    return f"Empty answers are {compare(live, usual)}"


def dependency(package: str, running: str, trained: str) -> str:
    """A package that differs."""
    return f"{package} runs in version {running}, the model was made with {trained}"


def dropped(rows: int, reasons: Sequence[str]) -> str:
    """Rows that the monitor could not count."""
    return f"The monitor dropped {plural(rows, 'row')} in 10 minutes ({', '.join(reasons)})"


def duration(seconds: float) -> str:
    """Seconds in the unit that people use for them.

    >>> duration(0.038), duration(95), duration(7300)
    ('38 ms', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 2 * 86_400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 86_400)} days"


def fleet(statuses: Sequence[str]) -> str:
    """The fleet's headline."""
    act, watch, silent = (sum(s == kind for s in statuses) for kind in ("act", "watch", "no_data"))
    if not statuses:
        return "No model has reported yet"
    parts = []
    if act:
        parts.append(f"{_spelled(act)} {'model needs' if act == 1 else 'models need'} action")
    if watch:
        parts.append(f"{_spelled(watch)} {'is' if watch == 1 else 'are'} worth a look")
    if silent:
        parts.append(f"{_spelled(silent)} {'sends' if silent == 1 else 'send'} no data")
    if not parts:
        return "Nothing to do"
    text = ", ".join(parts)
    if not act:
        text = text.replace("is worth", "model is worth" if watch == 1 else "is worth").replace(
            "are worth", "models are worth"
        )
        text = (
            text.replace("sends no", "model sends no").replace("send no", "models send no")
            if not watch
            else text
        )
    return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What of a model is not judged, and why. `headline` and `column` follow a name; `output` and `causes` sum up sections.

    `status` is that of these sections: learning, or no_data where nothing of them is judged.
    """

    status: str
    headline: str
    reason: str
    lede: str
    output: str
    causes: str
    column: str


def no_reference(named: bool) -> Unjudged:
    """A model without a reference; `named` where it has one that could not be read."""
    watched = "Traffic, errors, empty answers and dropped rows are watched."
    why = "its reference could not be read" if named else "there is no reference"
    remedy = (
        "The log of barograph serve says why."
        if named
        else "Make one with `Reference.fit`, and give it to the Monitor."
    )
    return Unjudged(
        NO_DATA,
        f"is watched without {'its' if named else 'a'} reference",
        f"{why[0].upper()}{why[1:]}: answers, features and drift are not judged",
        f"{watched} Answers, features and drift are not judged: {why}. {remedy}",
        "Only empty answers are watched",
        f"Not compared: {why}",
        "is not judged",
    )


def faults_only(why: str) -> Unjudged:
    """A model whose reference does not tell how far ordinary days differ."""
    return Unjudged(
        LEARNING,
        "is judged for faults only",
        f"Drift is not judged: {why}",
        "Values out of range, never seen, or missing in 20 points more rows than usual are judged; shapes and levels are not: "
        f"{why}. Fit it again, with `time=` and over 7 days or more.",
        "Faults are judged, shapes and levels are not",
        "Faults are judged, drift is not",
        "is judged for faults only",
    )


def not_yet(rows: int, window: int = 3600) -> Unjudged:
    """A model that no window (seconds) has been judged of; a verdict takes so many `rows`."""
    often = "by the hour" if window == 3600 else f"every {window // 60} minutes"
    return Unjudged(
        LEARNING,
        "has not been judged yet",
        f"No {'hour' if window == 3600 else 'window'} with {rows} rows has been judged yet",
        f"Traffic, errors and empty answers are watched from the first minute. Answers and features are judged {often}, at most "
        f"two minutes after its end, or later, once {rows} rows are there.",
        "Not judged yet",
        "Not judged yet",
        "has not been judged yet",
    )


def silent(since: str | None) -> Unjudged:
    """A model that has not answered for hours; `since` is the moment of its last answer."""
    what = f"No predictions since {since}" if since else "No predictions yet"
    return Unjudged(NO_DATA, "sends no data", what, f"{what}.", what, what, "has no values to judge")


def quality(value: float, low: float, high: float) -> str:
    """A metric and its 95 % interval, in as many figures as the interval is worth.

    >>> quality(0.9234, 0.9129, 0.9331), quality(1234.5, 1180.2, 1290.8)
    ('0.92 (0.91 to 0.93)', '1,234 (1,180 to 1,291)')
    """
    digits = decimals(low, high)
    return f"{value:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def decimals(low: float, high: float) -> int:
    """Decimals that an interval is worth: its half is at least one of the last place. Two at least within 0..1.

    >>> decimals(0.912, 0.933), decimals(0.9231, 0.9249), decimals(5.9, 6.6), decimals(180, 240)
    (2, 4, 1, 0)
    """
    half, least = (high - low) / 2, 2 if max(abs(low), abs(high)) <= 1 else 0
    return min(max(math.ceil(-math.log10(half)), least), 4) if half > 0 else 2


def quality_low(metric: str, figures: str, limit: float, higher_is_better: bool) -> str:
    """A metric of confirmed outcomes that is past its owner's limit.

    >>> quality_low("ROC AUC", "0.81 (0.79 to 0.83)", 0.85, True)
    'ROC AUC is 0.81 (0.79 to 0.83) on confirmed labels, and should be 0.85 or more'
    """
    return f"{metric} is {figures} on confirmed labels, and should be {limit:g} or {'more' if higher_is_better else 'less'}"


def quality_fell(metric: str, figures: str, usual: float) -> str:
    """A metric of confirmed outcomes that is suddenly worse.

    >>> quality_fell("Accuracy", "0.85 (0.83 to 0.87)", 0.9974)
    'Accuracy is suddenly worse: 0.85 (0.83 to 0.87) on confirmed labels, and 0.997 is usual'
    """
    return f"{metric} is suddenly worse: {figures} on confirmed labels, and {usual:.3g} is usual"


def leak(metric: str, usual: float, value: float, since: str, per_day: float, sudden: bool) -> str:
    """Quality that gets worse too little a day for any one day to show it.

    >>> leak("Accuracy", 0.95, 0.932, "2013-10-02", 0.0011, sudden=False)
    'Accuracy leaks away since 2013-10-02, by about 0.0011 a day: 0.932 now, 0.95 is usual'
    >>> leak("Accuracy", 0.95, 0.932, "2013-10-02", 0.0011, sudden=True)
    'Accuracy is lower since 2013-10-02: 0.932 now, 0.95 is usual'
    """
    now = f"{value:.3g} now, {usual:.3g} is usual"
    return (
        f"{metric} is {'lower' if metric == 'Accuracy' else 'worse'} since {since}: {now}"
        if sudden
        else (f"{metric} leaks away since {since}, by about {per_day:.2g} a day: {now}")
    )


def concept(task: str, low: float, high: float, found: float, promised: float) -> str:
    """Scores that no longer mean what they meant.

    >>> concept("binary", 0.31, 0.52, 0.61, 0.44)
    'Scores no longer mean what they meant: where they are 0.31 to 0.52, 61\\xa0% were positive, and 44\\xa0% were expected'
    """
    where, were, expected = f"{low:.3g} to {high:.3g}", share(found), share(promised)
    if task == "regression":
        return f"Errors are not as they were: {were} are {where}, and {expected} were expected"
    if task == "multiclass":
        return (
            f"Confidence no longer means what it meant: where it is {where}, {were} of the answers were right, and "
            f"{expected} were expected"
        )
    return f"Scores no longer mean what they meant: where they are {where}, {were} were positive, and {expected} were expected"


def labels_late(found: float, day: str, usual: float) -> str:
    """Labels that should be there by now.

    >>> labels_late(0.12, "2013-10-02", 0.95)
    'Labels are late: 12\\xa0% of those of 2013-10-02 have come, and 95\\xa0% should have by now'
    """
    return (
        f"Labels are late: {share(found)} of those of {day} have come, and {share(usual)} should have by now"
    )


def skew(column: str, signal: str, value: float, line: float) -> str:
    """A column that never looked like the training data.

    >>> skew("age", "Shape", 0.91, 0.25)
    'age never looked like the training data: shape differs by 0.91, ordinary hours by less than 0.25'
    """
    return (
        f"{column} never looked like the training data: {signal.lower()} differs by {value:.2g}, ordinary hours by less than "
        f"{line:.2g}"
    )


def fear(
    name: str,
    metric: str,
    figures: str,
    limit: float,
    below: bool,
    owner: str | None,
    feared: str | None = None,
) -> str:
    """What a stakeholder feared.

    >>> fear("Good customers refused", "Recall", "0.71 (0.69 to 0.73)", 0.8, True, "credit")
    'Good customers refused: Recall is 0.71 (0.69 to 0.73), and is feared below 0.8 (credit)'
    >>> fear("Too dear", "cost", "3.1 (2.9 to 3.3)", 2.5, False, None, "Reviews cost more than frauds")
    'Too dear: cost is 3.1 (2.9 to 3.3), and is feared above 2.5. Reviews cost more than frauds'
    """
    whose = f" ({owner})" if owner else ""
    why = f". {feared}" if feared else ""
    return (
        f"{name}: {metric} is {figures}, and is feared {'below' if below else 'above'} {limit:g}{whose}{why}"
    )


def labelled(metric: str, figure: str, share: str, period: str, confirmed: bool) -> str:
    """What labels say, and how many of them have come."""
    return f"{metric} {figure} {'' if confirmed else 'so far, '}on {share} of the labels of the {period}"


def often(budget: float) -> str:
    """How many alarms a month.

    >>> often(1.0), often(4.0), often(0.25)
    ('one alarm a month', '4 alarms a month', 'one alarm in 4 months')
    """
    if 0.95 < budget < 1.05:
        return "one alarm a month"
    return f"{number(budget)} alarms a month" if budget > 1 else f"one alarm in {number(1 / budget)} months"


def model(
    name: str, status: str, alerts: Sequence[Alert], unjudged: Unjudged | None, silence: str | None
) -> tuple[str, str]:
    """A model's headline and the reason in one line."""
    urgent = firing(alerts)
    if urgent:
        text = urgent[0].condition.text
        more = len({a.condition.column or a.condition.rule for a in urgent}) - 1
        reason = text + (f". {plural(more, 'more change')}" if more > 0 else "")
        return (
            f"{name}: {text[0].lower() if text.startswith(('Positive', 'No ', 'Empty', 'The ')) else text[0]}{text[1:]}",
            reason,
        )
    if status == "no_data":
        return f"{name} sends no data", silence or "No data received"
    if unjudged is not None:
        return f"{name} {unjudged.headline}", unjudged.reason
    return f"{name} answers as usual", ""


def because(alerts: Sequence[Alert]) -> str:
    """What else is firing: the second sentence under a headline, without a full stop. Its column is in backticks."""
    urgent = firing(alerts)
    pages = [a for a in urgent if a.rule.severity == PAGE]
    causes = [a for a in urgent if a.rule.group == "causes"]
    said = urgent[0].condition.text if urgent else ""
    first = next((a.condition for a in causes if a.condition.text != said), None)
    if first is None or not pages:
        return ""
    name = first.column
    marked = name and first.text.startswith(f"{name} ")
    return f"What changed: {f'`{name}`{first.text[len(name) :]}' if marked else first.text}"

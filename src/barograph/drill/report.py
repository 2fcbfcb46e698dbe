"""What drills came to: as JSON, which `load` reads again, and as one HTML page that stands alone."""

import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barograph.alert import PAGE, Alert
from barograph.tiles import DAY, HOUR, MINUTE

FORMAT = 1
TOGETHER = 6 * HOUR  # alerts that begin no farther apart are told as one
JSON_FILE, HTML_FILE = "drill.json", "drill.html"


class ReportError(ValueError):
    """A report that cannot be read: what is wrong, and the remedy."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert that a fault raised, `delay` seconds after it on the simulated clock, or so many hourly `windows`."""

    rule: str
    severity: str
    column: str
    signal: str
    text: str
    delay: float
    windows: int


@dataclass(frozen=True, slots=True)
class Try:
    """One magnitude: the first alert, and the first of the expected kind; None where none came."""

    f: float
    first: Seen | None
    kind: Seen | None

    @property
    def caught(self) -> bool:
        """Whether anything was raised."""
        return self.first is not None


@dataclass(frozen=True, slots=True)
class Result:
    """One incident on one model. `why_not` says why it was not drilled; `lacking` what would catch it, where nothing did.

    `stated` is the magnitude that is to be found at no more than twice its size. With `stale_scores` there was no model at hand:
    answers stayed as they were logged. `reference` is the id of the one that judged.
    """

    model: str
    number: int
    name: str
    title: str
    stated: float
    unit: str
    signal: str
    lacking: str
    columns: tuple[str, ...] = ()
    tries: tuple[Try, ...] = ()
    why_not: str | None = None
    stale_scores: bool = False
    reference: str = ""

    @property
    def found(self) -> Try | None:
        """The smallest magnitude from which on all were caught; None where the largest was not."""
        best = None
        for one in reversed(self.tries):
            if not one.caught:
                break
            best = one
        return best

    @property
    def caught(self) -> bool | None:
        """Whether it was caught at all; None where it does not apply."""
        return None if self.why_not is not None else self.found is not None

    @property
    def in_time(self) -> bool:
        """Whether it was caught at no more than twice the stated magnitude."""
        return self.found is not None and self.found.f <= 2 * self.stated * (1 + 1e-9)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.caught is None:
            return "does not apply"
        return "caught" if self.in_time else "caught when larger" if self.caught else "blind"


@dataclass(frozen=True, slots=True)
class Raised:
    """What began within six hours without any fault: when (`began`, epoch seconds), and of the most urgent alert what it said."""

    began: float
    pages: int
    tickets: int
    text: str


@dataclass(frozen=True, slots=True)
class Clean:
    """A model without any fault, for so many days: what was `raised`, in order."""

    model: str
    days: float
    raised: tuple[Raised, ...] = ()

    @property
    def pages(self) -> int:
        """How many pages."""
        return sum(one.pages for one in self.raised)

    @property
    def tickets(self) -> int:
        """How many tickets."""
        return sum(one.tickets for one in self.raised)

    @classmethod
    def of(cls, model: str, days: float, alerts: Iterable[Alert]) -> "Clean":
        """From the alerts of a run without any fault."""
        groups: list[list[Alert]] = []
        for alert in sorted(alerts, key=lambda a: a.since):
            if not groups or alert.since > groups[-1][-1].since + TOGETHER:
                groups.append([])
            groups[-1].append(alert)
        return cls(model, days, tuple(map(_raised, groups)))


def _raised(group: Sequence[Alert]) -> Raised:
    pages = sum(a.rule.severity == PAGE for a in group)
    first = min(group, key=lambda a: a.urgency)
    return Raised(group[0].since, pages, len(group) - pages, first.condition.text.replace("\u00a0", " "))


@dataclass(frozen=True, slots=True)
class Months:
    """Clean months made of a model's own days: of each its alarms, and the share of its hourly windows in alarm."""

    model: str
    alarms: tuple[int, ...]
    pages: tuple[int, ...]
    windows: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """All drills of one call. `began` is when, ISO 8601, and `command` how."""

    began: str
    command: str
    results: tuple[Result, ...] = ()
    clean: tuple[Clean, ...] = ()
    months: tuple[Months, ...] = ()

    def to_json(self) -> str:
        """As text; what can be computed of it is there, too."""
        document = {"format": FORMAT, **asdict(self)}
        for one, result in zip(document["results"], self.results, strict=True):
            found = result.found
            one |= {"caught": result.caught, "in_time": result.in_time, "verdict": result.verdict}
            one["magnitude"] = None if found is None else found.f
            one["delay"] = None if found is None or found.first is None else found.first.delay
        return json.dumps(document, indent=2)

    @classmethod
    def from_json(cls, text: str, origin: str = "the report") -> "Report":
        """Read what `to_json` wrote; ReportError for anything else."""
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ReportError(
                    f"{origin}: its format is {found['format']}, this version reads {FORMAT}; drill again"
                )
            return cls(
                found["began"], found["command"], tuple(_result(r) for r in found["results"]),
                tuple(Clean(c["model"], c["days"], tuple(Raised(**r) for r in c["raised"])) for c in found["clean"]),
                tuple(Months(m["model"], *(tuple(m[k]) for k in ("alarms", "pages", "windows"))) for m in found["months"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ReportError):
                raise
            raise ReportError(f"{origin}: is no report of drills ({error!r}); drill again") from None

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a file, or the one in a folder that `save` wrote to."""
        path = path / JSON_FILE if path.is_dir() else path
        try:
            return cls.from_json(path.read_text("utf-8"), str(path))
        except OSError as error:
            raise ReportError(
                f"{path}: cannot be read ({error.strerror}); barograph drill writes it"
            ) from None

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write both files into a folder, each whole or not at all; OSError where that fails."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((JSON_FILE, self.to_json()), (HTML_FILE, self.to_html())):
            part = folder / f".{name}.{os.getpid()}"
            try:
                part.write_text(text, "utf-8")
                part.replace(folder / name)
            finally:
                part.unlink(missing_ok=True)
        return folder / HTML_FILE, folder / JSON_FILE

    def to_html(self) -> str:
        """One page: no script, and nothing that lies elsewhere."""
        parts = [f"<p>{html.escape(self.began)}, <code>{html.escape(self.command)}</code></p>"]
        for model in dict.fromkeys(r.model for r in self.results):
            mine = [r for r in self.results if r.model == model]
            parts += [f"<h2>{html.escape(model)}</h2>", *_paragraphs(self.clean, model), _table(mine)]
            parts += _blind(mine)
        if self.months:
            parts += ["<h2>Clean months</h2>", _html_table(MONTH_HEADINGS, map(month_cells, self.months))]
        return _PAGE.format(body="\n".join(parts))


HEADINGS = (
    "#",
    "Incident",
    "Verdict",
    "Needs",
    "Stated",
    "First signal",
    "After",
    "Windows",
    "Expected signal",
)
RAISED_HEADINGS = ("Began (UTC)", "Pages", "Tickets", "What it said")
MONTH_HEADINGS = (
    "Model",
    "Months",
    "Alarms a month",
    "Pages a month",
    "Months with more than one",
    "Windows in alarm",
)


def cells(result: Result) -> tuple[str, ...]:
    """A row of the table, as texts."""
    stated = amount(result.stated, result.unit)
    if result.why_not is not None:
        return (str(result.number), result.title, result.verdict, "", stated, result.why_not, "", "", "")
    found = result.found
    if found is None or found.first is None:
        nothing = f"nothing at {amount(result.tries[-1].f, result.unit)}"
        return (str(result.number), result.title, result.verdict, "", stated, nothing, "", "", result.lacking)
    kind = "none of the expected" if found.kind is None else signal(found.kind)
    return (
        str(result.number), result.title, result.verdict, amount(found.f, result.unit), stated, signal(found.first),
        duration(found.first.delay), str(found.first.windows),
        kind if found.kind is None or found.kind == found.first else f"{kind} after {duration(found.kind.delay)}",
    )  # fmt: skip


def month_cells(months: Months) -> tuple[str, ...]:
    """The same of clean months."""
    n = len(months.alarms)
    more = sum(a > 1 for a in months.alarms)
    return (
        months.model, str(n), f"{sum(months.alarms) / n:.2f}", f"{sum(months.pages) / n:.2f}", f"{more} of {n}",
        f"{sum(months.windows) / n:.2%}",
    )  # fmt: skip


def signal(seen: Seen) -> str:
    """What was raised: the rule, and of which column."""
    where = f" of {seen.column}" if seen.column else ""
    kind = f" ({seen.signal})" if seen.signal else ""
    return f"{seen.rule.removeprefix('ML')}{where}{kind}"


def amount(f: float, unit: str) -> str:
    """A magnitude.

    >>> amount(0.005, "of rows"), amount(1.5, "hours")
    ('0.5 % of rows', '1.5 hours')
    """
    if unit in ("hours", "periods", "times more"):
        return f"{f:.3g} {unit}"
    return f"{100 * f:.3g} % {unit}"


def duration(seconds: float) -> str:
    """Simulated time.

    >>> duration(300), duration(3780), duration(176_400)
    ('5 min', '1 h 3 min', '2 d 1 h')
    """
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < DAY:
        hours, minutes = divmod(round(seconds / MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / HOUR), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def clean_text(clean: Clean) -> str:
    """What fired without any fault, in a sentence."""
    n = len(clean.raised)
    return (
        f"Without any fault, {clean.days:.0f} days of the same rows raised {clean.pages} "
        f"page{'s' * (clean.pages != 1)} and {clean.tickets} ticket{'s' * (clean.tickets != 1)}"
        f"{f', on {n} occasion' if n else ''}{'s' * (n > 1)}."
    )


def raised_cells(one: Raised) -> tuple[str, ...]:
    """A row of the table of what was raised without any fault.

    >>> raised_cells(Raised(1382515200.0, 5, 5, "temp is missing in 27 % of rows"))
    ('2013-10-23 08:00', '5', '5', 'temp is missing in 27 % of rows')
    """
    began = f"{datetime.fromtimestamp(one.began, UTC):%Y-%m-%d %H:%M}"
    return (began, str(one.pages), str(one.tickets), one.text)


def _paragraphs(clean: Iterable[Clean], model: str) -> list[str]:
    mine = [c for c in clean if c.model == model]
    told = [f"<p>{html.escape(clean_text(c))}</p>" for c in mine]
    raised = [raised_cells(one) for c in mine for one in c.raised]
    return [*told, _html_table(RAISED_HEADINGS, raised)] if raised else told


def _blind(results: Sequence[Result]) -> list[str]:
    blind = [r for r in results if r.caught is False]
    if not blind:
        return []
    told = (
        f"<li><b>{html.escape(r.title)}</b>: nothing was raised in a run with {html.escape(amount(r.tries[-1].f, r.unit))}. "
        f"What would catch it: {html.escape(r.lacking)}.</li>"
        for r in blind
    )
    return ["<h3>Blind spots</h3>", f"<ul>{''.join(told)}</ul>"]


def _table(results: Sequence[Result]) -> str:
    return _html_table(HEADINGS, map(cells, results))


def _html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in headings)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _result(found: Mapping[str, Any]) -> Result:
    names = Result.__dataclass_fields__
    given = {k: v for k, v in found.items() if k in names}
    tries = tuple(
        Try(t["f"], *(None if t[k] is None else Seen(**t[k]) for k in ("first", "kind")))
        for t in found["tries"]
    )
    return Result(**{**given, "columns": tuple(found["columns"]), "tries": tries})


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Fire drills</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2024 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #d9dde1 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #15181b; color: #e6e9ec }} th, td {{ border-color: #363c42 }} }}
</style>
</head>
<body>
<h1>Fire drills</h1>
{body}
</body>
</html>
"""

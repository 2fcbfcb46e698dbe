"""Expected performance without labels, beside NannyML's CBPE in an environment of its own.

Both get the same reference and the same ten windows: NannyML their rows, barograph their counts by score slot. This file is
also what runs in NannyML's environment: `python -m benchmarks.estimate FILE.npz`; there it needs nothing of barograph.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import MICRO, Budget, Result, Scale, median, number

if TYPE_CHECKING:
    from barograph.estimate import Calibrated, Expectation
    from barograph.outcomes import OutcomeBins

ROOT = Path(__file__).resolve().parent.parent
# NannyML imports statsmodels without asking for it, and cannot take pandas 3.
NANNYML = ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3", "numpy==1.26.4", "scikit-learn==1.9.1")
NANNYML_PYTHON = (3, 11)
METRICS = ("accuracy", "precision", "recall", "specificity", "f1", "roc_auc")
WINDOWS = 10
THRESHOLD = 0.5
DAY = 86_400
SPLITS = (
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
)  # of all days: the labels of those before are known, those after are told of
LABELS = 50  # of each class, from which what a day's labels say is compared


@dataclass(frozen=True, eq=False)
class Case:
    """Scores, labels and days of a reference, and the same of what came after it, in order of time."""

    name: str
    score: np.ndarray
    label: np.ndarray
    day: np.ndarray
    live_score: np.ndarray
    live_label: np.ndarray
    live_day: np.ndarray

    def split(self, share: float) -> "Case":
        """The same rows, of which those of the first days are the reference, and the later ones live."""
        pairs = (self.score, self.live_score), (self.label, self.live_label), (self.day, self.live_day)
        score, label, day = map(np.concatenate, pairs)
        early = day < np.quantile(np.unique(day), share)
        rows = (column[kept] for kept in (early, ~early) for column in (score, label, day))
        return Case(self.name, *rows)

    @property
    def rows(self) -> int:
        """Live rows that make WINDOWS windows of equal length."""
        return len(self.live_score) // WINDOWS * WINDOWS

    @property
    def window(self) -> np.ndarray:
        """intp[rows]: the window of each live row."""
        return np.repeat(np.arange(WINDOWS), self.rows // WINDOWS)


def measure(scale: Scale) -> list[Result]:
    """A row for each data set that is here."""
    waits = "NannyML: not measured: a tiny run does not wait for it"
    python, why = nannyml_python() if scale.install else (None, waits)
    return [_measured(case, scale, python, why) for case in cases(full=scale.install)]


def cases(*, full: bool) -> Iterator[Case]:
    """Flights, scored by the demo's model, or, if not `full`, by one that saw less; car loans where BAROGRAPH_DATA holds them."""
    yield flights(rows=None if full else 20_000)
    folder = Path(os.environ.get("BAROGRAPH_DATA", ROOT.parent / "shared" / "data")) / "car-loan"
    if folder.is_dir():
        yield car_loan(folder)


def flights(rows: int | None) -> Case:
    """The demo's model and its reference; live is all that follows until the end of the year."""
    from threadpoolctl import threadpool_limits

    from barograph.demo import flights, model

    everything = flights.load()
    training = flights.between(everything, *model.TRAINING)
    with threadpool_limits(1):  # several would wait for each other by spinning, where other programs run
        trained = model.train(training if rows is None else training.sample(rows, random_state=0))

    def part(start: str, end: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        some = flights.between(everything, start, end)
        some = some[some["late"].notna()]
        days = flights.seconds(some["departed_at"]) // DAY
        return model.scores(trained, some), some["late"].to_numpy(dtype=np.int64), days.astype(np.int64)

    return Case("flights", *part(*model.REFERENCE), *part(model.REFERENCE[1], "2014-01-01T05:00Z"))


def car_loan(folder: Path) -> Case:
    """50,000 car loans, and the 50,000 after them, whose distribution moves half way."""
    import pandas as pd

    reference, live, target = (
        pd.read_csv(folder / f"synthetic_car_loan_{part}.csv")
        for part in ("reference", "analysis", "analysis_target")
    )

    def part(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        days = pd.to_datetime(rows["timestamp"]).to_numpy().astype("datetime64[D]").astype(np.int64)
        return rows["y_pred_proba"].to_numpy(dtype=np.float64), rows["repaid"].to_numpy(dtype=np.int64), days

    return Case("car loans", *part(reference), *part(live.merge(target, on="id")))


def _measured(case: Case, scale: Scale, python: Path | None, why: str) -> Result:
    bins, calibrated = fitted(case)
    live = tally(bins, case.live_score[: case.rows], case.live_label[: case.rows], case.window)
    ours = [_seconds(calibrated, live.sum(axis=1)) for _ in range(scale.repeats * 5)]
    expected = calibrated.expect(live.sum(axis=1))
    peer = None if python is None else beside(case, python)
    ours += [
        _seconds(calibrated, live.sum(axis=1)) for _ in ours
    ]  # before and after: the machine is not always as fast
    used = median(ours)
    held = {
        "windows": covered(bins, calibrated, live),
        "days": covered(bins, calibrated, _days(bins, case)),
    }
    later = {
        f"{share:.0%}": covered_later(case.split(share))
        for share in (SPLITS if scale.install else SPLITS[:1])
    }
    return Result(
        row=f"performance of {case.name} expected without labels, {WINDOWS} windows of {case.rows // WINDOWS:,} rows",
        ours=f"{number(used * MICRO)} µs from counts, seven metrics with bands; {_said(held)}; "
        f"fitted on the first {', '.join(later)} of all days, {_shares(later)} of the later days",
        peers=why
        if peer is None
        else f"NannyML {peer['version']}: {number(peer['estimate_s'])} s from rows, six metrics; "
        f"its confidence bounds held {_mean(peer_covered(peer, bins, live)):.0%} of its windows",
        budgets=[
            Budget("from NannyML's values", peer and difference(peer, expected), 5e-4),
            Budget("faster than NannyML", peer and peer["estimate_s"] / used, 1000, "×", at_least=True),
        ],
        figures={
            "s": used,
            "coverage": held,
            "coverage_later": later,
            "band": dict(calibrated.band.errors),
            "peer": peer,
        },
        notes=() if peer else (why,),
    )


def fitted(case: Case) -> "tuple[OutcomeBins, Calibrated]":
    """The reference's own bins, and what its scores promise."""
    from barograph.bins import SCORE_BINS, numeric_bins
    from barograph.estimate import Calibrated
    from barograph.outcomes import OutcomeBins

    score = numeric_bins(case.score, quantiles=SCORE_BINS, points=(THRESHOLD,))
    bins = OutcomeBins("binary", score, THRESHOLD)
    days = tally(bins, case.score, case.label, np.unique(case.day, return_inverse=True)[1])
    return bins, Calibrated.fit(bins, days, rows=(case.score, case.label))


def tally(bins: "OutcomeBins", score: np.ndarray, label: np.ndarray, window: np.ndarray) -> np.ndarray:
    """int64[windows, 2, slots]: rows by label and slot of the score."""
    assert bins.score is not None
    flat = (window * 2 + label) * bins.slots + bins.score.index(score)
    size = (int(window.max()) + 1) * 2 * bins.slots
    return np.bincount(flat, minlength=size).reshape(-1, 2, bins.slots)


def covered(bins: "OutcomeBins", calibrated: "Calibrated", windows: np.ndarray) -> dict[str, float]:
    """By metric, the share of windows whose value lies in the band of 95 %."""
    from barograph.estimate import interval

    expected = calibrated.expect(windows.sum(axis=1))
    low, high = interval(expected, calibrated.band)
    found = truth(bins, windows)
    return {
        name: float(np.mean((low[i] <= found[name]) & (found[name] <= high[i])))
        for i, name in enumerate(expected.names)
    }


def covered_later(case: Case) -> dict[str, float]:
    """By metric, the share of live days in the band, where chances and band come from the reference's days alone."""
    bins, calibrated = fitted(case)
    return covered(bins, calibrated, _days(bins, case))


def truth(bins: "OutcomeBins", windows: np.ndarray) -> dict[str, np.ndarray]:
    """By metric, what the labels of each window say."""
    from barograph.estimate import first_positive
    from barograph.slopes import AT_THRESHOLD, at_threshold, roc_auc, sides

    first = first_positive(bins)
    assert first is not None
    negatives, positives = windows[:, 0], windows[:, 1]
    found = at_threshold(sides(positives, first), sides(negatives, first)).value
    return dict(zip(AT_THRESHOLD, found, strict=True)) | {"roc_auc": roc_auc(positives, negatives).value}


def difference(peer: dict[str, Any], expected: "Expectation") -> float:
    """The largest, of any metric in any window."""
    values = dict(zip(expected.names, expected.values, strict=True))
    return max(float(np.abs(values[name] - peer["values"][name]).max()) for name in METRICS)


def peer_covered(peer: dict[str, Any], bins: "OutcomeBins", windows: np.ndarray) -> dict[str, float]:
    """By metric, the share of windows whose value lies within the peer's confidence bounds."""
    found = truth(bins, windows)
    return {
        name: float(np.mean((peer["low"][name] <= found[name]) & (found[name] <= peer["high"][name])))
        for name in METRICS
    }


def beside(case: Case, python: Path) -> dict[str, Any] | None:
    """What NannyML says of the same rows, and how long it takes; None where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.npz"
        np.savez(path, score=case.score, label=case.label, live=case.live_score[: case.rows], windows=WINDOWS)
        command = [str(python), "-W", "ignore", "-m", "benchmarks.estimate", str(path)]
        quiet = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
            "NML_DISABLE_USAGE_LOGGING": "1"
        }
        done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def nannyml_python() -> tuple[Path | None, str]:
    """The interpreter of NannyML's environment, which is made on first use; or None and why there is none."""
    from benchmarks.peers import environment  # not in NannyML's environment

    host = sys.executable if sys.version_info[:2] == NANNYML_PYTHON else None
    lacking = "it is installed with Python 3.11 alone"
    python, why = environment("NannyML", NANNYML, host, lacking, install=True)
    return python, why and f"NannyML: {why}"


def main(path: str) -> None:
    """In NannyML's environment: fit, estimate, and print what came of it."""
    import nannyml
    import pandas as pd

    case = np.load(path)
    reference, live = (_frame(pd, case[name]) for name in ("score", "live"))
    reference["label"] = case["label"]
    estimator = nannyml.CBPE(
        y_pred_proba="score",
        y_pred="said",
        y_true="label",
        problem_type="classification_binary",
        metrics=list(METRICS),
        chunk_size=len(live) // int(case["windows"]),
    )
    start = time.perf_counter()
    estimator.fit(reference)
    fit, times = time.perf_counter() - start, []
    for _ in range(3):
        start = time.perf_counter()
        result = estimator.estimate(live)
        times.append(time.perf_counter() - start)
    table = result.filter(period="analysis").to_df()
    columns = {"values": "value", "low": "lower_confidence_boundary", "high": "upper_confidence_boundary"}
    found = {key: {m: table[(m, name)].tolist() for m in METRICS} for key, name in columns.items()}
    head = {"version": nannyml.__version__, "fit_s": fit, "estimate_s": median(times)}
    print(json.dumps({**head, "calibrates": bool(estimator.needs_calibration), **found}))


def _frame(pd: Any, score: np.ndarray) -> Any:
    return pd.DataFrame({"score": score, "said": (score >= THRESHOLD).astype(int)})


def _days(bins: "OutcomeBins", case: Case) -> np.ndarray:
    """Live days that hold LABELS of each class."""
    _, day = np.unique(case.live_day, return_inverse=True)
    days = tally(bins, case.live_score, case.live_label, day)
    return days[days.sum(axis=-1).min(axis=-1) >= LABELS]


def _seconds(calibrated: "Calibrated", live: np.ndarray) -> float:
    from barograph.estimate import interval

    start = time.perf_counter()
    interval(calibrated.expect(live), calibrated.band)
    return time.perf_counter() - start


def _said(held: dict[str, dict[str, float]]) -> str:
    parts = (
        f"{_mean(found):.0%} of its {what} (at worst {min(found.values()):.0%}, {min(found, key=found.__getitem__)})"
        for what, found in held.items()
    )
    return f"bands of 95 % held {' and '.join(parts)}"


def _shares(held: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{_mean(found):.0%}" for found in held.values())


def _mean(shares: dict[str, float]) -> float:
    return sum(shares.values()) / len(shares)


if __name__ == "__main__":
    main(sys.argv[1])

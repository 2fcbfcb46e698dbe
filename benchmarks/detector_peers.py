"""Evidently and NannyML judge the hours of a month, each in an environment of its own, with what they do by default.

This file is what runs there: `python -m benchmarks.detector_peers evidently|nannyml FOLDER` reads FOLDER/month.npz, which
`benchmarks.detectors` wrote, and writes FOLDER/judged.npz. It needs numpy, pandas and the peer, and nothing of barograph.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Evidently imports what pandas 3 no longer has.
EVIDENTLY = (
    "evidently==0.7.23", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1", "plotly==5.24.1",
    "pydantic==2.14.3", "litestar==2.25.0",
)  # fmt: skip
SAMPLE = 10_000  # rows of the reference that Evidently is given: it reads all of them for each window
CHECKED = 6  # columns of one window, for which its report is asked as well
SHARE = 0.5  # of columns that have drifted, from which on Evidently says that the data set has


@dataclass(frozen=True, eq=False)
class Month:
    """Hours of every column as rows, and faults in it.

    `columns` by name float64[T, n]: numbers, or, of those in `categories`, a code for each category; NaN is missing. The first
    `reference` hours are the reference. Fault i lies in column `fault_columns[i]`, from the live hour `fault_hours[i]` on;
    `faults[i]` (2, n) is what that column holds then.
    """

    reference: int
    columns: Mapping[str, np.ndarray]
    categories: tuple[str, ...]
    fault_columns: tuple[str, ...]
    fault_hours: np.ndarray
    faults: tuple[np.ndarray, ...]

    def save(self, path: Path) -> None:
        """Write it for another environment."""
        head = {"reference": self.reference, "categories": self.categories, "faults": self.fault_columns}
        arrays = {f"column {i}": values for i, values in enumerate(self.columns.values())}
        arrays |= {f"fault {i}": values for i, values in enumerate(self.faults)}
        text = json.dumps({**head, "names": list(self.columns)})
        np.savez(path, head=np.array(text), hours=self.fault_hours, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Month":
        """What `save` wrote."""
        with np.load(path) as stored:
            head = json.loads(str(stored["head"]))
            columns = {name: stored[f"column {i}"] for i, name in enumerate(head["names"])}
            faults = tuple(stored[f"fault {i}"] for i in range(len(head["faults"])))
            hours = stored["hours"]
        categories, wrong = tuple(head["categories"]), tuple(head["faults"])
        return cls(head["reference"], columns, categories, wrong, hours, faults)

    @property
    def hours(self) -> int:
        """Live hours."""
        return len(next(iter(self.columns.values()))) - self.reference

    def in_fault(self, i: int) -> np.ndarray:
        """The two live hours of a fault."""
        return np.asarray(self.fault_hours[i] + np.arange(2))


def evidently(month: Month) -> tuple[str, dict[str, np.ndarray]]:
    """Column and data-set verdicts on the hours in which faults are tried, as they were and with the fault.

    What `DataDriftPreset` asks for each column, without drawing its pages, which takes some twenty times as long.
    """
    import pandas as pd
    from evidently import __version__
    from evidently.legacy.calculations.stattests import get_stattest

    rng = np.random.default_rng(0)
    rows = next(iter(month.columns.values()))[: month.reference].size
    drawn = rng.choice(rows, min(SAMPLE, rows), replace=False)
    whole = {name: pd.Series(v[: month.reference].ravel()[drawn]) for name, v in month.columns.items()}
    known = {name: series.dropna() for name, series in whole.items()}
    kinds = {name: "cat" if name in month.categories else "num" for name in known}

    def drifted(name: str, values: np.ndarray) -> bool:
        now = pd.Series(values).dropna()
        test = get_stattest(known[name], now, kinds[name], None)
        return bool(test(known[name], now, kinds[name], None).drifted)

    hours = np.unique(np.concatenate([month.in_fault(i) for i in range(len(month.faults))]))
    clean = np.array(
        [[drifted(name, v[month.reference + h]) for name, v in month.columns.items()] for h in hours]
    )
    some = [*[n for n in kinds if kinds[n] == "num"][: CHECKED // 2], *month.categories[: CHECKED // 2]]
    window = {n: month.columns[n][month.reference + hours[0]] for n in some}
    said = evidently_report(pd.DataFrame({n: whole[n] for n in some}), pd.DataFrame(window), kinds)
    ours = dict(zip(month.columns, clean[0].tolist(), strict=True))
    if said != {name: ours[name] for name in some}:
        raise RuntimeError(f"Evidently's report says {said}, its functions say {ours}")
    faulty = np.zeros((len(month.faults), 2), dtype=bool)
    every = np.zeros_like(faulty)
    for i, (name, at) in enumerate(zip(month.fault_columns, month.faults, strict=True)):
        where = list(month.columns).index(name)
        for j, hour in enumerate(month.in_fault(i)):
            faulty[i, j] = drifted(name, at[j])
            row = clean[np.searchsorted(hours, hour)].copy()
            row[where] = faulty[i, j]
            every[i, j] = row.mean() >= SHARE
    verdict = clean.mean(axis=1, keepdims=True) >= SHARE
    return __version__, {
        "hours": hours, "clean": clean, "faulty": faulty, "set clean": verdict, "set faulty": every
    }  # fmt: skip


def evidently_report(reference: Any, current: Any, kinds: Mapping[str, str]) -> dict[str, bool]:
    """By column, what the report with `DataDriftPreset` says; fails where it counts otherwise."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    by_kind = {kind: [n for n in reference.columns if kinds[n] == kind] for kind in ("num", "cat")}
    columns = DataDefinition(numerical_columns=by_kind["num"], categorical_columns=by_kind["cat"])
    frames = (Dataset.from_pandas(frame, data_definition=columns) for frame in (current, reference))
    count, *metrics = Report([DataDriftPreset()]).run(*frames).dict()["metrics"]
    out = {m["config"]["column"]: bool(m["value"] >= m["config"]["threshold"]) for m in metrics}
    if sum(out.values()) != count["value"]["count"]:
        raise RuntimeError(f"Evidently's report counts {count['value']}, its columns say {out}")
    return out


def nannyml(month: Month) -> tuple[str, dict[str, np.ndarray]]:
    """Verdicts on every live hour, and on the faults; a chunk is an hour."""
    import nannyml
    import pandas as pd

    clean = month.hours
    live = np.concatenate([np.arange(clean), *(month.in_fault(i) for i in range(len(month.faults)))])
    reference, hours = {}, {}
    for name, values in month.columns.items():
        reference[name] = values[: month.reference].ravel()
        judged = values[month.reference + live]
        for i, column in enumerate(month.fault_columns):
            if column == name:
                judged[clean + 2 * i : clean + 2 * i + 2] = month.faults[i]
        hours[name] = judged.ravel()
    names = list(month.columns)
    size = next(iter(month.columns.values())).shape[1]
    calculator = nannyml.UnivariateDriftCalculator(
        names, treat_as_categorical=list(month.categories), chunk_size=size
    )
    calculator.fit(pd.DataFrame(reference))
    table = calculator.calculate(pd.DataFrame(hours)).filter(period="analysis").to_df()
    alerts = np.column_stack([(table[(n, "jensen_shannon", "alert")] == True).to_numpy() for n in names])  # noqa: E712
    where = [names.index(name) for name in month.fault_columns]
    faulty = alerts[clean:].reshape(len(month.faults), 2, len(names))[np.arange(len(where)), :, where]
    return nannyml.__version__, {"hours": np.arange(clean), "clean": alerts[:clean], "faulty": faulty}


PEERS = {"evidently": evidently, "nannyml": nannyml}


def main(peer: str, folder: Path) -> None:
    """In the peer's environment: judge a month, and print the peer's version."""
    version, judged = PEERS[peer](Month.load(folder / "month.npz"))
    np.savez(folder / "judged.npz", **judged)  # type: ignore[arg-type]
    print(json.dumps({"version": version}))


if __name__ == "__main__":
    # Neither is to tell anybody that it runs; each reads this when it is imported.
    os.environ |= {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    main(sys.argv[1], Path(sys.argv[2]))

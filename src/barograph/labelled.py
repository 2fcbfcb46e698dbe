"""What labels say of the reference, by UTC day: how good answers were, and what each score meant."""

from dataclasses import dataclass

import numpy as np

from barograph import frames
from barograph.bins import NumericBins
from barograph.outcomes import OutcomeBins, OutcomeProfile, count

DAY = 86_400


@dataclass(frozen=True, eq=False)
class LabelledDays:
    """Outcomes of D days, in order.

    `starts` int64[D] epoch seconds (of a reference without times one day, 0); `counts` int64[D, bins.counts] and `sums`
    float64[D, bins.sums] as in an `OutcomeProfile`. `errors` float64[D, 4, slots]: rows and the sums of |e|, e^2 and e^4 by slot
    of the expected error, where a regression has one.
    """

    starts: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    errors: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        bins: OutcomeBins,
        moments: np.ndarray | None,
        label: frames.Column,
        score: frames.Column = None,
        prediction: frames.Column = None,
        expected: tuple[NumericBins, frames.Column] | None = None,
    ) -> "LabelledDays":
        """Count rows at `moments` (epoch seconds); see `outcomes.count`. Days without a label that counts are left out.

        `expected` are the bins of the expected error, and its values.

        >>> bins = OutcomeBins.default("binary", threshold=0.5)
        >>> days = LabelledDays.of(bins, np.array([0.0, 90_000.0]), [0, 1], [0.2, 0.9])
        >>> days.starts.tolist(), [day.rows for day in days.profiles(bins)]
        ([0, 86400], [1, 1])
        """
        when = np.zeros(len(label)) if moments is None else moments
        days, group = np.unique(np.floor_divide(when, DAY).astype(np.int64), return_inverse=True)
        counts, sums = count(bins, label, score, prediction, group, len(days))
        held = counts[:, bins.answered].any(axis=1)
        errors = None
        if expected is not None:
            wrong = frames.floats(prediction) - frames.floats(label)
            errors = _errors(wrong, expected[0], frames.floats(expected[1]), group, len(days))[held]
        return cls(days[held] * DAY, counts[held], sums[held], errors)

    def __len__(self) -> int:
        return len(self.starts)

    def profiles(self, bins: OutcomeBins) -> list[OutcomeProfile]:
        """Of each day."""
        return [OutcomeProfile(bins, *both) for both in zip(self.counts, self.sums, strict=True)]

    def total(self, bins: OutcomeBins) -> OutcomeProfile:
        """Of all days together."""
        return OutcomeProfile(bins, self.counts.sum(axis=0), self.sums.sum(axis=0))


def _errors(
    wrong: np.ndarray, bins: NumericBins, expected: np.ndarray, day: np.ndarray, days: int
) -> np.ndarray:
    """float64[days, 4, slots]: rows and the sums of |e|, e^2 and e^4."""
    told = np.isfinite(wrong)
    place = day[told] * bins.size + bins.index(expected[told])
    absolute = np.abs(wrong[told])
    added = (np.ones(len(absolute)), absolute, absolute**2, absolute**4)
    found = [np.bincount(place, weights=one, minlength=days * bins.size) for one in added]
    return np.stack([one.reshape(days, bins.size) for one in found], axis=1)


def label_counts(bins: OutcomeBins, label: frames.Column) -> np.ndarray | None:
    """int64[classes]: how often each label was, 0 and 1, or the classes and other; None for numbers.

    >>> label_counts(OutcomeBins.default("binary"), [0, 0, 1]).tolist()
    [2, 1]
    """
    if bins.task == "regression":
        return None
    counts, sums = count(bins, label)
    return np.asarray(OutcomeProfile(bins, counts[0], sums[0]).answers.sum(axis=1))

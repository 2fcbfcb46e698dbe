"""What the model answers, from counts."""

import numpy as np
import pytest

from barograph.bins import CategoryBins, NumericBins, numeric_bins, score_bins
from barograph.lookup import add
from barograph.output import class_shares, empty_share, overridden_shares, positive_share, response_quantiles


def counted(bins, values):
    counts, sums = np.zeros(bins.size, dtype=np.int64), np.zeros(bins.size)
    add(bins.index(values), values, counts, sums)
    return counts, sums


def test_too_few_answers_give_no_share():
    found = empty_share(np.array([29, 3]), np.array([29, 30]))
    assert np.isnan(found[0])
    assert found[1] == 0.1


def test_overridden_shares_are_by_rule_with_the_largest_first():
    rules = {"late": np.array([1, 2]), "cap": np.array([4, 9])}
    found = overridden_shares(rules, np.array([100, 20]))
    assert list(found) == ["cap", "late"]
    assert found["cap"][0] == 0.04
    assert np.isnan(found["cap"][1])


def test_class_shares_of_all_answers_sum_to_1_and_leave_out_what_never_came():
    bins = CategoryBins(("ham", "spam", "eggs"))
    counts = np.array([[60, 30, 0, 0, 0, 10, 0], [50, 0, 0, 0, 50, 0, 0]])
    found = class_shares(bins, counts)
    assert list(found) == ["ham", "spam", "unseen", "missing"]
    np.testing.assert_allclose(sum(found.values()), [1, 1])
    assert found["unseen"].tolist() == [0, 0.5]


@pytest.mark.parametrize("reference", [[0.0, 1.0], [0.0], [1.0]], ids=["both", "only 0", "only 1"])
def test_the_positive_share_of_a_prediction_is_its_share_of_ones(reference):
    bins = numeric_bins(np.array(reference * 50))
    counts, _ = counted(bins, np.array([1.0] * 30 + [0.0] * 70 + [np.nan] * 20))
    assert positive_share(bins, counts) == pytest.approx(0.3)


def test_a_score_on_the_threshold_is_positive():
    bins = score_bins((0.3,))
    counts, _ = counted(bins, np.array([0.3] * 10 + [np.nextafter(0.3, 0)] * 30))
    assert positive_share(bins, counts, 0.3) == pytest.approx(0.25)


def test_response_quantiles_follow_the_response():
    rng = np.random.default_rng(2)
    bins = numeric_bins(rng.beta(2, 5, 20_000), quantiles=512)
    windows = [rng.beta(2, 5, 3_000), rng.beta(4, 5, 3_000), rng.beta(2, 5, 10)]
    counts, sums = (np.array(x) for x in zip(*(counted(bins, w) for w in windows), strict=True))
    found = response_quantiles(bins, counts, sums)
    np.testing.assert_allclose(
        found[:2], [np.quantile(w, (0.05, 0.25, 0.5, 0.75, 0.95)) for w in windows[:2]], atol=0.004
    )
    assert np.isnan(found[2]).all()


def test_positive_share_of_one_window_or_many():
    bins = NumericBins(np.array([0.0, 0.5, 1.0]), low=0.0, high=1.0)
    counts = np.array([[0, 60, 20, 20, 9, 0], [0, 1, 1, 0, 0, 0]])
    assert positive_share(bins, counts[0]) == pytest.approx(0.4)
    assert np.isnan(positive_share(bins, counts)[1])

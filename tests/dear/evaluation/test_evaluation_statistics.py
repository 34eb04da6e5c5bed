"""Intervals and tests on cases whose answer is known."""

import numpy as np
import pytest

from dear.errors import BadInput
from dear.evaluation.statistics import RESAMPLES, compare, interval


def test_interval_of_coin_flips_is_the_binomial_one():
    values = [1.0] * 50 + [0.0] * 50
    low, high = interval(values)
    assert (low, high) == pytest.approx((0.40, 0.60), abs=0.011)  # 0.5 ± 1.96 sqrt(0.25 / 100)
    assert interval(values) == (low, high)
    assert interval(values, seed=1) != (0.0, 1.0)


def test_compare_two_queries_exactly():
    found = compare({"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0})
    assert found.difference == 1.0
    assert found.p == pytest.approx(0.5, abs=0.02)  # two of the four sign patterns do as much


def test_compare_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(3)
    a = {f"q{i}": float(v) for i, v in enumerate(random.uniform(0, 1, 12))}
    b = {query: min(1.0, value + float(random.normal(0.1, 0.2))) for query, value in a.items()}
    found = compare(a, b)
    differences = [b[query] - a[query] for query in sorted(a)]
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert found.p == pytest.approx(exact, abs=0.015)
    assert found.low < found.difference < found.high


def test_the_other_way_round_is_the_mirror():
    a, b = {"x": 0.1, "y": 0.5, "z": 0.3}, {"x": 0.4, "y": 0.4, "z": 0.9}
    there, back = compare(a, b), compare(b, a)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == back.p


def test_no_difference_is_never_significant_and_p_is_never_zero():
    same = {f"q{i}": 0.3 for i in range(20)}
    assert compare(same, same).p == 1.0
    assert compare(same, dict.fromkeys(same, 0.9)).p == pytest.approx(1 / (RESAMPLES + 1), abs=1e-3)


@pytest.mark.parametrize(("a", "b"), [({}, {}), ({"a": 1.0}, {"b": 1.0}), ({"a": 1.0}, {"a": 1.0, "b": 0.0})])
def test_different_queries_are_refused(a, b):
    with pytest.raises(BadInput, match="not the same"):
        compare(a, b)
    with pytest.raises(BadInput, match="no query"):
        interval([])

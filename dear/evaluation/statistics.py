"""Is the difference real? Percentile bootstrap over queries and a paired randomisation test; seeded, so that figures repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dear.errors import BadInput

RESAMPLES = 10_000
SEED = 20250823
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Comparison:
    """System b against a over the same queries: mean difference b - a, its interval, and the two-sided p of no difference."""

    difference: float
    low: float
    high: float
    p: float
    queries: int


def interval(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[float, float]:
    """95% confidence interval of the mean: percentiles of the means of resampled queries (Efron & Tibshirani 1993, chapter 13).

    >>> interval([0.5, 0.5, 0.5])
    (0.5, 0.5)
    """
    if not len(values):
        raise BadInput("no query to resample: give at least one value")
    means = _means(np.asarray(values, dtype=np.float64), resamples, seed)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compare(a: Mapping[str, float], b: Mapping[str, float], *, resamples: int = RESAMPLES, seed: int = SEED) -> Comparison:
    """Paired bootstrap interval of mean(b - a), and Fisher's randomisation test: how often do random signs of the differences do as much?

    p = (1 + count) / (1 + resamples), never 0 (Smucker, Allan & Carterette 2007). Raises `BadInput` unless the queries are the same.
    """
    if set(a) != set(b) or not a:
        raise BadInput(f"{len(a)} and {len(b)} queries that are not the same: compare two systems over one set of queries")
    queries = sorted(a)
    differences = np.array([b[query] - a[query] for query in queries], dtype=np.float64)
    low, high = np.quantile(_means(differences, resamples, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    observed = abs(differences.mean())
    random = np.random.default_rng(seed + 1)
    count = 0
    for size in _chunks(resamples, len(differences)):
        signs = random.integers(0, 2, (size, len(differences)), dtype=np.int8) * 2 - 1
        count += int((np.abs(signs @ differences) / len(differences) >= observed - 1e-12).sum())
    return Comparison(float(differences.mean()), float(low), float(high), (1 + count) / (1 + resamples), len(queries))


def _means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([values[random.integers(0, len(values), (size, len(values)))].mean(axis=1) for size in _chunks(resamples, len(values))])


def _chunks(resamples: int, queries: int) -> list[int]:
    """How many resamples to draw at a time, so that memory stays at some ten million numbers."""
    size = max(1, min(resamples, 10_000_000 // max(1, queries)))
    return [min(size, resamples - start) for start in range(0, resamples, size)]

"""Does a score mean a probability? Platt scaling and the expected calibration error, for the ablation of stage 1's losses.

Ranking losses fix a score only up to an affine map, so calibration is measured after Platt scaling (Platt 1999): a logistic curve
fitted to the scores of half of the queries and applied to the other half, then the halves exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dear.errors import BadInput

BINS = 10


def expected_calibration_error(probabilities: Sequence[float], relevant: Sequence[bool], bins: int = BINS) -> float:
    """ECE (Naeini et al. 2015) over bins of equal size: the weighted mean of |share relevant - mean probability|, 0 to 1.

    >>> expected_calibration_error([0.9] * 10, [True] * 9 + [False], bins=1)
    0.0
    """
    if not len(probabilities) or len(probabilities) != len(relevant):
        raise BadInput(f"{len(probabilities)} probabilities for {len(relevant)} labels: give one label a probability, and at least one")
    order = np.argsort(probabilities, kind="stable")
    p, y = np.asarray(probabilities, dtype=float)[order], np.asarray(relevant, dtype=float)[order]
    parts = [part for part in np.array_split(np.arange(len(p)), min(bins, len(p))) if len(part)]
    return float(round(sum(abs(y[part].mean() - p[part].mean()) * len(part) for part in parts) / len(p), 12))


def platt(scores: Sequence[float], relevant: Sequence[bool]) -> tuple[float, float]:
    """Slope and intercept of P(relevant) = 1 / (1 + exp(-(slope * score + intercept))); raises `BadInput` unless both labels occur."""
    from sklearn.linear_model import LogisticRegression

    if len(set(map(bool, relevant))) < 2:
        raise BadInput("Platt scaling needs relevant and irrelevant pairs: give more queries")
    fitted = LogisticRegression(C=1e6).fit(np.asarray(scores, dtype=float)[:, None], np.asarray(relevant, dtype=int))
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def error_after_platt(groups: Sequence[tuple[Sequence[float], Sequence[bool]]]) -> float:
    """ECE of scores by query, each half of the queries judged by the curve of the other; raises `BadInput` on fewer than two queries."""
    if len(groups) < 2:
        raise BadInput(f"{len(groups)} queries cannot be halved: give at least two")
    probabilities: list[float] = []
    labels: list[bool] = []
    for half in (0, 1):
        fit, use = _flat(groups[half::2]), _flat(groups[1 - half :: 2])
        slope, intercept = platt(*fit)
        probabilities += [float(1 / (1 + np.exp(-(slope * score + intercept)))) for score in use[0]]
        labels += use[1]
    return expected_calibration_error(probabilities, labels)


def _flat(groups: Sequence[tuple[Sequence[float], Sequence[bool]]]) -> tuple[list[float], list[bool]]:
    return [s for scores, _ in groups for s in scores], [bool(y) for _, labels in groups for y in labels]

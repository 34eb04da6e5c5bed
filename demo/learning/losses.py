"""The losses of stage 1 on one query's own scores, small enough to be read: the formulas of section 3.1 (arXiv 2508.16998). Pure.

One group of N passages: scores s, labels y (grades, 0 = not relevant), teacher scores t. The training package computes the
same in torch over batches of ragged groups; a test holds both together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Losses:
    """Each part and their sum L = alpha (CE + RankNet) + (1 - alpha) KL."""

    cross_entropy: float
    ranknet: float
    kl: float
    total: float


def softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    """exp(v / T), normalised to sum 1.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    top = max(values, default=0.0)
    powers = [math.exp((value - top) / temperature) for value in values]
    total = sum(powers)
    return [power / total for power in powers]


def cross_entropy(scores: Sequence[float], labels: Sequence[float]) -> float:
    """-sum_i y_i / sum(y) log softmax(s)_i; 0 where nothing is relevant."""
    weight = sum(max(label, 0.0) for label in labels)
    if not weight:
        return 0.0
    logs = _log_softmax(scores)
    return -sum(max(label, 0.0) / weight * log for label, log in zip(labels, logs, strict=True))


def ranknet(scores: Sequence[float], labels: Sequence[float]) -> float:
    """Mean over the pairs with y_i > y_j of log(1 + exp(s_j - s_i)); 0 where no pair is ordered."""
    pairs = [(i, j) for i, a in enumerate(labels) for j, b in enumerate(labels) if a > b]
    return sum(_softplus(scores[j] - scores[i]) for i, j in pairs) / len(pairs) if pairs else 0.0


def kl_divergence(scores: Sequence[float], teacher: Sequence[float], temperature: float = 2.0) -> float:
    """T^2 KL(softmax(t / T) || softmax(s / T)); 0 for fewer than two passages."""
    if len(scores) < 2:
        return 0.0
    q, p = _log_softmax(scores, temperature), _log_softmax(teacher, temperature)
    return temperature**2 * sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))


def losses(scores: Sequence[float], labels: Sequence[float], teacher: Sequence[float], *, alpha: float = 0.1, temperature: float = 2.0) -> Losses:
    """Every part on one group; `alpha` is the share of the labels, 0.1 in the paper."""
    parts = cross_entropy(scores, labels), ranknet(scores, labels), kl_divergence(scores, teacher, temperature)
    return Losses(*parts, alpha * (parts[0] + parts[1]) + (1 - alpha) * parts[2])


def _log_softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    scaled = [value / temperature for value in values]
    top = max(scaled)
    log_sum = top + math.log(sum(math.exp(value - top) for value in scaled))
    return [value - log_sum for value in scaled]


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))

"""Are the explanations any good? What can be read off the answers themselves; `dear.evaluation.probes` asks the model again.

Every metric, with formula and source, is in docs/evaluation.md. Shares are percent; correlations run from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from dear.evaluation.questions import Question
from dear.evaluation.report import Measured, percent
from dear.evaluation.stages import Row
from dear.explain import kendall_tau, rank_biased_overlap
from dear.types import Evidence, Rationale


@dataclass(frozen=True, slots=True)
class Answered:
    """One window's answer with the question it was for and the passages it saw, in prompt order."""

    question: Question
    given: tuple[str, ...]
    permutation: tuple[str, ...]
    status: str
    rationale: Rationale


def answered(measured: Measured, row: Row) -> list[Answered]:
    """Every window of a listwise row."""
    found: list[Answered] = []
    for question in measured.opened:
        listing = row.ranked[question.id].listing
        for window, given in zip(listing.windows, listing.given, strict=True) if listing else ():
            found.append(Answered(question, given, window.permutation, window.status, window.rationale))
    return found


def read_answers(answers: Sequence[Answered], relevant: int) -> dict[str, Any]:
    """What the answers say about themselves; a figure that nothing was found for is None."""
    evidence = [(one, item) for one in answers for item in one.rationale.evidence]
    return {
        "windows": len(answers),
        "parsed": share([one.status == "complete" for one in answers]),
        "quotes": len(evidence),
        "grounded": share([item.grounded for _, item in evidence]),
        "requirements": sum(len(one.rationale.requirements) for one in answers),
        "requirement_coverage": share([covered for one in answers for covered in coverage(one, relevant)]),
        "cited_relevant": share([is_relevant(one.question, item.passage_id, relevant) for one, item in evidence]),
        "relevant_by_chance": share([is_relevant(one.question, id_, relevant) for one in answers for id_ in one.given]),
        "order_agreement": mean([tau for one in answers if (tau := citation_order(one)) is not None]),
        "cited_above_uncited": _percent(mean([value for one in answers if (value := cited_first(one)) is not None])),
    }


def coverage(one: Answered, relevant: int) -> Iterator[bool]:
    """For each requirement: is it met by a grounded quote of a passage judged relevant?"""
    for number in range(1, len(one.rationale.requirements) + 1):
        yield any(item.grounded and number in item.meets and is_relevant(one.question, item.passage_id, relevant) for item in one.rationale.evidence)


def citation_order(one: Answered) -> float | None:
    """Kendall's tau between the order passages are first cited in and the order they are ranked in; None for fewer than two."""
    cited = _cited(one.rationale.evidence, one.permutation)
    if len(cited) < 2:
        return None
    return kendall_tau(cited, [id_ for id_ in one.permutation if id_ in set(cited)])


def cited_first(one: Answered) -> float | None:
    """The share of pairs (cited, uncited) in which the cited passage is ranked higher; None without such a pair."""
    cited = set(_cited(one.rationale.evidence, one.permutation))
    pairs = [first in cited for first, second in combinations(one.permutation, 2) if (first in cited) != (second in cited)]
    return sum(pairs) / len(pairs) if pairs else None


def is_relevant(question: Question, passage_id: str, relevant: int) -> bool:
    """Whether the passage's grade reaches the benchmark's lowest relevant one."""
    return question.grades.get(passage_id, 0) >= relevant


def agreement(measured: Measured, top: int) -> dict[str, dict[str, float | None]]:
    """Kendall's tau and RBO (p 0.9) between each two stages, over the passages that the listwise stages read, mean over queries."""
    rows = [row for row in measured.rows if row.stage != "dense"]
    before = next((row for row in rows if row.stage == "pointwise"), rows[0])
    found: dict[str, dict[str, float | None]] = {}
    for first, second in combinations(rows, 2):
        pairs = []
        for question in measured.opened:
            head = set(before.ranked[question.id].ids[:top])
            pairs.append(tuple([id_ for id_ in row.ranked[question.id].ids if id_ in head] for row in (first, second)))
        tau, rbo = [kendall_tau(a, b) for a, b in pairs], [rank_biased_overlap(a, b) for a, b in pairs]
        found[f"{first.stage}-{second.stage}"] = {"tau": mean(tau), "rbo": mean(rbo)}
    return found


def _cited(evidence: Sequence[Evidence], known: Sequence[str]) -> list[str]:
    inside = set(known)
    return list(dict.fromkeys(item.passage_id for item in evidence if item.passage_id in inside))


def mean(values: Sequence[float]) -> float | None:
    """The mean with four decimals, None of nothing."""
    return round(sum(values) / len(values), 4) if values else None


def share(flags: Sequence[bool]) -> float | None:
    """The share of true ones in percent, None of nothing."""
    return _percent(sum(flags) / len(flags) if flags else None)


def _percent(value: float | None) -> float | None:
    return None if value is None else percent(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as (name, figure), names joined by dots.

    >>> dict(flat({"a": {"b": 1}}))
    {'a.b': 1}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value

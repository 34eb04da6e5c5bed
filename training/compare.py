"""Which adapter to ship: any models side by side on the dev lists, by kind of list, before a test set is looked at.

A run, the mean of it with what it went on from, the shipped student, a bi-encoder: each scores the same passages (`mix.dev_out`), read as
it will be read afterwards. One figure for all lists would hide what a piece of training took from one kind to give to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dear.errors import BadInput
from dear.metrics import per_query
from training.groups import Group, read_groups, without_titles
from training.mix import KINDS, kind_of
from training.recipes import Recipe
from training.teacher import open_teacher

MEASURES = ("nDCG@10", "RR@10")


@dataclass(frozen=True, slots=True)
class Compared:
    """A model's nDCG@10 and RR@10 in per cent, by kind of list."""

    model: str
    by_kind: dict[str, tuple[float, float]]


def dev_groups(recipe: Recipe, *, untitled: bool = False) -> list[Group]:
    """The recipe's dev lists, without their passages' titles where `untitled`; raises `BadInput` where they have not been drawn."""
    path = recipe.mix.dev_out
    if not Path(path or ".").is_file():
        raise BadInput(f"mix.dev_out {path!r} does not exist: make it with `python -m training mix`, or set mix.dev_out=FILE of graded groups")
    groups = list(read_groups(path))
    if not groups:
        raise BadInput(f"mix.dev_out {path!r} has no list: draw it again with `python -m training mix`")
    return [without_titles(g) for g in groups] if untitled else groups


def compare(groups: Sequence[Group], models: Sequence[str]) -> Iterator[Compared]:
    """Yield each model's measures; a model is whatever `training.teacher.open_teacher` opens: dear-nano, an adapter's folder, minilm, …"""
    qrels = {g.query_id: {c.id: c.label for c in g.passages} for g in groups}
    kinds = {g.query_id: kind_of(g) for g in groups}
    for model in models:
        scores = open_teacher(model)(groups)
        run = {g.query_id: {c.id: s for c, s in zip(g.passages, values, strict=True)} for g, values in zip(groups, scores, strict=True)}
        found = per_query(run, qrels, MEASURES)
        yield Compared(model, {kind: _means(found, [id for id, of in kinds.items() if of == kind]) for kind in _present(kinds.values())})


def table(rows: Sequence[Compared], groups: Sequence[Group]) -> str:
    """The rows as a Markdown table, with the number of lists of each kind in its head."""
    kinds = _present(kind_of(g) for g in groups)
    counts = {kind: sum(kind_of(g) == kind for g in groups) for kind in kinds}
    lines = [f"| nDCG@10, RR@10 | {' | '.join(f'{counts[kind]} {kind}' for kind in kinds)} |", "| --- |" + " --- |" * len(kinds)]
    lines += [f"| {row.model} | {' | '.join('{:.1f}, {:.1f}'.format(*row.by_kind[kind]) for kind in kinds)} |" for row in rows]
    return "\n".join(lines)


def _present(kinds: Iterable[str]) -> list[str]:
    there = set(kinds)
    return [kind for kind in KINDS if kind in there] + sorted(there - set(KINDS))


def _means(found: dict[str, dict[str, float]], ids: Sequence[str]) -> tuple[float, float]:
    ndcg, rr = (100 * sum(found[name][id] for id in ids) / len(ids) for name in MEASURES)
    return ndcg, rr

"""How a stage's nDCG@10 adds up, row by row. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from dear.metrics import ndcg_working
from dear.types import STAGES
from demo.handlers import STAGE_NAMES, View
from demo.markup import esc, join

K = 10
EXPLAINED = "Each passage adds its grade divided by log₂(rank + 1). The sum, DCG, is divided by that of the best order there can be."


def working(view: View) -> str:
    """A folded table a stage: rank, passage, grade, what it adds, and the division at the end. Nothing without judgments."""
    stages = [stage for stage in STAGES if view.hits and all(stage in hit.ranks for hit in view.hits)]
    if not view.metrics or not view.judgments or not stages:
        return ""
    tables = join(_table(view, stage) for stage in stages)
    return (
        f'<details class="working" data-keep="working"><summary>How nDCG@{K} adds up</summary>'
        f'<p class="hint">{EXPLAINED}</p><div class="sums">{tables}</div></details>'
    )


def ideal_dcg(judgments: Mapping[str, int]) -> float:
    """DCG@10 of the judged passages in their best order."""
    best = sorted(judgments, key=lambda id: -judgments[id])
    return sum(adds for *_, adds in ndcg_working(best, judgments, K))


def _table(view: View, stage: str) -> str:
    order = [hit.id for hit in sorted(view.hits, key=lambda hit: hit.ranks[stage])]
    rows = ndcg_working(order, view.judgments, K)
    total, ideal = sum(adds for *_, adds in rows), ideal_dcg(view.judgments)
    body = join(_row(view, rank, id, grade, adds) for rank, id, grade, adds in rows)
    value = f"{total / ideal:.3f}" if ideal else "–"
    head = join(f'<th scope="col">{name}</th>' for name in ("Rank", "Passage", "Grade", "Adds"))
    return (
        f'<table class="ranks {stage}"><caption>{STAGE_NAMES[stage]}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        f'<tfoot><tr><td colspan="4">{total:.3f} ÷ {ideal:.3f} = {value}</td></tr></tfoot></table>'
    )


def _row(view: View, rank: int, passage_id: str, grade: int | None, adds: float) -> str:
    n = view.number(passage_id)
    name = f'<a class="ref" href="#card-{n}" data-d="{n}" title="{esc(passage_id)}">D{n}</a>'
    return f'<tr><td>{rank}</td><th scope="row">{name}</th><td>{"–" if grade is None else grade}</td><td>{adds:.3f}</td></tr>'

"""All checks on explanations that a benchmark's rows allow, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dear.evaluation import probes
from dear.evaluation.explanations import agreement, answered, read_answers
from dear.evaluation.report import Measured, percent
from dear.evaluation.stages import Progress, Row
from dear.evaluation.statistics import compare

if TYPE_CHECKING:
    from dear.evaluation.run import Parts


def explain(measured: Measured, parts: Parts, progress: Progress) -> dict[str, Any]:
    """The checks of the answers, agreement between stages, and the probes; empty without a listwise row."""
    rows = {row.stage: row for row in measured.rows}
    if not {"listwise", "fast"} & set(rows):
        return {}
    found: dict[str, Any] = {}
    if "listwise" in rows:
        answers = answered(measured, rows["listwise"])
        found |= read_answers(answers, measured.opened.benchmark.relevant)
        if "pointwise" in rows:
            found |= probes.cited_sentences(answers, rows["pointwise"], parts.scorer, progress)
    found["agreement"] = agreement(measured, parts.plan.reach()["top"])
    if {"listwise", "fast"} <= set(rows):
        found["reasoning_against_fast"] = _reasoning(measured)
    return found | _probed(measured, rows, parts, progress)


def _probed(measured: Measured, rows: Mapping[str, Row], parts: Parts, progress: Progress) -> dict[str, Any]:
    plan = parts.plan
    questions = measured.opened.questions[: plan.probes]
    top, excerpt = plan.reach()["top"], parts.scorer.info.excerpt if "pointwise" in rows else 0
    stages = [
        probes.Probed(rows[name], ranker, questions, top, excerpt if name == "pointwise" else 0)
        for name, ranker in probes.rankers(rows, parts).items()
    ]
    found: dict[str, Any] = {"probed_queries": len(questions)}
    if plan.shuffles:
        lists = [one for one in stages if one.name != "pointwise"]  # pairs are scored one by one: there is no order to follow
        found["position_bias"] = {one.name: probes.position_bias(one, plan.shuffles, progress) for one in lists}
    relevant = measured.opened.benchmark.relevant
    return found | {"injection": {one.name: probes.injection(one, relevant, progress) for one in stages}}


def _reasoning(measured: Measured) -> dict[str, float]:
    """What reasoning brings over the fast mode: difference in the main measure with its p, and how much longer it takes."""
    main = measured.opened.benchmark.main
    compared = compare(measured.values["fast"][main], measured.values["listwise"][main])
    seconds = {row.stage: row.seconds for row in measured.rows}
    slower = round(seconds["listwise"] / seconds["fast"], 2) if seconds["fast"] else 0.0
    return {"difference": percent(compared.difference), "p": round(compared.p, 4), "times_slower": slower}

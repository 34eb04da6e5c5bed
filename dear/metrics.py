"""Effectiveness by ir-measures: one query's stages for the page, whole runs for tables.

nDCG uses the grade itself as gain and log2(rank + 1) as discount (Järvelin & Kekäläinen 2002, as trec_eval does). Every
ranking handed over has strictly decreasing scores, so there are no ties to break.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dear.errors import BadInput

Judgments = Mapping[str, int]  # passage id -> grade, 0 = not relevant
DEFAULT_MEASURES = ("nDCG@10",)


def ndcg_working(ids: Sequence[str], judgments: Judgments, k: int = 10) -> list[tuple[int, str, int | None, float]]:
    """How DCG@k adds up: (rank, id, grade or None when unjudged, gain / log2(rank + 1)) for the first k.

    >>> ndcg_working(["a", "b"], {"a": 3})
    [(1, 'a', 3, 3.0), (2, 'b', None, 0.0)]
    """
    rows = enumerate(ids[:k], 1)
    return [(rank, id, judgments.get(id), judgments.get(id, 0) / math.log2(rank + 1)) for rank, id in rows]


def unjudged(ids: Sequence[str], judgments: Judgments, k: int = 10) -> int:
    """How many of the first k have no judgment (they count as not relevant)."""
    return sum(id not in judgments for id in ids[:k])


def measure(ids: Sequence[str], judgments: Judgments, measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, float]:
    """Measures of one ranking, e.g. {"nDCG@10": 0.83}; the ideal ranking is that of all judged passages, retrieved or not."""
    run = {"q": {id: float(len(ids) - place) for place, id in enumerate(ids)}}
    return evaluate(run, {"q": dict(judgments)}, measures)


def evaluate(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Judgments], measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, float]:
    """Mean over the judged queries; a judged query that the run lacks counts 0.

    Raises `BadInput` when there is no judged query or a measure's name is unknown.
    """
    per = per_query(run, qrels, measures)
    return {name: sum(values.values()) / len(values) for name, values in per.items()}


def per_query(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Judgments], measures: Sequence[str] = DEFAULT_MEASURES
) -> dict[str, dict[str, float]]:
    """Measure -> query -> value, for every query of the qrels."""
    import ir_measures

    if not qrels:
        raise BadInput("no judged query: give qrels with at least one query")
    try:
        parsed = {ir_measures.parse_measure(name): name for name in measures}
    except (NameError, ValueError) as error:
        raise BadInput(f"unknown measure in {list(measures)} ({error}): use names such as nDCG@10, RR@10, R@100") from error
    rels = [ir_measures.Qrel(query, doc, int(grade)) for query, docs in qrels.items() for doc, grade in docs.items()]
    scores = [ir_measures.ScoredDoc(query, doc, float(score)) for query, docs in run.items() if query in qrels for doc, score in docs.items()]
    values = {name: dict.fromkeys(qrels, 0.0) for name in parsed.values()}
    if scores:
        for metric in ir_measures.iter_calc(list(parsed), rels, scores):
            values[parsed[metric.measure]][metric.query_id] = float(metric.value)
    return values

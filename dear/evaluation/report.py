"""From rows to what is shown: the JSON line of a benchmark, figures in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dear.evaluation.questions import Opened
from dear.evaluation.stages import Row, total_seconds, values
from dear.evaluation.statistics import compare, interval

COLUMNS = ("ndcg@1", "ndcg@5", "ndcg@10", "mrr@10")


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows of one benchmark with their values: column -> query -> value, by stage."""

    opened: Opened
    rows: tuple[Row, ...]
    peers: tuple[Row, ...]
    values: Mapping[str, Mapping[str, Mapping[str, float]]]


def measure_rows(opened: Opened, rows: Sequence[Row], peers: Sequence[Row]) -> Measured:
    """Measure every row once."""
    return Measured(opened, tuple(rows), tuple(peers), {row.stage: values(row, opened) for row in (*rows, *peers)})


def line(measured: Measured, *, model: str, engine: str, settings: Mapping[str, Any], explanations: Mapping[str, Any]) -> dict[str, Any]:
    """The benchmark's JSON line."""
    benchmark = measured.opened.benchmark
    return {
        "benchmark": benchmark.name,
        "model": model,
        "engine": engine,
        "queries": len(measured.opened),
        "measure": benchmark.main,
        "gain": benchmark.gain,
        "settings": dict(settings),
        "notes": list(measured.opened.notes),
        "rows": [_row(row, measured) for row in measured.rows],
        "peers": [{**_row(row, measured), "same_as": _same(row, measured)} for row in measured.peers],
        "comparisons": comparisons(measured),
        "explanations": dict(explanations),
        "published": [
            {"system": p.system, **p.values, "seconds_per_query": p.seconds_per_query, "source": p.source, "note": p.note, "stage": p.stage}
            for p in benchmark.published
        ],
    }


def comparisons(measured: Measured) -> list[dict[str, Any]]:
    """Each stage against the first, against the one it started from, and against each peer: paired, on the main measure."""
    main = measured.opened.benchmark.main
    pairs: dict[tuple[str, str], None] = {}
    ranked = {row.stage: row.ranked for row in (*measured.peers, *measured.rows)}
    for row in measured.rows:
        against = [measured.rows[0].stage, row.after, *(other.stage for other in measured.rows if {row.stage, other.stage} == {"listwise", "fast"})]
        against += [peer.stage for peer in measured.peers]
        for other in against:
            same = ranked.get(other) is ranked[row.stage]  # also a peer that is a stage under its own name
            if not same and other in ranked and (row.stage, other) not in pairs:
                pairs[(other, row.stage)] = None
    return [_compared(measured, main, a, b) for a, b in pairs]


def _compared(measured: Measured, main: str, a: str, b: str) -> dict[str, Any]:
    found = compare(measured.values[a][main], measured.values[b][main])
    ci = [percent(found.low), percent(found.high)]
    return {"a": a, "b": b, "measure": main, "difference": percent(found.difference), "ci95": ci, "p": round(found.p, 4)}


def _same(peer: Row, measured: Measured) -> str:
    """The stage that a peer is under another name, or an empty string."""
    return next((row.stage for row in measured.rows if row.ranked is peer.ranked), "")


def shown(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A line's measured rows, stages and then peers, each ranking once."""
    return [*line["rows"], *(peer for peer in line["peers"] if not peer["same_as"])]


def _row(row: Row, measured: Measured) -> dict[str, Any]:
    found = measured.values[row.stage]
    main = measured.opened.benchmark.main
    means: dict[str, Any] = dict.fromkeys(COLUMNS)
    means.update((column, percent(sum(of.values()) / len(of))) for column, of in found.items())
    return {
        "stage": row.stage,
        **means,
        "ci95": [percent(end) for end in interval(list(found[main].values()))],
        "seconds_per_query": round(row.seconds, 4),
        "seconds_total": round(total_seconds(row, (*measured.rows, *measured.peers)), 4),
        "after": row.after,
    }


def percent(value: float) -> float:
    """A share as percent with two decimals.

    >>> percent(0.77908)
    77.91
    """
    return round(100 * value, 2)

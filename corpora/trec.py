"""Judgments, candidate pools and runs: `qrels.tsv`, TREC qrels, `candidates.tsv`, TREC run files (each also .gz)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corpora.rows import RowError, read_fields

Qrels = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class RunLine:
    """One line of a TREC run: a passage at a rank for a query."""

    query_id: str
    passage_id: str
    rank: int
    score: float
    tag: str = ""


def read_qrels(path: str | Path) -> Qrels:
    """Grades by query id and passage id, from `query-id corpus-id score` (header or not) or TREC's `qid 0 docid grade`."""
    file = Path(path).name
    qrels: Qrels = {}
    for number, cells in read_fields(path, (3, 4), header=("query-id", "corpus-id", "score")):
        query, passage, grade = cells[0], cells[-2], _integer(cells[-1], file, number, "grade")
        grades = qrels.setdefault(query, {})
        if passage in grades:
            raise RowError(file, number, f"passage {passage!r} is judged twice for query {query!r}", "keep one judgment")
        grades[passage] = grade
    return qrels


def read_candidates(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The pool to rank for each query: passage ids in file order, from `query-id corpus-id` lines (header or not)."""
    file = Path(path).name
    pools: dict[str, dict[str, None]] = {}
    for number, (query, passage) in read_fields(path, (2,), header=("query-id", "corpus-id")):
        pool = pools.setdefault(query, {})
        if passage in pool:
            raise RowError(file, number, f"passage {passage!r} is a candidate twice for query {query!r}", "keep one line")
        pool[passage] = None
    return {query: tuple(pool) for query, pool in pools.items()}


def stream_run(path: str | Path) -> Iterator[tuple[str, tuple[RunLine, ...]]]:
    """Yield (query id, its lines by rank) one query at a time from a TREC run (`qid Q0 docid rank score tag`).

    A query's lines must stand together, so that memory holds one query; raises `RowError` when they do not.
    """
    file = Path(path).name
    done: set[str] = set()
    lines: dict[str, RunLine] = {}
    query = ""
    for number, cells in read_fields(path, (6,)):
        if cells[0] != query:
            if lines:
                yield query, _by_rank(lines)
            done.add(query)
            query, lines = cells[0], {}
            if query in done:
                raise RowError(file, number, f"query {query!r} comes back after other queries", "sort the run by query")
        if cells[2] in lines:
            raise RowError(file, number, f"passage {cells[2]!r} is ranked twice for query {query!r}", "keep one line")
        rank, score = _integer(cells[3], file, number, "rank"), _number(cells[4], file, number)
        lines[cells[2]] = RunLine(query, cells[2], rank, score, cells[5])
    if lines:
        yield query, _by_rank(lines)


def read_run(path: str | Path) -> dict[str, tuple[RunLine, ...]]:
    """The whole TREC run, by query id, each query's lines by rank."""
    return dict(stream_run(path))


def _by_rank(lines: dict[str, RunLine]) -> tuple[RunLine, ...]:
    return tuple(sorted(lines.values(), key=lambda line: line.rank))


def _integer(value: str, file: str, number: int, what: str) -> int:
    try:
        whole = float(value)
    except ValueError:
        whole = 0.5
    if whole != whole or whole in (float("inf"), float("-inf")) or whole != int(whole):
        raise RowError(file, number, f"the {what} {value!r} is not a whole number", f"write the {what} as a whole number")
    return int(whole)


def _number(value: str, file: str, number: int) -> float:
    try:
        score = float(value)
    except ValueError:
        score = float("nan")
    if score != score:
        raise RowError(file, number, f"the score {value!r} is not a number", "write the score as a number")
    return score

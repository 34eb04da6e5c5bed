"""Runs as files: recorded events (JSONL), TREC runs, CSV; and the ranking a stream has reached so far."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from dear import events as ev
from dear.errors import BadInput
from dear.types import Hit, rerank_hits

RunRow = tuple[str, str, int, float]  # query id, passage id, rank, score


def order_scores(ids: Sequence[str]) -> dict[str, float]:
    """Strictly decreasing scores for an order that has none of its own: n, n-1, …, 1.

    >>> order_scores(["b", "a"])
    {'b': 2.0, 'a': 1.0}
    """
    return {id: float(len(ids) - place) for place, id in enumerate(ids)}


def ranking_so_far(events: Iterable[ev.Event]) -> tuple[Hit, ...]:
    """The best ranking a stream holds, wherever it was cut: always the retrieved passages, once each.

    The last completed stage counts; inside the listwise stage, the windows that ended count, and inside the pointwise
    stage the passages scored so far lead, by score, followed by the unscored ones in retrieval order.
    """
    hits: tuple[Hit, ...] = ()
    scored: dict[str, float] = {}
    spans: list[ev.WindowStart] = []
    for event in events:
        match event:
            case ev.Retrieved() | ev.Pointwise() | ev.Final():
                hits, scored = event.hits, {}
            case ev.PointScore():
                scored[event.passage_id] = event.score
            case ev.Failed(stage="pointwise"):
                scored = {}
            case ev.WindowStart():
                spans.append(event)
            case ev.WindowEnd() if spans:
                hits = _apply(hits, spans[-1].span, event.permutation)
    if scored:
        hits = tuple(sorted(hits, key=lambda hit: (hit.id not in scored, -scored.get(hit.id, 0.0))))
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, 1))


def _apply(hits: tuple[Hit, ...], span: tuple[int, int], permutation: Sequence[str]) -> tuple[Hit, ...]:
    start, end = span
    inside = {hit.id: hit for hit in hits[start:end]}
    if sorted(inside) != sorted(permutation):
        raise BadInput(f"window {span} permutes ids that are not in it: the recorded run is damaged")
    order = [*hits[:start], *(inside[id] for id in permutation), *hits[end:]]
    return rerank_hits(hits, "listwise", order_scores([hit.id for hit in order]))


def trec_lines(query_id: str, hits: Sequence[Hit], tag: str) -> Iterator[str]:
    """TREC run lines of one ranking, `qid Q0 docid rank score tag`, scores strictly decreasing so that ranks are unambiguous.

    Raises `BadInput` when an id holds white space, which the format cannot carry.
    """
    for field in (query_id, tag, *(hit.id for hit in hits)):
        if not field or any(char.isspace() for char in field):
            raise BadInput(f"{field!r} cannot go into a TREC run, its columns are separated by spaces: use ids without white space")
    scores = order_scores([hit.id for hit in hits])
    for rank, hit in enumerate(hits, 1):
        yield f"{query_id} Q0 {hit.id} {rank} {scores[hit.id]:g} {tag}"


def read_trec(path: Path | str) -> Iterator[tuple[str, list[RunRow]]]:
    """Yield (query id, rows) of a TREC run, one query at a time, in constant memory; rows of a query must stand together.

    The file may be .gz. Rows come back by score, ties by the rank column. Raises `BadInput` on a file that cannot be read, and with the
    line number on a damaged line or a query that returns.
    """
    done: set[str] = set()
    current: list[RunRow] = []
    with open_lines(path) as file:
        for number, line in enumerate(text_lines(file, path), 1):
            if not line.strip():
                continue
            row = _trec_row(path, number, line)
            if current and row[0] != current[0][0]:
                done.add(current[0][0])
                yield current[0][0], _by_score(current)
                current = []
            if row[0] in done:
                raise BadInput(f"{path}, line {number}: query {row[0]!r} appears again after other queries: sort the run by query id")
            current.append(row)
    if current:
        yield current[0][0], _by_score(current)


def open_lines(path: Path | str) -> IO[bytes]:
    """A file to be read line by line, unpacked where its name ends in .gz; raises `BadInput` where it cannot be opened."""
    try:
        return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): give a file that exists") from error


def text_lines(file: Iterable[bytes], path: Path | str) -> Iterator[str]:
    """The lines as text; raises `BadInput` with the line number on one that is not UTF-8, or where the packing is damaged."""
    number = 1
    try:
        for raw in file:
            yield raw.decode("utf-8")
            number += 1
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise BadInput(f"{path}, line {number}: not text in UTF-8 ({error}): unpack or convert the file") from error


def _trec_row(path: Path | str, number: int, line: str) -> RunRow:
    parts = line.split()
    try:
        if len(parts) != 6:
            raise ValueError(f"{len(parts)} columns instead of 6")
        return parts[0], parts[2], int(parts[3]), float(parts[4])
    except ValueError as error:
        raise BadInput(f"{path}, line {number}: not a TREC run line ({error}): write `qid Q0 docid rank score tag`") from error


def _by_score(rows: list[RunRow]) -> list[RunRow]:
    return sorted(rows, key=lambda row: (-row[3], row[2]))


def csv_text(hits: Sequence[Hit]) -> str:
    """The ranking as CSV: rank, id, title, rank and score per stage, rationale. Cells a spreadsheet would run as formulas are quoted with '."""
    stages = list(dict.fromkeys(stage for hit in hits for stage in hit.ranks))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "id", "title", *(f"{stage}_{what}" for stage in stages for what in ("rank", "score")), "rationale"])
    for hit in hits:
        numbers: list[object] = [value for stage in stages for value in (hit.ranks.get(stage, ""), hit.scores.get(stage, ""))]
        writer.writerow([hit.rank, _cell(hit.id), _cell(hit.passage.title), *numbers, _cell(hit.rationale)])
    return out.getvalue()


def _cell(text: str) -> str:
    return "'" + text if text[:1] in "=+-@\t\r" and text else text


def write_atomic(path: Path | str, lines: Iterable[str]) -> None:
    """Write text lines to a file that appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def as_run(query_id: str, hits: Sequence[Hit]) -> Mapping[str, dict[str, float]]:
    """One ranking as ir-measures' run: query id -> passage id -> score."""
    return {query_id: order_scores([hit.id for hit in hits])}

"""The bundled teaching corpus: passages, queries, graded judgments and written rationales, read from this folder.

Files: passages.jsonl (id, topic, title, text, tags), queries.jsonl (id, topic, split, text, tags), qrels.tsv
(query-id, corpus-id, score) and rationales.jsonl (query_id, needs, evidence, near_miss).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.formats import Query, read_passages, read_queries, tags_of
from corpora.rows import Row, RowError, read_rows
from corpora.trec import Qrels, read_qrels
from dear.types import Passage

FOLDER = Path(__file__).resolve().parent
TITLE = "Teaching corpus"
DESCRIPTION = "Short passages on many topics written for this project, with queries, graded judgments and reasons for every grade."
LICENCE = "CC BY 4.0"


@dataclass(frozen=True, slots=True)
class Support:
    """Why a passage is ranked where it is: the needs it meets (numbers from 1), words quoted from it, one sentence."""

    passage: str
    meets: tuple[int, ...]
    quote: str
    why: str


@dataclass(frozen=True, slots=True)
class Written:
    """The reasoning written for a query: what it needs, the evidence in ranking order, and the most tempting wrong passage."""

    query_id: str
    needs: tuple[str, ...]
    evidence: tuple[Support, ...]
    near_miss: str = ""
    near_miss_why: str = ""


class Teaching:
    """The corpus in `folder`, each file read when it is first asked for; a bad row raises `RowError`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = Path(folder)

    @functools.cached_property
    def passages(self) -> tuple[Passage, ...]:
        """All passages, in file order."""
        return tuple(read_passages(self.folder / "passages.jsonl"))

    @functools.cached_property
    def queries(self) -> tuple[Query, ...]:
        """All queries, in file order."""
        return tuple(read_queries(self.folder / "queries.jsonl"))

    @functools.cached_property
    def qrels(self) -> Qrels:
        """Grade 0–3 by query id and passage id."""
        return read_qrels(self.folder / "qrels.tsv")

    @functools.cached_property
    def rationales(self) -> Mapping[str, Written]:
        """The written reasoning by query id."""
        path = self.folder / "rationales.jsonl"
        found: dict[str, Written] = {}
        for row in _good_rows(path):
            written = _written(row, path.name)
            if written.query_id in found:
                raise RowError(path.name, row.number, f"query {written.query_id!r} has a second rationale", "keep one")
            found[written.query_id] = written
        return found

    @functools.cached_property
    def topics(self) -> Mapping[str, str]:
        """The topic of each passage, by passage id."""
        return {str(row.fields["id"]): str(row.fields.get("topic", "")) for row in _good_rows(self.folder / "passages.jsonl")}

    @functools.cached_property
    def tags(self) -> Mapping[str, tuple[str, ...]]:
        """The kinds of each passage ("full", "near-miss", "injection", …), by passage id."""
        return {str(row.fields["id"]): tags_of(row.fields) for row in _good_rows(self.folder / "passages.jsonl")}


@functools.cache
def load() -> Teaching:
    """The bundled teaching corpus."""
    return Teaching()


def _good_rows(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        if isinstance(row, RowError):
            raise row
        yield row


def _written(row: Row, file: str) -> Written:
    fields: dict[str, Any] = row.fields
    try:
        evidence = tuple(Support(str(e["passage"]), tuple(e["meets"]), str(e["quote"]), str(e["why"])) for e in fields["evidence"])
        miss = fields.get("near_miss") or {}
        needs = tuple(str(need) for need in fields["needs"])
        return Written(str(fields["query_id"]), needs, evidence, str(miss.get("passage", "")), str(miss.get("why", "")))
    except (KeyError, TypeError, AttributeError) as error:
        raise RowError(file, row.number, f"not a rationale ({error!r})", "it needs query_id, needs, evidence and near_miss") from error

"""Reasons for judged lists, from which rows of stage 2 are drawn.

A quote is kept as its place in the passage, so the sets' words stay in the sets.
"""

from __future__ import annotations

import json
from pathlib import Path

from corpora.teaching import Support, Written
from dear.errors import BadInput
from dear.types import Passage
from training.cot_augment import Reasoned
from training.groups import Group
from training.judged import SOURCE, groups

FILE = Path(__file__).with_name("rationales.jsonl")


def queries(data: Path, split: str) -> list[Reasoned]:
    """The lists of a split that have reasons; their own passages that nobody graded as helpful are the distractors.

    Raises `BadInput` where `data` lacks a passage, or a quote's place lies outside it.
    """
    rows = {row["query_id"]: row for row in map(json.loads, FILE.read_text(encoding="utf-8").splitlines())}
    lists = {g.query_id.partition("/")[2]: g for g in groups(data, split, scale=1.0)}
    return [_reasoned(lists[id], row) for id, row in rows.items() if id in lists]


def _reasoned(group: Group, row: dict) -> Reasoned:
    texts = {c.id: c.text for c in group.passages}
    evidence = []
    for e in row["evidence"]:
        start, end = e["at"]
        quote = texts.get(e["passage"], "")[start:end]
        if len(quote) != end - start:
            raise BadInput(f"data.judged: the quote for {row['query_id']!r} lies outside {e['passage']!r}: the data is not what was graded")
        evidence.append(Support(e["passage"], tuple(e["meets"]), quote, e["why"]))
    miss = row.get("near_miss") or {}
    written = Written(row["query_id"], tuple(row["needs"]), tuple(evidence), miss.get("passage", ""), miss.get("why", ""))
    own = tuple(Passage(c.id, c.text, c.title) for c in group.passages)
    return Reasoned(group.query_id, group.query, written, {c.id: c.label for c in group.passages if c.label}, own, (), SOURCE)

"""A passage that answers, once more without the sentences that answer: what is left has the subject and the words, and no use.

A student learns from a list by what differs between its passages. Between an answer and the best of the rest that is mostly the subject;
between an answer and its gapped copy it is the answer alone. Which sentences answer is known where a set labels sentences (squad-sentences,
qnli-dev, selqa) or a question brings its answer as a string (questions).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from corpora.rows import RowError, read_rows
from dear.explain import sentences
from training import judged
from training.groups import Candidate, Group
from training.mining import read_beir

LABELLED = ("squad-sentences", "qnli-dev", "selqa")
LEAST = 25  # words that have to be left
DEGREE = 2  # of six: on the subject, without the answer
SHORT = 15  # characters below which a label is no sentence

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Answers:
    """What answers a question, by the question's plain words: whole sentences, and strings; both as plain words."""

    sentences: Mapping[str, Collection[str]]
    strings: Mapping[str, Collection[str]]

    def gapped(self, query: str, text: str) -> str | None:
        """`text` without its sentences that answer `query`; None where none is known to, or fewer than `LEAST` words would be left."""
        key = plain(query)
        whole = [label for label in self.sentences.get(key, ()) if len(label) > SHORT]
        strings = [f" {answer} " for answer in self.strings.get(key, ())]
        spans = [text[start:end] for start, end in sentences(text)]
        kept = [span for span in spans if not _answers(plain(span), whole, strings)]
        left = " ".join(span.strip() for span in kept)
        return left if len(kept) < len(spans) and len(left.split()) >= LEAST else None


def plain(text: str) -> str:
    """Words and numbers in lower case, parted by single spaces.

    >>> plain("  The U.S.,  in 1990!")
    'the u s in 1990'
    """
    return " ".join(_WORD.findall(text.casefold()))


def known(data: Path) -> Answers:
    """What the sets under `data` know of answers; a set that is not there is passed over."""
    whole: dict[str, set[str]] = defaultdict(set)
    for name in LABELLED:
        if not (data / "train" / name).is_dir():
            continue
        found = read_beir(data / "train" / name)
        texts = {query.id: plain(query.text) for query in found.queries}
        for query, grades in found.qrels.items():
            if query in texts:
                whole[texts[query]] |= {plain(found.passages[id].text) for id, grade in grades.items() if grade > 0}
    strings: dict[str, set[str]] = defaultdict(set)
    bare = data / "train" / f"{judged.QUESTIONS}.jsonl.gz"
    if bare.is_file():
        for row in read_rows(bare):
            if isinstance(row, RowError):
                raise row
            given = {plain(answer) for answer in row.fields.get("answers") or ()}
            strings[plain(row.fields["text"])] |= {answer for answer in given if len(answer) > 2 or answer.isdigit()}
    return Answers(whole, strings)


def with_gapped(group: Group, answers: Answers, best: float) -> Group:
    """The group and the gapped copy of its best passage that has one, at degree 2 of the 5 that stand for `best`; the group itself where none has."""
    for passage in sorted(group.passages, key=lambda c: -(c.teacher or 0.0)):
        if passage.label < judged.LABELS[judged.BEST]:
            break
        text = answers.gapped(group.query, passage.text)
        if text:
            copy = Candidate(f"{passage.id}/gapped", passage.title, text, judged.LABELS[DEGREE], best * DEGREE / judged.BEST)
            return replace(group, passages=(*group.passages, copy))
    return group


def _answers(sentence: str, whole: Collection[str], strings: Collection[str]) -> bool:
    return any(label in sentence or (len(sentence) > SHORT and sentence in label) for label in whole) or any(
        answer in f" {sentence} " for answer in strings
    )

"""Is a file of rows fit to train on: schema, rankings, quotes, and nothing of a test set in it. A report a person can read."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corpora.formats import read_passages, read_queries
from corpora.teaching import Teaching
from dear.errors import BadInput
from dear.explain import find_quote
from dear.parse import Answer, parse
from training.cot import Row

logger = logging.getLogger(__name__)

MAX_SHOWN = 5
_PASSAGE = re.compile(r"^\[(\d{1,4})\]\s+(\S.*)$", re.MULTILINE)
_QUERY = re.compile(r"^(?:Query|Search Query): (.+?)\.?$", re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass
class Report:
    """What a check found; `problems` counts by kind, `examples` keeps the first few of each."""

    rows: int = 0
    sources: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)  # passages a row
    quotes: int = 0
    grounded: int = 0
    reasoned: int = 0  # rows with reasoning, not a ranking alone
    problems: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def found(self, kind: str, example: str) -> None:
        """Note a problem."""
        self.problems[kind] += 1
        self.examples.setdefault(kind, [])
        if len(self.examples[kind]) < MAX_SHOWN:
            self.examples[kind].append(example)

    def __str__(self) -> str:
        sizes = sorted(self.sizes.elements())
        middle = f"{sizes[0]} to {sizes[-1]}, median {sizes[len(sizes) // 2]}" if sizes else "none"
        lines = [
            f"{self.rows:,} rows, {self.reasoned:,} with reasoning; passages a row: {middle}",
            f"quotes {self.quotes:,}, found verbatim {self.grounded:,}",
            "sources: " + (", ".join(f"{name} {count:,}" for name, count in self.sources.most_common()) or "none named"),
        ]
        for kind, count in self.problems.most_common():
            lines += [f"PROBLEM {kind}: {count:,}", *(f"  {example}" for example in self.examples[kind])]
        return "\n".join([*lines, "ok" if self.ok else "not fit to train on"])


class HeldOut:
    """N-grams of words that occur in test passages and queries, and the queries themselves."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.queries: set[str] = set()
        self.grams: dict[int, str] = {}

    def add_query(self, text: str) -> None:
        """A query leaks when it is there whole, however short it is."""
        self.queries.add(" ".join(_words(text)))

    def add_passage(self, text: str, name: str) -> None:
        """A passage leaks when `n` words in a row are there."""
        for gram in _grams(_words(text), self.n):
            self.grams.setdefault(gram, name)

    def in_text(self, text: str) -> str | None:
        """The name of a test passage that shares `n` words in a row with the text."""
        return next((self.grams[gram] for gram in _grams(_words(text), self.n) if gram in self.grams), None)


def held_out(folders: Iterable[Path], n: int, teaching: Teaching | None = None, splits: Sequence[str] = ("test",)) -> HeldOut:
    """Collect the text of test folders (corpus, queries) and of the teaching corpus' held-out splits.

    Raises `BadInput` when a folder is absent: a leak that is not looked for is not found.
    """
    found = HeldOut(n)
    for folder in folders:
        corpus, queries = (_either(Path(folder), stem) for stem in ("corpus.jsonl", "queries.jsonl"))
        for passage in read_passages(corpus):
            found.add_passage(passage.text, f"{Path(folder).name}/{passage.id}")
        for query in read_queries(queries):
            found.add_query(query.text)
    if teaching is not None:
        held = {q.topic for q in teaching.queries if q.split in splits}
        for query in teaching.queries:
            if query.split in splits:
                found.add_query(query.text)
        for passage in teaching.passages:
            if teaching.topics[passage.id] in held:
                found.add_passage(passage.text, f"teaching/{passage.id}")
    return found


def check_rows(rows: Iterable[Row], test: HeldOut | None = None) -> Report:
    """Read every row as a student would and report what is wrong with it."""
    report = Report()
    seen: set[tuple] = set()
    leaks: dict[str, str | None] = {}
    for number, row in enumerate(rows, 1):
        report.rows += 1
        report.sources[row.source] += bool(row.source)
        where = f"row {number}" + (f" ({row.query_id})" if row.query_id else "")
        passages = passages_of(row)
        report.sizes[len(passages)] += 1
        key = (row.system, row.history, row.instruction, row.input, row.output)
        if key in seen:
            report.found("repeated row", where)
        seen.add(key)
        if not row.system or not passages or list(passages) != list(range(1, len(passages) + 1)):
            report.found("schema", f"{where}: no system text, or passages not numbered from [1] on")
            continue
        _check_answer(row, passages, where, report)
        if test:
            _check_leaks(row, passages, test, leaks, where, report)
    report.sources = Counter({name: count for name, count in report.sources.items() if count})
    return report


def passages_of(row: Row) -> dict[int, str]:
    """The passages of a row by identifier, as its prompt shows them (title included)."""
    users = [user for user, _ in row.history] + [row.instruction, row.input]
    return {int(i): text for user in users for i, text in _PASSAGE.findall(user)}


def query_of(row: Row) -> str:
    """The query of a row, as its prompt shows it."""
    found = _QUERY.search(row.instruction)
    return found[1] if found else ""


def ungrounded(output: str, passages: dict[int, str]) -> list[str]:
    """The quotes of an answer that are not in the passage they are said to be from."""
    answer = parse(output, len(passages))
    return [c.quote for c in answer.citations if find_quote(c.quote, passages.get(c.identifier, "")) is None]


def supported_below(answer: Answer, count: int) -> bool:
    """Whether a whole ranking of `count` passages puts one that the answer cites below one that it does not."""
    cited = {c.identifier for c in answer.citations}
    places = {identifier: place for place, identifier in enumerate(answer.permutation)}
    rest = [places[i] for i in range(1, count + 1) if i not in cited]
    held = [places[i] for i in cited if i in places]
    return bool(held and rest) and max(held) > min(rest)


def _check_answer(row: Row, passages: dict[int, str], where: str, report: Report) -> None:
    answer = parse(row.output, len(passages))
    if answer.status != "complete":
        report.found("ranking is not a permutation of all passages", f"{where}: …{row.output[-80:]!r}")
    report.reasoned += bool(answer.requirements)
    report.quotes += len(answer.citations)
    missing = ungrounded(row.output, passages)
    report.grounded += len(answer.citations) - len(missing)
    for quote in missing:
        report.found("quote not in its passage", f"{where}: {quote!r}")
    if answer.status == "complete" and supported_below(answer, len(passages)):
        report.found("a passage with evidence ranks below one without", where)


def _check_leaks(row: Row, passages: dict[int, str], test: HeldOut, leaks: dict[str, str | None], where: str, report: Report) -> None:
    query = query_of(row)
    if query and " ".join(_words(query)) in test.queries:
        report.found("test query", f"{where}: {query!r}")
    for text in passages.values():
        if text not in leaks:  # a passage comes back in many rows
            leaks[text] = test.in_text(text)
        if leaks[text]:
            report.found("test passage", f"{where}: shares {test.n} words in a row with {leaks[text]}: {text[:60]!r}")


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _grams(words: Sequence[str], n: int) -> Iterator[int]:
    for i in range(len(words) - n + 1):
        yield hash(tuple(words[i : i + n]))


def _either(folder: Path, stem: str) -> Path:
    for name in (stem, stem + ".gz"):
        if (folder / name).is_file():
            return folder / name
    raise BadInput(f"test folder {str(folder)!r} has no {stem}: give the test sets with data.root=FOLDER (or DEAR_DATA), or set data.test=[]")

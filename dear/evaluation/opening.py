"""From a benchmark's name to its questions: a folder, the bundled corpus, or Pyserini's prebuilt index and topics.

`room(name)` gives the module of that name of whatever reads and searches text (the command line hands it in), so that this
package needs none. BM25 is k1 0.9, b 0.4 over the benchmark's whole corpus; its ranking is cut to the pool, and passages of
the pool that it does not return come last, in pool order. Equal BM25 scores stand by passage id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dear.errors import BadInput
from dear.evaluation.answers import body, has_answer
from dear.evaluation.benchmarks import Benchmark, lookup, unknown
from dear.evaluation.questions import Opened, Question, asked, readable
from dear.types import Passage

Room = Callable[[str], Any]
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Want:
    """How to open: the pool's depth, the teaching corpus' split, only the first `limit` questions, where folders lie."""

    depth: int = 100
    split: str = "test"
    limit: int | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """A source taken apart: a corpus, queries, judgments, the pools and the order they come in where that is given."""

    corpus: Any
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    answers: Mapping[str, tuple[str, ...]]
    pools: Mapping[str, tuple[str, ...]]
    run: bool = False  # the pools are a first-stage run: their order stands


def open_benchmark(name: str, want: Want, room: Room, progress: Progress | None = None) -> Opened:
    """Open a benchmark of the registry or a folder; raises `BadInput` where it is not found or holds no judged query."""
    if want.split not in SPLITS:
        raise BadInput(f"unknown split {want.split!r}: use one of {', '.join(SPLITS)}")
    benchmark = lookup(name)
    folder = _folder(name, benchmark, want.data)
    if benchmark is None:
        benchmark = _of_folder(folder.resolve().name if folder else name, f"folder {name}")
    if benchmark.name == "teaching" and folder is None:
        parts, notes = _teaching(want.split, room), (f"split {want.split}",)
    elif folder is not None:
        parts, notes = _from_folder(folder, benchmark, room), (f"folder {folder.name}",)
    else:
        parts, notes = _from_network(benchmark, room), (f"Pyserini's prebuilt index {benchmark.index}",)
    questions = tuple(_questions(benchmark, parts, want, progress))
    if not questions:
        raise BadInput(f"benchmark {name!r} has no judged query: its qrels and queries must share query ids")
    notes += _missing(benchmark, parts, want, len(questions))
    return Opened(benchmark, questions, "run" if parts.run else "bm25", notes)


def _of_folder(name: str, source: str) -> Benchmark:
    """The registry's row for a folder of that name, where its benchmark is read from folders alone; else a row of its own."""
    known = lookup(name)
    return known if known and not known.index and known.name != "teaching" else Benchmark(name, source)


def _missing(benchmark: Benchmark, parts: _Parts, want: Want, count: int) -> tuple[str, ...]:
    """What a reader should know about queries that are not measured."""
    found: tuple[str, ...] = ()
    if lost := len(set(parts.qrels) - set(parts.queries)):
        found = (f"{lost} judged queries without a text are left out",)
    if want.limit is not None:
        return (*found, f"only the first {count} queries")
    if benchmark.queries and count != benchmark.queries:
        found += (f"{count} queries where the benchmark has {benchmark.queries}",)
    return found


def _folder(name: str, benchmark: Benchmark | None, data: Path | None) -> Path | None:
    """The benchmark's folder: a path given as the name, or found by name below `data`; None where the network must do."""
    if benchmark is None and Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    if data is not None:
        if not data.is_dir():
            raise BadInput(f"--data {str(data)!r} is not a folder: give the folder below which the benchmarks' folders lie")
        names = benchmark.folders if benchmark else (name,)
        found = sorted(path for wanted in names for path in (data, *data.rglob("*")) if path.is_dir() and path.name == wanted and _holds(path))
        if len(found) > 1:
            raise BadInput(f"--data holds {len(found)} folders for {name!r} ({found[0]}, {found[1]}): give a narrower --data, or the folder itself")
        if found:
            return found[0]
    if benchmark is None:
        raise unknown(name)
    if not benchmark.index and benchmark.name != "teaching":
        where = f"--data {str(data)!r} has no folder named {benchmark.folders[0]!r}" if data else "--data is missing"
        raise BadInput(f"benchmark {name!r} is read from a folder and {where}: get the data and give the folder above it as --data")
    return None


def _holds(folder: Path) -> bool:
    return any(folder.glob("corpus.*")) or any(folder.glob("passages.*")) or (folder / "index").is_dir()


def _teaching(split: str, room: Room) -> _Parts:
    corpus = room("registry").open_corpus("teaching")
    queries = {query.id: query.text for query in corpus.queries if query.split == split}
    return _Parts(corpus, queries, _judged(corpus, queries), {}, {})


def _from_folder(folder: Path, benchmark: Benchmark, room: Room) -> _Parts:
    if (folder / "index").is_dir():
        return _staged(folder, benchmark, room)
    corpus = room("registry").open_corpus(folder, max_chars=room("formats").MAX_ARTICLE_CHARS)
    queries = {query.id: query.text for query in corpus.queries}
    run = _run(folder, room)
    return _Parts(corpus, queries, _judged(corpus, queries), {}, run or corpus.candidates, bool(run))


def _staged(folder: Path, benchmark: Benchmark, room: Room) -> _Parts:
    """A folder laid out as the network gives it: a Lucene index in `index/`, `topics.*` and `qrels.*` in Anserini's formats, maybe `run.trec`."""
    topics = _only(folder, "topics.*")
    read = room("topics").read_topics(topics, benchmark.reader)
    qrels = {} if benchmark.by_answer else room("trec").read_qrels(_only(folder, "qrels.*"))
    run = _run(folder, room)
    return _topical(room("registry").open_corpus(folder / "index"), read, qrels, run)


def _from_network(benchmark: Benchmark, room: Room) -> _Parts:
    topics = room("topics")
    read = topics.fetch_topics(benchmark.topics)
    qrels = {} if benchmark.by_answer else room("trec").read_qrels(topics.fetch_qrels(benchmark.qrels))
    return _topical(room("registry").open_corpus(f"prebuilt:{benchmark.index}"), read, qrels, {})


def _topical(corpus: Any, topics: Mapping[str, Any], qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, tuple[str, ...]]) -> _Parts:
    texts = {id_: topic.text for id_, topic in topics.items()}
    return _Parts(corpus, texts, qrels, {id_: topic.answers for id_, topic in topics.items() if topic.answers}, run, bool(run))


def _run(folder: Path, room: Room) -> dict[str, tuple[str, ...]]:
    file = next((folder / name for name in ("run.trec", "run.trec.gz") if (folder / name).is_file()), None)
    if file is None:
        return {}
    read = room("trec").read_run(file)  # by rank; the score decides, as in trec_eval, and the rank only between equal ones
    return {query: tuple(line.passage_id for line in sorted(lines, key=lambda line: -line.score)) for query, lines in read.items()}


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise BadInput(f"{folder} holds {len(found)} files {pattern}: it needs exactly one beside its index")
    return found[0]


def _judged(corpus: Any, queries: Iterable[str]) -> dict[str, Mapping[str, int]]:
    return {id_: grades for id_ in queries if (grades := corpus.judgments(id_))}


def _questions(benchmark: Benchmark, parts: _Parts, want: Want, progress: Progress | None) -> Iterator[Question]:
    wanted = [id_ for id_ in parts.queries if id_ in (parts.answers if benchmark.by_answer else parts.qrels)]
    wanted = wanted[: want.limit]
    if wanted and not parts.run:
        _pool(benchmark, parts, wanted[0], want.depth)  # the first search pays for Java's start, which is no query's time
    for id_ in progress(wanted, f"{benchmark.name}: first stage", len(wanted)) if progress else wanted:
        pool, seconds = _pool(benchmark, parts, id_, want.depth)
        text = asked(parts.queries[id_])
        if benchmark.by_answer:
            grades = {passage.id: int(has_answer(body(passage), parts.answers[id_])) for passage in pool}
        else:
            grades = dict(parts.qrels[id_])
        yield Question(id_, text, grades, pool, seconds)


def _pool(benchmark: Benchmark, parts: _Parts, query_id: str, depth: int) -> tuple[tuple[Passage, ...], float]:
    """The passages to rank in first-stage order, and the seconds the search took."""
    given = parts.pools.get(query_id)
    if parts.run:
        return tuple(readable(parts.corpus.passage(id_)) for id_ in (given or ())[:depth]), 0.0
    whole = benchmark.pool == "all" or given is not None
    retriever = parts.corpus.retriever("bm25")
    start = time.perf_counter()
    hits = retriever.search(parts.queries[query_id], len(parts.corpus) if whole else depth)
    seconds = time.perf_counter() - start
    if not whole:
        return tuple(readable(hit.passage) for hit in hits), seconds
    pool = given if given is not None else tuple(passage.id for passage in parts.corpus.passages)
    members = set(pool)
    ranked = dict.fromkeys([hit.id for hit in hits if hit.id in members] + list(pool))
    return tuple(readable(parts.corpus.passage(id_)) for id_ in ranked), seconds

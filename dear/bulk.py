"""Reranking many queries: streamed in and out in constant memory, resumable, in shards for any job scheduler.

A request is a query with its passages. They come from a JSONL file of requests, or from a TREC run with its corpus (a folder's passages are
all held; an index's are not). Output is appended query by query, so that a run that was killed goes on where it stopped; a note
beside it says which model and settings it is of, and one job at a time writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zlib import crc32

from dear import events as ev
from dear.errors import BadInput, DearError, EngineError
from dear.evaluation.questions import asked, readable
from dear.pipeline import tokens_of
from dear.reranker import Reranker, as_passage
from dear.runs import open_lines, read_trec, text_lines, trec_lines, write_atomic
from dear.types import Hit, Passage


@dataclass(frozen=True, slots=True)
class Request:
    """One query, the passages to rank for it, and the ids of those behind them, which keep their order; or why it cannot be ranked."""

    query_id: str
    query: str
    passages: tuple[Passage, ...]
    rest: tuple[str, ...] = ()
    error: DearError | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `of`: queries are dealt out by a hash of their id, the same on every machine."""

    index: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`; raises `BadInput` unless 1 <= i <= n.

        >>> Shard.parse("2/3")
        Shard(index=2, of=3)
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise BadInput(f"shard {text!r} is not i/n with 1 <= i <= n: for three jobs use 1/3, 2/3 and 3/3")
        return cls(int(match[1]), int(match[2]))

    def holds(self, query_id: str) -> bool:
        """Whether this shard ranks the query."""
        return crc32(query_id.encode()) % self.of == self.index - 1


def requests_from_jsonl(path: Path | str) -> Iterator[Request]:
    """Read lines {"query_id"?, "query", "passages": [{"id", "text", "title"?}]}, also .gz; a bad line raises `BadInput` with its number."""
    with open_lines(path) as file:
        for number, line in enumerate(text_lines(file, path), 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                passages = tuple(readable(as_passage(item, n)) for n, item in enumerate(data["passages"], 1))
                yield Request(str(data.get("query_id", number)), asked(data["query"]), passages)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(f'{path}, line {number}: {error}: write {{"query_id", "query", "passages": [{{"id", "text"}}]}}') from error


def requests_from_run(run: Path | str, queries: dict[str, str], passage: Callable[[str], Passage], depth: int) -> Iterator[Request]:
    """Read a TREC run and have the first `depth` of each query ranked; `passage` looks a passage up by id.

    Overlong queries and passages are cut, as for the published benchmarks. A query without text, or with a passage that the corpus lacks,
    comes as a request that says so. Raises `BadInput` where `queries` has none of the run's, so is another set's.
    """
    if not any(query_id in queries for query_id, _ in read_trec(run)):
        raise BadInput(f"{run}: no query of it has a text: these are another set's queries")
    for query_id, rows in read_trec(run):
        ids = [row[1] for row in rows]
        try:
            if query_id not in queries:
                raise BadInput(f"{run}: query {query_id!r} has no text: add it to the queries file")
            yield Request(query_id, asked(queries[query_id]), tuple(readable(passage(id)) for id in ids[:depth]), tuple(ids[depth:]))
        except DearError as error:
            yield Request(query_id, "", (), tuple(ids), error)


Failure = Callable[[str, DearError], None]


def rerank_file(
    requests: Iterable[Request], reranker: Reranker, out: Path, *, shard: Shard, tag: str, failed: Failure | None = None
) -> Iterator[str]:
    """Rank each request of the shard and append it to `out`; yield the query ids as they are done.

    `out` ending in .jsonl gets {"query_id", "query", "hits"} a line; anything else is a TREC run, in which the unranked rest follows the ranked
    passages. What is already there is kept and skipped; a half-written last query (no line end, or fewer lines than passages) is cut
    off and ranked again. A query that cannot be ranked is given to `failed` and passed over; without `failed`, its error is raised.
    Raises `BadInput` where `out` is another job's, now or before: another model, stage, setting or shard.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    as_json = out.suffix == ".jsonl"
    with _alone(out):
        _claim(out, {"tag": tag, "shard": f"{shard.index}/{shard.of}", **_about(reranker)})
        done = {} if not out.exists() else _done_json(out) if as_json else _done_trec(out)
        with open(out, "a", encoding="utf-8") as file:
            for request in requests:
                expected = len(request.passages) + (0 if as_json else len(request.rest))
                if not shard.holds(request.query_id) or done.get(request.query_id, -1) >= expected:
                    continue
                if request.query_id in done:  # only the last query can be short: it was cut while being written
                    file.flush()
                    _drop_query(out, request.query_id)
                try:
                    if request.error:
                        raise request.error
                    if not as_json:  # an id that such a run cannot carry is found before the model has worked for it
                        list(trec_lines(request.query_id, [*_unranked(request), *_unread(request)], tag))
                    hits = reranker.rank(request.query, request.passages)
                    lines = _json_line(request, hits) if as_json else list(trec_lines(request.query_id, [*hits, *_unread(request)], tag))
                except DearError as error:
                    if failed is None:
                        raise
                    failed(request.query_id, error)
                    continue
                file.write("".join(line + "\n" for line in lines))
                file.flush()
                yield request.query_id


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else writes `out` meanwhile; raises `BadInput` where somebody does."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(f"{out}.lock", timeout=0):
            yield
    except Timeout as error:
        raise BadInput(f"another job is writing {out}: give each shard its own --out, or wait for that job") from error


def _about(reranker: Reranker) -> dict[str, str]:
    parts = {"pointwise": reranker.scorer, "listwise": reranker.generator}
    settings = replace(reranker.settings, max_tokens=tokens_of(reranker.settings, reranker.generator))
    return {name: part.info.chip() for name, part in parts.items() if part} | {"settings": json.dumps(asdict(settings))}


def _claim(out: Path, about: dict[str, str]) -> None:
    """Note beside `out` what it is of; raises `BadInput` where it holds lines of something else."""
    note = out.with_name(out.name + ".made-by.json")
    if out.exists() and out.stat().st_size:
        before = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        if before != about:
            changed = ", ".join(sorted(key for key in before.keys() | about.keys() if before.get(key) != about.get(key)))
            raise BadInput(f"{out} holds the output of another job ({changed} changed): choose another --out, or delete it")
    write_atomic(note, [json.dumps(about, ensure_ascii=False)])


def _unranked(request: Request) -> Iterator[Hit]:
    return (Hit(passage, rank) for rank, passage in enumerate(request.passages, 1))


def _unread(request: Request) -> Iterator[Hit]:
    """The passages behind the ranked ones, by id alone."""
    return (Hit(Passage(id, ""), rank) for rank, id in enumerate(request.rest, len(request.passages) + 1))


def _json_line(request: Request, hits: tuple[Hit, ...]) -> list[str]:
    hits_json = ev.to_dict(ev.Final(hits))["hits"]
    return [json.dumps({"query_id": request.query_id, "query": request.query, "hits": hits_json}, ensure_ascii=False)]


def _done_json(out: Path) -> dict[str, int]:
    return {query_id: hits for query_id, hits in _whole_lines(out, lambda line: (json.loads(line)["query_id"], len(json.loads(line)["hits"])))}


def _done_trec(out: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for query_id, one in _whole_lines(out, lambda line: (line.split()[0], 1)):
        counts[query_id] = counts.get(query_id, 0) + one
    return counts


def _whole_lines(out: Path, read: Callable[[str], tuple[str, int]]) -> list[tuple[str, int]]:
    """Read complete lines; cut the file after the last of them."""
    rows, keep = [], 0
    with open(out, "rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            try:
                rows.append(read(raw.decode("utf-8")))
            except (ValueError, KeyError, IndexError) as error:
                raise EngineError(f"{out} holds a line that is not this command's output ({error}): choose another --out") from error
            keep += len(raw)
    with open(out, "rb+") as file:
        file.truncate(keep)
    return rows


def _drop_query(out: Path, query_id: str) -> None:
    """Cut the trailing lines of a TREC run that belong to `query_id`."""
    with open(out, "rb+") as file:
        data_end = keep = 0
        for raw in file:
            data_end += len(raw)
            if raw.split()[0].decode() != query_id:
                keep = data_end
        file.truncate(keep)

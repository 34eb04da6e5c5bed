"""Record the page's examples again with the model that is here: `python -m demo.record`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dear import events as ev
from dear.errors import DearError
from dear.pipeline import Settings
from dear.runs import write_atomic
from demo import limits
from demo.exports import slug
from demo.recordings import FOLDER

CORPUS, RETRIEVER = "teaching", "bm25"
# Judged queries of the teaching corpus' development topics; the first is the first visit, the last one that the small student gets wrong.
QUERIES = (
    "if violet is scattered even more, why is the sky not violet",
    "did the astronauts bring back germs",
    "why is the sky blue",
)


def record(query: str, reranker: Any, corpus: Any, model: str) -> Iterator[ev.Event]:
    """The events of a run with the page's own settings; the beginning also says corpus, retriever and model."""
    settings = Settings(candidates=limits.CANDIDATES[2], depth=limits.DEPTH[2], window=limits.WINDOW[2], stride=limits.STRIDE[2])
    pipeline = reranker.pipeline(corpus.retriever(RETRIEVER), judgments=corpus.judgments, settings=settings)
    return ev.described(pipeline.run(query), {"corpus": CORPUS, "retriever": RETRIEVER, "model": model})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one file a query; a run with a failed stage is not kept, and the exit status is 1."""
    parser = argparse.ArgumentParser(prog="python -m demo.record", description="Record the page's examples again with the model that is here.")
    parser.add_argument("--model", default="dear-nano", help="a name of the zoo, a local folder, or a hub id")
    parser.add_argument("--engine", default="auto", help="auto, transformers, onnx, openai or fake")
    parser.add_argument("--query", action="append", help="a query of the teaching corpus; may be given more than once")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder that gets one .jsonl a query")
    options = parser.parse_args(arguments)
    from corpora.registry import open_corpus
    from dear.reranker import Reranker

    try:
        reranker, corpus = Reranker.load(options.model, engine=options.engine), open_corpus(CORPUS)
        return max(_write(number, query, reranker, corpus, options) for number, query in enumerate(options.query or QUERIES, 1))
    except DearError as error:
        print(f"record: {error}", file=sys.stderr)
        return 1


def _write(number: int, query: str, reranker: Any, corpus: Any, options: argparse.Namespace) -> int:
    events = list(record(query, reranker, corpus, options.model))
    failures = [event for event in events if isinstance(event, ev.Failed)]
    for failure in failures:
        print(f"record: {query!r} is not kept, {failure.stage} failed: {failure.error}", file=sys.stderr)
    if not failures:
        path = options.out / f"{number}-{slug(query)}.jsonl"
        write_atomic(path, ev.dump(events))
        print(f"record: {path}, {len(events)} events, {path.stat().st_size:,} bytes", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

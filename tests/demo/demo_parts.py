"""A real pipeline over a handful of passages with the fake engines; attack strings; the page served in a process of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile import CANARIES

from corpora.retrieval import make_hits
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.pipeline import Pipeline, Settings
from dear.types import Hit, Passage, TermWeight

__all__ = ["CANARIES"]

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    "sun": ("Light and air", "Short waves of sunlight are scattered by air far more than long ones, so the sky looks blue to us."),
    "paint": ("Sky blue paint", "Sky blue is a shade of paint. Why it sells so well is anybody's guess, though the tins are blue."),
    "sea": ("The sea", "The sea mirrors what is above it and absorbs red light in its depths."),
    "mars": ("Mars", "On Mars the dust makes the sky the colour of butterscotch."),
    "eye": ("The eye", "Our eyes answer weakly to violet, which is scattered more than blue."),
    "jazz": ("Kind of Blue", "Kind of Blue is a record by Miles Davis."),
}
QUERY = "why is the sky blue"
BROAD = "canary in the text, why is the sky blue"  # finds nearly all of them, so that a run is long
JUDGMENTS = {"sun": 3, "eye": 2, "paint": 0, "mars": 1}


class Words:
    """A retriever over passages in memory, in the order given."""

    kind = "bm25"

    def __init__(self, passages: list[Passage]) -> None:
        self.passages = passages

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        found = [(p, 9.0 - i, (weight("sky", 5.0 - i, p), weight("blue", 4.0, p))) for i, p in enumerate(self.passages[:k])]
        return make_hits(found)


def weight(word: str, value: float, passage: Passage) -> TermWeight:
    """A term's weight with the places where its word stands in the passage."""
    return TermWeight(word, value, tuple(match.span() for match in re.finditer(rf"\b{word}\b", passage.text, re.IGNORECASE)))


def passages() -> list[Passage]:
    return [Passage(id_, text, title) for id_, (title, text) in TEXTS.items()]


def pipeline(texts: list[Passage] | None = None, **options: object) -> Pipeline:
    settings = Settings(**{"candidates": 20, "depth": 10, "window": 10, "stride": 5, **options})  # type: ignore[arg-type]
    return Pipeline(Words(texts or passages()), scorer=FakeScorer(), generator=FakeGenerator(), judgments=lambda q: JUDGMENTS, settings=settings)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_corpus(folder: Path) -> Path:
    """The passages above, one attack a passage beside them, and queries, as a corpus folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": p.id, "title": p.title, "text": p.text} for p in passages()]
    rows += [{"id": f"c{i} {c}", "title": f"canary {c}", "text": f"A canary {c} in the text, number {i}."} for i, c in enumerate(CANARIES)]
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    queries = [{"id": "q1", "text": QUERY, "topic": "a"}, {"id": "q2", "text": "canary in the text", "topic": "b"}]
    (folder / "queries.jsonl").write_text("\n".join(json.dumps(row) for row in queries), encoding="utf-8")
    grades = "".join(f"q1\t{id_}\t{grade}\n" for id_, grade in JUDGMENTS.items())
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + grades, encoding="utf-8")
    return folder


def get(url: str, timeout: float = 30.0) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an address, error statuses included; (0, {}, "") when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode(errors="replace")
    except OSError:
        return 0, {}, ""


def until(seen: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for what is to be seen; fails with `what` when it is not."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, f"{what}: not seen within {seconds:.0f} s"
        time.sleep(0.05)


def waiting(site: str) -> int:
    """How many calls stand in the server's queue, the one under way not counted."""
    return json.loads(get(f"{site}/gradio_api/queue/status")[2])["queue_size"]


@contextmanager
def served(corpus: str, model: str = "fake", delay: float = 0.0, wait: float = 90.0) -> Iterator[str]:
    """The page at an address of its own, once Gradio answers there."""
    port = free_port()
    environment = {**os.environ, "DEAR_FAKE_DELAY": str(delay), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "demo.boot", "--port", str(port), "--model", model, "--corpus", corpus]
    with tempfile.TemporaryFile("w+") as output:  # not a pipe: one that nobody empties stops the server once it is full
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
        url = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + wait
            while get(url, 5.0)[0] != 200:
                if process.poll() is not None or time.monotonic() > end:
                    process.kill()
                    output.seek(0)
                    pytest.fail(f"the page did not come up:\n{output.read()}")
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

"""What a visitor may ask for: the numbers, and the checks that every handler runs on the server.

Limits set on components are not enforced by Gradio's server, so nothing here may be left to the browser.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dear.errors import BadInput
from dear.types import MAX_QUERY_CHARS, check_query

RETRIEVERS: Mapping[str, str] = {"bm25": "BM25", "bm25+rm3": "BM25 + RM3", "dense": "Dense", "hybrid": "Hybrid"}
CANDIDATES = (5, 50, 20)  # least, most, default
DEPTH = (2, 50, 10)  # how many of them the listwise stage reads
WINDOW = (2, 20, 10)
STRIDE = (1, 20, 5)
DELETE_CACHE = (300, 1800)  # seconds: how often exported files are looked at, how old they may grow
LINKED_CHARS = 120  # a query in a link runs by itself up to this length
MINE = "my data"  # what a visitor calls the own passages, in settings and links
MAX_SHOWN_CHARS = 2_000  # of one passage on the page
MAX_PROMPT_CHARS = 60_000
QUEUE_SIZE = 8
DEADLINE_S = 300.0
UPDATE_S = 0.1  # at most ten updates a second
HEARTBEAT_S = 0.5
MAX_BODY = "3mb"  # of an upload; over 2 MB `demo.uploads` says why it is refused
MAX_UPLOAD = 4 * 2**20  # bytes of an upload's whole body: one such file, however a browser wraps it
SESSIONS = 500  # of which Gradio keeps state and what was last shown
MAX_REQUEST = 2 * 2**20  # bytes of any other request's body: 50 passages of 2,000 characters fit, however JSON writes them

_NAME = re.compile(r"[\w.:/+@ -]{1,120}")

__all__ = ["CANDIDATES", "DEPTH", "MAX_QUERY_CHARS", "RETRIEVERS", "STRIDE", "WINDOW", "Request", "check", "check_name", "check_number"]


@dataclass(frozen=True, slots=True)
class Request:
    """One checked question to the pipeline."""

    query: str
    corpus: str
    retriever: str = "bm25"
    candidates: int = CANDIDATES[2]
    depth: int = DEPTH[2]
    window: int = WINDOW[2]
    stride: int = STRIDE[2]
    model: str = "dear-nano"
    reasoning: bool = True

    def summary(self, title: str | None = None) -> str:
        """The settings in one line, for the accordion's label."""
        mode = "reasoning" if self.reasoning else "fast mode"
        shape = f"{self.candidates} candidates, the best {min(self.depth, self.candidates)} read in windows of {self.window}"
        return f"{title or self.corpus} · {RETRIEVERS[self.retriever]} · {shape} · {self.model} · {mode}"


def check(
    query: object,
    corpus: object,
    retriever: object,
    candidates: object,
    depth: object,
    window: object,
    stride: object,
    model: object,
    reasoning: object,
    *,
    corpora: Collection[str],
    models: Collection[str],
) -> Request:
    """Return the request, or raise `BadInput` that names the value, the limit and the remedy."""
    if not isinstance(query, str):
        raise BadInput("the query is not text: type a question")
    window = check_number("window", window, WINDOW)
    stride = check_number("stride", stride, STRIDE)
    if stride > window:
        raise BadInput(f"stride {stride} exceeds window {window}: use a stride of at most the window, or passages are skipped")
    return Request(
        query=check_query(query),
        corpus=check_name("corpus", corpus, corpora),
        retriever=check_name("retriever", retriever, RETRIEVERS),
        candidates=check_number("number of candidates", candidates, CANDIDATES),
        depth=check_number("listwise depth", depth, DEPTH),
        window=window,
        stride=stride,
        model=check_name("model", model, models),
        reasoning=bool(reasoning),
    )


def check_number(what: str, value: object, limits: tuple[int, int, int]) -> int:
    """Return `value` as an integer within `limits` (least, most, default), or raise `BadInput`."""
    least, most, _ = limits
    remedy = f"use a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value != int(min(max(value, -1e9), 1e9)):
        raise BadInput(f"the {what} {_short(value)} is not a whole number: {remedy}")
    if not least <= value <= most:
        raise BadInput(f"the {what} {_short(value)} is out of range: {remedy}")
    return int(value)


def check_name(what: str, value: object, known: Collection[str]) -> str:
    """Return `value` when it is one of the `known` names, or raise `BadInput` that lists them."""
    if isinstance(value, str) and _NAME.fullmatch(value) and value in known:
        return value
    raise BadInput(f"the {what} {_short(value)} is not known here: choose one of {', '.join(known)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"

"""A recorded run as one self-contained HTML page: it plays, steps and scrubs without a server, a network or a model.

The events go in as inert JSON; the page's own script writes text and never markup, and its content security policy names
that script and that style sheet by their hash, so nothing a passage holds can run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from dear import events as ev
from dear.errors import BadInput
from dear.runs import ranking_so_far

FOLDER = Path(__file__).parent
STYLES = ("look.css", "page.css")
SCRIPTS = ("run.js", "build.js", "graph.js", "panels.js", "reasoning.js", "report.js", "player.js")
MAX_BYTES = 300_000
# Characters of a passage and of a prompt: the first pair that lets the page stay under MAX_BYTES.
CUTS = ((20_000, 1_000_000), (2_000, 20_000), (1_000, 6_000), (500, 2_000), (240, 500))

# Overrides and isolates reorder what stands around them; lone surrogates cannot be written as UTF-8.
_UNSHOWABLE = re.compile("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_INERT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def replay_html(events: Iterable[ev.Event]) -> str:
    """The page of a recorded run, at most 300,000 bytes: long passages and prompts are cut, and the page says so.

    Raises `BadInput` when there is no event, or when the run does not fit however short they are cut.

    >>> "<!doctype html>" in replay_html([ev.Started("why"), ev.Final(())])
    True
    """
    recorded = list(events)
    if not recorded:
        raise BadInput("the recording holds no events: record a run with `python -m dear rerank … --json`")
    size = 0
    for text, prompt in CUTS:
        page = _page(recorded, text, prompt)
        size = len(page.encode())
        if size <= MAX_BYTES:
            return page
    raise BadInput(f"the replay page has {size:,} bytes, the limit is {MAX_BYTES:,}: record the run with fewer candidates or windows")


def look() -> str:
    """The style sheet of everything that shows a run: palette, cards, slopegraph, reasoning."""
    return _read("look.css")


def inert_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element: no character in it can end the element or start another.

    >>> inert_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _shown(text).translate(_INERT)


def page_head(title: str, style: str, script: str = "") -> str:
    """The head of a self-contained page: policy, title, style. `script` is the one that the page will run, if any."""
    allowed = f"script-src {_hash(script)}; " if script else ""
    policy = f"default-src 'none'; {allowed}style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<meta name="referrer" content="no-referrer"><title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style>'
    )


def escape(text: str) -> str:
    """`text` as inert HTML."""
    return html.escape(_shown(text), quote=True)


def _page(events: Sequence[ev.Event], text: int, prompt: int) -> str:
    style, script = "".join(map(_read, STYLES)), "(() => {\n" + "".join(map(_read, SCRIPTS)) + "})();"
    query = next((event.query for event in events if isinstance(event, ev.Started)), "a recorded run")
    return Template(_read("page.html")).substitute(
        head=page_head(f"DeAR replay: {query}", style, script),
        data=inert_json(_data(events, text, prompt)),
        query=escape(query),
        ranking=_ranking(events),
        script=script,
    )


def _data(events: Sequence[ev.Event], text: int, prompt: int) -> dict[str, Any]:
    """What the page's script reads: each passage once, and the events, which name passages by their place among them."""
    passages: dict[str, dict[str, Any]] = {}
    cut = False
    for event in events:
        for hit in getattr(event, "hits", ()):
            cut = cut or len(hit.passage.text) > text
            known = passages.setdefault(hit.id, {"id": hit.id, "title": hit.passage.title, "text": hit.passage.text[:text], "terms": []})
            known["terms"] = known["terms"] or [[term.term, term.weight, term.places] for term in hit.terms]
    places = {id: place for place, id in enumerate(passages)}
    return {"passages": list(passages.values()), "events": [_event(event, places, prompt) for event in events], "cut": text if cut else 0}


def _event(event: ev.Event, places: dict[str, int], prompt: int) -> dict[str, Any] | str:
    if isinstance(event, ev.Token):
        return event.text  # by far the most frequent one, so it goes bare
    data = ev.to_dict(event)
    if isinstance(event, ev.WindowStart) and len(event.prompt) > prompt:
        data |= {"prompt": event.prompt[:prompt], "cut": prompt}
    if isinstance(event, ev.WindowEnd):
        data["rationale"].pop("text")  # it is the tokens once more
    if "hits" in data:
        data["hits"] = [
            {"p": places[hit["id"]]} | {key: hit[key] for key in ("rank", "scores", "ranks", "rationale", "evidence") if hit[key]}
            for hit in data["hits"]
        ]
    return data


def _ranking(events: Sequence[ev.Event]) -> str:
    """The result as a plain list, for a browser that runs no script."""
    items = (f"<li><bdi>{escape(hit.passage.title or hit.passage.text[:80])}</bdi></li>" for hit in ranking_so_far(events)[:10])
    return "".join(items)


def _shown(text: str) -> str:
    return _UNSHOWABLE.sub("\ufffd", text)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

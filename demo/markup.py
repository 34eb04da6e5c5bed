"""Text to HTML, safely: every piece of user, corpus or model text on the page passes through `esc`. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence

from dear.types import Evidence, EvidenceKind

# Overrides and isolates can reorder what stands around them; C0 controls and lone surrogates cannot be shown.
_UNSHOWABLE = re.compile("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# `${…}` and `{{…}}` are code to a client-side template: written as entities they stay text wherever they end up.
_TEMPLATE = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})
_REFERENCE = re.compile(r"\[(\d{1,3})\]")
ELLIPSIS = "…"
NESTED: tuple[EvidenceKind, ...] = ("occlusion", "quoted", "lexical")  # the outermost mark first


def esc(value: object) -> str:
    """`value` as text that is inert in HTML, in a quoted attribute and in a client-side template.

    >>> esc('<b title="x">${1}')
    '&lt;b title=&quot;x&quot;&gt;&#36;&#123;1&#125;'
    """
    return html.escape(_UNSHOWABLE.sub("\ufffd", str(value)), quote=True).translate(_TEMPLATE)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a word where there is one.

    >>> shorten("Why the sky is blue", 12)
    'Why the sky…'
    """
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    cut = limit - 1 if text[limit - 1] == " " else head.rfind(" ")
    return (head[:cut] if cut > limit // 2 else head).rstrip(" ,.;:") + ELLIPSIS


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "window"), plural(3, "window")
    ('1 window', '3 windows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seconds(value: float) -> str:
    """
    >>> seconds(0.018), seconds(2.34), seconds(75)
    ('18 ms', '2.3 s', '1 min 15 s')
    """
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def number(value: float) -> str:
    """A score with a true minus sign.

    >>> number(-0.5), number(12.345)
    ('−0.50', '12.35')
    """
    return f"{value:.2f}".replace("-", "−")


def join(parts: Iterable[str]) -> str:
    """Concatenate pieces of HTML."""
    return "".join(parts)


def references(text: str, number_of: Callable[[int], int | None]) -> str:
    """Escape `text` and make each `[n]` that `number_of` knows a link to its card."""

    def link(match: re.Match[str]) -> str:
        document = number_of(int(match[1]))
        return match[0] if document is None else reference(int(match[1]), document)

    return _REFERENCE.sub(link, esc(text))


def reference(identifier: int, document: int) -> str:
    """`[n]` as a link that focuses the card of document D."""
    return f'<a class="ref" href="#card-{document}" data-d="{document}" aria-label="passage {identifier}, D{document}">[{identifier}]</a>'


def highlight(text: str, evidence: Sequence[Evidence], start: int = 0, end: int | None = None) -> str:
    """`text[start:end]` escaped, with grounded evidence in `<mark>` by kind: a sentence holds quotes, a quote holds words.

    Where two of one kind overlap, the second begins where the first ends; one that crosses the edge of a larger kind is split there.
    """
    spans: dict[str, list[tuple[int, int]]] = {kind: [] for kind in NESTED}
    for piece in evidence:
        if piece.grounded and 0 <= piece.start < piece.end <= len(text):
            spans[piece.kind].append((piece.start, piece.end))
    layers = [(kind, sorted(found, key=lambda span: (span[0], -span[1]))) for kind, found in spans.items() if found]
    return _marked(text, start, len(text) if end is None else end, layers)


def _marked(text: str, start: int, end: int, layers: Sequence[tuple[str, Sequence[tuple[int, int]]]]) -> str:
    if not layers:
        return esc(text[start:end])
    (kind, spans), inner = layers[0], layers[1:]
    out, at = [], start
    for first, last in spans:
        left, right = max(at, first), min(end, last)
        if left >= right:
            continue
        out.append(_marked(text, at, left, inner))
        out.append(f'<mark class="ev {kind}">{_marked(text, left, right, inner)}</mark>')
        at = right
    out.append(_marked(text, at, end, inner))
    return join(out)


def excerpt(text: str, evidence: Sequence[Evidence], limit: int = 220) -> tuple[int, int]:
    """The stretch of `text` a closed card shows: its beginning, or the neighbourhood of the first quoted evidence."""
    spans = [(e.start, e.end) for e in evidence if e.grounded and 0 <= e.start < e.end <= len(text)]
    if len(text) <= limit or not spans or min(spans)[1] <= limit:
        return 0, _word_end(text, limit)
    start, end = min(spans)
    left = max(0, start - max(20, (limit - (end - start)) // 3))
    cut = text.find(" ", left, start)
    left = cut + 1 if cut >= 0 else left
    return left, _word_end(text, max(left + limit, min(end, left + 2 * limit)))


def _word_end(text: str, limit: int) -> int:
    if len(text) <= limit:
        return len(text)
    cut = text.rfind(" ", 0, limit)
    return cut if cut > limit // 2 else limit

"""Column 3, the reasoning: windows, tokens as they come, then what they mean. Pure.

Three parts, because Gradio's page replaces a component's children by position: what streams (`live`) must not be in
the component that holds what a reader has opened (`prompt`, `written`).
"""

from __future__ import annotations

from dear.types import Evidence
from demo.cards import heading, unsupported
from demo.handlers import View, WindowView
from demo.limits import MAX_PROMPT_CHARS
from demo.markup import esc, join, plural, reference, references, shorten

STATUS_WORDS = {
    "complete": "the answer named every passage once",
    "repaired": "the answer left the form asked for, and its ranking was completed for it",
    "failed": "no ranking could be read from the answer; the order before it stands",
}


def progress(view: View) -> str:
    """Heading, status badge, and a map of the windows over the list."""
    badge = _badge(view)
    if not view.windows:
        return heading("Reasoning", badge) + _before(view)
    last = view.windows[-1]
    n = len(view.order) or max(window.span[1] for window in view.windows)
    ticks = join(_tick(view, place) for place in range(n))
    a, b = last.span
    words = f"Window {last.index} of {last.of} · places {a + 1}–{b}"
    return f'{heading("Reasoning", badge)}<div class="windows"><p>{words}</p><div class="map" aria-hidden="true">{ticks}</div></div>'


def live(view: View) -> str:
    """The answer as the model writes it; nothing once the window is ranked. Not a live region: tokens are not read out."""
    window = next((w for w in view.windows if w.status is None), None)
    if window is None:
        return ""
    waiting = view.phase == "running" and not window.text
    text = references(window.text, _numbers(view, window)) if window.text else ""
    caret = '<span class="caret"></span>' if view.phase == "running" else ""
    inner = f'<p class="reading">Reading {plural(len(window.ids), "passage")}…</p>' if waiting else f"<p>{text}{caret}</p>"
    note = "" if view.phase == "running" else '<p class="hint">Stopped here.</p>'
    return f'<div class="live" aria-live="off" tabindex="0" role="log" aria-label="answer as it is written"><div>{inner}</div></div>{note}'


def written(view: View) -> str:
    """The exact prompts, closed; then the finished windows, last first open: requirements, evidence, ranking and the raw answer.

    The prompts come first and grow at their end: children are replaced by position, and a reader may have one open when a window ends.
    """
    done = [window for window in view.windows if window.status is not None]
    latest = done[-1] if done else None
    parts = [_window(view, window, open_=window is latest, alone=len(view.windows) == 1) for window in reversed(done)]
    pending = next((window for window in view.windows if window.status is None), None)
    sheets = f'<div class="sheets">{join(_sheet(window) for window in view.windows)}</div>' if view.windows else ""
    button = _prompt(pending) if pending else ""
    note = '<p class="caveat">Written by the model. It says why it ranked so; it need not be what caused the ranking.</p>' if done else ""
    return sheets + button + join(parts) + note


def _badge(view: View) -> str:
    statuses = [window.status for window in view.windows if window.status]
    if view.stages["listwise"] == "failed":
        return '<span class="badge failed">failed</span>'
    if not statuses:
        return '<span class="badge running">writing</span>' if view.windows and view.phase == "running" else ""
    worst = next(status for status in ("failed", "repaired", "complete") if status in statuses)
    return f'<span class="badge {worst}" title="{STATUS_WORDS[worst]}">{worst}</span>'


def _before(view: View) -> str:
    state = view.stages["listwise"]
    if view.busy and state == "waiting":
        return '<p class="empty-col">The model reads the best passages side by side once they are scored.</p>'
    if state == "off" and view.phase != "idle":
        return '<p class="empty-col">The listwise stage did not run.</p>'
    return '<p class="empty-col">The listwise stage wrote nothing.</p>' if state in ("failed", "stopped") else ""


def _tick(view: View, place: int) -> str:
    last = view.windows[-1]
    inside = last.span[0] <= place < last.span[1]
    before = any(w.span[0] <= place < w.span[1] for w in view.windows[:-1])
    kind = ("now" if last.status is None else "done") if inside else "done" if before else ""
    return f'<i class="{kind}"></i>'


def _window(view: View, window: WindowView, *, open_: bool, alone: bool) -> str:
    inside = _requirements(view, window) + _others(view, window) + _chain(view, window) + _source(window)
    if alone:
        return f'<section class="window">{inside}</section>'
    a, b = window.span
    summary = f'<summary>Window {window.index} · places {a + 1}–{b} <span class="badge {window.status}">{window.status}</span></summary>'
    return f'<details class="window" data-keep="w-{window.index}"{" open" if open_ else ""}>{summary}{inside}</details>'


def _requirements(view: View, window: WindowView) -> str:
    """Each information requirement with the quotes given for it."""
    rationale = window.rationale
    if not rationale.requirements:
        return ""
    link = _numbers(view, window)
    items, said = [], set()
    for index, need in enumerate(rationale.requirements, 1):
        quotes = [e for e in rationale.evidence if index in e.meets]
        inner = join(_quote(view, window, e, why=e.passage_id not in said) for e in quotes) or '<li class="none">no passage was quoted for it</li>'
        said |= {e.passage_id for e in quotes}
        items.append(f'<li><p class="need"><bdi>{references(need, link)}</bdi></p><ul class="quotes">{inner}</ul></li>')
    return f'<h3 class="part">What the query needs, and who has it</h3><ol class="needs">{join(items)}</ol>'


def _others(view: View, window: WindowView) -> str:
    """Quotes tied to no requirement, and the sentences about passages that were not quoted."""
    rationale = window.rationale
    count = len(rationale.requirements)
    loose = [e for e in rationale.evidence if not any(1 <= need <= count for need in e.meets)]
    quoted = {e.passage_id for e in rationale.evidence}
    quotes = f'<h3 class="part">Quotes</h3><ul class="quotes">{join(_quote(view, window, e) for e in loose)}</ul>' if loose else ""
    said = [(id, why) for id, why in rationale.reasons.items() if id in window.ids and id not in quoted]
    if not said:
        return quotes
    items = join(f"<li>{_name(view, window, id)} <bdi>{esc(shorten(why, 240))}</bdi></li>" for id, why in said)
    return f'{quotes}<h3 class="part">Left behind</h3><ul class="said-of">{items}</ul>'


def _quote(view: View, window: WindowView, evidence: Evidence, *, why: bool = True) -> str:
    """A quote with a mark for found or not found, and once a passage the sentence that came with it."""
    name = _name(view, window, evidence.passage_id)
    why = window.rationale.reasons.get(evidence.passage_id, "") if why else ""
    said = f' <span class="because"><bdi>{esc(shorten(why, 200))}</bdi></span>' if why else ""
    if not evidence.grounded:
        return f'<li class="missing"><span class="check no" aria-hidden="true">✗</span>{name} {unsupported(evidence)}{said}</li>'
    quote = f'<q class="found"><bdi>{esc(shorten(evidence.quote, 240))}</bdi></q><span class="sr"> found in the passage</span>'
    return f'<li><span class="check yes" title="found in the passage" aria-hidden="true">✓</span>{name} {quote}{said}</li>'


def _chain(view: View, window: WindowView) -> str:
    links = [_name(view, window, id) for id in window.permutation]
    chain = ' <span class="gt">&gt;</span> '.join(links)
    words = STATUS_WORDS[window.status or "failed"].capitalize()
    return f'<h3 class="part">Ranking</h3><p class="chain">{chain}</p><p class="hint">{words}.</p>'


def _source(window: WindowView) -> str:
    """The answer as written, folded unless nothing else could be read from it, and the prompt."""
    bare = not window.rationale.requirements and not window.rationale.evidence and "\n" in window.text.strip()
    note = '<p class="hint">The model gave no needs and no quotes in the form asked for. This is what it wrote.</p>' if bare else ""
    pre = f'<pre tabindex="0">{esc(window.text)}</pre>'
    text = f'<details class="raw" data-keep="raw-{window.index}"{" open" if bare else ""}><summary>The answer as written</summary>{pre}</details>'
    return note + text + _prompt(window)


def _prompt(window: WindowView) -> str:
    return f'<button type="button" class="ghost-button" popovertarget="prompt-{window.index}">Show prompt</button>'


def _sheet(window: WindowView) -> str:
    prompt = window.prompt[:MAX_PROMPT_CHARS]
    name = f"prompt-{window.index}"
    return (
        f'<div class="sheet" popover id="{name}"><div class="sheet-head"><h3>The exact prompt of window {window.index}</h3>'
        f'<button type="button" class="ghost-button" popovertarget="{name}" popovertargetaction="hide">Close</button></div>'
        f'<p class="hint">{len(window.prompt):,} characters, as the model reads them.</p><pre tabindex="0">{esc(prompt)}</pre></div>'
    )


def _name(view: View, window: WindowView, passage_id: str) -> str:
    if passage_id not in window.ids or passage_id not in view.order:
        return f'<span class="ref"><bdi>{esc(shorten(passage_id, 40))}</bdi></span>'
    return reference(window.ids.index(passage_id) + 1, view.number(passage_id))


def _numbers(view: View, window: WindowView):
    def number_of(identifier: int) -> int | None:
        inside = 1 <= identifier <= len(window.ids) and window.ids[identifier - 1] in view.order
        return view.number(window.ids[identifier - 1]) if inside else None

    return number_of

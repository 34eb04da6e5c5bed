"""My data as HTML: what may be uploaded, what was read, what was wrong with it row by row. Pure: knows no gradio."""

from __future__ import annotations

from collections.abc import Sequence

from corpora.rows import RowError
from dear.types import Passage
from demo.markup import esc, join, plural, shorten

SHOWN_ERRORS = 50
SHOWN_PASSAGES = 3
FORMATS = (
    ("JSONL", '{"id": "1", "title": "Light and air", "text": "Short waves scatter more …"}', "one object a line; id and title may be left out"),
    ("CSV, TSV", "id,title,text", "a header line, or no header: text, id text, or id title text"),
    ("TXT", "One passage a paragraph.", "blank lines part the passages"),
)


def invitation() -> str:
    """What the tab is for, and the limits, before anything is uploaded."""
    rows = join(f"<tr><th scope='row'>{name}</th><td><code>{esc(example)}</code></td><td>{esc(note)}</td></tr>" for name, example, note in FORMATS)
    return (
        '<section class="lab-intro"><h2>Rank your own passages</h2>'
        "<p>One file of up to 2&#160;MB and 2,000 passages, each up to 2,000 characters. It is read and indexed on this server, for you alone, "
        "and can be searched in every tab at once. After 30 minutes, or when you close the page, passages and index are deleted; what the tabs "
        "made of them goes within the hour.</p>"
        f'<div class="scroll-x" tabindex="0" role="group" aria-label="file formats"><table class="formats"><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def working(words: str) -> str:
    """The index is being built."""
    return f'<p class="lab-note wait"><span class="spinner" aria-hidden="true"></span><span>{esc(words)}</span></p>'


def kept(file: str, passages: Sequence[Passage], minutes: int) -> str:
    """What is indexed now: how much, for how long, and its first passages."""
    items = join(_passage(passage) for passage in passages[:SHOWN_PASSAGES])
    more = f'<p class="hint">and {len(passages) - SHOWN_PASSAGES:,} more</p>' if len(passages) > SHOWN_PASSAGES else ""
    left = "for less than a minute more" if minutes < 1 else f"for {plural(minutes, 'more minute')}" if minutes < 30 else "for 30 minutes"
    return (
        f'<section class="lab-kept"><h2>{plural(len(passages), "passage")} from <bdi>{esc(shorten(file, 80))}</bdi></h2>'
        f'<p class="hint">Indexed with Lucene, for you alone, {left}. Choose <b>my data</b> as the corpus in any tab.</p>'
        f'<ol class="peek">{items}</ol>{more}</section>'
    )


def _passage(passage: Passage) -> str:
    title = esc(shorten(passage.title or passage.id, 80))
    return f"<li><b><bdi>{title}</bdi></b><p><bdi>{esc(shorten(passage.text, 160))}</bdi></p></li>"


def errors(rows: Sequence[RowError], *, used: int) -> str:
    """The rows that could not be used, as a table; nothing when there are none."""
    if not rows:
        return ""
    whole = [row for row in rows if not row.row]  # of the file: that reading ended there
    faulty = [row for row in rows if row.row]
    head = '<thead><tr><th scope="col">Row</th><th scope="col">What is wrong</th><th scope="col">What to do</th></tr></thead>'
    body = join(
        f'<tr><th scope="row">{row.row or "file"}</th><td><bdi>{esc(shorten(row.problem, 300))}</bdi></td>'
        f"<td><bdi>{esc(shorten(row.remedy, 200))}</bdi></td></tr>"
        for row in (*whole, *faulty[:SHOWN_ERRORS])
    )
    more = f'<p class="hint">and {len(faulty) - SHOWN_ERRORS} more</p>' if len(faulty) > SHOWN_ERRORS else ""
    usable = plural(used, "row")
    told = f"The {usable} read before can be searched." if whole else f"The other {usable} can be searched."
    told = told if used else "Nothing in the file can be used."
    named = f"{plural(len(faulty), 'row')} left out" if faulty else "Not read to its end" if used else "Not read"
    title = f"{named}, and not read to its end" if faulty and whole else named
    return (
        f'<section class="lab-errors"><h2>{title}</h2><p class="hint">{told}</p>'
        f'<div class="scroll-x" tabindex="0" role="group" aria-label="rows left out"><table class="faults">{head}'
        f"<tbody>{body}</tbody></table></div>{more}</section>"
    )


def refused(words: str, before: str = "") -> str:
    """The file could not be used; `before` names the file that stays in use."""
    stays = f" <bdi>{esc(shorten(before, 80))}</bdi> stays in use." if before else ""
    return f'<p class="alert" role="alert"><bdi>{esc(words)}</bdi>.{stays}</p>'


def gone() -> str:
    """The visitor asked for the passages to be forgotten."""
    return '<p class="lab-note">Your passages and their index are deleted.</p>'

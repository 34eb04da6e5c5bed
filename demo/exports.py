"""A run as files to take away: events, TREC run, CSV, slopegraph, replay page. The server makes the names; nothing is asked of the visitor."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dear import events as ev
from dear import replay, runs
from dear.errors import BadInput
from demo import handlers
from demo.markup import esc, shorten
from demo.slopegraph import WIDTH, svg, tracks

KEEP_S = 600.0  # how long a file made for one visitor lies in the export folder
MAX_NAME = 48
LEFT, RIGHT = 24, 10  # margins of the graph: a long title in bold reaches beyond its axis
_SVG_LINE = re.compile(r"^\.slope[ ,{].*$", re.MULTILINE)
_COLOUR = re.compile(r"--d-([\w-]+): (#[0-9a-f]{6})")
_FONT = "Inter, Segoe UI, Roboto, Helvetica Neue, Noto Sans, Liberation Sans, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: what the button says, how the name ends, and the text of a run."""

    label: str
    suffix: str
    text: Callable[[Sequence[ev.Event]], str]


def export(kind: str, events: Sequence[ev.Event]) -> tuple[str, str]:
    """(file name, text) of a run; raises `BadInput` on an unknown kind, without a run, or where the format cannot carry it."""
    if kind not in KINDS:
        raise BadInput(f"there is no export {str(kind)[:40]!r}: choose one of {', '.join(KINDS)}")
    if not events:
        raise BadInput("there is no run to export yet: rank something first (a run is kept for 30 minutes)")
    return f"dear-{slug(query_of(events))}{KINDS[kind].suffix}", KINDS[kind].text(events)


def query_of(events: Sequence[ev.Event]) -> str:
    """The query of a run."""
    return next((event.query for event in events if isinstance(event, ev.Started)), "")


def slug(text: str) -> str:
    """A name made of small letters, digits and hyphens alone.

    >>> slug("Why is the sky blue?"), slug("../../etc"), slug("天")
    ('why-is-the-sky-blue', 'etc', 'run')
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:MAX_NAME].strip("-") or "run"


def slopegraph_file(events: Sequence[ev.Event]) -> str:
    """The slopegraph as a file of its own: colours written out, light, with the query above it."""
    view = handlers.reduce_all(events)
    if not view.hits:
        raise BadInput("no passage was ranked, so there is no graph: try other words")
    lines = tracks(view)
    inner = svg(view, lines)
    box = re.search(r'viewBox="0 0 \d+ (\d+)"', inner)
    height = int(box[1]) if box else 0
    graph = inner.replace("<svg ", f'<svg y="34" width="{WIDTH}" height="{height}" overflow="visible" ', 1)
    ground, width = _colours()["surface"], LEFT + WIDTH + RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 52}" width="{2 * width}" height="{2 * (height + 52)}">'
        f'<style>{_svg_style()}</style><rect width="100%" height="100%" fill="{ground}"/>'
        f'<g transform="translate({LEFT} 8)"><text class="query" y="16">{esc(shorten(view.query, 46))}</text>{graph}</g></svg>\n'
    )


def _svg_style() -> str:
    """The graph's own rules of the page's style sheet, with every variable written out: editors of drawings know none."""
    colours = _colours()
    rules = "\n".join(line for line in _SVG_LINE.findall(replay.look()) if ":has(" not in line and not line.startswith(".slope {"))
    for stage in handlers.STAGE_NAMES:
        rules += f"\n.slope .axis.{stage}.done text {{ fill: {colours[stage]}; }}"
    rules = re.sub(r"var\(--d-font\)", _FONT, rules)
    rules = re.sub(r"var\(--d-([\w-]+)\)", lambda match: colours[match[1]], rules).replace("var(--hue)", colours["ink-3"])
    return f"svg {{ font-family: {_FONT}; }} .query {{ font-size: 14px; font-weight: 650; fill: {colours['ink']}; }}\n{rules}"


def _colours() -> Mapping[str, str]:
    light = replay.look().split(".dark {")[0]
    return dict(_COLOUR.findall(light))


def _jsonl(events: Sequence[ev.Event]) -> str:
    return "".join(line + "\n" for line in ev.dump(events))


def _trec(events: Sequence[ev.Event]) -> str:
    started = next((event for event in events if isinstance(event, ev.Started)), None)
    tag = slug(started.config.get("model", "dear")) if started else "dear"
    return "".join(line + "\n" for line in runs.trec_lines(slug(query_of(events)), runs.ranking_so_far(events), tag))


def _csv(events: Sequence[ev.Event]) -> str:
    return runs.csv_text(runs.ranking_so_far(events))


KINDS: Mapping[str, Kind] = {
    "html": Kind("Replay page", ".html", replay.replay_html),
    "jsonl": Kind("Events", ".jsonl", _jsonl),
    "trec": Kind("TREC run", ".trec", _trec),
    "csv": Kind("CSV", ".csv", _csv),
    "svg": Kind("Graph SVG", ".svg", slopegraph_file),
    "png": Kind("Graph PNG", ".svg", slopegraph_file),  # the browser draws it from the SVG
}


class ExportFolder:
    """A temporary folder of its own for files on their way to visitors; what is older than ten minutes goes at the next one."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="dear-exports-"))

    def write(self, name: str, text: str) -> Path:
        """The file's path, under a folder that nobody can guess."""
        self._sweep()
        folder = self.path / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        path = folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _sweep(self) -> None:
        now = time.time()
        for folder in self.path.iterdir() if self.path.exists() else ():
            if now - folder.stat().st_mtime > KEEP_S:
                shutil.rmtree(folder, ignore_errors=True)

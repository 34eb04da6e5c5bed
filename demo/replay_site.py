"""A folder of replays that any static host serves, a static Space among them: `python -m demo.replay_site`."""

from __future__ import annotations

import argparse
import base64
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dear import events as ev
from dear import replay
from dear.errors import BadInput
from dear.runs import write_atomic
from dear.types import STAGES
from demo.exports import slopegraph_file
from demo.handlers import STAGE_NAMES
from demo.markup import esc, join
from demo.recordings import FOLDER, Recording, recordings
from demo.render import LOGO, chip
from demo.theme import STATIC

OUT = Path("out/replay-site")
TITLE = "DeAR: reranking you can watch"
README = """---
title: DeAR replays
emoji: 🦌
colorFrom: indigo
colorTo: green
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
short_description: Recorded runs of a two-stage reranker, played back
---

# DeAR replays

Recorded runs of a two-stage reranker: a search engine finds candidates, a small language model scores each one, then reads the list,
quotes its evidence and ranks. Each page plays, steps and scrubs by itself: one file, no server, no model, no network.
"""


def write_site(folder: Path, found: Sequence[Recording]) -> list[Path]:
    """Write index, README and a page a recording into `folder`; returns the files. Raises `BadInput` when there is no recording."""
    if not found:
        raise BadInput(f"there is no recorded run in {FOLDER}: make some with `python -m demo.record`")
    pages = {f"{recording.name}.html": replay.replay_html(recording.events) for recording in found}
    files = {"README.md": README, "index.html": index(found), **pages}
    for name, text in files.items():
        write_atomic(folder / name, [text.rstrip("\n")])
    return [folder / name for name in files]


def index(found: Sequence[Recording]) -> str:
    """The page that leads to the recordings: no script, no request."""
    style = "".join((_style(), (STATIC / "site.css").read_text(encoding="utf-8")))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{replay.page_head(TITLE, style)}</head>\n<body class="dear-page">'
        f'<header class="top"><div class="brand">{LOGO}<div><p class="name">DeAR</p><p>Two-stage reranking you can read</p></div></div></header>'
        '<main><div class="lead"><h1>One list, ranked three times</h1><p>A search engine finds candidates, a small language model scores each one '
        "by itself, then reads the best side by side, quotes its evidence and ranks. Every run here was recorded as it happened: play it, step "
        f'through it, scrub it.</p></div><ul class="runs">{join(map(_card, found))}</ul>'
        '<p class="foot">The numbers are nDCG@10 after each stage. What the model wrote says why it ranked so; it need not be what caused the '
        "ranking.</p></main></body>\n</html>"
    )


def _card(recording: Recording) -> str:
    started = next(event for event in recording.events if isinstance(event, ev.Started))
    metrics = next((event.stages for event in recording.events if isinstance(event, ev.Metrics)), {})
    values = join(
        f'<div class="{stage}"><dt>{STAGE_NAMES[stage]}</dt><dd>{metrics[stage]["nDCG@10"]:.3f}</dd></div>' for stage in STAGES if stage in metrics
    )
    models = dict.fromkeys(started.config[stage] for stage in ("pointwise", "listwise") if stage in started.config)
    picture = base64.b64encode(slopegraph_file(recording.events).encode()).decode()
    return (
        f'<li class="run"><img alt="" src="data:image/svg+xml;base64,{picture}">'
        f'<h2><a href="{esc(recording.name)}.html"><bdi>{esc(recording.query)}</bdi></a></h2>'
        f'<dl aria-label="nDCG@10 per stage">{values}</dl><div class="chips">{join(chip(label) for label in models)}</div></li>'
    )


def _style() -> str:
    """The style sheet of a replay; without a script, the visitor's system alone chooses between light and dark."""
    sheet = "".join((replay.FOLDER / name).read_text(encoding="utf-8") for name in replay.STYLES)
    dark = re.search(r"^\.dark \{(.*?)^\}", sheet, re.MULTILINE | re.DOTALL)
    return f"{sheet}\n@media (prefers-color-scheme: dark) {{ :root {{{dark[1] if dark else ''}}} }}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the site; the exit status is 1 when there is nothing to write."""
    parser = argparse.ArgumentParser(prog="python -m demo.replay_site", description="Write a folder of replays for a static host.")
    parser.add_argument("--recordings", type=Path, default=FOLDER, help="a folder of recorded runs (.jsonl)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the site goes, {OUT} by default")
    options = parser.parse_args(arguments)
    try:
        files = write_site(options.out, recordings(options.recordings))
    except BadInput as error:
        print(f"replay-site: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in files)
    print(f"replay-site: {len(files)} files, {size:,} bytes in {options.out}; open {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

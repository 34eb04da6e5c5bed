"""The My data tab: a visitor's own file becomes a corpus that every tab can search, for this session alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from corpora.rows import SUFFIXES
from dear.errors import DearError
from dear.logs import places
from demo import upload_panel as panel
from demo.resources import Resources, short_name
from demo.tabs.widgets import QUIET, plain, session_of
from demo.uploads import MINE, Uploads, read_upload

logger = logging.getLogger(__name__)

BROKEN = "The file could not be read. The server goes on: try again, or upload another file"
BUSY = "Too many files are being read. Try again in a minute"


@dataclass
class MyDataTab:
    """Handlers of the tab; what a visitor uploaded lies in `uploads`."""

    resources: Resources
    uploads: Uploads
    fields: int  # how many choices of corpus the page has

    def upload(self, path: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Read and index the file; at the end it is the session's corpus and chosen in every tab. A bad file changes nothing."""
        session, file = session_of(request), Path(str(path or "")).name
        before = self.uploads.find(session)
        if not path:
            yield self._shown(session)
            return
        yield (panel.working(f"Reading {file}"), "", None, *self._skipped())
        try:
            try:
                read = read_upload(str(path))
            finally:
                _discard(str(path))
            if not read.passages:
                yield self._shown(session, panel.errors(read.errors, used=0))
                return
            with closing(self.uploads.take(session, file, read)) as parts:
                for part in parts:
                    yield (panel.working(f"{part.title}: {part.detail}"), "", None, *self._skipped())
        except DearError as error:
            yield self._shown(session, panel.refused(str(error), before.file if before else ""))
            return
        except Exception as error:
            logger.warning("an upload failed: %s", places(error))
            yield self._shown(session, panel.refused(BROKEN, before.file if before else ""))
            return
        yield self._shown(session, panel.errors(read.errors, used=len(read.passages)), choose=MINE)

    def forget(self, request: gr.Request) -> tuple[Any, ...]:
        """Delete the session's passages."""
        session = session_of(request)
        note = panel.gone() if self.uploads.drop(session) else ""
        return self._shown(session, note, choose=self.resources.corpora[0])

    def shown(self, explain: Any, learn: Any, compare: Any, request: gr.Request) -> tuple[Any, ...]:
        """The tab as it stands, e.g. when it is opened again after the half hour; what was said of a file stays.

        Where a tab still has passages chosen that are gone, its corpus is the usual one again.
        """
        session = session_of(request)
        about, _, _, use, forget, *_ = self._shown(session)
        gone = self.uploads.find(session) is None
        usual = self.resources.corpora[0]
        fields = [self._field(session, usual if gone and chosen == MINE else None) for chosen in (explain, learn, compare)]
        return (about, gr.skip(), gr.skip(), use, forget, *fields)

    def leave(self, request: gr.Request) -> None:
        """The page was closed: forget at once."""
        self.uploads.drop(session_of(request))

    def _shown(self, session: str, note: str = "", choose: str | None = None) -> tuple[Any, ...]:
        """Panel, note, the emptied drop zone, the two buttons, and each tab's choice of corpus."""
        upload = self.uploads.find(session)
        minutes = self.uploads.minutes_left(session)
        about = panel.kept(upload.file, upload.read.passages, minutes) if upload else panel.invitation()
        buttons = (gr.Button(visible=upload is not None), gr.Button(visible=upload is not None))
        return (about, note, None, *buttons, *[self._field(session, choose)] * self.fields)

    def _field(self, session: str, choose: str | None) -> Any:
        choices = [(short_name(name), name) for name in self.uploads.names(session)]
        if choose is None:
            return gr.Dropdown(choices=choices)
        return gr.Dropdown(choices=choices, value=choose)

    def _skipped(self) -> list[Any]:
        return [gr.skip()] * (2 + self.fields)


def build(resources: Resources, uploads: Uploads, demo: gr.Blocks, tabs: gr.Tabs, mine: gr.Tab, fields: list[gr.Dropdown]) -> None:
    """Add the tab's components and events; `fields` are the choices of corpus on the page, `mine` the tab itself."""
    tab = MyDataTab(resources, uploads, len(fields))
    with gr.Row(elem_classes="dear-lab lab-two"):
        with gr.Column(elem_classes="dear-column", min_width=320):
            about = gr.HTML(panel.invitation(), **plain())
            with gr.Row(elem_classes="lab-buttons"):
                use = gr.Button("Search them in Explain", elem_classes="lab-main", visible=False)
                forget = gr.Button("Forget my passages", elem_classes="lab-side", visible=False)
        with gr.Column(elem_classes="dear-column", min_width=320):
            file = gr.File(label="JSONL, CSV, TSV or TXT", file_types=sorted(SUFFIXES), height=170, elem_classes="lab-drop")
            note = gr.HTML("", **plain("hide-empty"))
    outputs = [about, note, file, use, forget, *fields]
    read = file.upload(tab.upload, file, outputs, concurrency_id="uploads", concurrency_limit=2, **QUIET)
    read.failure(lambda: panel.refused(BUSY), None, note, queue=False, **QUIET)
    forget.click(tab.forget, None, outputs, queue=False, **QUIET)
    use.click(lambda: gr.Tabs(selected="explain"), None, tabs, queue=False, **QUIET)
    mine.select(tab.shown, fields, outputs, queue=False, **QUIET)
    demo.unload(tab.leave)


def _discard(path: str) -> None:
    """Delete the uploaded file once it is read; only in the folder where Gradio puts uploads."""
    folder, file = Path(get_upload_folder()).resolve(), Path(path).resolve()
    if file.is_relative_to(folder):
        file.unlink(missing_ok=True)

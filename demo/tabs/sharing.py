"""What lies under a result: files to take away, and the link that asks the same question again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from dear import events as ev
from dear.errors import DearError
from dear.logs import places
from demo import limits, render
from demo.exports import KINDS, ExportFolder, export
from demo.kept_runs import KeptRuns
from demo.tabs.widgets import QUIET, plain, session_of

logger = logging.getLogger(__name__)

# The address says what is asked, in full, and only what differs from the usual settings; one's own passages are nobody else's to ask.
ADDRESS = """(q, c, r, k, d, w, s, m, t) => {
  const p = new URLSearchParams(location.search);
  const set = (name, value, usual) => (value === usual ? p.delete(name) : p.set(name, value));
  set("q", q, ""); set("corpus", c, "%s"); set("retriever", r, "bm25"); p.set("model", m); set("k", String(k), "%d");
  set("depth", String(d), "%d"); set("window", String(w), "%d"); set("stride", String(s), "%d"); set("reasoning", t ? "on" : "off", "on");
  history.replaceState(history.state, "", location.pathname + "?" + p.toString());
}""" % (limits.MINE, limits.CANDIDATES[2], limits.DEPTH[2], limits.WINDOW[2], limits.STRIDE[2])  # noqa: UP031
COPY = 'async (...asked) => { (%s)(...asked); await window.dearShare.copy(asked[1] === "%s"); }' % (ADDRESS, limits.MINE)  # noqa: UP031
# A link with a short question runs by itself; a long one, or one that asks for what is not here, waits for the visitor.
RUN_LINKED = """(q, wrong) => {
  const linked = new URLSearchParams(location.search).get("q");
  if (linked && linked === q && q.trim() && q.length <= LIMIT && !wrong) document.querySelector("button.dear-go")?.click();
}""".replace("LIMIT", str(limits.LINKED_CHARS))


@dataclass
class Sharing:
    """Handlers of the exports. `first` is the run that a visitor sees before there is one of their own."""

    first: Sequence[ev.Event] = ()
    kept: KeptRuns = field(default_factory=KeptRuns)
    folder: ExportFolder = field(default_factory=ExportFolder)

    def make(self, kind: str, request: gr.Request) -> tuple[str | None, str]:
        """The path of the session's run as a file, and what is wrong where there can be none."""
        try:
            session = session_of(request)
            events = self.kept.events(session) if self.kept.ranked(session) else self.first
            name, text = export(kind, events)
            return str(self.folder.write(name, text)), ""
        except DearError as error:
            return None, render.alert(str(error))
        except Exception as error:
            logger.warning("an export failed: %s", places(error))
            return None, render.alert("The file could not be made. The run itself is not touched: try another kind of file.")

    def leave(self, request: gr.Request) -> None:
        """Forget the run of a closed page."""
        self.kept.forget(session_of(request))


def build(sharing: Sharing, asked: Sequence[Any], demo: gr.Blocks) -> None:
    """Add the row of exports under a result; `asked` are the query and the settings, in the order of the address."""
    with gr.Row(elem_classes="dear-exports"):
        gr.HTML('<span class="dear-try">Take it away</span>', **plain())
        buttons = {kind: gr.Button(KINDS[kind].label, elem_classes="dear-example", size="sm", min_width=0, scale=0) for kind in KINDS}
        copy = gr.Button("Copy link", elem_classes=["dear-example", "dear-copy"], size="sm", min_width=0, scale=0)
    alert = gr.HTML("", **plain("hide-empty"))
    file = gr.DownloadButton(visible="hidden")
    for kind, button in buttons.items():
        made = button.click(_maker(sharing, kind), None, [file, alert], queue=False, **QUIET)
        made.then(None, file, None, js=f"(file) => window.dearShare.save(file, '{kind}')", **QUIET)
    copy.click(None, list(asked), None, js=COPY, **QUIET)
    demo.unload(sharing.leave)


def _maker(sharing: Sharing, kind: str) -> Any:
    # Gradio finds the request by its annotation, which a partial function would hide.
    def make(request: gr.Request) -> tuple[str | None, str]:
        return sharing.make(kind, request)

    return make

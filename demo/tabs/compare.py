"""The Compare tab: two configurations on the same candidates, judged blind, then measured against each other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dear.errors import BadInput, DearError
from demo import compare_panel as panel
from demo import comparison, render
from demo.compare_run import Progress, compare
from demo.comparison import METHODS, ORDERS, PRECISIONS, PRESETS, Asked, Comparison, Setup
from demo.resources import Resources, needs_gpu, short_name
from demo.session import STOPPED, Tickets
from demo.tabs.widgets import QUIET, choice, kept, plain, query_field, run_buttons, session_of, slider
from demo.uploads import MINE, Uploads

logger = logging.getLogger(__name__)

BUSY = "Too many people are waiting for the model. Press Compare again in a minute"
GONE = "This comparison was kept for half an hour and is gone. Press Compare to make it again"
START = next(iter(PRESETS.values()))


@dataclass
class CompareTab:
    """Handlers of the tab. A finished comparison and the votes lie in the visitor's own state on the server."""

    resources: Resources
    uploads: Uploads
    tickets: Tickets

    # Gradio finds the request by its annotation among the plain parameters, so these are spelled out.
    def begin(
        self, query: Any, corpus: Any, k: Any, model: Any, blind: Any, a1: Any, a2: Any, a3: Any, b1: Any, b2: Any, b3: Any, request: gr.Request
    ) -> tuple[Any, ...]:
        """Check what is asked and clear the page; returns a ticket for `run`, or None with what is wrong."""
        values = (query, corpus, k, model, blind, a1, a2, a3, b1, b2, b3)
        try:
            self._check(values, request)
        except DearError as error:  # a comparison that waits for its turn has its ticket still
            waits = self.tickets.waits(session_of(request))
            return (gr.skip() if waits else None, render.alert(str(error)), *run_buttons(running=waits), *[gr.skip()] * 5)
        ticket = self.tickets.open(session_of(request), values)
        return (ticket.id, "", *run_buttons(running=True), None, "", "", _ballot(None), panel.status("Comparing"))

    def run(self, ticket_id: Any, counts: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The comparison that `begin` gave the ticket for; ends with both rankings, or with why there are none."""
        ticket = self.tickets.take(session_of(request), ticket_id)
        if ticket is None:
            yield (gr.skip(),) * 8
            return
        try:
            asked = self._check(ticket.asked, request)
            with closing(compare(self.resources, asked, ticket)) as steps:
                for now in steps:
                    if not self.tickets.current(session_of(request), ticket):
                        return  # a newer comparison has the page
                    yield self._shown(asked, now, counts)
        except DearError as error:
            yield (render.alert(str(error)), *run_buttons(running=False), None, "", "", _ballot(None), panel.status("Nothing was compared"))
        finally:
            ticket.end()
            ticket.asked = ()

    def stop(self, request: gr.Request) -> tuple[Any, ...]:
        """End the visitor's comparison. One that runs shows its own end; one that waited for its turn is ended here."""
        if self.tickets.stop(session_of(request)) is None:
            return (gr.skip(),) * 8
        return ("", *run_buttons(running=False), None, panel.stopped(STOPPED), "", _ballot(None), panel.status("Stopped"))

    def turned_away(self, request: gr.Request) -> tuple[Any, ...]:
        """The queue had no place for `run`: say so."""
        self.tickets.stop(session_of(request))
        return (render.alert(BUSY), *run_buttons(running=False))

    def leave(self, request: gr.Request) -> None:
        """The page was closed: end its comparison and forget it."""
        self.tickets.drop(session_of(request))

    def vote(self, choice: Any, found: Any, counts: Any) -> tuple[Any, ...]:
        """Count the vote and say which was which; a second vote on the same pair changes nothing."""
        if not isinstance(found, Comparison):
            return (*(gr.skip(),) * 5, render.alert(GONE))
        if found.vote is not None:
            return (gr.skip(),) * 6
        try:
            found = found.voted(choice)
        except BadInput as error:
            return (*(gr.skip(),) * 5, render.alert(str(error)))
        counts = comparison.tally(counts or {}, found)
        said = panel.status("The vote is counted. Both configurations are named now")
        return (found, counts, panel.rankings(found), panel.verdict(found, counts), _ballot(found), said)

    def _shown(self, asked: Asked, now: Progress, counts: Any) -> tuple[Any, ...]:
        if now.error:
            return (render.alert(now.error), *run_buttons(running=False), None, "", "", _ballot(None), panel.status("Nothing was compared"))
        if now.stopped:
            return ("", *run_buttons(running=False), None, panel.stopped(now.stopped), "", _ballot(None), panel.status("Stopped"))
        if now.result is None:
            return ("", *run_buttons(running=True), None, panel.progress(asked, now), "", _ballot(None), gr.skip())
        found = now.result
        said = "Both rankings are here. Which is better, left or right?" if found.vote is None else "Both rankings are here"
        pages = (panel.rankings(found), panel.verdict(found, counts or {}))
        return ("", *run_buttons(running=False), found, *pages, _ballot(found), panel.status(said))

    def _check(self, values: tuple[Any, ...], request: gr.Request) -> Asked:
        query, corpus, k, model, blind, *setups = values
        corpora = (*self.resources.corpora, MINE)
        asked = comparison.check(query, corpus, model, k, blind, setups, corpora=corpora, models=self.resources.models)
        name = self.uploads.corpus_name(session_of(request), asked.corpus)
        return Asked(asked.query, name, asked.model, asked.candidates, asked.setups, asked.blind)


def build(resources: Resources, uploads: Uploads, demo: gr.Blocks) -> gr.Dropdown:
    """Add the tab's components and events to the open Blocks and return its choice of corpus."""
    tab = CompareTab(resources, uploads, Tickets())
    demo.unload(tab.leave)
    with gr.Row(elem_classes="dear-ask"):
        query = gr.Textbox(label="Query", placeholder="Ask a question…", max_lines=1, elem_classes="dear-query", container=False, **query_field())
        go = gr.Button("Compare", elem_classes="dear-go", min_width=104, scale=0)
        stop = gr.Button("Stop", elem_classes="dear-stop", min_width=104, scale=0, visible=False)
    alert = gr.HTML("", **plain("hide-empty"))
    with gr.Row(elem_classes="dear-examples"):
        presets = [gr.Button(name, elem_classes="dear-example", size="sm", min_width=0, scale=0) for name in PRESETS]
    fields, setups = _fields(resources)
    ticket, found, counts = kept(None), kept(None), gr.State({})
    pair = gr.HTML(panel.invitation(), **plain())
    with gr.Row(elem_classes="lab-buttons lab-ballot", visible=False) as ballot:
        votes = [gr.Button(words, elem_classes="lab-main") for words in ("Left is better", "Right is better")]
        votes += [gr.Button(words, elem_classes="lab-side") for words in ("No difference", "Show without a vote")]
    verdict = gr.HTML("", **plain("hide-empty"))
    status = gr.HTML(panel.status(""), **plain())

    asked = [query, *fields, *setups]
    outputs = [go, stop, found, pair, verdict, ballot, status]
    begun = gr.on([go.click, query.submit], tab.begin, asked, [ticket, alert, *outputs], queue=False, trigger_mode="multiple", **QUIET)
    ran = begun.then(tab.run, [ticket, counts], [alert, *outputs], concurrency_id="model", concurrency_limit=1, trigger_mode="multiple", **QUIET)
    ran.failure(tab.turned_away, None, [alert, go, stop], queue=False, **QUIET)
    stop.click(tab.stop, None, [alert, *outputs], queue=False, **QUIET)
    for button, name in zip(presets, PRESETS, strict=True):
        button.click(lambda name=name: _values(PRESETS[name]), None, setups, queue=False, **QUIET)
    for button, name in zip(votes, comparison.VOTES, strict=True):
        answer = gr.State(name)
        button.click(tab.vote, [answer, found, counts], [found, counts, pair, verdict, ballot, status], queue=False, **QUIET)
    return fields[0]


def _fields(resources: Resources) -> tuple[list[Any], list[Any]]:
    models = [(f"{name} · needs a GPU and the hub" if needs_gpu(name) else name, name) for name in resources.models]
    with gr.Row(elem_classes="dear-fields lab-setups lab-pair"):
        setups = [*_setup("First", START[0]), *_setup("Second", START[1])]
    with gr.Accordion("Corpus, candidates, model, blind vote", open=False, elem_classes="dear-settings"), gr.Row(elem_classes="dear-fields"):
        fields = [
            choice("Corpus", "What is searched", [(short_name(name), name) for name in resources.corpora], resources.corpora[0]),
            slider("Candidates", "How many both of them rank", comparison.CANDIDATES),
            choice("Model", "dear-nano comes with the page", models, resources.models[0]),
            gr.Checkbox(True, label="Blind vote", info="Hide which is which until you have voted"),
        ]
    return fields, setups


def _setup(name: str, usual: Setup) -> list[Any]:
    return [
        choice(f"{name} · method", "What ranks", [(label, key) for key, label in METHODS.items()], usual.method),
        choice(f"{name} · listwise precision", "How the weights are kept", [(label, key) for key, label in PRECISIONS.items()], usual.precision),
        choice(f"{name} · input order", "How the candidates go in", [(label, key) for key, label in ORDERS.items()], usual.order),
    ]


def _values(pair: tuple[Setup, Setup]) -> list[str]:
    return [value for setup in pair for value in (setup.method, setup.precision, setup.order)]


def _ballot(found: Comparison | None) -> Any:
    return gr.Row(visible=found is not None and found.vote is None)

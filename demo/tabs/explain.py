"""The Explain tab: one query, three stages, side by side, as they happen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from dear.errors import BadInput, DearError
from dear.explain import decisive
from dear.logs import places
from dear.types import Hit
from demo import limits, render
from demo.cards import cards
from demo.handlers import View, failed, halted, reduce_all, stopped
from demo.kept_runs import KeptRuns
from demo.limits import RETRIEVERS, Request, check
from demo.recordings import Recording, recordings
from demo.render import Panels, panels
from demo.resources import Resources, needs_gpu, short_name
from demo.sentences import chosen, leave_out, noted
from demo.session import STOPPED, Ticket, Tickets, candidates, explain
from demo.tabs import sharing
from demo.tabs.widgets import QUIET, choice, plain, query_field, run_buttons, session_of, slider
from demo.uploads import MINE, Uploads

logger = logging.getLogger(__name__)

EXAMPLES = 4
PICKED = "() => [window.dearSentences ?? null]"  # the card whose button was pressed
BUSY = "Too many people are waiting for the model. The candidates are here; press Rank again in a minute for the rest."
BUSY_EMPTY = "Too many people are waiting for the model. Press Rank again in a minute."
BUSY_ASKED = "Too many people are waiting for the model. Ask which sentence matters again in a minute."


@dataclass
class ExplainTab:
    """Handlers of the tab. They hold nothing of a visitor but the ticket of the run under way and, for its exports, that run's events."""

    resources: Resources
    tickets: Tickets
    uploads: Uploads
    kept: KeptRuns

    # Gradio finds the request by its annotation among the plain parameters, so these are spelled out.
    def begin(
        self, query: Any, corpus: Any, retriever: Any, k: Any, depth: Any, window: Any, stride: Any, model: Any, reasoning: Any, request: gr.Request
    ) -> tuple[Any, ...]:
        """Check the question and show its candidates; returns the ticket for `run`, or None with what is wrong."""
        values = (query, corpus, retriever, k, depth, window, stride, model, reasoning)
        try:
            asked = self.uploads.scoped(self._check(values), session_of(request))
        except DearError as error:  # a run that waits for its turn has its ticket still
            waits = self.tickets.waits(session_of(request))
            given = gr.skip() if waits else None
            return (given, render.alert(str(error)), *run_buttons(running=waits), *[gr.skip()] * len(Panels.__slots__))
        ticket = self.tickets.open(session_of(request), values)
        self.kept.keep(session_of(request), ticket.events)
        try:
            view = candidates(self.resources, asked)
        except Exception as error:
            logger.warning("candidates failed: %s", places(error))
            view = failed(View(query=asked.query), "retrieval", "Retrieval broke off. The server goes on: try again, or choose another retriever.")
        return (ticket.id, "", *run_buttons(running=True), *panels(view).values())

    def run(self, ticket_id: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """The run that `begin` gave the ticket for, as panels; only what changed is sent."""
        ticket = self.tickets.take(session_of(request), ticket_id)
        if ticket is None:
            yield (gr.skip(),) * (4 + len(Panels.__slots__))  # what was wrong is said, or a newer question has the page
            return
        shown: tuple[str, ...] = ()
        model = ticket.asked[7]
        model_used = model if model in self.resources.models else None
        try:
            with closing(self._views(ticket, request)) as views:
                for view in views:
                    if not self.tickets.current(session_of(request), ticket):
                        return  # a newer question has the page
                    about = (render.header(self.resources.chips(model_used)), render.engines(self.resources.engines(model_used)))
                    new = (*about, *panels(view).values())
                    changed = _changed(new, shown)
                    yield (*changed[:2], *run_buttons(running=view.busy), *changed[2:])
                    shown = new
        finally:
            ticket.end()
            ticket.asked, ticket.events = (), []  # the kept run has what is kept, for as long as it is

    def turned_away(
        self, query: Any, corpus: Any, retriever: Any, k: Any, depth: Any, window: Any, stride: Any, model: Any, reasoning: Any, request: gr.Request
    ) -> tuple[Any, ...]:
        """The queue had no place for `run`: say so, and show the candidates as all there is, for nobody waits for the model here."""
        self.tickets.stop(session_of(request))  # nor is it to be run in the place of an earlier question
        try:
            asked = self.uploads.scoped(self._check((query, corpus, retriever, k, depth, window, stride, model, reasoning)), session_of(request))
        except DearError as error:  # it would not have run, however short the queue
            return (render.alert(str(error)), *run_buttons(running=False), *[gr.skip()] * len(Panels.__slots__))
        view = self._halted(asked)
        return (render.alert(BUSY if view.hits else BUSY_EMPTY), *run_buttons(running=False), *panels(view).values())

    def stop(self, request: gr.Request) -> tuple[Any, ...]:
        """End the visitor's run. The run itself shows what is left of it; one that waited for its turn is shown here, as its candidates."""
        ticket = self.tickets.stop(session_of(request))
        if ticket is None or not ticket.asked:
            return (gr.skip(),) * (3 + len(Panels.__slots__))
        try:
            view = self._halted(self.uploads.scoped(self._check(ticket.asked), session_of(request)))
        except DearError as error:
            return (render.alert(str(error)), *run_buttons(running=False), *[gr.skip()] * len(Panels.__slots__))
        return ("", *run_buttons(running=False), *panels(stopped(view, STOPPED)).values())

    def _halted(self, asked: Request) -> View:
        """The candidates as all there is: nothing waits or goes on."""
        try:
            return halted(candidates(self.resources, asked))
        except Exception as error:
            logger.warning("candidates failed: %s", places(error))
            return halted(View(query=asked.query))

    def leave(self, request: gr.Request) -> None:
        """The page was closed: end its run and forget it."""
        self.tickets.drop(session_of(request))

    def sentences(self, number: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Leave each sentence of one passage of the visitor's last run out in turn; the cards again, with what that showed."""
        try:
            view = reduce_all(self.kept.events(session_of(request)))
            hit = chosen(view, number)
        except BadInput as error:
            yield (gr.skip(), render.alert(str(error)), *run_buttons(running=False))
            return
        ticket, words, found = self.tickets.open(session_of(request), begun=True), "", gr.skip()
        yield (gr.skip(), render.wait("Each sentence is left out in turn."), *run_buttons(running=True))
        try:
            with closing(leave_out(self.resources, view, hit, ticket)) as items:
                for item in items:
                    if not self.tickets.current(session_of(request), ticket):
                        return  # a newer question has the page
                    if isinstance(item, View):
                        found = cards(item)
                        self._note(item, hit, session_of(request), ticket)
                    else:
                        yield (gr.skip(), render.wait(item.words), *run_buttons(running=True))
        except DearError as error:
            words = str(error)
        except Exception as error:
            logger.warning("leaving sentences out failed: %s", places(error))
            words = "This broke off. The server goes on: try again."
        finally:
            ticket.end()
        if self.tickets.current(session_of(request), ticket):
            yield (found, render.alert(words), *run_buttons(running=False))

    def _note(self, view: View, hit: Hit, session: str, ticket: Ticket) -> None:
        """Let the kept run know the sentence, for its exports and for the next card that is asked; a newer run is left alone."""
        top = decisive(hit.passage, view.left_out[hit.id])
        if top and not ticket.stop.is_set():
            self.kept.keep(session, noted(self.kept.events(session), top))

    def tick(self, corpus: Any, model: Any) -> tuple[Any, ...]:
        """What is loading, until all is there; the examples are the chosen corpus', the chips the chosen model's where it was asked for."""
        parts = self.resources.parts()
        over = all(part.state in ("ready", "failed") for part in parts)
        known = corpus not in self.resources.corpora or self.resources.part(f"corpus:{corpus}").state == "ready"
        examples = self.examples(corpus) if known else [gr.skip()] * EXAMPLES
        asked_for = model in self.resources.models and self.resources.part(f"generator:{model}").state != "waiting"
        running = model if asked_for else None
        return (
            render.header(self.resources.chips(running)),
            render.engines(self.resources.engines(running)),
            render.loading((part.title, part.state, part.detail) for part in parts),
            gr.Timer(active=not over),
            *examples,
        )

    def examples(self, corpus: Any) -> list[Any]:
        """The corpus' own first queries, one a topic, as buttons."""
        try:
            queries = self.resources.get(f"corpus:{corpus}").queries
        except DearError:
            queries = ()
        topics: dict[str, str] = {}
        for query in queries:
            if len(query.text.split()) >= 4 or query.topic not in topics:
                topics[query.topic or query.id] = query.text
        texts = [text for text in topics.values() if 4 <= len(text.split()) <= 8 and len(text) <= 45] or list(topics.values())
        step = max(1, len(texts) // EXAMPLES)
        chosen = texts[::step][:EXAMPLES]
        return [gr.Button(value=text, visible=True) for text in chosen] + [gr.Button(visible=False)] * (EXAMPLES - len(chosen))

    def summary(self, *values: Any) -> Any:
        """The accordion's label: the settings in one line, or what is wrong with them."""
        try:
            return gr.Accordion(label=_label(self._check(("settings", *values))))
        except BadInput as error:
            return gr.Accordion(label=f"Settings: {error}")

    def link(self, request: gr.Request) -> tuple[Any, ...]:
        """Settings and query from the address: `?q=…&corpus=…&retriever=…&k=…&model=…&reasoning=off`."""
        given = dict(request.query_params)
        asked, wrong = self._from_address(given)
        order = ("q", "corpus", "retriever", "k", "depth", "window", "stride", "model", "reasoning")
        fields = {"q": "query", "k": "candidates"}
        # A value the link does not give is left alone: the visitor may have begun to type before this answer came.
        values = [getattr(asked, fields.get(name, name)) if name in given else gr.skip() for name in order]
        # So are the line of settings and what was said of a query: both may be the visitor's own by now.
        label = gr.Accordion(label=_label(asked)) if any(name in given for name in order[1:]) else gr.skip()
        return (*values, label, render.alert(wrong) if wrong else gr.skip(), *self.tick(asked.corpus, asked.model))

    def _from_address(self, given: dict[str, str]) -> tuple[Request, str]:
        usual = Request("", self.resources.corpora[0], model=self.resources.models[0])
        fields = {
            "corpus": ("corpus", self.resources.corpora),
            "retriever": ("retriever", RETRIEVERS),
            "model": ("model", self.resources.models),
            "k": ("candidates", limits.CANDIDATES),
            "depth": ("depth", limits.DEPTH),
            "window": ("window", limits.WINDOW),
            "stride": ("stride", limits.STRIDE),
        }
        asked, wrong = usual, ""
        for name, (attribute, allowed) in fields.items():
            if name not in given:
                continue
            try:
                value: Any = given[name]
                if isinstance(allowed, tuple) and isinstance(allowed[0], int):
                    value = limits.check_number(attribute, int(value) if value.lstrip("-").isdecimal() and len(value) < 9 else value, allowed)
                else:
                    value = limits.check_name(attribute, value, allowed)
                asked = replace(asked, **{attribute: value})
            except BadInput as error:
                wrong = wrong or f"The link asks for something this page cannot do: {error}. The usual value is used instead."
        query = given.get("q", "")[: 10 * limits.MAX_QUERY_CHARS]
        return replace(asked, query=query, reasoning=given.get("reasoning", "on") != "off"), wrong

    def _views(self, ticket: Ticket, request: gr.Request) -> Iterator[View]:
        try:
            asked = self.uploads.scoped(self._check(ticket.asked), session_of(request))
            yield from explain(self.resources, asked, ticket)
        except DearError as error:
            yield failed(View(), "run", str(error))
        except Exception as error:
            logger.warning("a run failed: %s", places(error))
            yield failed(View(), "run", "The run broke off. The server goes on: try again, or choose another model.")

    def _check(self, values: tuple[Any, ...]) -> Request:
        return check(*values, corpora=(*self.resources.corpora, MINE), models=self.resources.models)


def build(resources: Resources, uploads: Uploads, demo: gr.Blocks, header: gr.HTML) -> gr.Dropdown:
    """Add the tab's components and events to the open Blocks and return the choice of corpus; `header` says what is running."""
    example = next(iter(recordings()), None)
    shared = sharing.Sharing(example.events if example else ())
    tab = ExplainTab(resources, Tickets(), uploads, shared.kept)
    demo.unload(tab.leave)
    with gr.Row(elem_classes="dear-ask"):
        query = gr.Textbox(
            example.query if example else "",
            label="Query",
            placeholder="Ask a question…",
            max_lines=1,
            elem_classes="dear-query",
            container=False,
            **query_field(),
        )
        go = gr.Button("Rank", elem_classes="dear-go", min_width=104, scale=0)
        stop = gr.Button("Stop", elem_classes="dear-stop", min_width=104, scale=0, visible=False)
    alert = gr.HTML("", **plain("hide-empty"))
    with gr.Row(elem_classes="dear-examples"):
        examples = [gr.Button("", elem_classes="dear-example", visible=False, size="sm", min_width=0, scale=0) for _ in range(EXAMPLES)]
    settings, accordion, why = _settings(resources)
    loading = gr.HTML(render.loading((p.title, p.state, p.detail) for p in resources.parts()), **plain("hide-empty"))
    outputs = _columns(_first(example))
    timer = gr.Timer(1.0)
    ticket = gr.State(None)
    number, which = gr.Number(visible="hidden"), gr.Button("Which sentence matters?", elem_id="dear-sentences", visible="hidden")

    asked = [query, *settings]
    sharing.build(shared, asked, demo)
    begin_out = [ticket, alert, go, stop, *outputs]
    run_out = [header, why, go, stop, *outputs]

    def chain(event: Any) -> None:
        """candidates at once, then the address, then the run in its turn."""
        begun = event(tab.begin, asked, begin_out, queue=False, trigger_mode="multiple", **QUIET)
        begun.then(None, asked, None, js=sharing.ADDRESS, **QUIET)
        ran = begun.then(tab.run, ticket, run_out, concurrency_id="model", concurrency_limit=1, trigger_mode="multiple", **QUIET)
        ran.failure(tab.turned_away, asked, begin_out[1:], queue=False, **QUIET)

    chain(lambda *args, **kwargs: gr.on([go.click, query.submit], *args, **kwargs))
    for button in examples:
        picked = button.click(lambda text: text, button, query, queue=False, **QUIET)
        chain(picked.then)
    asking = which.click(
        tab.sentences, number, [outputs[2], alert, go, stop], js=PICKED, concurrency_id="model", concurrency_limit=1, trigger_mode="multiple", **QUIET
    )
    asking.failure(lambda: (render.alert(BUSY_ASKED), *run_buttons(running=False)), None, [alert, go, stop], queue=False, **QUIET)
    stop.click(tab.stop, None, begin_out[1:], queue=False, **QUIET)
    timer.tick(tab.tick, [settings[0], settings[6]], [header, why, loading, timer, *examples], queue=False, **QUIET)
    # `input`, not `change`: a link changes several settings at once and writes the label itself.
    gr.on([field.input for field in settings], tab.summary, settings, accordion, queue=False, trigger_mode="always_last", **QUIET)
    settings[0].change(tab.examples, settings[0], examples, queue=False, **QUIET)
    settings[0].change(tab.summary, settings, accordion, queue=False, **QUIET)  # an upload sets it too
    linked = demo.load(tab.link, None, [*asked, accordion, alert, header, why, loading, timer, *examples], queue=False, **QUIET)
    linked.then(None, [query, alert], None, js=sharing.RUN_LINKED, **QUIET)
    return settings[0]


def _settings(resources: Resources) -> tuple[list[Any], gr.Accordion, gr.HTML]:
    usual = Request("", resources.corpora[0], model=resources.models[0])
    models = [(f"{name} · needs a GPU and the hub" if needs_gpu(name) else name, name) for name in resources.models]
    with gr.Accordion(_label(usual), open=False, elem_classes="dear-settings") as accordion, gr.Row(elem_classes="dear-fields"):
        fields = [
            choice("Corpus", "What is searched", [(short_name(name), name) for name in resources.corpora], usual.corpus),
            choice("Retriever", "How candidates are found", [(label, kind) for kind, label in RETRIEVERS.items()], usual.retriever),
            slider("Candidates", "How many are retrieved and scored one by one", limits.CANDIDATES),
            slider("Listwise depth", "How many of the best are read side by side", limits.DEPTH),
            slider("Window", "How many the model reads at once", limits.WINDOW),
            slider("Stride", "How far the window moves towards the top", limits.STRIDE),
            choice("Model", "dear-nano comes with the page", models, usual.model),
            gr.Checkbox(True, label="Reasoning", info="Off is the fast mode: identifiers ordered by their logits, nothing written"),
        ]
    with accordion:
        why = gr.HTML(render.engines(resources.engines()), **plain("hide-empty"))
    return fields, accordion, why


def _label(asked: Request) -> str:
    return f"Settings: {asked.summary(short_name(asked.corpus))}"


def _first(example: Recording | None) -> View:
    """What a visitor sees first: a finished run from earlier, shown as a live one is; an empty page without it."""
    return replace(reduce_all(example.events), recorded=True) if example else View()


def _columns(view: View) -> list[gr.HTML]:
    """The panels of a view, in the order of `Panels`."""
    first = panels(view)
    rail, notes = gr.HTML(first.rail, **plain("hide-empty")), gr.HTML(first.notes, **plain("hide-empty"))
    with gr.Row(elem_classes="dear-columns"):
        with gr.Column(elem_classes="dear-column", elem_id="dear-candidates", min_width=320):
            cards = gr.HTML(first.cards, **plain())
        with gr.Column(elem_classes="dear-column dear-follow", elem_id="dear-moved", min_width=320):
            graph = gr.HTML(first.graph, **plain())
        with gr.Column(elem_classes="dear-column dear-follow", elem_id="dear-reasoning", min_width=320):
            progress, live = gr.HTML(first.progress, **plain()), gr.HTML(first.live, **plain("hide-empty"))
            written = gr.HTML(first.written, **plain("hide-empty"))
    report = gr.HTML(first.report, **plain("hide-empty"))
    status = gr.HTML(first.status, **plain())
    return [rail, notes, cards, graph, progress, live, written, report, status]


def _changed(new: tuple[str, ...], old: tuple[str, ...]) -> tuple[Any, ...]:
    if len(new) != len(old):
        return new
    return tuple(value if value != before else gr.skip() for value, before in zip(new, old, strict=True))

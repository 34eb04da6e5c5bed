"""The Learn tab: a walk through one query, from one's own guess over every stage to a worksheet."""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from dear.errors import BadInput, DearError
from dear.logs import places
from dear.types import check_query
from dear.windows import schedule
from demo import limits, render
from demo.learning import bench, pages, work
from demo.learning import walk as steps
from demo.learning import worksheet as sheet
from demo.learning.lessons import CORPUS, lesson
from demo.learning.walk import STEPS, Made, Try, Walk
from demo.pump import Stopped, Waiting
from demo.resources import NotReady, Resources, short_name
from demo.session import STOPPED, Ticket, Tickets
from demo.tabs import learn_fields
from demo.tabs.widgets import QUIET, kept, run_buttons, session_of
from demo.uploads import MINE, Uploads

logger = logging.getLogger(__name__)

BUSY = "Too many people are waiting for the model. Try again in a minute"
GONE = "This walk was kept for half an hour and is gone. Press Begin to walk again"
BROKEN = "This broke off. The server goes on: try again"
LEAST = 4  # passages a walk needs
MAX_FILES = 50
CARDED = "() => [window.dearLesson ?? null]"  # the lesson whose card was pressed
TO_TOP = "() => { document.querySelector('.walk-bar')?.scrollIntoView({ block: 'nearest' }); }"
SHOWN = 2 + learn_fields.GROUPS + 1  # bar, page, groups, worksheet


@dataclass
class LearnTab:
    """Handlers of the tab. The walk, the guess and what was tried lie in the visitor's own state on the server."""

    resources: Resources
    uploads: Uploads
    tickets: Tickets
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="dear-worksheet-")))

    def pick(self, chosen: Any) -> tuple[Any, ...]:
        """A lesson was chosen: its query; or the field is opened, and what stands in it stays, since the visitor may be typing already."""
        try:
            found = lesson(chosen)
            if found:
                return (gr.Textbox(value=self._query_of(found.query), interactive=False), "")
        except DearError as error:
            return (gr.skip(), render.alert(str(error)))
        return (gr.Textbox(interactive=True, placeholder="Ask a question…"), "")

    def take(self, chosen: Any) -> Any:
        """The card of a lesson was pressed: choose that lesson; what is no lesson changes nothing."""
        try:
            return chosen if lesson(chosen) else gr.skip()
        except BadInput:
            return gr.skip()

    def begin(self, chosen: Any, query: Any, corpus: Any, request: gr.Request) -> tuple[Any, ...]:
        """Find the candidates of a lesson or of one's own query and open the first step; returns the ticket for `rank`."""
        try:
            walk = self._begin(chosen, query, corpus, session_of(request))
        except DearError as error:  # a walk whose ranking waits for its turn has its ticket still
            waits = self.tickets.waits(session_of(request))
            said = (render.alert(str(error)), *run_buttons(running=waits))
            return (gr.skip() if waits else None, *[gr.skip()] * 6, *said, *[gr.skip()] * (SHOWN + learn_fields.PASSAGES + 1))
        ticket, made = self.tickets.open(session_of(request)), Made(first=walk.ids)
        field = gr.Textbox(value=walk.query, interactive=not walk.lesson)
        opened = (walk, made, (), (), 0, pages.progress("The student ranks the passages while you read."), "")
        return (ticket.id, *opened, *run_buttons(running=True), *self._page(0, walk, made, (), ()), *learn_fields.choices(walk), field)

    def rank(self, ticket_id: Any, walk: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """While the visitor reads: let the student score and rank. Yields what is made, a line of progress, and the buttons."""
        ticket = self.tickets.take(session_of(request), ticket_id)
        if ticket is None or not isinstance(walk, Walk):
            yield (gr.skip(),) * 4
            return
        made = Made(first=walk.ids)
        for item in self._worked(work.rank(self.resources, walk, ticket), ticket):
            if not self.tickets.current(session_of(request), ticket):
                return  # a newer walk has the page
            if isinstance(item, Made):
                made = item
                words = _progress(made, len(walk.ids))
            elif isinstance(item, Waiting):
                words = item.words
            else:
                made, words = replace(made, problems=(*made.problems, item)), item
            yield (made, pages.progress(words), *run_buttons(running=True))
        if self.tickets.current(session_of(request), ticket):
            yield (made, pages.progress("" if made.listwise else made.problems[-1]), *run_buttons(running=False))

    def turned_away(self, made: Any, request: gr.Request) -> tuple[Any, ...]:
        """The queue had no place for `rank`: say so, also on the pages that would wait for the student."""
        self.tickets.stop(session_of(request))
        said = replace(made, problems=(*made.problems, BUSY)) if isinstance(made, Made) else gr.skip()
        return (said, render.alert(BUSY), "", *run_buttons(running=False))

    def stop(self, made: Any, request: gr.Request) -> tuple[Any, ...]:
        """End what the student does for this visitor. What runs shows its own end; what waited for its turn is ended here."""
        if self.tickets.stop(session_of(request)) is None:
            return (gr.skip(),) * 5
        said = replace(made, problems=(*made.problems, STOPPED)) if isinstance(made, Made) else gr.skip()
        return (said, "", pages.progress(STOPPED), *run_buttons(running=False))

    # The losses' four sliders come last wherever a step may be theirs.
    def go(
        self, by: Any, step: Any, walk: Any, made: Any, guess: Any, tries: Any, letter: Any, shift: Any, temperature: Any, alpha: Any
    ) -> tuple[Any, ...]:
        """One step on or back."""
        if not isinstance(walk, Walk) or not isinstance(made, Made):
            return (*(gr.skip(),) * 5, render.alert(GONE), *(gr.skip(),) * SHOWN)
        at = min(max(int(step or 0) + (by if by in (-1, 1) else 0), 0), len(STEPS) - 1)
        # Written again, what a walk is made of is kept for another half hour; what the student may still be writing it keeps itself.
        still = made if made.listwise or made.problems else gr.skip()
        return (at, walk, still, guess, tries, "", *self._page(at, walk, made, guess or (), tries or (), (letter, shift, temperature, alpha)))

    def draw(self, step: Any, walk: Any, made: Any, guess: Any, tries: Any, letter: Any, shift: Any, temperature: Any, alpha: Any) -> tuple[Any, ...]:
        """The step again, after the student came further; nothing while the visitor reads a page that does not show it."""
        if not isinstance(walk, Walk) or not isinstance(made, Made) or (step or 0) < 2:
            return (gr.skip(),) * SHOWN
        return self._page(step, walk, made, guess, tries, (letter, shift, temperature, alpha))

    def guess(self, first: Any, second: Any, third: Any, walk: Any, made: Any, tries: Any) -> tuple[Any, ...]:
        """Take the guess and open the next step."""
        if not isinstance(walk, Walk) or not isinstance(made, Made):
            return (gr.skip(), gr.skip(), render.alert(GONE), *[gr.skip()] * SHOWN)
        try:
            guess = steps.guessed(walk, (first, second, third))
        except BadInput as error:
            return (gr.skip(), gr.skip(), render.alert(str(error)), *[gr.skip()] * SHOWN)
        return (guess, 1, "", *self._page(1, walk, made, guess, tries))

    def turn(self, letter: Any, shift: Any, temperature: Any, alpha: Any, walk: Any, made: Any, guess: Any) -> tuple[Any, str]:
        """A slider of the losses moved."""
        if not isinstance(walk, Walk):
            return gr.skip(), ""
        try:
            at = bench.knobs(letter, shift, temperature, alpha)
            return bench.loss_page(walk, guess, made, at), ""
        except BadInput as error:
            return gr.skip(), render.alert(str(error))

    def text_of(self, letter: Any, walk: Any) -> Any:
        """The text of the passage chosen, to be edited."""
        try:
            return walk.passage(walk.named(letter)).text if isinstance(walk, Walk) else gr.skip()
        except BadInput:
            return gr.skip()

    def edit(self, letter: Any, text: Any, walk: Any, tries: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Score a changed text."""
        yield from self._try(letter, walk, tries, request, lambda id, ticket: work.edit(self.resources, walk, id, text, ticket))

    def leave_out(self, letter: Any, walk: Any, tries: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Leave every sentence out in turn."""
        yield from self._try(letter, walk, tries, request, lambda id, ticket: work.leave_out(self.resources, walk, id, ticket))

    def plant(self, letter: Any, sentence: Any, walk: Any, made: Any, tries: Any, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Plant an order in a passage and rank again."""
        yield from self._try(letter, walk, tries, request, lambda id, ticket: work.plant(self.resources, walk, made, id, sentence, ticket))

    def _try(self, letter: Any, walk: Any, tries: Any, request: gr.Request, run: Callable[[str, Ticket], Iterator[Any]]) -> Iterator[tuple[Any, ...]]:
        """One experiment: what was tried so far with its result, a message, and the buttons."""
        if not isinstance(walk, Walk):
            yield (gr.skip(), render.alert(GONE), *run_buttons(running=False))
            return
        ticket, message = self.tickets.open(session_of(request), begun=True), ""
        try:
            stream = run(walk.named(letter), ticket)
        except BadInput as error:
            yield (gr.skip(), render.alert(str(error)), *run_buttons(running=False))
            return
        yield (gr.skip(), "", *run_buttons(running=True))
        for item in self._worked(stream, ticket):
            if not self.tickets.current(session_of(request), ticket):
                return  # a newer walk has the page
            if isinstance(item, Waiting):
                yield (gr.skip(), pages.progress(item.words), *run_buttons(running=True))
            elif isinstance(item, str):
                message = render.alert(item)
            else:
                tries = (*tries, item)[-steps.MAX_TRIES :]
        if self.tickets.current(session_of(request), ticket):
            yield (tries, message, *run_buttons(running=False))

    def _worked(self, stream: Iterator[Any], ticket: Ticket) -> Iterator[Any]:
        """The stream's items; an error ends it as a string that says what happened."""
        try:
            with closing(stream):  # type: ignore[type-var]
                yield from stream
        except Stopped as error:
            yield f"{error} What was there before stays."
        except DearError as error:
            yield str(error)
        except Exception as error:
            logger.warning("a lesson's run failed: %s", places(error))
            yield BROKEN
        finally:
            ticket.end()

    def _begin(self, chosen: Any, query: Any, corpus: Any, session: str) -> Walk:
        found = lesson(chosen)
        if found:
            query, corpus = self._query_of(found.query), CORPUS
        if not isinstance(query, str):
            raise BadInput("the query is not text: type a question")
        query = check_query(query)
        name = self.uploads.corpus_name(session, limits.check_name("corpus", corpus, (*self.resources.corpora, MINE)))
        hits = self._ready(f"retriever:{name}:bm25").search(query, steps.CANDIDATES)
        if len(hits) < LEAST:
            raise BadInput(f"{len(hits)} passages were found for this query, a walk needs {LEAST}: try other words")
        judgments = self._ready(f"corpus:{name}").judgments(query)
        return steps.begin(query, name, self.resources.models[0], hits, judgments, found.id if found else "")

    def _query_of(self, query_id: str) -> str:
        if CORPUS not in self.resources.corpora:
            raise BadInput("the lessons need the teaching corpus, which is not served here: choose a query of your own")
        return next(query.text for query in self._ready(f"corpus:{CORPUS}").queries if query.id == query_id)

    def _ready(self, key: str) -> Any:
        try:
            return self.resources.get(key)
        except NotReady as error:
            self.resources.want(key)
            raise BadInput(f"{error}: try again in a moment") from error

    def _page(self, step: int, walk: Walk, made: Made, guess: tuple[str, ...], tries: tuple[Try, ...], knobs: Any = None) -> tuple[Any, ...]:
        """The bar with what to do, the step's page, which controls are shown, and at the end the worksheet to take along."""
        found = lesson(walk.lesson)
        draw: tuple[Callable[[], str], ...] = (
            lambda: pages.guess_page(walk),
            lambda: pages.words_page(walk, guess),
            lambda: pages.pointwise_page(walk, guess, made),
            lambda: pages.windows_page(walk, made),
            lambda: bench.loss_page(walk, guess, made, _knobs(knobs)),
            lambda: bench.change_page(walk, made, tries),
            lambda: bench.plant_page(walk, made, tries),
            lambda: sheet.page(found, sheet.worksheet(walk, found, guess, made, tries)),
        )
        last = step == len(STEPS) - 1
        saved = gr.DownloadButton(value=self._save(sheet.worksheet(walk, found, guess, made, tries))) if last else gr.skip()
        top = pages.bar(step) + pages.head(step, walk, found)
        return (top, draw[step](), *learn_fields.shown(step, ready=bool(made.pointwise), ranked=bool(made.listwise)), saved)

    def _save(self, text: str) -> str:
        """Write the worksheet under a name of the server's own; the oldest make room."""
        self.folder.mkdir(exist_ok=True)
        for old in sorted(self.folder.glob("*.md"), key=lambda path: path.stat().st_mtime)[: -MAX_FILES + 1 or None]:
            old.unlink(missing_ok=True)
        path = self.folder / f"worksheet-{secrets.token_hex(6)}.md"
        path.write_text(text, encoding="utf-8")
        return str(path)


def build(resources: Resources, uploads: Uploads) -> gr.Dropdown:
    """Add the tab's components and events to the open Blocks and return its choice of corpus."""
    tab = LearnTab(resources, uploads, Tickets())
    f = learn_fields.add([(short_name(name), name) for name in resources.corpora])
    ticket, walk, made, guess, tries, step = (kept(value) for value in (None, None, None, (), (), 0))
    shown = [f.bar, f.page, *f.groups, f.save]
    model = {"concurrency_id": "model", "concurrency_limit": 1, "trigger_mode": "multiple", **QUIET}
    quick = {"queue": False, **QUIET}
    again = [step, walk, made, guess, tries, *f.knobs]

    f.lesson.input(tab.pick, f.lesson, [f.query, f.alert], **quick)
    opened = [ticket, walk, made, guess, tries, step, f.progress, f.alert, f.start, f.stop, *shown, *f.passages, f.query]
    carded = f.card.click(tab.take, f.carded, f.lesson, js=CARDED, **quick)
    pressed = gr.on([f.start.click, f.query.submit], tab.begin, [f.lesson, f.query, f.corpus], opened, **quick)
    taken = carded.then(tab.begin, [f.lesson, f.query, f.corpus], opened, **quick)
    taken.then(None, None, None, js=TO_TOP, **QUIET)
    for begun in (pressed, taken):
        ran = begun.then(tab.rank, [ticket, walk], [made, f.progress, f.start, f.stop], **model)
        ran.then(tab.draw, again, shown, **quick)
        turned = ran.failure(tab.turned_away, made, [made, f.alert, f.progress, f.start, f.stop], **quick)
        turned.then(tab.draw, again, shown, **quick)
    f.progress.change(tab.draw, again, shown, trigger_mode="always_last", **quick)
    ended = f.stop.click(tab.stop, made, [made, f.alert, f.progress, f.start, f.stop], **quick)
    ended.then(tab.draw, again, shown, **quick)
    for button, by in ((f.back, -1), (f.next, 1)):
        gone = button.click(tab.go, [gr.State(by), *again], [step, walk, made, guess, tries, f.alert, *shown], **quick)
        gone.then(None, None, None, js=TO_TOP, **QUIET)
        gone.then(tab.draw, again, shown, **quick)  # a drawing of the step before may have been answered after this
    told = f.guess.click(tab.guess, [*f.guesses, walk, made, tries], [guess, step, f.alert, *shown], **quick)
    told.then(None, None, None, js=TO_TOP, **QUIET)
    told.then(tab.draw, again, shown, **quick)
    # `input`, not `change`: a new walk sets the passage too.
    gr.on([knob.input for knob in f.knobs], tab.turn, [*f.knobs, walk, made, guess], [f.page, f.alert], trigger_mode="always_last", **quick)
    f.edited.change(tab.text_of, [f.edited, walk], f.text, **quick)
    for button, handler, given in (
        (f.score, tab.edit, [f.edited, f.text, walk, tries]),
        (f.leave, tab.leave_out, [f.edited, walk, tries]),
        (f.plant, tab.plant, [f.planted, f.sentence, walk, made, tries]),
    ):
        tried = button.click(handler, given, [tries, f.alert, f.start, f.stop], **model)
        tried.then(tab.draw, again, shown, **quick)
        tried.failure(lambda: (render.alert(BUSY), *run_buttons(running=False)), None, [f.alert, f.start, f.stop], **quick)
    return f.corpus


def _knobs(values: Any) -> bench.Knobs:
    """The sliders as they stand; as they begin when nobody touched them or they make no sense."""
    try:
        return bench.knobs(*values) if values else bench.Knobs()
    except BadInput:
        return bench.Knobs()


def _progress(made: Made, total: int) -> str:
    if made.listwise:
        return "The teacher scores the passages, for step 5."
    if made.shots:
        return f"The student reads window {len(made.shots)} of {len(schedule(total, steps.WINDOW, steps.STRIDE))}."
    return f"The student has scored {len(made.scores)} of {total} passages."

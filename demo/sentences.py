"""Which sentence of a ranked passage matters: each is left out in turn and the pointwise student scores what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dear import events as ev
from dear.errors import BadInput
from dear.explain import Occlusion, occlude
from dear.types import Evidence, Hit
from demo import zerogpu
from demo.handlers import View
from demo.pump import Waiting, worked
from demo.resources import Resources
from demo.session import Ticket


def chosen(view: View, number: object) -> Hit:
    """The hit called D`number` in a run that is over; raises `BadInput` where there is none."""
    if not view.final:
        raise BadInput("there is no finished run to look into: press Rank first, and wait for its end (a run is kept for 30 minutes)")
    if isinstance(number, bool) or not isinstance(number, int | float) or number not in range(1, len(view.order) + 1):
        raise BadInput(f"the run has no such passage: choose one of D1 to D{len(view.order)}")
    return next(hit for hit in view.hits if view.number(hit.id) == number)


def leave_out(resources: Resources, view: View, hit: Hit, ticket: Ticket) -> Iterator[View | Waiting]:
    """What is waited for, then the view that knows what each sentence of the hit is worth; raises `Stopped` once the ticket is ended."""
    model = view.config.get("model", "")
    if model not in resources.models:
        raise BadInput("the model of this run is not served here: press Rank again")

    def make() -> Iterator[tuple[Occlusion, ...]]:
        scorer = resources.get(f"scorer:{model}")
        if scorer is None:
            raise BadInput("this model has no pointwise stage: choose another model and press Rank")
        yield occlude(view.query, hit.passage, zerogpu.scorer(scorer, model))[1]

    for item in worked(resources, (f"scorer:{model}",), make, ticket):
        yield item if isinstance(item, Waiting) else replace(view, left_out={hit.id: item})


def noted(events: Sequence[ev.Event], found: Evidence) -> tuple[ev.Event, ...]:
    """The run with the sentence found among its result's evidence, in place of what was found in that passage before."""
    return tuple(ev.Final(tuple(_with(hit, found) for hit in event.hits)) if isinstance(event, ev.Final) else event for event in events)


def _with(hit: Hit, found: Evidence) -> Hit:
    if hit.id != found.passage_id:
        return hit
    return replace(hit, evidence=(*(e for e in hit.evidence if e.kind != found.kind), found))

"""The slopegraph and its table say the same, and say it without colour."""

from __future__ import annotations

import re

from demo_parts import QUERY, pipeline
from hypothesis import given
from hypothesis import strategies as st

from dear import events as ev
from dear.types import Hit, Passage
from demo.handlers import View, reduce_all, start
from demo.slopegraph import LEFT, NODE, RIGHT, slopegraph, table, tracks


def view_of(pointwise: list[int], listwise: list[int] | None = None) -> View:
    """A finished view: place in the list is the retrieval rank, the values are the later ranks."""
    hits = []
    for rank, later in enumerate(pointwise, 1):
        ranks = {"retrieval": rank, "pointwise": later}
        if listwise:
            ranks["listwise"] = listwise[rank - 1]
        hits.append(Hit(Passage(f"p{rank}", f"text {rank}", f"Title {rank}"), (listwise or pointwise)[rank - 1], ranks=ranks))
    hits.sort(key=lambda hit: hit.rank)
    order = tuple(f"p{rank}" for rank in range(1, len(pointwise) + 1))
    return View(phase="done", hits=tuple(hits), by="listwise" if listwise else "pointwise", order=order, final=True)


def test_labels_read_like_sentences():
    html = slopegraph(view_of([3, 1, 2], [3, 2, 1]))
    assert 'aria-label="D1: Retrieval rank 1, Pointwise rank 3, Listwise rank 3. Title 1"' in html
    assert 'tabindex="0"' in html
    assert "<desc" in html
    assert "D3 rose most, from 3 to 1." in html
    assert "D1 fell most, from 1 to 3." in html


def test_a_move_has_colour_dash_and_arrow():
    html = slopegraph(view_of([3, 2, 1]))
    assert html.count('class="seg up"') == html.count('marker-end="url(#head-up)"') == 1
    assert html.count('class="seg down"') == html.count('marker-end="url(#head-down)"') == 1
    assert html.count('class="seg same"') == 1


@given(st.integers(1, 50).flatmap(lambda n: st.tuples(st.permutations(range(1, n + 1)), st.permutations(range(1, n + 1)))))
def test_every_passage_has_one_line_and_one_row(orders):
    view = view_of(list(orders[0]), list(orders[1]))
    lines = tracks(view)
    assert sorted(line.number for line in lines) == list(range(1, len(view.hits) + 1))
    html = slopegraph(view)
    assert html.count('<g class="track') == len(lines)
    rows = re.findall(r'<tr data-d="(\d+)">', table(view, lines))
    assert [int(row) for row in rows] == [line.number for line in sorted(lines, key=lambda line: line.last)]


@given(st.integers(1, 50))
def test_nothing_is_drawn_outside(n):
    html = slopegraph(view_of(list(range(n, 0, -1))))
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)" role="group"', html).groups())
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)]
    assert all(LEFT <= x <= RIGHT and NODE <= y <= height - NODE for x, y in circles)
    assert width > RIGHT + NODE


def test_before_the_later_stages_only_the_first_axis_has_nodes(run_events):
    view = reduce_all(run_events[:2], start(QUERY))
    html = slopegraph(view)
    assert html.count("<circle") == len(view.hits)
    assert "seg" not in re.sub(r"<svg viewBox.*?</svg>", "", html)
    assert "later stages have not ranked them yet" in html
    assert 'class="axis listwise waiting"' in html


def test_an_unfinished_listwise_stage_shows_how_far_it_came():
    events = list(pipeline(depth=6, window=3, stride=2).run(QUERY))
    cut = next(i for i, e in enumerate(events) if isinstance(e, ev.WindowEnd)) + 1
    view = reduce_all(events[:cut], start(QUERY))
    assert all("listwise" in line.ranks for line in tracks(view))

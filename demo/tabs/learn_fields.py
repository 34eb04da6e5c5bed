"""The components of the Learn tab, and which of them each step shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.learning import bench, pages
from demo.learning.walk import MAX_PLANTED_CHARS, PLANTED, STEPS, Walk
from demo.markup import shorten
from demo.tabs.widgets import choice, plain, query_field
from demo.uploads import MAX_PASSAGE_CHARS

PASSAGES = 6  # choices of a passage: three of the guess, the losses', the changed one, the planted one
GROUPS = 8  # guess, losses, change, plant, worksheet, the row of back and next, back, next


@dataclass
class Fields:
    """Every component a handler reads or writes."""

    lesson: gr.Dropdown
    card: gr.Button  # hidden: pressed by the page when a lesson's card is
    carded: gr.Textbox  # which one
    corpus: gr.Dropdown
    query: gr.Textbox
    start: gr.Button
    stop: gr.Button
    alert: gr.HTML
    progress: gr.HTML
    bar: gr.HTML
    page: gr.HTML
    groups: list[Any]
    guesses: list[Any]
    guess: gr.Button
    knobs: list[Any]  # passage, shift, temperature, alpha
    edited: gr.Dropdown
    text: gr.Textbox
    score: gr.Button
    leave: gr.Button
    planted: gr.Dropdown
    sentence: gr.Textbox
    plant: gr.Button
    save: gr.DownloadButton
    back: gr.Button
    next: gr.Button

    @property
    def passages(self) -> list[Any]:
        """The choices of a passage."""
        return [*self.guesses, self.knobs[0], self.edited, self.planted]


def add(corpora: list[tuple[str, str]]) -> Fields:
    """Add the components to the open Blocks, in the order they are read."""
    lessons = pages.lesson_choices()
    with gr.Row(elem_classes="dear-fields lab-setups lab-lesson"):
        lesson = choice("Lesson", "One phenomenon each, or a query of your own", lessons, lessons[0][1])
        corpus = choice("Corpus", "Of a query of your own", corpora, corpora[0][1])
    card, carded = gr.Button("Begin this lesson", elem_id="dear-lesson", visible="hidden"), gr.Textbox(visible="hidden")
    with gr.Row(elem_classes="dear-ask"):
        query = gr.Textbox(label="Query", placeholder="The lesson’s query", max_lines=1, elem_classes="dear-query", container=False, **query_field())
        start = gr.Button("Begin", elem_classes="dear-go", min_width=104, scale=0)
        stop = gr.Button("Stop", elem_classes="dear-stop", min_width=104, scale=0, visible=False)
    alert, progress = gr.HTML("", **plain("hide-empty")), gr.HTML("", **plain("hide-empty"))
    bar = gr.HTML("", **plain("hide-empty"))
    losses, knobs = _losses()
    change, edited, text, score, leave = _change()
    planting, planted, sentence, plant = _plant()
    with gr.Row(visible=False, elem_classes="lab-buttons") as worksheet:
        save = gr.DownloadButton("Download the worksheet", elem_classes="lab-main")
    page = gr.HTML(pages.invitation(), **plain())
    guessing, guesses, guess = _guess()
    with gr.Row(visible=False, elem_classes="lab-buttons lab-walk") as moving:
        back, onward = gr.Button("Back", elem_classes="lab-side"), gr.Button("Next step", elem_classes="lab-main")
    groups = [guessing, losses, change, planting, worksheet, moving, back, onward]
    return Fields(
        lesson, card, carded, corpus, query, start, stop, alert, progress, bar, page, groups, guesses, guess, knobs, edited, text, score, leave,
        planted, sentence, plant, save, back, onward,
    )  # fmt: skip


def shown(step: int, *, ready: bool, ranked: bool) -> list[Any]:
    """Updates of the groups, in their order, at a step; experiments wait until the student is ready for them."""
    last = len(STEPS) - 1
    columns = [step == 0, step == 4 and ready, step == 5 and ready, step == 6 and ranked]
    rows, buttons = [step == last, True], [step > 0, step < last]
    return [*(gr.Column(visible=v) for v in columns), *(gr.Row(visible=v) for v in rows), *(gr.Button(visible=v) for v in buttons)]


def choices(walk: Walk) -> list[Any]:
    """Updates of the choices of a passage: none chosen for the guess, the last retrieved for what is planted."""
    named = [
        (f"{letter} · {shorten(walk.passage(id).title or id, 60)}", letter) for id, letter in sorted(walk.letters.items(), key=lambda item: item[1])
    ]
    first, last = named[0][1], walk.letters[walk.ids[-1]]
    return [gr.Dropdown(choices=named, value=value) for value in (None, None, None, first, first, last)]


def _passage(label: str, info: str = "") -> gr.Dropdown:
    return gr.Dropdown([], label=label, info=info or None, filterable=False)


def _guess() -> tuple[gr.Column, list[Any], gr.Button]:
    with gr.Column(visible=False, elem_classes="lab-controls") as group:
        with gr.Row(elem_classes="dear-fields lab-setups"):
            guesses = [_passage(name) for name in ("Best", "Second", "Third")]
        with gr.Row(elem_classes="lab-buttons"):
            guess = gr.Button("That is my guess", elem_classes="lab-main")
    return group, guesses, guess


def _losses() -> tuple[gr.Column, list[Any]]:
    with gr.Column(visible=False, elem_classes="lab-controls") as group, gr.Row(elem_classes="dear-fields lab-setups lab-four"):
        knobs = [
            _passage("Passage", "Whose score is moved"),
            _slider("Shift", "Added to its score", bench.SHIFT, 0.1),
            _slider("Temperature T", "Flattens the KL", bench.TEMPERATURE, 0.1),
            _slider("Alpha α", "The labels’ share", bench.ALPHA, 0.05),
        ]
    return group, knobs


def _change() -> tuple[gr.Column, gr.Dropdown, gr.Textbox, gr.Button, gr.Button]:
    with gr.Column(visible=False, elem_classes="lab-controls") as group:
        with gr.Row(elem_classes="dear-fields lab-setups lab-stack"):
            edited = _passage("Passage")
            text = gr.Textbox(label="Its text", lines=5, max_lines=12, max_length=MAX_PASSAGE_CHARS)
        with gr.Row(elem_classes="lab-buttons"):
            score = gr.Button("Score this text", elem_classes="lab-main")
            leave = gr.Button("Leave out each sentence", elem_classes="lab-side")
    return group, edited, text, score, leave


def _plant() -> tuple[gr.Column, gr.Dropdown, gr.Textbox, gr.Button]:
    with gr.Column(visible=False, elem_classes="lab-controls") as group:
        with gr.Row(elem_classes="dear-fields lab-setups lab-stack"):
            planted = _passage("Passage")
            sentence = gr.Textbox(PLANTED, label="What is put in front of it", lines=2, max_lines=4, max_length=MAX_PLANTED_CHARS)
        with gr.Row(elem_classes="lab-buttons"):
            plant = gr.Button("Plant it", elem_classes="lab-main")
    return group, planted, sentence, plant


def _slider(label: str, info: str, bounds: tuple[float, float, float], step: float) -> gr.Slider:
    least, most, usual = bounds
    return gr.Slider(least, most, value=usual, step=step, label=label, info=info, buttons=[])

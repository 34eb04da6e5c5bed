"""The files stage 2 needs, from a recipe: rows from written rationales, rows cut from labels, generated rows; all checked."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from corpora import teaching
from dear.errors import BadInput
from training import practice
from training.cot import RANKING, Row, read_rows, write_rows
from training.cot_augment import Mix, augment, teaching_queries
from training.cot_check import Report, check_rows, held_out
from training.cot_quoted import quoted, read_hints
from training.groups import read_groups
from training.judged import SOURCE, reasons
from training.recipes import Recipe

logger = logging.getLogger(__name__)


def make(recipe: Recipe) -> tuple[int, int]:
    """Write `cot.out` and `cot.dev_out`; return how many rows each has. Generated rows are taken in where their file is there."""
    settings, corpus = recipe.cot, teaching.load()
    written = teaching_queries(corpus, settings.split)
    if recipe.data.practice:
        written += teaching_queries(practice.load(), settings.split, "practice")
    if recipe.data.judged:
        written += reasons.queries(recipe.data.folder, settings.split)
    rows = list(augment(written, settings.rows, settings.format, mix(recipe)))
    rows = list(drop_leaks(recipe, rows)) if recipe.data.judged else rows  # the sets' passages may share a run of words with a test's
    rows += islice(_quoted(recipe), settings.quoted_rows)
    if Path(settings.generated).is_file():
        bought = list(read_rows(settings.generated))
        formed = [row for row in bought if RANKING[settings.format] in row.output]
        if len(formed) < len(bought):
            logger.warning(
                "%d of %d generated rows are not in the format %r and are left out", len(bought) - len(formed), len(bought), settings.format
            )
        rows += drop_leaks(recipe, formed)
    random.Random(settings.seed).shuffle(rows)
    if not rows:
        raise BadInput("no rows: set cot.rows or cot.quoted_rows above 0")
    held = teaching_queries(corpus, "dev", "teaching-dev")
    dev = augment(held, settings.dev_rows, settings.format, mix(recipe), draws="teaching-dev") if settings.dev_rows else []
    return write_rows(settings.out, rows), write_rows(settings.dev_out, dev) if settings.dev_rows else 0


def mix(recipe: Recipe) -> Mix:
    """How rows are drawn, from the recipe."""
    s = recipe.cot
    return Mix(s.min_k, s.max_k, s.distractors, s.empty, s.fast, s.seed, s.ordered)


def check(recipe: Recipe, path: Path | str) -> Report:
    """Check a file of rows against the recipe's test sets and the teaching corpus' held-out topics.

    The dev rows come from the dev topics, so only the test topics are held out for them.
    """
    if not Path(path).is_file():
        raise BadInput(f"{path} does not exist: make it with `python -m training cot RECIPE`")
    splits = ("test",) if Path(path) == Path(recipe.cot.dev_out) else ("dev", "test")
    folders = [recipe.data.folder / "test" / name for name in recipe.data.test]
    return check_rows(read_rows(path), held_out(folders, recipe.cot.ngram, teaching.load(), splits))


def drop_leaks(recipe: Recipe, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that share neither a query nor `ngram` words in a row with a held-out set."""
    folders = [recipe.data.folder / "test" / name for name in recipe.data.test]
    test = held_out(folders, recipe.cot.ngram, teaching.load(), ("dev", "test"))
    for row in rows:
        if check_rows([row], test).ok:
            yield row
        else:
            logger.info("left out, it shares text with a test set or is damaged: %s", row.query_id)


def _quoted(recipe: Recipe) -> Iterator[Row]:
    settings = recipe.cot
    if not settings.quoted_rows:
        return
    if not Path(settings.groups).is_file():
        raise BadInput(f"cot.groups {settings.groups!r} does not exist: make it with `python -m training teacher`, or set cot.quoted_rows=0")
    written = ("teaching", "practice", SOURCE)  # they have reasons of their own
    groups = [g for g in read_groups(settings.groups) if g.source.partition("/")[0] not in written]
    random.Random(settings.seed).shuffle(groups)
    yield from drop_leaks(recipe, quoted(groups, read_hints(recipe.data.folder), settings.format, mix(recipe)))

"""The two files stage 1 needs, from a recipe: groups with mined negatives, then the same with the teacher's column, cleaned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from corpora import teaching
from corpora.formats import MAX_ARTICLE_CHARS
from corpora.registry import corpus_from_passages
from dear.errors import BadInput
from dear.excerpts import excerpt
from dear.types import Passage
from training import judged, mining, practice
from training.excerpts import excerpt_groups
from training.groups import Candidate, Group, read_groups, write_groups
from training.recipes import Recipe
from training.saving import write_json

if TYPE_CHECKING:
    from training.teacher import Teacher

logger = logging.getLogger(__name__)

TEACHING, PRACTICE = "teaching", "practice"  # groups whose passages are all graded by their writer, by their source

GRADE = 3.0  # of the teacher's score, where a recipe says nothing

Progress = Callable[[str], None]


def mine_file(recipe: Recipe, progress: Progress = logger.info) -> int:
    """Write `mining.out`: groups of every set in `data.train`, with negatives from one index over all sets and texts; return how many.

    A set is a BEIR folder `train/NAME` below the data's folder, or a Tevatron file `train/NAME.jsonl`, which brings its own negatives.
    """
    settings = mining.Mining(**{f.name: getattr(recipe.mining, f.name) for f in fields(mining.Mining)})
    places = {name: _place(recipe, name) for name in recipe.data.train}
    labelled = {name: mining.read_beir(path) for name, path in places.items() if path.is_dir()}
    for name, found in labelled.items():
        progress(f"{name}: {len(found.queries):,} queries, {len(found.passages):,} passages")
    texts = [p for name in recipe.data.text for p in mining.read_texts(recipe.data.folder / "text" / name)]
    everything = {p.id: p for p in chain(*(found.passages.values() for found in labelled.values()), texts)}
    groups: list[Iterator[Group]] = []
    if everything:
        progress(f"indexing {len(everything):,} passages for {recipe.mining.retriever}")
        corpus = corpus_from_passages(everything.values(), "mining", max_chars=MAX_ARTICLE_CHARS)
        searcher = corpus.retriever(recipe.mining.retriever)
        held = judged.held_out()  # the dev lists' questions, with whatever labels their sets have for them
        for name, found in labelled.items():
            free = replace(found, queries=tuple(query for query in found.queries if f"{name}/{query.id}" not in held))
            groups.append(mining.mine(free, searcher, settings, recipe.data.train[name] or None))
    for name, path in places.items():
        if path.is_file():
            groups.append(islice(mining.fitted(mining.read_tevatron(path), settings), recipe.data.train[name] or None))
    groups += _graded_by_their_writer(recipe)
    if recipe.data.judged:
        groups.append(judged.groups(recipe.data.folder, "train", scale=best_score(recipe)))
    if not groups:
        raise BadInput("data.train is empty and data.teaching, data.practice and data.judged are false: name at least one set")
    found = _counted(groups, progress)
    if recipe.pointwise.train == recipe.mining.out:  # no teacher, which would choose the negatives to keep
        found = mining.fitted(found, replace(settings, pool=recipe.mining.size))
    return write_groups(recipe.mining.out, found)


def teach_file(recipe: Recipe, progress: Progress = logger.info) -> mining.FilterReport:
    """Write `teacher.out`: the groups of `mining.out` with teacher scores, false negatives dropped; return what was dropped."""
    from training.teacher import score_file, with_given

    source, out = Path(recipe.mining.out), Path(recipe.teacher.out)
    if not source.is_file():
        raise BadInput(f"mining.out {str(source)!r} does not exist: make it with `python -m training mine`")
    scored = out.with_name("scored-" + out.name)
    total = sum(1 for _ in read_groups(source))
    name, teacher = _teacher(recipe, source)
    for done in score_file(source, scored, with_given(teacher), name=name):
        progress(f"teacher {name}: {done:,} of {total:,} groups")
    settings = recipe.mining
    kept, report = mining.drop_false_negatives(
        read_groups(scored), ratio=settings.ratio, size=settings.size, hardest=settings.hardest, judged=_judged(recipe)
    )
    write_groups(out, _excerpted(kept, recipe, teacher))
    write_json(out.with_name(out.name.split(".")[0] + "-report.json"), asdict(report) | {"groups": len(kept)})
    return report


def _teacher(recipe: Recipe, source: Path) -> tuple[str, Teacher]:
    """The teacher of the recipe and its whole name; BM25's share goes by the statistics of all the groups' passages."""
    from training.teacher import open_teacher, with_bm25, with_grades

    name, weight, grades = recipe.teacher.model, recipe.teacher.bm25, recipe.teacher.grades
    teacher = open_teacher(name, engine=recipe.teacher.engine, precision=recipe.teacher.precision)
    if recipe.teacher.precision != "auto" and name != "minilm" and not name.startswith(("bi-encoder:", "cross-encoder:")):
        name = f"{name} in {recipe.teacher.precision}"
    if weight:
        passages = {c.id: Passage(c.id, c.text, c.title) for group in read_groups(source) for c in group.passages}
        index = corpus_from_passages(passages.values(), "teacher", max_chars=MAX_ARTICLE_CHARS).retriever("bm25")
        name, teacher = f"{name} + {weight:g} bm25", with_bm25(teacher, index, weight)
    if grades:
        name, teacher = f"{name}, {grades:g} x grade", with_grades(teacher, grades, {TEACHING, PRACTICE})
    return name, teacher


def _excerpted(groups: list[Group], recipe: Recipe, teacher: Teacher) -> Iterator[Group]:
    """The groups, a share of them cut to excerpts (see `training.excerpts`) and those scored again by the teacher.

    A grade does not notice that the answer was cut away, so where it is the teacher, groups stay whole.
    """
    settings = recipe.mining
    whole = {g.source for g in groups if g.source.startswith(judged.SOURCE)} | ({TEACHING, PRACTICE} if recipe.teacher.grades else set())
    return excerpt_groups(groups, teacher, share=settings.excerpts, words=settings.excerpt_words, seed=settings.seed, whole=whole)


def teaching_groups(split: str) -> Iterator[Group]:
    """The teaching corpus' queries of a split with all judged passages of their topic."""
    return _groups_of(teaching.load(), split, TEACHING)


def practice_groups(split: str) -> Iterator[Group]:
    """The practice topics' queries of a split ("train" or "dev") with all passages of their topic, of long ones what stage 1 reads of them."""
    for group in _groups_of(practice.load(), split, PRACTICE):
        yield replace(group, passages=tuple(replace(c, text=excerpt(group.query, c.text, judged.WORDS)) for c in group.passages))


def _groups_of(corpus: teaching.Teaching, split: str, source: str) -> Iterator[Group]:
    passages = {p.id: p for p in corpus.passages}
    for query in corpus.queries:
        grades = corpus.qrels.get(query.id, {})
        if query.split == split and any(grades.values()):
            found = tuple(Candidate(id, passages[id].title, passages[id].text, grade) for id, grade in grades.items())
            yield Group(f"{source}/{query.id}", query.text, source, found)


def _graded_by_their_writer(recipe: Recipe) -> list[Iterator[Group]]:
    groups = [teaching_groups("train")] if recipe.data.teaching else []
    return groups + ([practice_groups("train")] if recipe.data.practice else [])


def grade_score(recipe: Recipe) -> float:
    """What the teacher gives each grade; lists that are graded throughout need it where the recipe's `teacher.grades` is 0, too."""
    return recipe.teacher.grades or GRADE


def best_score(recipe: Recipe) -> float:
    """What the teacher gives the best grade."""
    return grade_score(recipe) * max(judged.LABELS.values())


def _judged(recipe: Recipe) -> frozenset[tuple[str, str]]:
    """Pairs somebody labelled 0: they stay whatever the teacher says."""
    pairs = {(g.query_id, c.id) for some in _graded_by_their_writer(recipe) for g in some for c in g.passages if c.label <= 0}
    pairs |= judged.useless("train") if recipe.data.judged else set()
    for name in recipe.data.train:
        place = _place(recipe, name)
        if place.is_dir():
            qrels = mining.read_beir(place).qrels
            pairs |= {(f"{name}/{query}", id) for query, grades in qrels.items() for id, grade in grades.items() if grade <= 0}
    return frozenset(pairs)


def _place(recipe: Recipe, name: str) -> Path:
    folder = recipe.data.folder / "train"
    for path in (folder / name, folder / f"{name}.jsonl"):
        if path.exists():
            return path
    raise BadInput(f"data.train names {name!r}, and {folder} has neither that folder nor {name}.jsonl: set data.root=FOLDER (or DEAR_DATA)")


def _counted(groups: list[Iterator[Group]], progress: Progress) -> Iterator[Group]:
    count = 0
    for some in groups:
        for group in some:
            count += 1
            if count % 1000 == 0:
                progress(f"{count:,} groups")
            yield group

"""A further piece of stage 1: a file drawn from lists that are graded throughout, without what earlier pieces have read.

Every passage of such a list has a degree, by a large language model (`training.judged`) or by who wrote it (`training.practice`, the
teaching corpus), and the degree is the teacher. `draw` takes so many lists of each kind at random; lists of the dev split, whole, go to a file of
their own, for `pointwise.dev`. A passage is cut to what stage 1 reads of it afterwards, the excerpt nearest the query.

Six degrees leave most of a list's passages equal. In lists of people's passages a bi-encoder's similarity may be added
(`similarity`), which orders them finely; and a passage that answers may come a second time without its answer (`gapped`). Pages made
for the practice topics are left as they are: many were written to be similar and of no use.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev

from dear.errors import BadInput
from dear.excerpts import excerpt
from training import gapped, judged, mining
from training.groups import Group, read_groups, write_groups
from training.prepare import best_score, grade_score, practice_groups, teaching_groups
from training.recipes import Mix, Recipe
from training.teacher import minilm

KINDS = ("questions", "sets", "written", "web", "practice", "news", "teaching")
PEOPLES = ("questions", "sets", "web")  # whose passages nobody wrote for the list
NEWS = "/news-"  # in the ids of practice topics whose pages tell of one event


def mix_files(recipe: Recipe) -> tuple[dict[str, int], int]:
    """Write `mix.out` and, where it is named, `mix.dev_out`; return how many lists of each kind the first has, and how many the second.

    Raises `BadInput` where a kind has fewer lists than the recipe asks for, with the number there are.
    """
    settings = recipe.mix
    if not any(getattr(settings, kind) for kind in KINDS):
        raise BadInput(f"mix asks for no lists: set one of {', '.join(f'mix.{kind}' for kind in KINDS)}")
    read = {group.query_id for path in settings.without for group in _known(path)}
    drawn = draw(_lists(recipe, "train"), settings, read)
    if settings.gapped:
        answers = gapped.known(recipe.data.folder)
        drawn = [gapped.with_gapped(group, answers, best_score(recipe)) if kind_of(group) in PEOPLES else group for group in drawn]
    if settings.similarity:
        drawn = with_similarity(drawn, settings.similarity)
    write_groups(settings.out, drawn)
    dev = 0
    if settings.dev_out:
        dev = write_groups(settings.dev_out, _dev(_lists(recipe, "dev"), settings))
    counts = {kind: sum(kind_of(group) == kind for group in drawn) for kind in KINDS}
    return counts, dev


def draw(groups: Iterable[Group], settings: Mix, read: set[str]) -> list[Group]:
    """So many lists of each kind as the settings say (0: none, -1: all), in random order, their passages shuffled and at
    most `size`, of which useless ones are left out first.

    Lists whose query ids are in `read`, and those in which no passage is better than another, are passed over.
    """
    by_kind: dict[str, list[Group]] = {kind: [] for kind in KINDS}
    for group in groups:
        if group.query_id not in read and len({c.teacher for c in group.passages}) > 1:
            by_kind[kind_of(group)].append(group)
    drawn: list[Group] = []
    for kind, found in by_kind.items():
        wanted = getattr(settings, kind)
        if wanted > len(found):
            remedy = "use fewer, -1 for all, name fewer files in mix.without, or set data.judged, data.practice and data.teaching"
            raise BadInput(f"mix.{kind} {wanted} exceeds the {len(found)} lists there are: {remedy}")
        random.Random(f"{settings.seed}/{kind}").shuffle(found)
        drawn += found if wanted < 0 else found[:wanted]
    random.Random(settings.seed).shuffle(drawn)
    limits = mining.Mining(positives=settings.size - 1, pool=settings.size, seed=settings.seed)
    return list(mining.fitted((_shuffled(group, settings.seed) for group in drawn), limits))


def with_similarity(groups: Sequence[Group], weight: float) -> list[Group]:
    """Groups whose teacher's scores have `weight` times MiniLM's similarity added, as its standard score within the list; `PEOPLES` lists alone."""
    asked = [group for group in groups if kind_of(group) in PEOPLES]
    found = iter(minilm(asked) if asked else ())
    return [_added(group, weight, next(found)) if kind_of(group) in PEOPLES else group for group in groups]


def _added(group: Group, weight: float, similar: Sequence[float]) -> Group:
    mean, spread = fmean(similar), pstdev(similar) or 1.0
    scored = [replace(c, teacher=(c.teacher or 0.0) + weight * (s - mean) / spread) for c, s in zip(group.passages, similar, strict=True)]
    return replace(group, passages=tuple(scored))


def kind_of(group: Group) -> str:
    """What a list was made of, one of `KINDS`.

    >>> kind_of(Group("practice/news-flood-q1", "who flooded", "practice", ()))
    'news'
    """
    source, _, part = group.source.partition("/")
    if source == judged.SOURCE:
        return part if part in KINDS else "sets"
    return "news" if NEWS in group.query_id else source


def _dev(groups: Iterable[Group], settings: Mix) -> Iterator[Group]:
    """The dev split's lists, at most `dev_lists` of a kind: measuring costs time between the steps."""
    counts = dict.fromkeys(KINDS, 0)
    found = sorted(groups, key=lambda group: random.Random(f"{settings.seed}/{group.query_id}").random())
    for group in found:
        kind = kind_of(group)
        if any(c.label for c in group.passages) and counts[kind] < settings.dev_lists:
            counts[kind] += 1
            yield _shuffled(group, settings.seed)


def _lists(recipe: Recipe, split: str) -> Iterator[Group]:
    if recipe.data.judged:
        yield from judged.groups(recipe.data.folder, split, scale=best_score(recipe), words=recipe.mix.words)
    for wanted, groups in ((recipe.data.practice, practice_groups), (recipe.data.teaching, teaching_groups)):
        if wanted:
            yield from (_by_grade(group, grade_score(recipe), recipe.mix.words) for group in groups(split))


def _by_grade(group: Group, each: float, words: int) -> Group:
    cut = [replace(c, text=excerpt(group.query, c.text, words), teacher=each * c.label) for c in group.passages]
    return replace(group, passages=tuple(cut))


def _shuffled(group: Group, seed: int) -> Group:
    passages = list(group.passages)
    random.Random(f"{seed}/{group.query_id}/passages").shuffle(passages)
    return replace(group, passages=tuple(passages))


def _known(path: str) -> Iterator[Group]:
    if not Path(path).is_file():
        raise BadInput(f"mix.without names {path!r}, which does not exist: name files of groups that earlier pieces read, or leave it empty")
    yield from read_groups(path)

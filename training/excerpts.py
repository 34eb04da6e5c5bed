"""Passages cut to the sentences that share most with the query, so that a step on a slow machine sees more queries for its tokens.

The student meets short and long documents in one run. Positive and negatives of a group are cut by one rule that knows no
label, and the teacher scores what is left again: both always see the same text. Where the cut cost the positive too much of its
teacher score, the answer was cut away, and the group stays whole.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from dear.excerpts import run, terms
from dear.explain import sentences
from training.groups import Group
from training.mining import scaled

KEEPS = 0.85  # of the positive's teacher score

Rescore = Callable[[Sequence[Group]], Sequence[Sequence[float]]]

_BLOCK = 64  # groups the teacher scores at once


def excerpt_groups(groups: Sequence[Group], teacher: Rescore, *, share: float, words: int, seed: int, whole: Collection[str] = ()) -> Iterator[Group]:
    """Yield every group in order, a seeded `share` of them with passages longer than `words` cut to an excerpt and scored again.

    Groups of the sources in `whole` are left as they are.
    """
    rng = random.Random(seed)
    for start in range(0, len(groups), _BLOCK):
        block = groups[start : start + _BLOCK]
        cut = [_cut(group, words) if rng.random() < share and group.source not in whole else group for group in block]
        changed = [group for group, before in zip(cut, block, strict=True) if group is not before]
        scores = iter(teacher(changed) if changed else ())
        for group, before in zip(cut, block, strict=True):
            if group is before:
                yield before
                continue
            scored = replace(group, passages=tuple(replace(c, teacher=round(s, 5)) for c, s in zip(group.passages, next(scores), strict=True)))
            yield scored if _kept_answer(before, scored) else before


def _cut(group: Group, words: int) -> Group:
    wanted = set(terms(group.query))
    spans = [sentences(c.text) for c in group.passages]
    rare = _rarity([set(terms(c.text[a:b])) for c, some in zip(group.passages, spans, strict=True) for a, b in some])
    passages = []
    for candidate, some in zip(group.passages, spans, strict=True):
        if len(candidate.text.split()) <= words or not some:
            passages.append(candidate)
            continue
        worth = [sum(rare[term] for term in wanted & set(terms(candidate.text[a:b]))) for a, b in some]
        start, end = run(candidate.text, some, worth, words)
        passages.append(replace(candidate, text=candidate.text[start:end]))
    return group if tuple(passages) == group.passages else replace(group, passages=tuple(passages))


def _kept_answer(before: Group, after: Group) -> bool:
    pairs = [(a.teacher, b.teacher) for a, b in zip(before.passages, after.passages, strict=True) if a.label > 0]
    return all(b is not None and a is not None and b >= scaled(a, KEEPS) for a, b in pairs)


def _rarity(texts: Sequence[set[str]]) -> dict[str, float]:
    counts = Counter(term for text in texts for term in text)
    return {term: math.log(1 + len(texts) / count) for term, count in counts.items()}

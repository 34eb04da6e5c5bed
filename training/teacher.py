"""Teacher scores, written once as a column of the groups that the student trains on.

Four kinds: `minilm` (the embedded all-MiniLM-L6-v2 as a bi-encoder: cosine times 20, the scale it was trained with), any other bi-encoder or
cross-encoder that sentence-transformers loads, and any pointwise checkpoint of the zoo, such as the published 13B RankLLaMA.
Work goes in blocks that are kept as they finish, so a run that is cut goes on with the next block.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dear.cache import sha256
from dear.errors import BadInput, EngineError
from training.groups import Group, read_groups, write_groups
from training.saving import write_json

if TYPE_CHECKING:
    from corpora.lucene import LuceneRetriever

logger = logging.getLogger(__name__)

MINILM = "minilm"
COSINE_SCALE = 20.0
BLOCK = 256  # groups
BATCH = 48  # texts a bi-encoder reads at once

Teacher = Callable[[Sequence[Group]], list[list[float]]]


def open_teacher(name: str, *, engine: str = "auto", precision: str = "auto") -> Teacher:
    """A function from groups to a score a passage. `name`: minilm, bi-encoder:PATH_OR_ID, cross-encoder:PATH_OR_ID, or a pointwise model of the zoo.

    Raises `BadInput` where no model lies under the path or id.
    """
    if name == MINILM:
        return minilm
    if name.startswith("bi-encoder:"):
        return _bi_encoder(name.removeprefix("bi-encoder:"))
    if name.startswith("cross-encoder:"):
        return _cross_encoder(name.removeprefix("cross-encoder:"))
    return _student(name, engine, precision)


def minilm(groups: Sequence[Group]) -> list[list[float]]:
    """Cosine of query and passage by all-MiniLM-L6-v2, times `COSINE_SCALE`. Equal texts are embedded once.

    Where the device multiplies in bf16 the embeddings are computed in it: 2.5 times as fast on such a CPU, cosines within 3e-5.
    """
    from corpora.dense import embed

    return _cosines(groups, embed)


def with_bm25(teacher: Teacher, index: LuceneRetriever, weight: float) -> Teacher:
    """The teacher's score plus `weight` times BM25 of the same text by the statistics of `index`."""

    def score(groups: Sequence[Group]) -> list[list[float]]:
        words = [index.weigh(g.query, [_text(c) for c in g.passages]) for g in groups]
        return [[a + weight * b for a, b in zip(*both, strict=True)] for both in zip(teacher(groups), words, strict=True)]

    return score


def with_given(teacher: Teacher) -> Teacher:
    """The scores a group has already, where its file brought some for every passage; the teacher's for all others."""

    def known(group: Group) -> list[float] | None:
        scores = [c.teacher for c in group.passages]
        return None if None in scores else scores

    return _unless(known, teacher)


def with_grades(teacher: Teacher, weight: float, sources: Collection[str]) -> Teacher:
    """`weight` times the grade for groups of the `sources`, which are judged in full; the teacher's score for all others."""
    return _unless(lambda group: [weight * c.label for c in group.passages] if group.source in sources else None, teacher)


def _unless(known: Callable[[Group], list[float] | None], teacher: Teacher) -> Teacher:
    """What is known of a group's scores; the teacher is asked for the groups of which nothing is, all at once."""

    def score(groups: Sequence[Group]) -> list[list[float]]:
        given = [known(g) for g in groups]
        asked = [g for g, scores in zip(groups, given, strict=True) if scores is None]
        found = iter(teacher(asked) if asked else ())
        return [next(found) if scores is None else scores for scores in given]

    return score


def _cosines(groups: Sequence[Group], embed: Callable[[list[str]], Any]) -> list[list[float]]:
    """Cosines times `COSINE_SCALE` from an encoder to unit vectors (N, D), which reads each distinct text once."""
    import torch

    from training.running import uses_bf16

    distinct = list(dict.fromkeys(t for g in groups for t in (g.query, *(_text(c) for c in g.passages))))
    with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", dtype=torch.bfloat16, enabled=uses_bf16("auto")):
        vectors = embed(distinct)
    row = {text: i for i, text in enumerate(distinct)}
    return [[COSINE_SCALE * float(vectors[row[_text(c)]] @ vectors[row[g.query]]) for c in g.passages] for g in groups]


def _bi_encoder(name: str) -> Teacher:
    from sentence_transformers import SentenceTransformer

    with _found(name):
        model = SentenceTransformer(name, trust_remote_code=False)

    def embed(texts: list[str]) -> Any:
        return model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    return lambda groups: _cosines(groups, embed)


def _cross_encoder(name: str) -> Teacher:
    from sentence_transformers import CrossEncoder

    with _found(name):
        model = CrossEncoder(name, trust_remote_code=False)

    def score(groups: Sequence[Group]) -> list[list[float]]:
        pairs = [(g.query, _text(c)) for g in groups for c in g.passages]
        values = iter(model.predict(pairs, convert_to_numpy=True).tolist())
        return [[float(next(values)) for _ in g.passages] for g in groups]

    return score


@contextlib.contextmanager
def _found(name: str) -> Iterator[None]:
    """Turn what sentence-transformers says of a model that is not there into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise BadInput(f"the teacher {name!r} cannot be opened ({said}): give a folder or a hub id") from error


def _student(name: str, engine: str, precision: str) -> Teacher:
    from dear.engines.choice import open_scorer

    scorer = open_scorer(name, engine=engine, precision=precision)

    def score(groups: Sequence[Group]) -> list[list[float]]:
        return [_scores_of(scorer, g) for g in groups]

    return score


def _scores_of(scorer: Any, group: Group) -> list[float]:
    found: dict[int, float] = {}
    for batch in scorer.score(group.query, [c.text for c in group.passages], [c.title for c in group.passages]):
        found.update(zip(batch.indices, batch.scores, strict=True))
    if len(found) != len(group.passages):
        raise EngineError(f"the teacher scored {len(found)} of {len(group.passages)} passages of {group.query_id!r}: run it again")
    return [found[i] for i in range(len(group.passages))]


def _text(candidate: Any) -> str:
    return f"{candidate.title}\n{candidate.text}" if candidate.title else candidate.text


def score_file(groups_file: Path, out: Path, teacher: Teacher, *, name: str) -> Iterator[int]:
    """Write `groups_file` to `out` with the teacher column filled; yield the number of groups done so far.

    Blocks are kept beside `out` until all are there, and `out` with a note of what it was made from: what is there is not scored again.
    Raises `BadInput` when the kept blocks belong to another input or teacher.
    """
    groups = list(read_groups(groups_file))
    note = out.with_name(out.name + ".made-from.json")
    work = out.with_name(out.name + ".blocks")
    identity = {
        "groups": len(groups),
        "first": groups[0].query_id if groups else "",
        "teacher": name,
        "block": BLOCK,
        "sha256": sha256(groups_file),
    }
    if out.is_file() and note.is_file() and json.loads(note.read_text(encoding="utf-8")) == identity:
        yield len(groups)
        return
    work.mkdir(parents=True, exist_ok=True)
    _check_identity(work / "identity.json", identity)
    blocks = []
    for start in range(0, len(groups), BLOCK):
        path = work / f"{start:08d}.jsonl.gz"
        if not path.exists():
            block = groups[start : start + BLOCK]
            write_groups(path, (_with_scores(g, s) for g, s in zip(block, teacher(block), strict=True)))
        blocks.append(path)
        yield min(start + BLOCK, len(groups))
    note.unlink(missing_ok=True)
    write_groups(out, (group for path in blocks for group in read_groups(path)))
    write_json(note, identity)
    for path in [*blocks, work / "identity.json"]:
        path.unlink()
    work.rmdir()


def _with_scores(group: Group, scores: Sequence[float]) -> Group:
    return replace(group, passages=tuple(replace(c, teacher=round(s, 5)) for c, s in zip(group.passages, scores, strict=True)))


def _check_identity(path: Path, identity: dict[str, Any]) -> None:
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != identity:
        raise BadInput(f"{path.parent} holds blocks of another input or teacher: delete that folder to start again")
    path.write_text(json.dumps(identity), encoding="utf-8")

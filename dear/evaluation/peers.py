"""What a student is measured against, on the same pools and the same machine: each is a `Scorer`.

`all-MiniLM-L6-v2` compares embeddings; a cross-encoder of sentence-transformers comes by path or id; `reference` is the student
scored as the reference implementation does (github.com/DataScienceUIBK/DeAR-Reranking, `score_pair`): every pair padded to 228
tokens, in batches of 64 in the order given. It shows what padding costs; its scores are those of the student up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dear.cache import sha256
from dear.engines import EngineInfo, Scored, Scorer
from dear.errors import BadInput, CheckpointError, require
from dear.evaluation.store import key_of
from dear.types import Passage

MINILM = "all-MiniLM-L6-v2"
REFERENCE = "reference"
REFERENCE_BATCH = 64
BATCH = 32
KEPT = 50_000  # embeddings kept in memory, some 80 MB
Embed = Callable[[Sequence[str]], Any]


class EmbeddingScorer:
    """Cosine of unit-length embeddings. Passages are embedded once and kept, as an index would; the query each time.

    `embed(texts)` gives an array of shape (len(texts), dimensions).
    """

    def __init__(self, embed: Embed, name: str = MINILM) -> None:
        self.info = EngineInfo("sentence-transformers", name, "fp32", "cpu", "cosine of embeddings")
        self._embed, self._kept = embed, {}

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield all cosines at once, rounded to 6 decimals; see `dear.engines.Scorer`."""
        self.learn(texts, titles)
        asked = self._embed([query])[0]
        full = _full(texts, titles)
        yield Scored(tuple(range(len(full))), tuple(round(float(self._kept[text] @ asked), 6) for text in full), 0)

    def learn(self, texts: Sequence[str], titles: Sequence[str]) -> None:
        """Embed those of the passages that are not known yet."""
        full = list(dict.fromkeys(_full(texts, titles)))
        new = [text for text in full if text not in self._kept]
        if len(self._kept) + len(new) > KEPT:
            self._kept, new = {}, full
        if new:
            self._kept.update(zip(new, self._embed(new), strict=True))


def _full(texts: Sequence[str], titles: Sequence[str]) -> list[str]:
    return [Passage("", text, title).full_text for title, text in zip(titles, texts, strict=True)]


class CrossEncoderScorer:
    """A sentence-transformers CrossEncoder: one score a pair, title and text joined."""

    def __init__(self, name: str) -> None:
        module = require("sentence_transformers", extra="sentence-transformers")
        try:
            self._model = module.CrossEncoder(name, trust_remote_code=False)  # type: ignore[attr-defined]
        except Exception as error:  # hub, disk and format errors come in many kinds, all mean that it is not here
            raise CheckpointError(f"peer {name!r} cannot be opened as a CrossEncoder ({error}): give a local folder or a hub id") from error
        if getattr(self._model, "num_labels", 1) != 1:
            raise BadInput(f"peer {name!r} has {self._model.num_labels} outputs: a reranker has one, choose another")
        self.info = EngineInfo("sentence-transformers", name, "fp32", str(self._model.device), "cross-encoder")

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches of raw logits in the order given; see `dear.engines.Scorer`."""
        import torch

        pairs = [(query, f"{title} {text}".strip()) for title, text in zip(titles, texts, strict=True)]
        for start in range(0, len(pairs), BATCH):
            found = self._model.predict(pairs[start : start + BATCH], batch_size=BATCH, show_progress_bar=False, activation_fn=torch.nn.Identity())
            yield Scored(tuple(range(start, start + len(found))), tuple(float(value) for value in found), 0)


class ReferenceScorer:
    """The student with every pair padded to `q_len + p_len` tokens, in batches of 64."""

    def __init__(self, student: Any, name: str) -> None:
        if student.head != "score":
            raise BadInput(f"{name} has no score head: `{REFERENCE}` pads pairs of a trained pointwise student")
        self._student = student
        self.info = EngineInfo("transformers", f"{REFERENCE}:{name}", student.precision, student.device, "every pair padded", student.trained)

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches in the order given; see `dear.engines.Scorer`."""
        from dear.pairs import encode_pairs

        checkpoint = self._student.checkpoint
        pairs = encode_pairs(self._student.tokenizer, query, titles, texts, checkpoint.q_len, checkpoint.p_len, checkpoint.excerpt)
        for start in range(0, len(pairs), REFERENCE_BATCH):
            some = pairs[start : start + REFERENCE_BATCH]
            yield Scored(tuple(range(start, start + len(some))), self._forward(some, checkpoint.q_len + checkpoint.p_len), sum(map(len, some)))

    def _forward(self, pairs: Sequence[Sequence[int]], width: int) -> tuple[float, ...]:
        import torch

        pad = self._student.tokenizer.pad_token_id
        rows = torch.tensor([[*pair, *[pad] * (width - len(pair))] for pair in pairs], device=self._student.device)
        mask = torch.tensor([[1] * len(pair) + [0] * (width - len(pair)) for pair in pairs], device=self._student.device)
        with torch.inference_mode(), self._student.active():
            hidden = self._student.decode(rows, attention_mask=mask, use_cache=False).last_hidden_state
            last = torch.tensor([len(pair) - 1 for pair in pairs], device=hidden.device)
            return tuple(self._student.logits(hidden[torch.arange(len(pairs), device=hidden.device), last])[:, 0].tolist())


def peer_weights(name: str) -> str:
    """What tells a peer's weights apart in the store: the files of a local folder by their digests, or the name where there is none."""
    folder = Path(name)
    kinds = ("*.safetensors", "*.bin", "*.json", "*.txt")
    files = sorted(path for kind in kinds for path in folder.glob(kind)) if name != MINILM and folder.is_dir() else []
    return key_of(name, [(path.name, sha256(path)) for path in files]) if files else name


def open_peer(name: str, *, embed: Embed, model: str, precision: str, device: str) -> Scorer:
    """The peer of this name: `all-MiniLM-L6-v2`, `reference` (of `model`), or any CrossEncoder by path or id."""
    if name == MINILM:
        return EmbeddingScorer(embed)
    if name != REFERENCE:
        return CrossEncoderScorer(name)
    from dear.loading import load_sequence_classifier
    from dear.zoo import resolve

    checkpoint = resolve(model).checkpoint("pointwise")
    if checkpoint is None:
        raise BadInput(f"{model!r} has no pointwise checkpoint, so there is no `{REFERENCE}` of it: choose another --model or other --peers")
    return ReferenceScorer(load_sequence_classifier(checkpoint, precision=precision, device=device), model)  # type: ignore[arg-type]

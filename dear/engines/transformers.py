"""Both stages with transformers: fp32 or bf16, or bitsandbytes NF4 on a GPU (and, slowly, on CPU)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dear import prompts
from dear.engines import EngineInfo, Message, Scored
from dear.engines.chat import encode_plain, eos_ids, render_chat
from dear.errors import EngineError
from dear.loading import Student
from dear.pairs import encode_pair, encode_pairs

__all__ = ["TransformersGenerator", "TransformersScorer", "encode_pair"]

logger = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # padded tokens a batch
YES, NO = "Yes", "No"


def engine_info(student: Student, reason: str) -> EngineInfo:
    """What is shown about a loaded student."""
    notes = "; ".join(part for part in (reason, *student.notes) if part)
    family = student.checkpoint.family
    return EngineInfo("transformers", student.checkpoint.name, student.precision, student.device, notes, student.trained, family)


class TransformersScorer:
    """A `Scorer`: pairs sorted by length, packed by a token budget, read at the last real token.

    Padding is on the right and attention is causal, so a pad is never seen: a pair's score is the same in any batch, up to
    rounding. A student without a score head is asked whether the passage answers the query: log p(Yes) - log p(No).
    """

    def __init__(self, student: Student, *, name: str = "", reason: str = "", batch_tokens: int | None = None) -> None:
        self._student = student
        info = engine_info(student, reason)
        self.info = EngineInfo(info.engine, name or info.model, info.precision, info.device, info.reason, info.trained, info.prompt)
        self._budget = batch_tokens or BATCH_TOKENS["cuda" if student.device.startswith("cuda") else "cpu"]
        self._answers = None if student.head == "score" else [encode_plain(student.tokenizer, word)[0] for word in (YES, NO)]

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches as they finish, the shortest pairs first; see `dear.engines.Scorer`."""
        pairs = self._encode(query, texts, titles)
        for indices in batches([len(ids) for ids in pairs], self._budget):
            yield Scored(tuple(indices), self._forward([pairs[i] for i in indices]), sum(len(pairs[i]) for i in indices))

    def close(self) -> None:
        """Let go of the weights."""
        self._student.close()

    def _encode(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> list[list[int]]:
        checkpoint, tokenizer = self._student.checkpoint, self._student.tokenizer
        if self._answers is None:
            return encode_pairs(tokenizer, query, titles, texts, checkpoint.q_len, checkpoint.p_len)
        found = []
        for title, text in zip(titles, texts, strict=True):
            cut = tokenizer.decode(encode_plain(tokenizer, prompts.neutralise(text))[: checkpoint.p_len])
            found.append(encode_plain(tokenizer, render_chat(tokenizer, prompts.judge(query, title, cut))))
        return found

    @torch.inference_mode()
    def _forward(self, pairs: Sequence[Sequence[int]]) -> tuple[float, ...]:
        lengths = torch.tensor([len(ids) for ids in pairs])
        ids = torch.full((len(pairs), int(lengths.max())), self._student.tokenizer.pad_token_id)
        for row, pair in zip(ids, pairs, strict=True):
            row[: len(pair)] = torch.tensor(pair)
        try:
            with self._student.active():
                hidden = self._student.decode(ids.to(self._student.device), use_cache=False).last_hidden_state
                pooled = hidden[torch.arange(len(pairs), device=hidden.device), (lengths - 1).to(hidden.device)]
                logits = self._student.logits(pooled)
        except RuntimeError as error:
            raise _failure(error) from error
        scores = logits[:, 0] if self._answers is None else logits[:, self._answers[0]] - logits[:, self._answers[1]]
        return tuple(scores.tolist())


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions sorted by length and packed so that rows x longest stays within `budget`; every batch has at least one.

    >>> batches([5, 1, 9, 2], 10)
    [[1, 3], [0], [2]]
    """
    packed: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if packed and (len(packed[-1]) + 1) * lengths[i] <= budget:
            packed[-1].append(i)
        else:
            packed.append([i])
    return packed


class TransformersGenerator:
    """A `TokenGenerator` with a key-value cache that is kept between sessions for their common prefix."""

    def __init__(self, student: Student, *, name: str = "", reason: str = "") -> None:
        info = engine_info(student, reason)
        self.info = EngineInfo(info.engine, name or info.model, info.precision, info.device, info.reason, info.trained, info.prompt)
        self.context = student.checkpoint.context
        self.eos_ids = eos_ids(student.tokenizer)
        self._student = student
        self._session: TransformersSession | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's exact text; see `dear.engines.chat.render_chat`."""
        return render_chat(self._student.tokenizer, messages)

    def encode(self, text: str) -> list[int]:
        """Token ids; nothing is added."""
        return encode_plain(self._student.tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text, special tokens left out."""
        return self._student.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def open(self, ids: Sequence[int]) -> TransformersSession:
        """A session on `ids`; the one before it ends, and its cache of the common prefix is taken over."""
        check_length(len(ids), self.context)
        self._session = TransformersSession(self._student, self.context, list(ids), self._session)
        return self._session

    def close(self) -> None:
        """Let go of the weights and the cache."""
        self._session = None
        self._student.close()


class TransformersSession:
    """A `Session`: tokens are noted when appended and read when logits are asked for, so runs of forced tokens cost one pass."""

    def __init__(self, student: Student, context: int, ids: list[int], before: TransformersSession | None) -> None:
        from transformers import DynamicCache

        self._student, self._context, self._ids = student, context, ids
        self._cache: Any = DynamicCache()
        self._cached: list[int] = []  # the tokens whose keys and values are in the cache
        self._logits: np.ndarray | None = None
        if before is not None and before._cache is not None:
            self._cache, self._cached, before._cache = before._cache, before._cached, None

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Sequence[int]) -> None:
        """Read more tokens; raises `EngineError` beyond the context."""
        check_length(len(self._ids) + len(ids), self._context)
        self._ids += [int(i) for i in ids]
        self._logits = None

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        check_rewind(length, len(self._ids))
        if length < len(self._ids):
            del self._ids[length:]
            self._logits = None

    def logits(self) -> np.ndarray:
        """Next-token logits, float32, shape (vocabulary,)."""
        if self._cache is None:
            raise EngineError("this session has ended: another one was opened on the same model")
        if self._logits is None:
            self._logits = self._read()
        return self._logits.copy()

    @torch.inference_mode()
    def _read(self) -> np.ndarray:
        kept = min(common_prefix(self._cached, self._ids), len(self._ids) - 1)
        if kept < len(self._cached):
            self._cache.crop(kept)
            del self._cached[kept:]
        fresh = self._ids[kept:]
        try:
            with self._student.active():
                ids = torch.tensor([fresh], device=self._student.device)
                output = self._student.decode(ids, past_key_values=self._cache, use_cache=True)
                logits = self._student.logits(output.last_hidden_state[0, -1])
        except RuntimeError as error:
            self._cache = None  # it may hold half of the pass
            raise _failure(error) from error
        self._cached += fresh
        return logits.cpu().numpy()


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share from the start.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def check_length(length: int, context: int) -> None:
    """Raise `EngineError` where a session is empty or exceeds the context."""
    if length < 1:
        raise EngineError("a session needs at least one token: give it a prompt")
    if length > context:
        raise EngineError(f"{length} tokens exceed the model's context of {context}: use fewer or shorter passages, or a smaller window")


def check_rewind(length: int, held: int) -> None:
    """Raise `EngineError` where a session cannot go back to `length`."""
    if not 1 <= length <= held:
        raise EngineError(f"cannot rewind to {length} tokens: the session holds {held}")


def _failure(error: RuntimeError) -> EngineError:
    if "out of memory" in str(error).lower():
        return EngineError("the device is out of memory: close other programs, choose precision nf4, or use dear-nano")
    return EngineError(f"the model stopped ({str(error).splitlines()[0][:200]}): load it again, or choose engine cpu with fp32")

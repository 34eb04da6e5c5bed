"""Engines without a model: lexical overlap as the score, a scripted answer as the generator.

They behave like real engines (batches, sessions, failures on request) and are deterministic, so that the pipeline,
the CLI and the page can be tested and shown without weights. Choose them with the model name `fake`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dear.engines import EngineInfo, Message, Scored
from dear.errors import EngineError
from dear.explain import MIN_QUOTE_WORDS

EOS = 256  # ids 0..255 are bytes
WANTED, POSSIBLE, NEVER = 12.0, 4.0, -12.0
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be by can do does for from how i in is it of on or that the this to was what when where which who why will with"
    )
)
_PASSAGE = re.compile(r"^\[(\d+)\][ \t]*(.+?)(?=^\[\d+\]|\n[ \t]*\n|\Z)", re.MULTILINE | re.DOTALL)
_QUERY = re.compile(r"^[ \t]*(?:search )?query:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)

_CHAIN_SYNTAX = (("] > ", "["), ("] >", " "), ("] ", ">"), ("]", " "), (":", " "))  # how a line ends, what comes next

Answer = Callable[[Sequence[Message]], str]


def overlap(query: str, text: str) -> float:
    """Share of the query's content words that occur in `text`, plus a little for how often; from 0 to below 2.

    >>> overlap("why is the sky blue", "The sky is blue today") > overlap("why is the sky blue", "the sea")
    True
    """
    words = _content(query)
    if not words:
        return 0.0
    found = _WORD.findall(text.lower())
    hits = sum(word in found for word in words)
    often = sum(found.count(word) for word in words)
    return hits / len(words) + often / (often + len(found) + 1)


def _content(text: str) -> list[str]:
    words = dict.fromkeys(_WORD.findall(text.lower()))
    return [word for word in words if word not in _STOP] or list(words)


_SCORER = EngineInfo("fake", "fake", "none", "cpu", "lexical overlap, no model")
_GENERATOR = EngineInfo("fake", "fake", "none", "cpu", "scripted answer, no model")


@dataclass
class FakeScorer:
    """A `Scorer` by lexical overlap: `delay` seconds a batch; an `EngineError` once `fail_after` pairs are scored."""

    delay: float = 0.0
    fail_after: int | None = None
    batch_size: int = 4
    info: EngineInfo = _SCORER

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches in input order; see `dear.engines.Scorer`."""
        done = 0
        for start in range(0, len(texts), self.batch_size):
            indices = tuple(range(start, min(len(texts), start + self.batch_size)))
            if self.fail_after is not None and done + len(indices) > self.fail_after:
                raise EngineError(f"the fake scorer fails after {self.fail_after} pairs, as it was told to")
            time.sleep(self.delay)
            pairs = [f"{titles[i]} {texts[i]}" for i in indices]
            yield Scored(indices, tuple(overlap(query, pair) for pair in pairs), sum(len(pair.split()) for pair in pairs))
            done += len(indices)

    def close(self) -> None:
        """Nothing to release."""


class FakeGenerator:
    """A byte-level `TokenGenerator` that writes a script, and falls back to an overlap ranking where text is forced on it.

    `answer` is the script, or a function of the messages; by default requirements, a verbatim quote a passage and a
    ranking by overlap. `delay` is seconds a token; an `EngineError` comes once `fail_after` tokens are appended.
    """

    def __init__(self, answer: Answer | str | None = None, *, delay: float = 0.0, fail_after: int | None = None, context: int = 100_000) -> None:
        self.info = _GENERATOR
        self.context = context
        self.eos_ids = frozenset({EOS})
        self.delay, self.fail_after = delay, fail_after
        self._answer: Answer = default_answer if answer is None else (lambda _: answer) if isinstance(answer, str) else answer
        self._rendered: dict[str, Sequence[Message]] = {}

    def render(self, messages: Sequence[Message]) -> str:
        """A plain chat template without BOS; remembers the messages so that the script can read them."""
        text = "".join(f"<|{m['role']}|>\n{m['content']}\n" for m in messages) + "<|assistant|>\n"
        self._rendered[text] = messages
        if len(self._rendered) > 64:
            self._rendered.pop(next(iter(self._rendered)))
        return text

    def encode(self, text: str) -> list[int]:
        """The UTF-8 bytes of `text`."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the bytes; a character cut in half reads as U+FFFD."""
        return bytes(i for i in ids if i < EOS).decode(errors="replace")

    def open(self, ids: Sequence[int]) -> FakeSession:
        """A session on `ids`; the prompt is the longest rendered text that `ids` begins with."""
        given = bytes(i for i in ids if i < EOS)
        prompts = [text for text in self._rendered if given.startswith(text.encode())]
        prompt = max(prompts, key=len, default=None)
        messages = [{"role": "user", "content": self.decode(ids)}] if prompt is None else self._rendered[prompt]
        read = len(given) if prompt is None else len(prompt.encode())
        return FakeSession(self, list(ids), read, self._answer(messages).encode(), ranking(messages))

    def close(self) -> None:
        """Nothing to release."""


class FakeSession:
    """A `Session` whose logits depend on the tokens read and on nothing else."""

    def __init__(self, owner: FakeGenerator, ids: list[int], read: int, script: bytes, order: list[tuple[int, float]]) -> None:
        self._owner, self._ids, self._read, self._script, self._order = owner, ids, read, script, order
        self._appended = 0

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Sequence[int]) -> None:
        """Read more tokens; fails when told to."""
        self._appended += len(ids)
        if self._owner.fail_after is not None and self._appended > self._owner.fail_after:
            raise EngineError(f"the fake generator fails after {self._owner.fail_after} tokens, as it was told to")
        time.sleep(self._owner.delay * len(ids))
        self._ids += [int(i) for i in ids]

    def catch_up(self) -> Iterator[None]:
        """Nothing is ever pending."""
        return iter(())

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        if not 0 <= length <= len(self._ids):
            raise EngineError(f"cannot rewind to {length}: the session holds {len(self._ids)} tokens")
        del self._ids[length:]

    def logits(self) -> np.ndarray:
        """Next-byte logits: the script's next byte first; identifiers not yet named by their overlap."""
        out = np.full(EOS + 1, NEVER, dtype=np.float32)
        written = bytes(i for i in self._ids[self._read :] if i < EOS)
        for byte, value in self._chain(written).items():
            out[byte] = value
        if self._script.startswith(written):
            out[self._script[len(written)] if len(written) < len(self._script) else EOS] = WANTED
        return out

    def _chain(self, written: bytes) -> dict[int, float]:
        """Logits of the bytes that continue a ranking chain on the last line written."""
        line = written.rpartition(b"\n")[2].decode(errors="replace")
        used = {int(n) for n in re.findall(r"\[(\d+)\]", line)}
        left = [(str(n), score) for n, score in self._order if n not in used]
        opened = re.search(r"\[(\d*)$", line)
        if opened is None:
            if not left:
                return {EOS: POSSIBLE}
            following = next((byte for tail, byte in _CHAIN_SYNTAX if line.endswith(tail)), "[")
            return {ord(following): POSSIBLE}
        mass: dict[int, float] = {}
        for name, score in left:
            if name.startswith(opened[1]):
                byte = ord(f"{name}]"[len(opened[1])])
                mass[byte] = mass.get(byte, 0.0) + float(np.exp(3 * score))
        return {byte: POSSIBLE + float(np.log(m)) for byte, m in mass.items()} or {ord("]"): POSSIBLE}


def passages(messages: Sequence[Message]) -> tuple[str, dict[int, str]]:
    """The query and the numbered passages of a listwise prompt, as far as they can be read from its text."""
    text = "\n".join(m["content"] for m in messages if m["role"] == "user")
    query = _QUERY.findall(text)
    found: dict[int, str] = {}
    for number, body in _PASSAGE.findall(text):
        found.setdefault(int(number), " ".join(body.split()))
    return (query[-1].strip() if query else text[:200]), found


def ranking(messages: Sequence[Message]) -> list[tuple[int, float]]:
    """Identifiers with their overlap, best first; ties in prompt order."""
    query, found = passages(messages)
    scored = [(number, overlap(query, body)) for number, body in found.items()]
    return sorted(scored, key=lambda item: -item[1])


def default_answer(messages: Sequence[Message]) -> str:
    """Needs, a quote a passage that overlaps, and the ranking, in dear-nano's lines (see `dear.parse`)."""
    query, found = passages(messages)
    order = ranking(messages)
    words = _content(query)[:3] or ["the question"]
    lines = ["Needs: " + "; ".join(f"{i}. what is said about {word}" for i, word in enumerate(words, 1))]
    for number, score in order:
        meets = [i for i, word in enumerate(words, 1) if word in _WORD.findall(found[number].lower())]
        quote = _quote(found[number], [words[i - 1] for i in meets]) if score > 0 and meets else ""
        if len(quote.split()) >= MIN_QUOTE_WORDS:
            lines.append(f'[{number}] meets {", ".join(map(str, meets))}: "{quote}" - It names {words[meets[0] - 1]}.')
    lines.append("Ranking: " + " > ".join(f"[{number}]" for number, _ in order))
    return "\n".join(lines)


def _quote(body: str, words: Sequence[str]) -> str:
    """Up to eight words around the first of `words`, as they stand in the passage, within double quotes if it has any."""
    tokens = body.partition(": ")[2].split() or body.split()
    at = next((i for i, token in enumerate(tokens) if set(_WORD.findall(token.lower())) & set(words)), 0)
    start = max(0, min(at - 2, len(tokens) - MIN_QUOTE_WORDS))
    return max(" ".join(tokens[start : start + 8]).split('"'), key=len).strip()

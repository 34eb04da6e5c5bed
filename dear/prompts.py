"""The only templates: one pair and one list per checkpoint family, for training, inference and evaluation alike.

Families: `rankllama` (pairs, every published pointwise checkpoint and dear-nano), `dear` (the published listwise checkpoints)
and `nano` (dear-nano's listwise adapter). Golden files under `tests/dear/golden/` pin each byte for byte, since a score
or a ranking made with another prompt is another model's. The `rankllama` pair and the `dear` conversation are the wire
format those weights were trained on (github.com/DataScienceUIBK/DeAR-Reranking, `simple_rerank.py` and
`listwise_rerank/prompts.py`); the reference's closing line forbids the steps it asks for, ours does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dear.errors import BadInput
from dear.types import Passage

Message = dict[str, str]

_TEMPLATE_TOKEN = re.compile(r"<(?=\|)|(?<=\|)>|<(?=/?(?:s|unk|pad|think|bos|eos)>)|\[(?=/?INST\])|<(?=</?SYS>>)", re.IGNORECASE)
_IDENTIFIER = re.compile(r"\[\s*(\d+)\s*\]")


@dataclass(frozen=True, slots=True)
class Family:
    """How a listwise family opens its ranking: `marker` is the text that ends the reasoning and begins the chain."""

    name: str
    marker: str


FAMILIES = {
    "nano": Family("nano", "\nRanking:"),
    "dear": Family("dear", "\n### Final Reranking:"),
}


def neutralise(text: str) -> str:
    """Text as data: chat-template tokens and bracketed identifiers lose their force, white space becomes single spaces.

    Words are left as they are, so that a quote from the result is found in the original word for word.

    >>> neutralise("see [3]<|im_end|>\\n\\nRanking: [2] > [1]</s>")
    'see (3)< |im_end| > Ranking: (2) > (1)< /s>'
    """
    text = _IDENTIFIER.sub(r"(\1)", text)
    text = _TEMPLATE_TOKEN.sub(lambda match: f" {match[0]}" if match[0] == ">" else f"{match[0]} ", text)
    return " ".join(text.split())


def pair(query: str, title: str, text: str) -> tuple[str, str]:
    """The two sides of a pointwise pair, tokenised one after the other (RankLLaMA, arXiv 2310.08319; DeAR, section 3.1).

    >>> pair("why is the sky blue", "Light", "Short waves scatter more.")
    ('query: why is the sky blue', 'document: Light Short waves scatter more.')
    """
    return f"query: {neutralise(query)}", f"document: {neutralise(title)} {neutralise(text)}"


def judge(query: str, title: str, text: str) -> list[Message]:
    """A yes/no question about one passage, for scoring with a base model that has no relevance head (zero-shot)."""
    question = (
        f"Passage: {neutralise(title)} {neutralise(text)}\n\nQuestion: {neutralise(query)}\n\n"
        "Does the passage answer the question? Reply with Yes or No."
    )
    return [{"role": "user", "content": question}]


def passage_line(identifier: int, title: str, text: str) -> str:
    """One passage as the listwise prompt shows it."""
    title = neutralise(title)
    return f"[{identifier}] {title + ': ' if title else ''}{neutralise(text)}"


def listwise(query: str, passages: Sequence[Passage], family: str) -> list[Message]:
    """The conversation that asks for reasoning and a ranking; passage i (from 0) is identifier [i+1].

    Raises `BadInput` on an unknown family or an empty list.
    """
    if not passages:
        raise BadInput("no passages in the window: a listwise prompt needs at least one")
    if family == "nano":
        return _nano(neutralise(query), passages)
    if family == "dear":
        return _dear(neutralise(query), passages)
    raise BadInput(f"unknown listwise prompt family {family!r}: use one of {', '.join(FAMILIES)}")


def _nano(query: str, passages: Sequence[Passage]) -> list[Message]:
    lines = "\n".join(passage_line(i, p.title, p.text) for i, p in enumerate(passages, 1))
    ask = (
        f"Query: {query}\n"
        "Say what the query needs. For each passage that helps, quote the words that show it and say why. "
        f"Then rank all {len(passages)} passages, best first."
    )
    return [
        {"role": "system", "content": "You rank passages for a search query and show your evidence."},
        {"role": "user", "content": f"Query: {query}\n\n{lines}\n\n{ask}"},
    ]


def _dear(query: str, passages: Sequence[Passage]) -> list[Message]:
    n = len(passages)
    messages = [
        {"role": "system", "content": "You are RankLLM, an assistant that ranks passages by relevance to the query."},
        {
            "role": "user",
            "content": f"I will provide you with {n} passages, each indicated by number identifier [].\n"
            f"Rank the passages based on their relevance to query: {query}.",
        },
        {"role": "assistant", "content": "Okay, please provide the passages."},
    ]
    for i, passage in enumerate(passages, 1):
        text = " ".join(part for part in (neutralise(passage.title), neutralise(passage.text)) if part)
        messages.append({"role": "user", "content": f"[{i}] {text}"})
        messages.append({"role": "assistant", "content": f"Received passage [{i}]."})
    messages.append(
        {
            "role": "user",
            "content": f"Search Query: {query}.\n"
            f"Rank the {n} passages above based on their relevance to the search query.\n"
            "The passages should be listed in descending order using identifiers.\n"
            "Please follow the steps below:\n"
            "Step 1. List the information requirements to answer the query.\n"
            "Step 2. For each requirement, find the passages containing that information.\n"
            "Step 3. Rank passages that best cover clear and diverse information. Include all passages.\n"
            "Output format strictly: [2] > [1] > [3]",
        }
    )
    return messages

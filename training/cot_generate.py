"""Rows from a teacher on a server: reasoning and a permutation for our prompts, paid for knowingly, kept only when sound.

Any server that speaks the OpenAI protocol will do. Every finished request is a line in the output file, so a run that is cut
goes on with what is missing. An answer that does not name each passage once, or quotes words that are not in the passage, is
asked for again and then left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dear import prompts
from dear.errors import BadInput, EngineError
from dear.parse import parse
from dear.types import Passage
from training.cot import RANKING, Row, dump_row, read_rows, row_of
from training.cot_check import passages_of, supported_below, ungrounded
from training.groups import Group
from training.recipes import Cot

logger = logging.getLogger(__name__)

CHARS_PER_TOKEN = 4.0  # English, for the estimate only
ANSWER_TOKENS = 60  # a passage that is cited, on average, for the estimate only
FORMATS = {
    "nano": "Answer in exactly this form, one line each, quotes copied word for word (3 to 20 words):\n"
    'Needs: 1. <requirement>; 2. <requirement>\n[<id>] meets <numbers>: "<quote>" - <one sentence why>\n'
    "Not [<id>]: <why the closest passage that does not help is not an answer>\nRanking: [<id>] > [<id>] > …",
    "dear": "Answer in exactly this form, quotes copied word for word (3 to 20 words):\n"
    "### Step 1. Information requirements\n1. <requirement>\n\n### Step 2. Passages that hold them\n1. <requirement>\n"
    '[<id>] "<quote>" - <one sentence why>\n\n### Step 3. Ranking\n<one sentence>\n\n### Final Reranking: [<id>] > [<id>] > …',
}


@dataclass(frozen=True, slots=True)
class Task:
    """One request: a query with passages in prompt order. `key` tells finished ones apart."""

    key: str
    query: str
    passages: tuple[Passage, ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the open requests will cost, roughly: tokens and US dollars."""

    requests: int
    tokens_in: int
    tokens_out: int
    dollars: float

    def __str__(self) -> str:
        return (
            f"{self.requests:,} requests, about {self.tokens_in:,} tokens in and {self.tokens_out:,} out, about ${self.dollars:,.2f} "
            "(4 characters a token; rejected answers are paid for too)"
        )


@dataclass
class Tally:
    """What came of it."""

    kept: int = 0
    rejected: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count an answer that is asked for again or given up."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def tasks_of(groups: Iterable[Group], max_k: int) -> list[Task]:
    """A request a group, its first `max_k` passages in the order they lie."""
    found = []
    for group in groups:
        passages = tuple(Passage(c.id, c.text, c.title) for c in group.passages[:max_k])
        if len(passages) > 1:
            found.append(Task(group.query_id, group.query, passages, f"generated/{group.source}"))
    return found


def conversation(task: Task, family: str) -> list[prompts.Message]:
    """The student's own prompt, and for the teacher's eyes the form of the answer."""
    messages = prompts.listwise(task.query, task.passages, family)
    return [*messages[:-1], {**messages[-1], "content": f"{messages[-1]['content']}\n\n{FORMATS[family]}"}]


def open_tasks(tasks: Sequence[Task], out: Path | str) -> list[Task]:
    """The tasks whose row is not in `out` yet. A last line that was cut off in the middle is removed."""
    out = Path(out)
    if not out.exists():
        return list(tasks)
    lines = out.read_bytes()
    if lines and not lines.endswith(b"\n"):
        out.write_bytes(lines[: lines.rfind(b"\n") + 1])
    done = {row.query_id for row in read_rows(out)}
    return [task for task in tasks if task.key not in done]


def estimate(tasks: Sequence[Task], settings: Cot) -> Estimate:
    """What the tasks will cost at the recipe's prices, one answer each."""
    tokens_in = round(sum(len(m["content"]) for task in tasks for m in conversation(task, settings.format)) / CHARS_PER_TOKEN)
    tokens_out = sum(min(settings.max_tokens, 80 + ANSWER_TOKENS * min(4, len(t.passages)) + 6 * len(t.passages)) for t in tasks)
    return Estimate(len(tasks), tokens_in, tokens_out, (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6)


def generate(tasks: Sequence[Task], settings: Cot, *, yes: bool, progress: Callable[[int, int], None] | None = None) -> Tally:
    """Ask the teacher for every open task and append the sound rows to `cot.generated`; return what came of it.

    Refuses without `yes`: `BadInput` with the estimate. The key is read from OPENAI_API_KEY and never written.
    Raises `EngineError` when no request gets through.
    """
    out = Path(settings.generated)
    todo = open_tasks(tasks, out)
    if not todo:
        return Tally()
    if not yes:
        raise BadInput(f"{estimate(todo, settings)} at {settings.model}: add --yes to spend it, or lower the number of groups")
    out.parent.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_generate(todo, settings, out, progress))


async def _generate(todo: Sequence[Task], settings: Cot, out: Path, progress: Callable[[int, int], None] | None) -> Tally:
    from openai import AsyncOpenAI

    tally, done = Tally(), 0
    key = os.environ.get("OPENAI_API_KEY") or "none"  # local servers want none
    async with AsyncOpenAI(base_url=settings.base_url, api_key=key, max_retries=settings.attempts, timeout=120.0) as client:
        with out.open("a", encoding="utf-8") as file:
            async for row in _ask_all(client, todo, settings, tally):
                done += 1
                if row is not None:
                    file.write(dump_row(row) + "\n")
                    file.flush()
                if progress:
                    progress(done, len(todo))
    return tally


async def _ask_all(client: Any, todo: Sequence[Task], settings: Cot, tally: Tally) -> AsyncIterator[Row | None]:
    """Ask with at most `concurrency` requests at once; yields as they finish. The first failure of all is fatal, later ones are counted."""
    waiting = iter(todo)
    running = {asyncio.create_task(_ask(client, task, settings, tally)) for task in islice(waiting, settings.concurrency)}
    finished: set[Any] = set()
    try:
        while running:
            finished, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for job in finished:
                following = next(waiting, None)
                if following is not None:
                    running.add(asyncio.create_task(_ask(client, following, settings, tally)))
                yield job.result()
    finally:
        for job in running:
            job.cancel()
        await asyncio.gather(*running, *finished, return_exceptions=True)


async def _ask(client: Any, task: Task, settings: Cot, tally: Tally) -> Row | None:
    import openai

    messages = conversation(task, settings.format)
    for attempt in range(settings.attempts):
        try:
            answer = await client.chat.completions.create(
                model=settings.model, messages=messages, max_tokens=settings.max_tokens, temperature=0.0 if attempt == 0 else 0.7, seed=settings.seed
            )
        except openai.OpenAIError as error:
            if not tally.kept and not tally.rejected:
                raise EngineError(
                    f"{settings.base_url} does not answer ({type(error).__name__}: {error}): check cot.base_url and OPENAI_API_KEY"
                ) from error
            tally.failed += 1
            tally.reject(type(error).__name__)
            return None
        if answer.usage:
            tally.tokens_in += answer.usage.prompt_tokens
            tally.tokens_out += answer.usage.completion_tokens
        message = answer.choices[0].message if answer.choices else None
        text = ((message.content if message else None) or "").strip()
        row = row_of(
            prompts.listwise(task.query, task.passages, settings.format),
            text,
            source=task.source,
            query_id=task.key,
            ids=[p.id for p in task.passages],
            think=str(getattr(message, "reasoning_content", None) or ""),
        )
        reason = unsound(row)
        if reason is None and RANKING[settings.format] not in row.output:
            reason = "the ranking's line is not in the form asked for"
        if reason is None:
            tally.kept += 1
            return row
        tally.reject(reason)
        logger.debug("%s: %s", task.key, reason)
    tally.rejected += 1
    return None


def unsound(row: Row) -> str | None:
    """Why an answer is not fit to be learnt, or None: it must rank each passage once, name requirements, and quote what is there."""
    passages = passages_of(row)
    answer = parse(row.output, len(passages))
    if answer.status != "complete":
        return "the ranking does not name each passage once"
    if not answer.requirements:
        return "no information requirements"
    if ungrounded(row.output, passages):
        return "a quote is not in its passage"
    if not answer.citations and "No passage" not in row.output:
        return "no quote"
    if supported_below(answer, len(passages)):
        return "a passage with evidence ranks below one without"
    return None


def as_json(tally: Tally) -> str:
    """The tally as one JSON line."""
    return json.dumps({name: getattr(tally, name) for name in ("kept", "rejected", "failed", "tokens_in", "tokens_out", "reasons")})

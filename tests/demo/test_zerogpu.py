"""Spaces with ZeroGPU as far as it goes without one: a stand-in `spaces` package records how it was called, pickles what crosses over, or refuses."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from demo_parts import JUDGMENTS, QUERY, ROOT, free_port, get, pipeline

from dear import events as ev
from dear.pipeline import Settings
from demo import zerogpu
from demo.recordings import recordings

STAND_IN = """
import os, pickle, sys

TORCH_CAME_FIRST = "torch" in sys.modules

def GPU(task=None, *, duration=None):
    assert callable(duration)
    def wrap(function):
        def run(*values):
            values = pickle.loads(pickle.dumps(values))
            seconds = duration(*values)
            with open(os.environ["SEEN"], "a") as seen:
                print(function.__name__, seconds, TORCH_CAME_FIRST, file=seen)
            if os.environ.get("QUOTA") == "gone":
                error = RuntimeError("You have exceeded your free ZeroGPU quota (60s requested vs. 0s left)")
                error.title = "ZeroGPU quota exceeded"
                raise error
            for event in function(*values):
                yield pickle.loads(pickle.dumps(event))
        return run
    return wrap
"""
RUN = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + "/demo"]
from dataclasses import replace
from demo_parts import pipeline
import app
from dear import events as ev
from demo import zerogpu
made = pipeline()
assert not zerogpu.wanted(made), "an engine on the CPU asks for no GPU"
made.generator.info = replace(made.generator.info, device="cuda:0")
assert zerogpu.wanted(made)
print("\\n".join(ev.dump(zerogpu.run(made, "fake", {query!r}))))
"""


EVERY_USE = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + "/demo"]
from dataclasses import replace
from demo_parts import JUDGMENTS, QUERY, Words, passages
import app
from corpora.registry import Corpus
from dear.engines.fake import FakeGenerator, FakeScorer
from demo import api, compare_run, comparison, limits, sentences, session
from demo.learning import walk as steps, work
from demo.resources import Resources

resources = Resources(corpora=("small",), models=("fake",))
scorer, generator = FakeScorer(), FakeGenerator()
for part in (scorer, generator):
    part.info = replace(part.info, device="cuda:0")
parts = {{"corpus:small": Corpus("small", passages()), "retriever:small:bm25": Words(passages()), "scorer:fake": scorer, "generator:fake": generator}}
for key, value in parts.items():
    resources._jobs[key].state, resources._jobs[key].value = "ready", value
walk = steps.begin(QUERY, "small", "fake", Words(passages()).search(QUERY, 10), JUDGMENTS)
ticket = lambda: session.Ticket("1")

def use(name, stream):
    print("#", name, file=open(__import__("os").environ["SEEN"], "a"), flush=True)
    return list(stream)[-1]

view = use("explain", session.explain(resources, limits.Request(QUERY, "small", model="fake"), ticket()))
use("sentences", sentences.leave_out(resources, view, view.hits[0], ticket()))
made = use("learn", work.rank(resources, walk, ticket()))
use("edit", work.edit(resources, walk, "sun", "Other words.", ticket()))
use("leave_out", work.leave_out(resources, walk, "paint", ticket()))
setups = (comparison.Setup("pointwise"), comparison.Setup("both-fast"))
found = use("compare", compare_run.compare(resources, comparison.Asked(QUERY, "small", "fake", 6, setups), ticket()))
assert found.result, found
calls = api.Api(resources)
assert len(use("score", calls.score(QUERY, ["the sky is blue", "jazz"]))) == 2
use("rerank_explain", calls.rerank_explain(QUERY))
"""


@pytest.fixture
def spaces(tmp_path):
    """An environment in which `import spaces` finds the stand-in on a ZeroGPU Space."""
    (tmp_path / "spaces.py").write_text(textwrap.dedent(STAND_IN), encoding="utf-8")
    seen = tmp_path / "seen"
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    return {**os.environ, "PYTHONPATH": path, "SEEN": str(seen), "SPACES_ZERO_GPU": "true"}, seen


def run(environment, query):
    code = RUN.format(tests=str(ROOT / "tests"), query=query)
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return list(ev.load(done.stdout.splitlines()))


def test_elsewhere_the_decorator_is_the_identity():
    def task():
        return 1

    assert zerogpu.spaces is None
    assert zerogpu.gpu(lambda: 1)(task) is task
    assert not zerogpu.wanted(pipeline())


def test_a_run_crosses_over_whole(spaces):
    environment, seen = spaces
    events = run(environment, QUERY)
    here = list(pipeline().run(QUERY))
    assert [type(event) for event in events] == [type(event) for event in here]
    assert [hit.id for hit in events[-1].hits] == [hit.id for hit in here[-1].hits]
    name, seconds, torch_first = seen.read_text().split()
    assert (name, torch_first) == ("rerank", "False")
    assert 10 < int(seconds) <= zerogpu.MOST_S


def test_every_use_of_a_model_asks_for_the_gpu(spaces):
    environment, seen = spaces
    code = EVERY_USE.format(tests=str(ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    asked = {}
    for line in seen.read_text().splitlines():
        if line.startswith("# "):
            uses = asked.setdefault(line[2:], [])
        else:
            uses.append(line.split()[0])
    assert asked == {
        "explain": ["rerank"],
        "sentences": ["score"],
        "learn": ["rank"],
        "edit": ["score"],
        "leave_out": ["score"],
        "compare": ["rank", "rank"],
        "score": ["rank"],
        "rerank_explain": ["rerank"],
    }


def test_without_quota_the_recorded_run_or_the_candidates(spaces):
    environment, _ = spaces
    known = recordings()[0]
    replayed = run({**environment, "QUOTA": "gone"}, known.query)
    assert "quota" in replayed[1].message
    assert [replayed[0], *replayed[2:]] == list(known.events)
    other = run({**environment, "QUOTA": "gone"}, QUERY + " today")
    failed = [event for event in other if isinstance(event, ev.Failed)]
    assert [event.stage for event in failed] == ["pointwise", "listwise"]
    assert "dear-nano" in failed[0].error
    assert len(other[-1].hits) > 0


def test_the_time_asked_for_grows_with_the_work():
    hits = pipeline().retriever.search(QUERY, 6)
    asked = [zerogpu.seconds("m", QUERY, hits, settings, {}) for settings in (Settings(reasoning=False), Settings(), Settings(window=2, stride=1))]
    assert asked[0] < asked[1] < asked[2] <= zerogpu.MOST_S


def test_what_crosses_over_pickles():
    hits = pipeline().retriever.search(QUERY, 6)
    for values in (("m", QUERY, hits, Settings(), JUDGMENTS), [ev.to_dict(event) for event in pipeline().run(QUERY)]):
        assert pickle.loads(pickle.dumps(values)) == values  # noqa: S301 - its own


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0")])
def test_a_space_may_fetch_the_base_model(given, then):
    """A Space installs requirements.txt alone, which cannot name a wheel that goes in without its dependencies."""
    environment = {key: value for key, value in os.environ.items() if key != "DEAR_DOWNLOAD"} | ({"DEAR_DOWNLOAD": given} if given else {})
    code = "import app, os; print(os.environ['DEAR_DOWNLOAD'])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True).strip() == then


@pytest.mark.slow
def test_the_space_starts(spaces):
    """The entry point as Spaces runs it: a page at the port within its start limit."""
    import time

    environment, _ = spaces
    port = free_port()
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env={**environment, "GRADIO_SERVER_PORT": str(port), "SPACE_ID": "a/b"})
    try:
        end = time.monotonic() + 240
        while get(f"http://127.0.0.1:{port}/config")[0] != 200:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(20)

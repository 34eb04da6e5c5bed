"""A run that was cut, by an error at any call or by a killed process, ends as an uninterrupted one: same figures, same files."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_benchmarks import timeless

from dear.engines.fake import FakeScorer, FakeSession
from dear.errors import EngineError
from dear.evaluation.run import Plan
from dear.evaluation.show import show

ROOT = Path(__file__).parents[3]
STAGES = ("bm25", "pointwise", "listwise", "fast")
KILLED = """
import os, signal, sys
from dear.__main__ import main
from dear.engines.fake import FakeSession
real, left = FakeSession.append, [int(sys.argv.pop(1))]
def append(self, ids):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, ids)
FakeSession.append = append
main()
"""


def files_of(folder):
    """The files of a run without the clock's figures and the plot, by name."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.trec")}
    assert len(found) == len(STAGES)
    found["values"] = [row[:-1] for row in csv.reader((folder / "small.queries.csv").read_text(encoding="utf-8").splitlines())]
    return found | {"line": timeless(json.loads((folder / "small.json").read_text(encoding="utf-8")))}


def run(small, room, monkeypatch, cache, out):
    monkeypatch.setenv("DEAR_CACHE", str(cache))
    list(show(Plan((str(small),), model="fake", stages=STAGES, peers=("bm25",), shuffles=2), room, out, as_json=True))
    return files_of(out)


@pytest.mark.parametrize(("model", "call", "budget"), [(FakeScorer, "score", 3), (FakeSession, "append", 300)], ids=["scoring", "writing"])
def test_cut_by_an_error_again_and_again(small, room, monkeypatch, tmp_path, model, call, budget):
    whole = run(small, room, monkeypatch, tmp_path / "whole", tmp_path / "out-whole")
    real, left, cuts = getattr(model, call), [0], 0

    def failing(self, *arguments):
        if left[0] <= 0:
            raise EngineError("cut")
        left[0] -= 1
        return real(self, *arguments)

    monkeypatch.setattr(model, call, failing)
    for _ in range(100):
        left[0] = budget  # so many calls (the first of them warms up), then the power goes
        try:
            resumed = run(small, room, monkeypatch, tmp_path / "cut", tmp_path / "out-cut")
            break
        except EngineError:
            cuts += 1
    assert cuts >= 2
    assert resumed == whole


def test_a_killed_process(small, room, monkeypatch, tmp_path):
    whole = run(small, room, monkeypatch, tmp_path / "whole", tmp_path / "out-whole")
    options = ["--model", "fake", "--stages", ",".join(STAGES), "--peers", "bm25", "--shuffles", "2", "--out", str(tmp_path / "out-cut")]
    call = [sys.executable, "-c", KILLED, "900", "evaluate", str(small), *options]
    environment = {**os.environ, "DEAR_CACHE": str(tmp_path / "cut")}
    killed = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out-cut" / "small.json").exists()
    real, asked = FakeSession.append, []
    monkeypatch.setattr(FakeSession, "append", lambda self, ids: asked.append(ids) or real(self, ids))
    assert run(small, room, monkeypatch, tmp_path / "cut", tmp_path / "out-cut") == whole
    resumed = len(asked)
    run(small, room, monkeypatch, tmp_path / "again", tmp_path / "out-again")
    assert 0 < resumed < len(asked) - resumed  # what the killed process had written is not written again

"""Exports: each kind from a whole run and from a cut one, names the server makes, runs that are forgotten."""

from __future__ import annotations

import csv
import io
import os
import time
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
from demo_parts import QUERY, pipeline
from hostile import CANARIES

from dear import events as ev
from dear.errors import BadInput
from dear.runs import read_trec
from dear.types import Passage
from demo import exports
from demo.exports import KINDS, ExportFolder, export, slug
from demo.kept_runs import LIFE_S, MAX_RUNS, KeptRuns
from demo.tabs.sharing import Sharing

SVG = "{http://www.w3.org/2000/svg}"


def whole(events):
    return [hit.id for hit in events[-1].hits]


def test_events_come_back_as_they_went(run_events):
    name, text = export("jsonl", run_events)
    assert name == "dear-why-is-the-sky-blue.jsonl"
    assert list(ev.load(text.splitlines())) == run_events


def test_a_trec_run_reads_back_in_order(run_events, tmp_path):
    path = tmp_path / "run.trec"
    path.write_text(export("trec", run_events)[1], encoding="utf-8")
    ((query, rows),) = read_trec(path)
    assert query == "why-is-the-sky-blue"
    assert [row[1] for row in rows] == whole(run_events)


def test_csv_holds_every_passage_and_runs_nothing(run_events):
    rows = list(csv.DictReader(io.StringIO(export("csv", run_events)[1])))
    assert [row["id"] for row in rows] == whole(run_events)
    evil = [Passage(f"{sign}id", "the sky is blue", f"{sign}cmd|' /C calc'!A0") for sign in ("=", "+", "-", "@", "\t", "\r")]
    for row in csv.DictReader(io.StringIO(export("csv", list(pipeline(evil).run(QUERY)))[1], newline="")):
        for cell in (row["id"], row["title"], row["rationale"]):
            assert not cell or cell[0] not in "=+-@\t\r"


def test_the_graph_stands_alone(run_events):
    name, text = export("svg", run_events)
    root = ET.fromstring(text)
    assert name.endswith(".svg")
    assert root.tag == f"{SVG}svg"
    assert "var(" not in text
    assert not [element for element in root.iter() if element.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}foreignObject")]
    assert len([element for element in root.iter() if "track" in element.get("class", "").split()]) == len(whole(run_events))
    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert QUERY in words
    assert {"Retrieval", "Pointwise", "Listwise"} <= set(words)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_carried_as_text(kind):
    passages = [Passage(f"c{n}", f"sky {canary}", f"{canary} title") for n, canary in enumerate(CANARIES)]
    events = list(pipeline(passages).run(f"sky {CANARIES[4]}"))
    name, text = export(kind, events)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert text
    if KINDS[kind].suffix == ".svg":
        assert not [element for element in ET.fromstring(text).iter() if any(key.lower().startswith("on") for key in element.attrib)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_cut_is_exported_as_far_as_it_came(kind, run_events):
    cut = run_events[: next(place for place, event in enumerate(run_events) if isinstance(event, ev.WindowStart)) + 3]
    assert export(kind, cut)[1]


def test_what_cannot_be_exported_is_said(run_events):
    with pytest.raises(BadInput, match="no run to export"):
        export("csv", [])
    with pytest.raises(BadInput, match="choose one of html"):
        export("../../etc/passwd", run_events)
    with pytest.raises(BadInput, match="white space"):
        export("trec", list(pipeline([Passage("a b", "the sky")]).run("sky")))
    with pytest.raises(BadInput, match="no passage was ranked"):
        export("svg", [ev.Started("sky"), ev.Final(())])


@pytest.mark.parametrize(
    ("text", "name"), [("Why, oh why?", "why-oh-why"), ("../../x", "x"), ("天", "run"), ("a" * 300, "a" * exports.MAX_NAME), ("", "run")]
)
def test_names_are_harmless(text, name):
    assert slug(text) == name


def test_files_lie_in_a_folder_of_their_own_and_go():
    folder = ExportFolder()
    first = folder.write("dear-run.csv", "a")
    second = folder.write("dear-run.csv", "b")
    assert first.read_text() == "a"
    assert first.parent.parent == second.parent.parent == folder.path
    assert first != second
    old = time.time() - exports.KEEP_S - 1
    os.utime(first.parent, (old, old))
    folder.write("dear-run.csv", "c")
    assert not first.exists()
    assert second.exists()


def test_a_visitor_gets_the_own_run_and_nobody_elses(run_events):
    sharing = Sharing(first=run_events[:2])
    mine, other = SimpleNamespace(session_hash="mine"), SimpleNamespace(session_hash="other")
    sharing.kept.keep("mine", run_events)
    path, wrong = sharing.make("jsonl", mine)
    assert wrong == ""
    with open(path, encoding="utf-8") as file:
        assert list(ev.load(file)) == run_events
    with open(sharing.make("jsonl", other)[0], encoding="utf-8") as file:
        assert list(ev.load(file)) == run_events[:2]
    sharing.leave(mine)
    assert sharing.kept.events("mine") == ()
    path, wrong = sharing.make("csv", mine)
    assert path is None, "the example is not handed over as if it were the own run"
    assert "30 minutes" in wrong
    path, wrong = Sharing().make("csv", other)
    assert path is None
    assert "no run to export yet" in wrong


def test_runs_are_forgotten():
    now = [0.0]
    kept = KeptRuns(clock=lambda: now[0])
    growing = [ev.Started("q")]
    kept.keep("a", growing)
    growing.append(ev.Final(()))
    assert len(kept.events("a")) == 2
    now[0] = LIFE_S - 1
    assert kept.events("a")
    now[0] = LIFE_S
    assert kept.events("a") == ()
    assert kept.sweep() == 1
    for n in range(MAX_RUNS + 5):
        kept.keep(str(n), growing)
    assert kept.events("4") == ()
    assert kept.events("5")

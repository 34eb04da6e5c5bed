"""The recorded examples: whole, small, of the teaching corpus; shown by the same code as a live run; recorded by one command."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from corpora.registry import open_corpus
from dear import events as ev
from dear.metrics import measure
from dear.replay import MAX_BYTES, replay_html
from demo import record
from demo.handlers import reduce_all
from demo.recordings import recordings
from demo.render import panels
from demo.resources import Resources
from demo.working import ideal_dcg, working

FOUND = recordings()


def test_there_are_examples_and_the_first_is_the_first_query():
    assert len(FOUND) >= 3
    assert FOUND[0].query == record.QUERIES[0]


@pytest.mark.parametrize("recording", FOUND, ids=lambda recording: recording.name)
def test_an_example_is_a_whole_run_with_judgments(recording):
    kinds = [type(event) for event in recording.events]
    assert kinds[0] is ev.Started
    assert kinds[-1] is ev.Final
    assert ev.Failed not in kinds
    assert {ev.Retrieved, ev.Pointwise, ev.WindowEnd, ev.Metrics, ev.Timing} <= set(kinds)
    metrics = next(event for event in recording.events if isinstance(event, ev.Metrics))
    corpus = open_corpus(record.CORPUS)
    assert metrics.judgments == corpus.judgments(recording.query)
    assert metrics.stages["listwise"] == pytest.approx(measure([hit.id for hit in recording.events[-1].hits], metrics.judgments))
    texts = {hit.id: hit.passage.text for hit in recording.events[-1].hits}
    assert all(corpus.passage(id).text == text for id, text in texts.items())
    assert len(replay_html(recording.events).encode()) < MAX_BYTES


def test_it_is_shown_as_a_run_with_a_chip():
    view = replace(reduce_all(FOUND[0].events), recorded=True)
    shown = panels(view)
    assert 'class="chip recorded"' in shown.rail
    assert FOUND[0].query in shown.rail
    assert "What moved" in shown.graph
    assert shown.report.count('class="tile ') == 3
    assert "recorded" not in panels(replace(view, recorded=False)).rail


def test_the_working_adds_up():
    view = reduce_all(FOUND[0].events)
    page = working(view)
    for stage, values in view.metrics.stages.items():
        assert f"{ideal_dcg(view.judgments):.3f} = {values['nDCG@10']:.3f}" in page, stage
    assert page.count("<tr><td>1</td>") == 3
    assert working(replace(view, judgments={})) == ""


def test_a_damaged_recording_is_left_out_and_logged(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text("\n".join(ev.dump(FOUND[0].events)), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("{not json", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert [recording.name for recording in recordings(tmp_path)] == ["a"]
    assert "b.jsonl" in caplog.text


def test_the_command_records(tmp_path, capsys):
    assert record.main(["--model", "fake", "--engine", "fake", "--query", "why is the sky blue", "--out", str(tmp_path)]) == 0
    (recording,) = recordings(tmp_path)
    assert recording.name == "1-why-is-the-sky-blue"
    assert recording.events[0].config["corpus"] == record.CORPUS
    assert isinstance(recording.events[-1], ev.Final)
    assert "1-why-is-the-sky-blue.jsonl" in capsys.readouterr().out


def test_the_first_page_holds_a_finished_run_before_anything_is_loaded():
    app = pytest.importorskip("demo.app")
    resources = Resources()
    sent = json.dumps(app.build_demo(resources).get_config_file(), default=str)
    assert {part.state for part in resources.parts()} == {"waiting"}, "nothing was begun"
    assert "rail told" in sent
    assert sent.count("data-d=") >= 10, "the cards of the example"
    assert recordings()[0].query in sent

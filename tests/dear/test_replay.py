"""The replay page as text: one file, inert data, a policy that names its own script, a size that holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hostile import CANARIES
from typer.testing import CliRunner

from dear import events as ev
from dear.__main__ import app
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput
from dear.pipeline import Pipeline, Settings
from dear.replay import MAX_BYTES, inert_json, replay_html
from dear.types import Passage


def recorded(passages, query="why is the sky blue", **settings):
    pipeline = Pipeline(scorer=FakeScorer(), generator=FakeGenerator(), judgments=lambda q: {passages[0].id: 2}, settings=Settings(**settings))
    return list(pipeline.run(query, passages))


@pytest.fixture(scope="module")
def run():
    return recorded([Passage("sun", "Air scatters short waves, so the sky is blue.", "Light"), Passage("sea", "The sea mirrors the sky.", "Sea")])


class Elements(HTMLParser):
    """Every start tag of a page with its attributes, and what stands in its scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.content, self._open = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_data(self, data):
        if self._open:
            self.content.append((*self._open, data))
            self._open = None


def data_of(page):
    (text,) = [data for tag, attrs, data in Elements(page).content if tag == "script" and attrs.get("type") == "application/json"]
    return json.loads(text)


def test_the_page_is_one_file_that_asks_for_nothing(run):
    page = replay_html(run)
    elements = Elements(page)
    assert not [tag for tag, attrs in elements.tags if tag in ("img", "iframe", "object", "embed", "base", "form") or "src" in attrs]
    assert [attrs["href"] for tag, attrs in elements.tags if tag == "link"] == ["data:,"]
    assert not re.search(r"https?://|@import|url\((?!#)", page.replace("http://www.w3.org/2000/svg", "").replace("url(#", "url(#"))
    assert not [name for _, attrs in elements.tags for name in attrs if name.startswith("on") or name == "style"]
    assert len(page.encode()) < MAX_BYTES


def test_the_policy_allows_the_pages_own_script_and_style_alone(run):
    elements = Elements(replay_html(run))
    (policy,) = [attrs["content"] for _, attrs in elements.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = [data for name, attrs, data in elements.content if name == tag and "type" not in attrs]
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_script_writes_text_only():
    elements = Elements(replay_html([ev.Started("q"), ev.Final(())]))
    (script,) = [data for tag, attrs, data in elements.content if tag == "script" and "type" not in attrs]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|fetch\(|XMLHttp|import\(", script)


@pytest.mark.parametrize("canary", CANARIES)
def test_attacks_do_not_leave_the_data(canary):
    passages = [Passage(f"id {canary}", f"The sky is blue {canary} here.", f"title {canary}"), Passage("b", "Nothing of note.", "Other")]
    page = replay_html(recorded(passages, query=f"sky {canary}"))
    plain = replay_html(recorded([Passage("a", "The sky is blue here.", "t"), Passage("b", "Nothing of note.", "Other")], query="sky"))
    assert [tag for tag, _ in Elements(page).tags] == [tag for tag, _ in Elements(plain).tags]
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    shown = re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", f"title {canary}")
    assert data_of(page)["passages"][0]["title"] == shown


def test_the_events_are_all_there_and_passages_once(run):
    data = data_of(replay_html(run))
    assert ["Token" if isinstance(event, str) else event["type"] for event in data["events"]] == [type(event).__name__ for event in run]
    assert [passage["id"] for passage in data["passages"]] == ["sun", "sea"]
    final = data["events"][-1]["hits"]
    assert [data["passages"][hit["p"]]["id"] for hit in final] == [hit.id for hit in run[-1].hits]
    assert "".join(event for event in data["events"] if isinstance(event, str)) == "".join(e.text for e in run if isinstance(e, ev.Token))


def test_long_passages_are_cut_until_the_page_fits():
    long = [Passage(str(n), f"number {n} " + "sky " * 4_000, "t") for n in range(20)]
    page = replay_html(recorded(long, depth=4, max_tokens=64))
    data = data_of(page)
    assert len(page.encode()) <= MAX_BYTES
    assert data["cut"] in (2_000, 1_000, 500, 240)
    assert {len(passage["text"]) for passage in data["passages"]} == {data["cut"]}


def test_the_longest_run_the_demo_allows_fits():
    long = [Passage(str(n), f"number {n} " + "the sky is blue " * 120, "t" * 60) for n in range(50)]
    data = data_of(replay_html(recorded(long, candidates=50, depth=50, window=20, stride=5)))
    starts = [event for event in data["events"] if not isinstance(event, str) and event["type"] == "WindowStart"]
    assert len(starts) == 7
    assert all(len(start["prompt"]) <= start.get("cut", 10**6) for start in starts)


def test_what_cannot_be_shown_is_said():
    with pytest.raises(BadInput, match="no events"):
        replay_html([])
    many = [Passage(f"{n:04d}{'x' * 300}", "sky " * 60, "t" * 100) for n in range(900)]
    with pytest.raises(BadInput, match="fewer candidates"):
        replay_html(recorded(many, depth=2, window=2, stride=1))


def test_data_is_inert_in_a_script():
    assert json.loads(inert_json({"a": "</script>&\u2028"})) == {"a": "</script>&\u2028"}
    assert not set("<>&\u2028") & set(inert_json("</script>&\u2028"))
    assert inert_json("\ud800").encode() == '"\ufffd"'.encode()


def test_the_command_writes_the_page(run, tmp_path):
    recording, page = tmp_path / "run.jsonl", tmp_path / "out" / "run.html"
    recording.write_text("\n".join(ev.dump(run)), encoding="utf-8")
    result = CliRunner().invoke(app, ["replay", str(recording), "--html", str(page)])
    assert result.exit_code == 0, result.output
    assert page.read_text(encoding="utf-8").rstrip() == replay_html(run).rstrip()

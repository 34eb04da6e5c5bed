"""First visit, exports and links in a real browser: an example at once, files that open, a link that asks the question again."""

from __future__ import annotations

import csv
import io
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browsing import LOADED, READY
from demo_parts import CANARIES, QUERY, served, write_corpus

from dear import events as ev
from demo.recordings import recordings

FINISHED = "body:not(:has(.rail.told)) .report"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with served(str(write_corpus(tmp_path_factory.mktemp("pages") / "small"))) as url:
        yield url


@pytest.fixture
def visit(chrome, site):
    """Opens the page; fails on a script error."""
    wrong, contexts = [], []

    def visited(query="", size=(1280, 900), permissions=("clipboard-read", "clipboard-write")):
        context = chrome.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", permissions=list(permissions))
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        tab.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        tab.goto(f"{site}/{query}")
        tab.wait_for_selector(READY, timeout=60_000)
        tab.wait_for_function(LOADED, timeout=60_000)
        return tab

    yield visited
    for context in contexts:
        context.close()
    assert wrong == []


def saved(tab, label):
    with tab.expect_download(timeout=15_000) as download:
        tab.get_by_role("button", name=label, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_a_visitor_sees_a_finished_example_at_once(visit):
    example = recordings()[0]
    tab = visit()
    assert tab.locator(".chip.recorded").inner_text() == "recorded"
    assert tab.locator(".rail.told li.done").count() == 3
    assert tab.locator(".report .ndcg").count() == 3
    assert tab.locator(".dear-query input, .dear-query textarea").input_value() == example.query
    cards = tab.locator("#dear-candidates .doc").evaluate_all("marks => marks.map(mark => mark.title)")
    assert cards == [hit.id for hit in example.events[-1].hits]
    _, content = saved(tab, "Events")
    assert tuple(ev.load(content.decode().splitlines())) == example.events
    tab.locator("button.dear-go").click()
    tab.wait_for_selector(FINISHED, timeout=30_000)
    assert tab.locator(".chip.recorded").count() == 0


def test_every_export_opens(visit):
    tab = visit(f"?{urlencode({'q': QUERY})}")
    tab.wait_for_selector(FINISHED, timeout=30_000)
    order = tab.locator("#dear-candidates .doc").evaluate_all("marks => marks.map(mark => mark.title)")
    name, content = saved(tab, "Events")
    events = list(ev.load(content.decode().splitlines()))
    assert name == "dear-why-is-the-sky-blue.jsonl"
    assert [hit.id for hit in events[-1].hits] == order
    assert events[0].config["retriever"] == "bm25"
    name, content = saved(tab, "CSV")
    assert [row["id"] for row in csv.DictReader(io.StringIO(content.decode()))] == order
    name, content = saved(tab, "TREC run")
    assert [line.split()[2] for line in content.decode().splitlines()] == order
    name, content = saved(tab, "Graph SVG")
    assert ET.fromstring(content).tag.endswith("svg")
    name, content = saved(tab, "Graph PNG")
    assert name == "dear-why-is-the-sky-blue.png"
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000, "an empty canvas is smaller"
    name, content = saved(tab, "Replay page")
    assert name == "dear-why-is-the-sky-blue.html"
    assert b"Content-Security-Policy" in content


def test_the_copied_link_asks_the_same_question(visit):
    tab = visit(f"?{urlencode({'q': QUERY, 'k': '5', 'reasoning': 'off'})}")
    tab.wait_for_selector(FINISHED, timeout=30_000)
    tab.get_by_role("button", name="Copy link").click()
    tab.wait_for_function("document.querySelector('.dear-page [role=status]').textContent === 'Link copied'", timeout=5_000)
    link = tab.evaluate("navigator.clipboard.readText()")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert asked["q"] == QUERY
    assert asked["k"] == "5"
    assert asked["reasoning"] == "off"
    assert asked["model"] == "fake"
    again = visit(f"?{urlsplit(link).query}")
    again.wait_for_selector(FINISHED, timeout=30_000)
    titles = "cards => cards.map(card => card.querySelector('h3').textContent)"
    assert again.locator(".card").evaluate_all(titles) == tab.locator(".card").evaluate_all(titles)
    assert "fast mode" in again.locator(".dear-settings").inner_text()


@pytest.mark.parametrize("asked", [{"q": QUERY, "model": "rm -rf"}, {"q": QUERY, "corpus": "/etc"}, {"q": "sky " * 60}, {"q": "  "}])
def test_a_link_that_is_not_short_and_valid_waits(visit, asked):
    tab = visit(f"?{urlencode(asked)}")
    tab.wait_for_function("q => document.querySelector('.dear-query input, .dear-query textarea').value.trim() === q", arg=asked["q"].strip())
    time.sleep(1.5)
    assert tab.locator(".rail.told").count() == 1, "nothing ran"
    assert tab.locator(".dear-stop:visible").count() == 0
    if len(asked) > 1:
        assert "not known here" in tab.locator("[role=alert]").inner_text()


def test_a_hostile_link_runs_as_text_only(visit):
    tab = visit(f"?{urlencode({'q': CANARIES[4]})}")
    tab.wait_for_selector("body:not(:has(.rail.told)) .dear-page [role=status]", state="attached", timeout=30_000)
    tab.wait_for_selector("button.dear-go:visible", timeout=30_000)
    assert tab.evaluate("window.canary === undefined")
    assert tab.locator(".dear-page script, .dear-page img").count() == 0


def test_a_phone_has_room_for_it_all(visit):
    tab = visit(size=(390, 844))
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    small = "[...document.querySelectorAll('.dear-exports button')].filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5).length"
    assert tab.evaluate(small) == 0
    assert tab.locator(".dear-exports button:visible").count() == 7

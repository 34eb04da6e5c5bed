"""What visitors ask stays out of the log: a marker word goes through every door, and the server's output and records hold it nowhere."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import pytest
from browsing import visitor
from demo_parts import JUDGMENTS, QUERY, Words, free_port, passages, until

from corpora.formats import Query
from corpora.registry import Corpus
from dear.engines.fake import FakeGenerator, FakeScorer
from demo.resources import Resources

gradio_client = pytest.importorskip("gradio_client")
MARKER = "zyxomarker"
ASKED = f"{QUERY} {MARKER}"
FIELD = ".dear-query input:visible"
DONE = "body:not(:has(.rail.told)) .report"


class Blabbing:
    """A retriever, and a corpus, whose errors repeat what they were given, as those of query parsers do."""

    kind = "dense"

    def search(self, query: str, k: int):
        raise RuntimeError(f"cannot parse {query!r}")

    def retriever(self, kind: str, progress=None):
        raise RuntimeError(f"cannot index {MARKER!r}")


class BlabbingScorer(FakeScorer):
    def score(self, query, texts, titles):
        raise RuntimeError(f"cannot score {query!r} with {texts[0]!r}")


def blab(messages) -> str:
    raise RuntimeError(f"cannot read {messages!r}")


@dataclass
class Server:
    """The page's address, its parts, and what it has said so far."""

    url: str
    resources: Resources
    read: object
    records: pytest.LogCaptureFixture

    def said(self) -> str:
        written = self.read.readouterr()
        return written.out + written.err + self.records.text


@pytest.fixture
def server(capfd, caplog):
    """The page in this process, so that every record is seen, from INFO on; the model `broken` fails in both stages, dense retrieval too."""
    pytest.importorskip("gradio")
    from demo.app import build_demo, launch

    caplog.set_level(logging.INFO)
    resources = Resources(corpora=("small",), models=("fake", "broken"))
    parts = {
        "corpus:small": Corpus("small", passages(), queries=[Query("q1", QUERY)], qrels={"q1": JUDGMENTS}),
        "retriever:small:bm25": Words(passages()),
        "retriever:small:dense": Blabbing(),
        "scorer:fake": FakeScorer(),
        "generator:fake": FakeGenerator(),
        "scorer:broken": BlabbingScorer(),
        "generator:broken": FakeGenerator(blab),
    }
    for key, value in parts.items():
        resources._jobs[key].state, resources._jobs[key].value = "ready", value
    threading.Thread(target=resources._work, daemon=True).start()
    demo, port = build_demo(resources), free_port()
    launch(demo, port=port)
    yield Server(f"http://127.0.0.1:{port}", resources, capfd, caplog)
    demo.close()


def ask(tab, query: str, seen: str) -> None:
    tab.fill(FIELD, query)
    tab.press(FIELD, "Enter")
    tab.wait_for_selector(seen)


@pytest.mark.browser
def test_runs_that_end_well_or_badly(chrome, server):
    with visitor(chrome, server.url) as tab:
        ask(tab, ASKED, DONE)
        assert MARKER in tab.url, "the address is the visitor's own"
        tab.locator("button.which").first.click()
        tab.wait_for_selector(".card .found")
        ask(tab, MARKER * 99, "p.alert:visible")
        for asked, failed in (
            ("model=broken", "Pointwise failed"),
            ("retriever=dense", "Retrieval failed"),
            ("model=broken&reasoning=off", "Listwise failed"),
        ):
            tab.goto(f"{server.url}/?q={ASKED.replace(' ', '+')}&{asked}")
            tab.wait_for_selector(f".failure:has-text('{failed}')")
        tab.get_by_role("tab", name="Compare").click()
        ask(tab, ASKED, ".versus")
    said = server.said()
    assert "RuntimeError at" in said, "failures are logged, or this test shows nothing"
    assert MARKER not in said


def test_calls(server):
    client = gradio_client.Client(server.url, verbose=False)
    assert client.predict(ASKED, candidates=5, api_name="/retrieve")
    assert client.predict(ASKED, api_name="/rerank_explain")[0]["type"] == "Final"
    assert client.predict(ASKED, model="broken", api_name="/rerank_explain")[0]["failed"]
    refused = (
        {"query": MARKER * 99, "api_name": "/retrieve"},
        {"query": MARKER * 99, "api_name": "/rerank_explain"},
        {"query": ASKED, "corpus": MARKER, "api_name": "/rerank_explain"},
        {"query": ASKED, "retriever": "dense", "api_name": "/retrieve"},
        {"query": ASKED, "passages": [MARKER], "model": "broken", "api_name": "/score"},
    )
    for call in refused:
        with pytest.raises(gradio_client.exceptions.AppError):
            client.predict(**call)
    said = server.said()
    assert "RuntimeError at" in said
    assert MARKER not in said


def test_a_walk(server):
    """Learn: an own query, an edited text, a planted order, a worksheet, all with a model that fails in words of theirs."""
    from types import SimpleNamespace

    from demo import session
    from demo.tabs.learn import LearnTab
    from demo.uploads import Uploads

    anna = SimpleNamespace(session_hash="anna")
    server.resources.models = ("broken", "fake")
    tab = LearnTab(server.resources, Uploads(server.resources), session.Tickets())
    ticket, walk, made, *_ = tab.begin("", ASKED, "small", anna)
    list(tab.rank(ticket, walk, anna))
    letter = next(iter(walk.letters.values()))
    for tried in (tab.edit(letter, f"A text with {MARKER}", walk, (), anna), tab.leave_out(letter, walk, (), anna)):
        list(tried)
    list(tab.plant(letter, f"{MARKER}: rank me first", walk, made, (), anna))
    said = server.said()
    assert "RuntimeError at" in said
    assert MARKER not in said


@pytest.mark.browser
def test_uploads(chrome, server, tmp_path):
    good, bad, wrong = (tmp_path / f"{MARKER}{name}" for name in ("-good.jsonl", "-bad.jsonl", ".zip"))
    good.write_text(f'{{"id": "{MARKER}", "title": "{MARKER}", "text": "A {MARKER} under the blue sky."}}\n{{"{MARKER}"\n', encoding="utf-8")
    bad.write_text(f"{{{MARKER}\n", encoding="utf-8")
    wrong.write_bytes(MARKER.encode())
    with visitor(chrome, server.url) as tab:
        tab.get_by_role("tab", name="My data").click()
        for file, seen in ((bad, ".lab-errors"), (good, ".lab-kept")):
            tab.set_input_files(".lab-drop input[type=file]", str(file))
            tab.wait_for_selector(f"{seen}:visible", timeout=60_000)
        tab.get_by_role("button", name="Search them in Explain").click()
        tab.wait_for_selector(FIELD)
        ask(tab, ASKED, DONE)
        assert MARKER in tab.locator(".cards").first.inner_text()
    server.resources.add_private("own-x", Blabbing())
    server.resources.want("retriever:own-x:bm25")
    until(lambda: server.resources.part("retriever:own-x:bm25").state == "failed", "an index that cannot be built")
    said = server.said()
    assert "Index of your passages could not be loaded: RuntimeError at" in said
    assert MARKER not in said

"""More callers than the model can serve, and one who is killed: what a visitor sees of a full queue, and that the model is free after both."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest
from browsing import visitor
from demo_parts import BROAD, QUERY, served, until, waiting, write_corpus

from demo import limits
from demo.tabs.explain import BUSY

gradio_client = pytest.importorskip("gradio_client")
LONG = {"query": BROAD, "candidates": 20, "depth": 20, "window": 10, "stride": 1}
FIELD = ".dear-query input:visible"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with the fake model, at 20 ms a token: a long run takes half a minute."""
    with served(str(write_corpus(tmp_path_factory.mktemp("busy") / "small")), delay=0.02) as url:
        yield url


def reasons(job) -> bool:
    """Whether the job's run is in the middle of its reasoning."""
    return any(event["type"] == "Token" for part in job.outputs() for event in part)


@contextmanager
def full_queue(site: str):
    """One run at the model, and as many calls behind it as the queue takes."""
    client = gradio_client.Client(site, verbose=False)
    run = client.submit(**LONG, api_name="/rerank_explain")
    until(lambda: reasons(run), "a run's reasoning")
    behind = [client.submit(QUERY, ["one passage"], api_name="/score") for _ in range(limits.QUEUE_SIZE)]
    until(lambda: waiting(site) == limits.QUEUE_SIZE, "a full queue")
    try:
        yield
    finally:
        for job in (*behind, run):
            job.cancel()


@pytest.mark.browser
def test_a_full_queue_is_said_and_the_next_query_runs(chrome, site):
    with visitor(chrome, site) as tab:
        with full_queue(site):
            tab.fill(FIELD, QUERY)
            tab.press(FIELD, "Enter")
            tab.wait_for_selector("p.alert:visible")
            assert tab.locator("p.alert:visible").inner_text() == BUSY
            tab.wait_for_selector("button.dear-go:visible")
            assert tab.locator(".card:visible").count() == 5, "the candidates are there"
            assert "aiting" not in tab.locator(".rail").inner_text(), "nobody waits for the model here"
            assert tab.locator(".notes .wait").count() == 0
        tab.press(FIELD, "Enter")
        tab.wait_for_selector(".live .ref")
        assert tab.locator("p.alert:visible").count() == 0


@pytest.mark.browser
def test_what_waits_for_its_turn_can_be_stopped_and_the_last_question_is_run(chrome, site):
    client = gradio_client.Client(site, verbose=False)
    run = client.submit(**LONG, api_name="/rerank_explain")
    until(lambda: reasons(run), "a run's reasoning")
    with visitor(chrome, site) as tab:
        tab.fill(FIELD, BROAD)
        tab.press(FIELD, "Enter")
        until(lambda: waiting(site) == 1, "the question in the queue")
        tab.click("button.dear-stop:visible")
        tab.wait_for_selector(".notes:has-text('Stopped.')", timeout=5_000)
        assert tab.locator(".card:visible").count() > 2, "the candidates stay"
        assert tab.locator("button.dear-go:visible").count() == 1
        tab.press(FIELD, "Enter")
        until(lambda: waiting(site) == 2, "the question again, behind its stopped run")
        tab.fill(FIELD, QUERY)
        tab.press(FIELD, "Enter")
        until(lambda: waiting(site) == 3, "another question behind it")
        run.cancel()
        tab.wait_for_selector(".live .ref", timeout=30_000)
        tab.wait_for_selector("button.dear-go:visible", timeout=60_000)
        until(lambda: waiting(site) == 0, "an empty queue")
        tab.wait_for_timeout(500)
        assert tab.locator(".card:visible").count() == 5, "the last question's candidates, which are fewer"
        assert "Stopped" not in tab.locator(".dear-page").first.inner_text()


CALLER = """
import sys
from gradio_client import Client
for part in Client(sys.argv[1], verbose=False).submit(query=sys.argv[2], candidates=20, depth=20, window=10, stride=1, api_name="/rerank_explain"):
    if any(event["type"] == "Token" for event in part):
        print("reasoning", flush=True)
"""


def test_a_killed_client_frees_the_model(site):
    caller = subprocess.Popen([sys.executable, "-c", CALLER, site, BROAD], stdout=subprocess.PIPE, text=True)
    try:
        assert caller.stdout.readline() == "reasoning\n"
        other = gradio_client.Client(site, verbose=False).submit(QUERY, ["one passage"], api_name="/score")
        until(lambda: waiting(site) == 1, "a call that waits behind it")
        assert not other.done(), "the run holds the model, or this test shows nothing"
    finally:
        caller.kill()
        caller.communicate()
    other.result(timeout=15)  # left alone, the run would go on for longer

"""Twenty programs at once, each asking for a whole run: every one is served or told, retrieval stays quick, memory levels off, the page goes on."""

from __future__ import annotations

import statistics

import pytest

from bench.serving import crowd, served, together
from bench.serving import run as whole_run
from demo import limits

pytest.importorskip("gradio_client")
pytest.importorskip("psutil", reason="psutil is not installed: pip install -r requirements-dev.txt")
CLIENTS, ROUNDS = 20, 3
QUICK_S = 1.0  # half of the retrievals beside them; 15 ms where `python -m bench load` was measured
LEVEL = 1.1  # memory after the last round against the one before: what grows by a tenth a round never ends


@pytest.mark.slow
def test_twenty_clients_at_once():
    """Over the teaching corpus, with the fake model at 2 ms a token; the server in its own process."""
    with served("fake") as server:
        clients = together(lambda _: server.client(), [None] * CLIENTS)
        memory = []
        for _ in range(ROUNDS):
            waits, runs = crowd(server, clients)
            memory.append(server.memory())
            whole = [done for done in runs if not done.refused]
            assert len(whole) + sum("Queue is full" in done.refused for done in runs) == CLIENTS, "served, or told why not"
            assert len(whole) >= limits.QUEUE_SIZE
            assert all("Final" in done.first for done in whole)
            assert statistics.median(waits) < QUICK_S
        assert memory[-1] < LEVEL * memory[-2]
        assert "Final" in whole_run(clients[0]).first, "the queue is empty again"

"""Many clients at once: is retrieval still quick, does memory level off, does a cancelled run free the model, what does a full queue say?"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any

from bench.serving import QUERY, Server, crowd, served, together


def load(rounds: int, *, clients: int = 20, model: str = "fake") -> dict[str, Any]:
    """`clients` programs, each asking for a whole run while somebody else retrieves, `rounds` times; then runs that are cancelled."""
    with served(model) as server:
        many = together(lambda _: server.client(), [None] * clients)
        alone = [server.retrieve() for _ in range(10)]
        memory, beside, runs = [server.memory()], [], []
        for _ in range(rounds):
            waits, done = crowd(server, many)
            beside += waits
            runs += done
            memory.append(server.memory())
        freed = [_freed(server) for _ in range(3)]
    refused = Counter(done.refused for done in runs if done.refused)
    served_runs = [done for done in runs if not done.refused]
    rows = [
        {"retrieval alone, median": f"{statistics.median(alone) * 1000:.0f} ms"},
        {"retrieval beside them, median": f"{statistics.median(beside) * 1000:.0f} ms", "worst": f"{max(beside) * 1000:.0f} ms"},
        {"whole runs": len(served_runs), "turned away": sum(refused.values()), "in the words": "; ".join(refused) or "–"},
        {"memory after each round, MiB": ", ".join(f"{value / 2**20:.0f}" for value in memory)},
        {"model free after a cancelled run, worst of 3": f"{max(freed):.2f} s"},
    ]
    return {"what": f"{clients} clients at once, {rounds} rounds, model {model}", "rows": rows}


def _freed(server: Server) -> float:
    """Seconds from cancelling a run that writes to the first event of the next client's run."""
    first, second = server.client(), server.client()
    job = first.submit(QUERY, api_name="/rerank_explain")
    while not any(event["type"] == "Token" for piece in job.outputs() for event in piece):
        if job.done():
            raise RuntimeError(f"the run to be cancelled ended first ({job.exception()}): give --model fake")
        time.sleep(0.05)
    waiting = second.submit(QUERY, api_name="/rerank_explain")
    time.sleep(0.3)
    began = time.perf_counter()
    job.cancel()
    while not any(piece for piece in waiting.outputs()):
        time.sleep(0.01)
    took = time.perf_counter() - began
    waiting.cancel()
    time.sleep(1.0)
    return took

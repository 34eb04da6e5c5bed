"""Generation against a real local server that speaks the OpenAI protocol: sound rows kept, others rejected, cut runs go on."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dear import prompts
from dear.errors import BadInput, EngineError
from training import recipes
from training.cot import messages, read_rows
from training.cot_generate import estimate, generate, open_tasks, tasks_of
from training.groups import Candidate, Group

GROUPS = [
    Group(
        f"q{i}",
        f"where is thing {i}",
        "set",
        (Candidate(f"a{i}", "", f"The thing {i} is on the table in the hall.", 1), Candidate(f"b{i}", "", "No.", 0)),
    )
    for i in range(6)
]


class Server(ThreadingHTTPServer):
    """Answers by what `answer(query number, tries so far)` gives; counts requests and how many ran at once."""

    daemon_threads = True

    def __init__(self, answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.seen, self.lock = answer, [], threading.Lock()
        self.now = self.most = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Server = self.server
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = int(re.search(r"thing (\d+)", request["messages"][-1]["content"])[1])
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            tries = sum(number == other for other, _ in server.seen)
            server.seen.append((number, request))
        text = server.answer(number, tries)
        status = 200 if isinstance(text, str) else text
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": request["model"], "choices": [choice], "usage": usage}
        body = json.dumps(whole if status == 200 else {"error": {"message": "no", "type": "server_error"}}).encode()
        threading.Event().wait(0.02)
        with server.lock:
            server.now -= 1
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def serve():
    servers = []

    def start(answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def good(number: int, tries: int = 0) -> str:
    return f'Needs: 1. the place of thing {number}\n[1] meets 1: "thing {number} is on the table" - Names the place.\nRanking: [1] > [2]'


def settings(tmp_path, url: str, *more: str) -> recipes.Cot:
    paths = [f"cot.base_url={url}", f"cot.generated={tmp_path}/made.jsonl", "cot.attempts=2", "cot.concurrency=3", "cot.model=local"]
    return recipes.load("nano-cpu", [*paths, *more]).cot


def test_rows_are_made_concurrently_and_are_ours(serve, tmp_path):
    server = serve(good)
    tally = generate(tasks_of(GROUPS, 10), settings(tmp_path, server.url), yes=True)
    assert (tally.kept, tally.rejected, tally.failed, tally.tokens_in) == (6, 0, 0, 600)
    assert 1 < server.most <= 3
    rows = list(read_rows(tmp_path / "made.jsonl"))
    assert {row.query_id for row in rows} == {group.query_id for group in GROUPS}
    row = next(row for row in rows if row.query_id == "q2")
    asked = next(request for number, request in server.seen if number == 2)
    assert asked["temperature"] == 0
    assert messages(row)[-1]["content"] in asked["messages"][-1]["content"]  # the student's prompt, and the form for the teacher's eyes
    assert "Answer in exactly this form" not in row.instruction
    assert messages(row)[0]["role"] == "system"
    assert messages(row) == prompts.listwise("where is thing 2", tasks_of(GROUPS, 10)[2].passages, "nano")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (good(0).replace("[1] > [2]", "[1]"), "the ranking does not name each passage once"),
        (good(0).replace("on the table", "under the bed"), "a quote is not in its passage"),
        ("Ranking: [1] > [2]", "no information requirements"),
        ("Needs: 1. it\nRanking: [1] > [2]", "no quote"),
        (good(0).replace("[1] > [2]", "[2] > [1]"), "a passage with evidence ranks below one without"),
        ("I am sorry.", "the ranking does not name each passage once"),
    ],
)
def test_unsound_answers_are_asked_for_again_then_left_out(serve, tmp_path, answer, reason):
    server = serve(lambda number, tries: answer if number == 0 else good(number))
    tally = generate(tasks_of(GROUPS[:2], 10), settings(tmp_path, server.url), yes=True)
    assert (tally.kept, tally.rejected) == (1, 1)
    assert tally.reasons == {reason: 2}
    assert [row.query_id for row in read_rows(tmp_path / "made.jsonl")] == ["q1"]


def test_a_second_attempt_may_succeed(serve, tmp_path):
    server = serve(lambda number, tries: good(number) if tries else "no")
    assert generate(tasks_of(GROUPS[:1], 10), settings(tmp_path, server.url), yes=True).kept == 1


def test_a_cut_run_asks_only_for_what_is_missing(serve, tmp_path):
    server = serve(good)
    one = settings(tmp_path, server.url)
    generate(tasks_of(GROUPS[:3], 10), one, yes=True)
    made = tmp_path / "made.jsonl"
    whole = made.read_text()
    made.write_text(whole + '{"system": "cut in the mid')  # killed while writing
    asked = len(server.seen)
    generate(tasks_of(GROUPS, 10), one, yes=True)
    assert sorted(number for number, _ in server.seen[asked:]) == [3, 4, 5]
    assert len(list(read_rows(made))) == 6
    assert generate(tasks_of(GROUPS, 10), one, yes=False).kept == 0  # nothing open, nothing to pay


def test_refuses_to_spend_without_yes_and_says_what_it_would_cost(serve, tmp_path):
    server = serve(good)
    one = settings(tmp_path, server.url, "cot.price_in=1000000", "cot.price_out=0")
    cost = estimate(tasks_of(GROUPS, 10), one)
    assert cost.requests == 6
    assert cost.dollars == pytest.approx(cost.tokens_in)
    with pytest.raises(BadInput, match=r"6 requests, about .* \$.* at local: add --yes"):
        generate(tasks_of(GROUPS, 10), one, yes=False)
    assert server.seen == []


def test_a_server_that_fails_once_costs_one_row_a_dead_one_ends_the_run(serve, tmp_path):
    server = serve(lambda number, tries: 400 if number == 4 else good(number))
    tally = generate(tasks_of(GROUPS, 10), settings(tmp_path, server.url, "cot.concurrency=1"), yes=True)
    assert (tally.kept, tally.failed) == (5, 1)
    assert len(open_tasks(tasks_of(GROUPS, 10), tmp_path / "made.jsonl")) == 1
    dead = serve(lambda number, tries: 401)
    with pytest.raises(EngineError, match=r"does not answer.*OPENAI_API_KEY"):
        generate(tasks_of(GROUPS, 10), settings(tmp_path / "dead", dead.url), yes=True)


def test_the_key_is_sent_and_not_written(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    generate(tasks_of(GROUPS[:1], 10), settings(tmp_path, serve(good).url), yes=True)
    assert not any("sk-secret" in path.read_text() for path in tmp_path.iterdir())

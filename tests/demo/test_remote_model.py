"""A model on a server that dies or answers badly in the middle of a run: the visitor reads what happened and never where the server is."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from demo_parts import QUERY, Words, passages

from corpora.registry import Corpus
from demo import limits, remote_model, session
from demo.api import Api
from demo.render import panels
from demo.resources import Resources

pytest.importorskip("openai")
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "qwen", "choices": [{"index": 0, "delta": {"content": "Needs: 1. "}}]}
PIECE = f"data: {json.dumps(CHUNK)}\n\n".encode()


def dies(handler) -> None:
    """Three pieces of an answer, and then nothing: the connection is cut before the answer's end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(3):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def tells(handler) -> None:
    """An error page that names the server itself, as proxies write it."""
    host, port = handler.server.server_address
    body = json.dumps({"error": {"message": f"upstream http://user:word@{host}:{port}/v1 and {host} failed"}}).encode()
    handler.send_response(502)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def lacks(handler) -> None:
    """The model is not there."""
    handler.send_error(404)


def hangs_up(handler) -> None:
    """No answer at all."""
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def served(request):
    """A server of one behaviour, and the page's parts with the model `qwen` on it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.close_connection = True
            request.param(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://user:word@127.0.0.1:{server.server_port}/v1"
    resources = Resources(corpora=("small",), models=(f"openai:qwen@{url}",))
    for key, value in {"corpus:small": Corpus("small", passages()), "retriever:small:bm25": Words(passages())}.items():
        resources._jobs[key].state, resources._jobs[key].value = "ready", value
    for key in ("scorer:qwen", "generator:qwen"):
        resources._load(key)
    yield resources, str(server.server_port)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("served", "said"),
    [(dies, "its server failed"), (tells, "its server failed (status 502"), (lacks, "its server has no model"), (hangs_up, "its server")],
    indirect=["served"],
)
def test_what_a_visitor_reads_holds_no_address(served, said):
    resources, port = served
    views = list(session.explain(resources, limits.Request(QUERY, "small", model="qwen"), session.Ticket("1")))
    page = "".join(part for view in views for part in panels(view).values())
    assert said in page
    assert "Listwise failed" in page
    assert views[-1].final, "the ranking before it stands"
    answer = json.dumps(list(Api(resources).rerank_explain(QUERY, model="qwen")))
    assert said in answer
    for private in (port, "127.0.0.1", "user:word"):
        assert private not in page
        assert private not in answer


def test_the_ways_an_address_is_written():
    hidden = remote_model.addresses("https://user:word@gpu7.example:8000/v1")
    for told in ("https://user:word@gpu7.example:8000/v1/models", "user:word@gpu7.example:8000", "gpu7.example:8000", "not valid for gpu7.example"):
        assert not any(word in remote_model.without(told, hidden) for word in ("gpu7", "8000", "word"))

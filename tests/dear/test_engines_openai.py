"""The openai engine against real servers: `transformers serve` with a real checkpoint, and sockets that refuse."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dear import embedded
from dear.engines import TextGenerator
from dear.engines.openai import OpenAIGenerator
from dear.errors import BadInput, EngineError

pytest.importorskip("openai")
ASK = [{"role": "user", "content": "Why is the sky blue? One sentence."}]


def free_port():
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`transformers serve` in a process of its own; it loads whatever folder a request names."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    command = Path(sys.executable).with_name("transformers")
    if not command.exists():
        pytest.skip("transformers' command line is not installed")
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as out:
        process = subprocess.Popen([str(command), "serve", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"], stdout=out, stderr=out)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                if process.poll() is not None:
                    pytest.skip(f"transformers serve does not start here: {log.read_text()[-300:]}")
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def answering(status, body=b"{}"):
    """A server on a socket that answers every request with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.server.asked = (self.path, self.headers.get("Authorization"))
            if status is None:
                time.sleep(1)  # longer than the caller waits
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    return found


def generator_at(port, **options):
    return OpenAIGenerator("some-model", f"http://127.0.0.1:{port}/v1", **options)


@pytest.mark.slow
def test_a_real_server_streams_a_tiny_checkpoint(server, tiny_causal):
    generator = OpenAIGenerator(str(tiny_causal), server)
    assert isinstance(generator, TextGenerator)
    first = list(generator.stream(ASK, max_tokens=12))
    assert len(first) > 1, "it comes in pieces"
    assert list(generator.stream(ASK, max_tokens=12)) == first, "greedy: twice the same"
    with closing(generator.stream(ASK, max_tokens=200)) as stream:
        next(stream)
    assert list(generator.stream(ASK, max_tokens=12)) == first, "closing one answer leaves the server usable"


@pytest.mark.slow
@pytest.mark.skipif(embedded._wheel() is None, reason=f"needs the base model: {embedded.INSTALL}")
def test_a_real_server_with_the_embedded_model(server):
    generator = OpenAIGenerator(str(embedded.embedded_base()), server)
    text = "".join(generator.stream(ASK, max_tokens=24))
    assert "sky" in text.lower()


@pytest.mark.slow
def test_a_model_the_server_does_not_have(server):
    with pytest.raises(EngineError, match=r"no model|failed"):
        list(OpenAIGenerator("no/such-model", server).stream(ASK, max_tokens=4))


def test_nobody_there():
    with pytest.raises(EngineError, match=r"nothing answers.*start the server"):
        list(generator_at(free_port()).stream(ASK, max_tokens=4))


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the key"), (403, "refuses the key"), (404, "no model 'some-model'"), (429, "limits"), (500, "failed .status 500")],
)
def test_refusals_name_the_remedy(status, said, monkeypatch):
    monkeypatch.setenv("DEAR_OPENAI_KEY", "a-secret-key")
    server = answering(status)
    with pytest.raises(EngineError, match=said) as caught:
        list(generator_at(server.server_port).stream(ASK, max_tokens=4))
    assert server.asked == ("/v1/chat/completions", "Bearer a-secret-key")
    assert "a-secret-key" not in str(caught.value)
    server.shutdown()


def test_silence_ends_in_an_error():
    server = answering(None)
    with pytest.raises(EngineError, match=r"within 0\.2 seconds"):
        list(generator_at(server.server_port, timeout=0.2).stream(ASK, max_tokens=4))
    server.shutdown()


def test_names_and_addresses():
    generator = OpenAIGenerator.from_name("openai:/models/a@b/c@http://user:pw@host:8000/v1")
    assert generator.info.model == "/models/a@b/c"
    assert generator.info.device == "host:8000"
    assert "pw" not in repr(generator.info)
    assert generator.count("four words of prose") >= 5
    for broken in ("openai:m", "openai:m@host:8000", "m@http://h/v1"):
        with pytest.raises(BadInput, match="openai:my-model@"):
            OpenAIGenerator.from_name(broken)
    with pytest.raises(BadInput, match="not a URL"):
        OpenAIGenerator("m", "localhost")


def test_a_published_student_on_a_server_gets_its_own_prompts():
    at = "@http://127.0.0.1:9/v1"
    assert OpenAIGenerator.from_name(f"openai:abdoelsayed/dear-8b-reranker-listwise-v1{at}").info.prompt == "dear"
    assert OpenAIGenerator.from_name(f"openai:qwen3{at}").info.prompt == "nano"

"""Too large a request is refused in words over a real connection; what is allowed, and Gradio's uploads, go through."""

from __future__ import annotations

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import pytest
from demo_parts import free_port

from demo.body_limit import BodyLimit
from demo.limits import MAX_REQUEST, MAX_UPLOAD

JSON = {"Content-Type": "application/json"}


def sent(site, path, body, headers=JSON, chunked=False):
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=60)
    try:
        connection.request("POST", path, body, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def counting():
    """A server that says how many bytes came through, at most ten of them but for an upload."""
    uvicorn = pytest.importorskip("uvicorn")

    async def app(scope, receive, send):
        count, more = 0, True
        while more:
            message = await receive()
            count, more = count + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(count).encode()})

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(BodyLimit(app, limit=10, upload=20), port=port, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started and time.monotonic() < end:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("chunked", [False, True])
def test_bytes_are_counted_as_they_come(counting, chunked):
    def post(path, body):
        return sent(counting, path, iter([body[:5], body[5:]]) if chunked else body, {"Transfer-Encoding": "chunked"} if chunked else {}, chunked)

    assert post("/any", b"x" * 10) == (200, "10")
    assert post("/any", b"") == (200, "0")
    status, words = post("/any", b"x" * 11)
    assert status == 413
    assert json.loads(words)["detail"].startswith("the request has more than 10 bytes")
    assert post("/gradio_api/upload", b"x" * 20) == (200, "20")
    status, words = post("/gradio_api/upload", b"x" * 21)
    assert status == 413
    assert json.loads(words)["detail"].startswith("the upload has more than 20 bytes")
    assert post("/gradio_api/upload/more", b"x" * 11)[0] == 413, "an upload has one address"
    assert post("/any", b"x" * 90)[0] == 413, "more than is read and let go"


def test_a_request_too_large_is_refused_in_words_and_the_rest_goes_through(lab_site):
    call = "/gradio_api/call/score"
    large = json.dumps({"data": ["q", ["x" * MAX_REQUEST], ""]}).encode()
    status, words = sent(lab_site, call, large)
    assert status == 413
    assert f"{MAX_REQUEST:,} bytes" in words
    assert "My data" in words
    pieces = (large[at : at + 65_536] for at in range(0, len(large), 65_536))
    assert sent(lab_site, call, pieces, {**JSON, "Transfer-Encoding": "chunked"}, chunked=True)[0] == 413, "the length need not be announced"
    most = json.dumps({"data": ["q", ["\U0001f98c" * 2_000] * 50, ""]}).encode()
    assert len(most) > MAX_REQUEST // 2
    status, words = sent(lab_site, call, most)
    assert status == 200, "the largest call that the limits allow"
    assert "event_id" in words
    edge = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + b"x" * (MAX_REQUEST + 1) + b"\r\n--b--\r\n"
    status, words = sent(lab_site, "/gradio_api/upload", edge, {"Content-Type": "multipart/form-data; boundary=b"})
    assert status == 200, "an upload has a limit of its own"
    assert "a.txt" in words
    parts = (b'--b\r\nContent-Disposition: form-data; name="x"; filename="a.txt"\r\n\r\n' + b"x" * 2**20 + b"\r\n" for _ in range(5))
    status, words = sent(lab_site, "/gradio_api/upload", b"".join((*parts, b"--b--\r\n")), {"Content-Type": "multipart/form-data; boundary=b"})
    assert status == 413, "many files together are one upload"
    assert f"{MAX_UPLOAD:,} bytes" in words

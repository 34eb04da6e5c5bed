"""The start: something to see at once, the port handed over, and clear words when it cannot be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from demo_parts import ROOT, free_port, get, write_corpus

from demo.boot import LoadingPage, StartError, check_port, main


def test_the_stand_in_answers_and_frees_its_port():
    port = free_port()
    page = LoadingPage("127.0.0.1", port, "Loading the interface")
    try:
        status, headers, text = get(f"http://127.0.0.1:{port}/?q=anything")
        assert status == 503
        assert headers["X-DeAR-Boot"] == "1"
        assert "DeAR is starting" in text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        page.step = "Opening"
        assert json.loads(get(f"http://127.0.0.1:{port}/boot-state")[2]) == {"step": "Opening"}
        assert get(f"http://127.0.0.1:{port}/gradio_api/info")[1]["X-DeAR-Boot"] == "1"
    finally:
        page.close()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_a_taken_port_is_named_with_a_remedy(capsys):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} is taken.*make demo PORT={port + 1 if port < 65535 else 7860}"):
            LoadingPage("127.0.0.1", port)
        assert main(["--port", str(port)]) == 1
    assert f"port {port} is taken" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "abc", "0", "65536", "-1", "7860.5", "٣x"])
def test_a_bad_port_is_named_with_a_remedy(value, capsys):
    with pytest.raises(StartError, match="from 1 to 65535"):
        check_port(value)
    assert main([f"--port={value}"]) == 1
    assert "make demo PORT=7860" in capsys.readouterr().err


def test_an_address_that_is_not_here_is_named(capsys):
    assert main(["--host", "192.0.2.1", "--port", str(free_port())]) == 1
    assert "192.0.2.1" in capsys.readouterr().err


def test_the_page_is_up_long_before_gradio_and_hands_over(tmp_path):
    """Measured on two cores: the stand-in answers after 0.2 s, Gradio's page after 4 to 8 s."""
    corpus = write_corpus(tmp_path / "corpus")
    port = free_port()
    command = [sys.executable, "-m", "demo.boot", "--port", str(port), "--model", "fake", "--corpus", str(corpus)]
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    url = f"http://127.0.0.1:{port}/"
    seen: dict[str, float] = {}
    try:
        while "gradio" not in seen and time.monotonic() - began < 90 and process.poll() is None:
            _, headers, text = get(url)
            if headers.get("X-DeAR-Boot") == "1":
                seen.setdefault("stand-in", time.monotonic() - began)
            elif "gradio" in text:
                seen.setdefault("gradio", time.monotonic() - began)
            time.sleep(0.05)
        assert list(seen) == ["stand-in", "gradio"], (seen, process.poll())
        assert get(url + "config")[0] == 200
        said = []
        for line in process.stdout:  # it is said just after the port answers
            said.append(line)
            if "the page is ready after" in line:
                break
    finally:
        process.terminate()
        rest = process.communicate(timeout=15)[0]
    output = "".join(said) + rest
    assert "is up and says what is loading" in output
    assert "the page is ready after" in output
    assert "Traceback" not in output

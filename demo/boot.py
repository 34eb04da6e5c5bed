"""Start the page: something to see at once, Gradio when it is imported, models when they are loaded.

Importing gradio takes seconds. Until then a small server from the standard library answers on the same port with a page
that says what is going on and reloads itself; then it closes and Gradio takes the port. Nothing heavy is imported here.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).parent / "static" / "loading.html"
PUBLISHED = ("dear-3b", "dear-8b")
HANDOVER_TRIES = 20


class StartError(Exception):
    """The page cannot be served; the text says why and what to do."""


class LoadingPage:
    """The stand-in: every path gets the page, `boot-state` what is going on. `close` frees the port."""

    def __init__(self, host: str, port: int, step: str = "Loading the interface") -> None:
        self.step = step
        self._server = _listen(host, port, self)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="loading-page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)


def _listen(host: str, port: int, page: LoadingPage) -> ThreadingHTTPServer:
    body = PAGE.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state = self.path.partition("?")[0].endswith("/boot-state")
            content = json.dumps({"step": page.step}).encode() if state else body
            self.send_response(200 if state else 503)  # 503: probes and crawlers come back, browsers show the page
            self.send_header("Content-Type", "application/json" if state else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-DeAR-Boot", "1")
            self.send_header("Retry-After", "5")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise StartError(_why(host, port, error)) from error


def _why(host: str, port: int, error: OSError) -> str:
    other = port + 1 if port < 65535 else 7860
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program: stop that one, or choose another port, e.g. make demo PORT={other}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user: choose one above 1023, e.g. make demo PORT=7860"
    return f"{host}:{port} cannot be opened ({error.strerror or error}): choose another address or port, e.g. make demo HOST=127.0.0.1 PORT={other}"


def check_port(text: str) -> int:
    """The port as a number from 1 to 65535, or `StartError`."""
    if not text.strip().isdecimal() or not 1 <= int(text) <= 65535:
        raise StartError(f"port {text!r} is not a number from 1 to 65535: choose one, e.g. make demo PORT=7860")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted; the exit status is 1 when it cannot be served."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        page = LoadingPage(options.host, check_port(options.port))
    except StartError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    where = f"http://{'localhost' if options.host in ('0.0.0.0', '::') else options.host}:{page.port}"
    print(f"demo: {where} is up and says what is loading", flush=True)
    try:
        demo = _serve(options, page)
    except StartError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(f"demo: the page is ready after {time.monotonic() - began:.1f} s; index and student load in the background. Ctrl+C ends it", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("demo: closed", flush=True)
    finally:
        demo.close()
    return 0


def _serve(options: argparse.Namespace, page: LoadingPage):
    """Import, build, hand the port over, and only then begin to load what is heavy: the page comes first."""
    try:
        from dear.logs import start_logging
        from demo.app import build_demo
        from demo.resources import Resources

        start_logging()
        logging.getLogger("dear.engines.choice").setLevel(logging.INFO)  # what runs each stage, and why
        page.step = "Building the page"
        models = tuple(dict.fromkeys((options.model, "dear-nano", *PUBLISHED)))
        resources = Resources(corpora=tuple(options.corpus or ("teaching",)), models=models, engine=options.engine)
        demo = build_demo(resources)
        page.step = "Opening the page"
    finally:
        page.close()
    _take_over(demo, options.host, page.port)
    resources.start()
    return demo


def _take_over(demo, host: str, port: int) -> None:
    """Launch on the port just freed; connections that are still closing may hold it for a moment."""
    from demo.app import launch

    for attempt in range(HANDOVER_TRIES):
        try:
            return launch(demo, host=host, port=port)
        except OSError as error:
            if attempt == HANDOVER_TRIES - 1:
                other = f"make demo PORT={port + 1}"
                raise StartError(f"port {port} was taken by another program during the start: choose another, e.g. {other}") from error
            time.sleep(0.1)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.boot", description="Serve the page.")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"))
    parser.add_argument("--port", default=os.environ.get("GRADIO_SERVER_PORT", "7860"))
    parser.add_argument("--model", default=os.environ.get("DEAR_MODEL", "dear-nano"), help="a name of the zoo, a local folder, or fake")
    parser.add_argument("--engine", default="auto", help="auto, transformers, onnx, openai or fake")
    parser.add_argument("--corpus", action="append", help="a bundled name, or the path of a folder; may be given more than once")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The four calls over HTTP and MCP, by real clients against a running server; every other handler is private or harmless."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from demo_parts import BROAD, CANARIES, QUERY, get, served, write_corpus

from dear import events as ev
from demo import api_panel
from demo.recordings import recordings

gradio_client = pytest.importorskip("gradio_client")
CALLS = {"/retrieve", "/score", "/rerank_explain", "/replay"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page with the fake model at 2 ms a token, once it can search."""
    with served(str(write_corpus(tmp_path_factory.mktemp("api") / "small")), delay=0.002, wait=180) as url:
        yield url


@pytest.fixture(scope="module")
def client(address):
    found = gradio_client.Client(address, verbose=False, httpx_kwargs={"timeout": 120})
    end = time.monotonic() + 180
    while (told := refusal(found)) and time.monotonic() < end:
        assert "Lucene index" in told
        time.sleep(0.5)
    return found


def refusal(client) -> str:
    """Why the server cannot search yet; nothing once it can."""
    try:
        client.predict(QUERY, api_name="/retrieve")
    except gradio_client.exceptions.AppError as error:
        return str(error)
    return ""


def test_four_calls_are_public_and_described(address, client):
    described = json.loads(get(f"{address}/gradio_api/info")[2])
    assert set(described["named_endpoints"]) == CALLS
    assert described["unnamed_endpoints"] == {}
    for call in described["named_endpoints"].values():
        assert [returned["type"]["type"] for returned in call["returns"]] == ["array"]


def test_retrieve_says_why_each_passage_was_found(client):
    hits = client.predict(QUERY, candidates=5, api_name="/retrieve")
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert hits[0]["id"] in ("sun", "paint")
    assert sum(term["weight"] for term in hits[0]["terms"]) == pytest.approx(hits[0]["scores"]["retrieval"], abs=1e-3)


def test_one_plain_request_is_enough_and_never_queues(address, client):
    status, text = post(f"{address}/gradio_api/run/retrieve", {"data": [QUERY, "", "bm25", 5]})
    assert status == 200
    assert json.loads(text)["data"][0][0]["rank"] == 1


def test_score_keeps_the_order_given(client):
    scored = client.predict(QUERY, ["bread and jam", "the sky is blue"], api_name="/score")
    assert [row["index"] for row in scored] == [0, 1]
    assert [row["rank"] for row in scored] == [2, 1]
    assert scored[1]["score"] > scored[0]["score"]


def test_a_run_is_the_stream_itself(client):
    job = client.submit(QUERY, candidates=10, depth=5, window=5, api_name="/rerank_explain")
    pieces = list(job)
    stream = [ev.from_dict(event) for piece in pieces for event in piece]
    assert isinstance(stream[0], ev.Started)
    assert isinstance(stream[-1], ev.Final)
    assert sum(isinstance(event, ev.Final) for event in stream) == 1
    retrieved = next(event for event in stream if isinstance(event, ev.Retrieved))
    assert {hit.id for hit in stream[-1].hits} == {hit.id for hit in retrieved.hits}
    final = pieces[-1][0]
    assert final["metrics"]
    assert final["timing"]
    assert final["failed"] == []
    assert any(hit["rationale"] or hit["evidence"] for hit in final["hits"])


def test_predict_gives_the_ranking(client):
    (final,) = client.predict(QUERY, candidates=5, reasoning=False, api_name="/rerank_explain")
    assert final["type"] == "Final"
    assert set(final["hits"][0]["ranks"]) == {"retrieval", "pointwise", "listwise"}


def test_replay_lists_and_gives_recordings(client):
    names = client.predict(api_name="/replay")
    assert [row["name"] for row in names] == [recording.name for recording in recordings()]
    events = client.predict(names[0]["name"], api_name="/replay")
    assert [ev.from_dict(event) for event in events] == list(recordings()[0].events)


@pytest.mark.parametrize(
    ("call", "values", "told"),
    [
        ("/retrieve", {"query": "x" * 301}, "limit is 300"),
        ("/retrieve", {"query": QUERY, "corpus": "../../etc/passwd"}, "is not known here"),
        ("/retrieve", {"query": QUERY, "corpus": "my data"}, "is not known here"),
        ("/retrieve", {"query": QUERY, "candidates": 10**9}, "from 5 to 50"),
        ("/retrieve", {"query": {"path": "/etc/passwd"}}, "not text"),
        ("/score", {"query": QUERY, "passages": ["x"] * 51}, "give 1 to 50"),
        ("/score", {"query": QUERY, "passages": ["x" * 2001]}, "limit is 2,000"),
        ("/score", {"query": QUERY, "passages": ["x"], "model": "../../../model"}, "is not known here"),
        ("/rerank_explain", {"query": QUERY, "stride": 20, "window": 5}, "exceeds window"),
        ("/replay", {"name": "../recorded/1-why-is-the-sky-blue"}, "is not known here"),
    ],
)
def test_what_cannot_be_done_is_said(client, call, values, told):
    with pytest.raises(gradio_client.exceptions.AppError, match=told) as caught:
        client.predict(**values, api_name=call)
    assert "/tmp" not in str(caught.value), "a server's path is nobody's business"


def test_attacks_come_back_as_they_went(client):
    hits = client.predict("canary in the text", candidates=20, api_name="/retrieve")
    assert {canary for canary in CANARIES if any(canary in hit["text"] for hit in hits)} == set(CANARIES)


def test_a_cancelled_call_frees_the_model(client):
    job = client.submit(BROAD, candidates=20, depth=20, window=10, stride=1, api_name="/rerank_explain")
    while not any(event["type"] == "Token" for piece in job.outputs() for event in piece):
        time.sleep(0.05)
    other = client.submit(QUERY, ["one passage"], api_name="/score")
    time.sleep(2)
    assert not other.done(), "the run holds the model, or this test shows nothing"
    began = time.monotonic()
    job.cancel()
    other.result(timeout=15)
    assert time.monotonic() - began < 4  # two seconds to be free, and the next call's own


def test_mcp_lists_and_calls_the_same(address, client):
    session = pytest.importorskip("mcp").ClientSession
    http = pytest.importorskip("mcp.client.streamable_http", reason="mcp 1 is what gradio serves: pip install 'mcp<2'")

    async def talk():
        async with http.streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _), session(read, write) as mcp:
            await mcp.initialize()
            tools = (await mcp.list_tools()).tools
            asked = {
                "retrieve": {"query": QUERY},
                "score": {"query": QUERY, "passages": ["bread", "the sky is blue"]},
                "rerank_explain": {"query": QUERY, "candidates": 5},
                "replay": {"name": ""},
            }
            answers = {name: await mcp.call_tool(name, values) for name, values in asked.items()}
            return tools, answers, await mcp.call_tool("retrieve", {"query": " "})

    tools, answers, refused = asyncio.run(talk())
    assert {f"/{tool.name}" for tool in tools} == CALLS
    assert all(tool.description and tool.inputSchema["properties"] for tool in tools)
    assert not any(answer.isError for answer in answers.values())
    read = {name: json.loads(answer.content[0].text) for name, answer in answers.items()}
    assert read["retrieve"][0]["rank"] == 1
    assert [row["rank"] for row in read["score"]] == [2, 1]
    assert read["rerank_explain"][0]["type"] == "Final"
    assert read["replay"][0]["name"] == recordings()[0].name
    assert refused.isError
    assert "query is empty" in refused.content[0].text


def test_every_other_handler_bears_junk(address, client):
    """Raw HTTP reaches what is private too: none may break the server, give a server's file away, or run outside the queue."""
    config = json.loads(get(f"{address}/config")[2])
    junk = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    for dependency in config["dependencies"]:
        body = {"data": [junk] * len(dependency["inputs"]), "fn_index": dependency["id"], "session_hash": "junk"}
        status, text = post(f"{address}/gradio_api/run/predict", body)
        assert status < 600
        assert "root:" not in text
        assert "Traceback" not in text
        if dependency["queue"] and dependency["backend_fn"]:
            assert status != 200, "a call that uses the model stays in the queue"
    assert client.predict(QUERY, candidates=5, api_name="/retrieve")


@pytest.mark.parametrize("path", ["/etc/passwd", "README.md", "demo/app.py", "../../etc/passwd"])
def test_no_file_of_the_server_is_given_away(address, path):
    assert get(f"{address}/gradio_api/file={path}")[0] in (403, 404)


@pytest.mark.parametrize("path", ["monitoring", "monitoring/summary", "gradio_api/runs", "login/huggingface"])
def test_nobody_is_watched_and_nobody_logs_in(address, path):
    """What Gradio could count of visitors, keep of their runs, or ask of their accounts is not there."""
    status, _, text = get(f"{address}/{path}")
    assert status in (403, 404), text[:200]


@pytest.mark.parametrize("host", ["a'><script>", 'x" onload="y', "a b", "${1}", "", "a" * 999])
def test_the_address_shown_is_an_address(host):
    assert api_panel.address("http", host) == api_panel.FALLBACK


def test_the_snippets_name_the_server():
    page = api_panel.page("https://dear.example.org", mcp=True, corpora=("<b>",), models=("m",))
    assert page.count("https://dear.example.org") >= 3  # Python, MCP, curl
    assert "<b>" not in page
    assert "pip install &#x27;mcp" not in page
    assert "pip install 'mcp" in api_panel.page("http://x", mcp=False, corpora=("c",), models=("m",))
    compile(api_panel.python_snippet("https://dear.example.org"), "snippet", "exec")
    assert json.loads(api_panel.mcp_snippet("http://x"))["mcpServers"]["dear"]["url"] == "http://x/gradio_api/mcp/"


def post(url: str, body: object) -> tuple[int, str]:
    """Status and text of a JSON request."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def test_parts_arrive_as_they_were_sent():
    """Through Gradio's own differences, which go wrong between two lists whose inner lists grow shorter in several places."""
    gradio, client = pytest.importorskip("gradio"), pytest.importorskip("gradio_client.utils")
    from demo.tabs.api import _apart

    def arrived(parts):
        seen, last, here = [], None, None
        for part in parts:
            here = part if last is None else client.apply_diff(here, gradio.utils.diff(last, part))
            seen, last = [*seen, here], part
        return seen

    def run(*places: int):
        return [{"hits": [{"places": list(range(count))} for count in places]}]

    parts = [run(3, 3, 3, 3), run(2, 2, 2, 2), [{"type": "Final"}]]
    assert [part for part in arrived(_apart(part for part in parts)) if part] == parts


def test_no_code_before_the_address_is_known(address):
    """The page as it is sent knows no address yet: code with a wrong one could be copied before the right one is there."""
    page = get(address)[2]
    assert "The calls and their code appear" in page
    assert api_panel.FALLBACK not in page

"""Command line: `python -m dear doctor | search | rerank | evaluate | replay`.

This is an edge: the one module of `dear` that may reach into `corpora`, and only when a command needs a corpus.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from dear import events as ev
from dear.errors import BadInput, DearError, EngineError, run_command_line
from dear.logs import start_logging
from dear.pipeline import Settings
from dear.types import BM25_B, BM25_K1, Hit, Passage

app = typer.Typer(help="DeAR: two-stage reranking with reasons.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
MAX_CANDIDATES = 1000
MAX_FAILURES = 5  # in a row, before a bulk run gives up

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of text.")]
Model = Annotated[str, typer.Option(help="A model of the zoo, a local folder, or a hub id.")]
Engine = Annotated[str, typer.Option(help="auto, transformers, onnx, openai or fake.")]
K1 = Annotated[float, typer.Option(min=0, help="BM25's k1: how slowly a term's repetition stops counting.")]
B = Annotated[float, typer.Option(min=0, max=1, help="BM25's b: how much long passages are marked down.")]
CorpusName = Annotated[str, typer.Option(help="A bundled corpus, a folder, a passages file, or prebuilt:NAME.")]


@app.callback()
def _main(verbose: Annotated[bool, typer.Option("--verbose", help="Log what is chosen and why.")] = False) -> None:
    start_logging(verbose=verbose)


@app.command()
def doctor(as_json: AsJson = False, quick: Annotated[bool, typer.Option(help="Leave out Java and the model.")] = False) -> None:
    """Check that everything a run needs is here; exit 1 when something is not."""
    from dear.doctor import diagnose, report

    checks = []
    for check in diagnose(quick=quick):
        checks.append(check)
        if not as_json:
            mark = "ok  " if check.ok else "FAIL"
            print(f"{mark} {check.name}: {check.detail}" + (f"\n     remedy: {check.remedy}" if check.remedy and not check.ok else ""), flush=True)
    result = report(checks)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    raise typer.Exit(0 if result["ok"] else 1)


@app.command()
def search(
    query: str,
    corpus: CorpusName = "teaching",
    retriever: Annotated[str, typer.Option(help="bm25, bm25+rm3, dense or hybrid.")] = "bm25",
    k: Annotated[int, typer.Option("-k", min=1, max=MAX_CANDIDATES, help="How many passages.")] = 10,
    k1: K1 = BM25_K1,
    b: B = BM25_B,
    as_json: AsJson = False,
) -> None:
    """Retrieve candidates (stage 0): rank, score and what each query term contributed."""
    from dear.types import check_query

    hits = _open_corpus(corpus).retriever(retriever, k1=k1, b=b).search(check_query(query), k)
    if as_json:
        print(next(ev.dump([ev.Retrieved(tuple(hits))])))
    else:
        for hit in hits:
            terms = ", ".join(f"{term.term} {term.weight:.2f}" for term in hit.terms)
            print(f"{hit.rank:3d}. {hit.scores['retrieval']:8.3f}  {hit.id}  {hit.passage.title}" + (f"  ({terms})" if terms else ""))


@app.command()
def rerank(
    query: Annotated[str | None, typer.Argument(help="The query; leave it out for a bulk run.")] = None,
    passages: Annotated[Path | None, typer.Option(help="JSONL, TSV, CSV or TXT with the passages to rank.")] = None,
    corpus: CorpusName = "teaching",
    retriever: Annotated[str, typer.Option(help="bm25, bm25+rm3, dense or hybrid; used when there is neither --passages nor --run.")] = "bm25",
    k1: K1 = BM25_K1,
    b: B = BM25_B,
    stage: Annotated[str, typer.Option(help="pointwise, listwise or both.")] = "both",
    model: Model = "dear-nano",
    engine: Engine = "auto",
    fast: Annotated[bool, typer.Option(help="Listwise without reasoning: one prefill.")] = False,
    candidates: Annotated[int, typer.Option(min=1, max=MAX_CANDIDATES)] = 20,
    depth: Annotated[int, typer.Option(min=1, max=MAX_CANDIDATES, help="Passages that go to the listwise stage.")] = 10,
    window: Annotated[int | None, typer.Option(help="Passages of a window; 10, for the published students 20.")] = None,
    stride: Annotated[int | None, typer.Option(help="How far windows lie apart; 5, for the published students 10.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of reasoning a window; 320, for the published students 1024.")] = None,
    run: Annotated[Path | None, typer.Option(help="Bulk: a TREC run over --corpus.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Bulk: queries for --run (JSONL with id and text); else the corpus' own.")] = None,
    requests: Annotated[Path | None, typer.Option(help="Bulk: JSONL lines of query and passages.")] = None,
    out: Annotated[Path | None, typer.Option(help="Bulk: output, .jsonl or a TREC run; a run that was cut goes on here.")] = None,
    shard: Annotated[str, typer.Option(help="Bulk: this job's part, i/n.")] = "1/1",
    as_json: AsJson = False,
) -> None:
    """Rerank: one query, streamed as events (--json: one a line, the last is Final); or many, from --run or --requests into --out."""
    settings = Settings(candidates=candidates, depth=depth, window=window, stride=stride, reasoning=not fast, max_tokens=max_tokens)
    if run or requests:
        from dear.bulk import Shard
        from dear.runs import open_lines

        job = Shard.parse(shard)
        if query or not out or (run and requests):
            raise BadInput("a bulk run takes either --run or --requests, needs --out, and has no query argument")
        open_lines(run or requests).close()  # type: ignore[arg-type]  # before a model is loaded
        _bulk(_requests(run, requests, queries, corpus, candidates), _load(model, stage, engine, settings), out, job, model)
        return
    if not query:
        raise BadInput("there is no query: give one, or --run or --requests for a bulk run")
    given = _read_passages(passages) if passages else None
    if given is not None and len(given) > MAX_CANDIDATES:
        raise BadInput(
            f"{passages} holds {len(given)} passages, the limit for one query is {MAX_CANDIDATES}: index them as a corpus (--corpus {passages})"
        )
    from dear.types import check_query

    check_query(query)
    opened = None if given is not None else _open_corpus(corpus)
    reranker = _load(model, stage, engine, settings)
    pipeline = reranker.pipeline(opened.retriever(retriever, k1=k1, b=b) if opened else None, judgments=opened.judgments if opened else None)
    about = {"corpus": Path(corpus).name, "retriever": retriever} if opened else {"corpus": passages.name if passages else ""}
    if opened and (k1, b) != (BM25_K1, BM25_B):
        about["bm25"] = f"k1 {k1:g}, b {b:g}"
    _show(ev.described(pipeline.run(query, given), {**about, "model": Path(model).name}), as_json)


@app.command()
def evaluate(
    benchmarks: Annotated[list[str] | None, typer.Argument(help="dl19, dl20, beir/covid …, noveleval, nq, teaching, dl-sub, or folders.")] = None,
    model: Model = "dear-nano",
    stages: Annotated[str, typer.Option(help="Some of bm25,dense,pointwise,listwise,fast.")] = "bm25,dense,pointwise,listwise,fast",
    engine: Engine = "auto",
    data: Annotated[Path | None, typer.Option(help="Folder below which the benchmarks' folders lie.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write run files, values a query, tables and a plot here.")] = None,
    split: Annotated[str, typer.Option(help="Of the teaching corpus: train, dev or test.")] = "test",
    depth: Annotated[int, typer.Option(min=1, max=MAX_CANDIDATES, help="Passages of the first stage to score.")] = 100,
    top: Annotated[int | None, typer.Option(min=1, max=MAX_CANDIDATES, help="Passages that go to the listwise stage; 100, for nano 10.")] = None,
    window: Annotated[int | None, typer.Option(help="20, for nano 10.")] = None,
    stride: Annotated[int | None, typer.Option(help="10, for nano 5.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of reasoning a window; 1024, for nano 320.")] = None,
    peers: Annotated[
        str, typer.Option(help="bm25, all-MiniLM-L6-v2, reference, reference-windows, CrossEncoders by path or id.")
    ] = "bm25,all-MiniLM-L6-v2",
    explain: Annotated[bool, typer.Option(help="Check the explanations too.")] = True,
    shuffles: Annotated[int, typer.Option(min=0, help="Shuffled inputs a query, for position bias.")] = 10,
    probes: Annotated[int, typer.Option(min=0, help="Queries whose input is shuffled and planted with an instruction.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first queries, for a trial.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, nf4, or of the listwise stage int8, int4; auto: as the app runs.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again, whatever was answered before: a server's model may have changed.")] = False,
    names: Annotated[bool, typer.Option("--list", help="Show the registry of benchmarks and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure effectiveness, speed and explanations on benchmarks; answers are kept, so a run that was cut goes on."""
    from dear.evaluation.opening import Want
    from dear.evaluation.run import Plan
    from dear.evaluation.show import registry, show
    from dear.evaluation.stages import parse_stages

    if names:
        print(registry())
        return
    want = Want(depth, split, limit, data)
    peer_names = tuple(dict.fromkeys(name.strip() for name in peers.split(",") if name.strip()))
    plan = Plan(
        tuple(benchmarks or ()), model, engine, parse_stages(stages), want, top, window, stride, max_tokens, peer_names, explain,
        shuffles, probes, precision,
    )  # fmt: skip
    for text in show(plan, _room, out, as_json=as_json, fresh=fresh):
        print(text, flush=True)


@app.command()
def replay(
    recording: Path,
    as_json: AsJson = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page that plays the run, one file, instead of printing it.")] = None,
) -> None:
    """Show a recorded run (the JSONL that `rerank --json` printed) without a model."""
    from dear.runs import open_lines, text_lines, write_atomic

    with open_lines(recording) as file:
        events = ev.load(text_lines(file, recording))
        if page is None:
            _show(events, as_json)
            return
        from dear.replay import replay_html

        write_atomic(page, [replay_html(events)])


def _load(model: str, stage: str, engine: str, settings: Settings) -> Any:
    from dear.reranker import Reranker

    return Reranker.load(model, stage=stage, engine=engine, settings=settings)  # type: ignore[arg-type]


def _room(name: str) -> Any:
    return import_module(f"corpora.{name}")


def _open_corpus(name: str) -> Any:
    return import_module("corpora.registry").open_corpus(name, max_chars=_room("formats").MAX_ARTICLE_CHARS)


def _read_passages(path: Path) -> list[Passage]:
    return list(islice(import_module("corpora.formats").read_passages(path), MAX_CANDIDATES + 1))


def _requests(run: Path | None, requests: Path | None, queries: Path | None, corpus: str, depth: int) -> Iterator[Any]:
    from dear import bulk

    if requests:
        return bulk.requests_from_jsonl(requests)
    opened = _open_corpus(corpus)
    texts = {q.id: q.text for q in (import_module("corpora.formats").read_queries(queries) if queries else opened.queries)}
    assert run is not None
    return bulk.requests_from_run(run, texts, opened.passage, depth)


def _bulk(requests: Iterator[Any], reranker: Any, out: Path, shard: Any, tag: str) -> None:
    from tqdm import tqdm

    from dear.bulk import rerank_file

    failures: list[str] = []  # of an engine, since the last query that was ranked
    count = 0

    def failed(query_id: str, error: DearError) -> None:
        nonlocal count
        count += 1
        if isinstance(error, EngineError):  # a query that cannot be used says nothing of the next
            failures.append(query_id)
        tqdm.write(f"query {query_id!r} is passed over: {error}", file=sys.stderr)
        if len(failures) == MAX_FAILURES:
            raise EngineError(f"{MAX_FAILURES} queries in a row failed, the last with: {error}")

    for _ in tqdm(
        rerank_file(requests, reranker, out, shard=shard, tag=re.sub(r"[\s/]+", "-", tag), failed=failed), unit="query", desc=f"rerank -> {out}"
    ):
        failures.clear()
    if count:
        print(f"{count} queries could not be ranked; the same command tries them again", file=sys.stderr)
        raise typer.Exit(1)


def _show(events: Iterator[ev.Event], as_json: bool) -> None:
    """Print a stream as it comes; exit 1 when a stage failed."""
    failed = False
    for event in events:
        failed = failed or isinstance(event, ev.Failed)
        if as_json:
            print(next(ev.dump([event])), flush=True)
        else:
            text = _words(event)
            if text:
                print(text, end="" if isinstance(event, ev.Token) else "\n", flush=True)
    if failed:
        raise typer.Exit(1)


def _words(event: ev.Event) -> str:
    match event:
        case ev.Retrieved():
            return f"Retrieved {len(event.hits)} passages."
        case ev.Pointwise():
            return "Pointwise:\n" + _table(event.hits[:10], "pointwise")
        case ev.WindowStart():
            return f"Listwise, window {event.index} of {event.of} (positions {event.span[0] + 1} to {event.span[1]}):"
        case ev.Token():
            return event.text
        case ev.WindowEnd():
            return f"\n({event.status})"
        case ev.Notice():
            return f"Note: {event.message}"
        case ev.Failed():
            return f"Failed ({event.stage}): {event.error}"
        case ev.Metrics():
            return "nDCG@10: " + ", ".join(f"{stage} {values['nDCG@10']:.3f}" for stage, values in event.stages.items())
        case ev.Timing():
            return "Time: " + ", ".join(f"{stage} {cost.seconds:.2f} s" for stage, cost in event.stages.items())
        case ev.Final():
            return "Final:\n" + _table(event.hits, "")
    return ""


def _table(hits: Sequence[Hit], stage: str) -> str:
    rows = []
    for hit in hits:
        score = f"{hit.scores[stage]:8.3f}" if stage in hit.scores else " > ".join(f"{name} {rank}" for name, rank in hit.ranks.items())
        rows.append(
            f"{hit.rank:3d}. {score}  {hit.id}  {hit.passage.title or hit.passage.text[:60]}" + (f"\n       {hit.rationale}" if hit.rationale else "")
        )
    return "\n".join(rows)


def main() -> None:
    """Run the command line; see `dear.errors.run_command_line`."""
    run_command_line(app)


if __name__ == "__main__":
    main()

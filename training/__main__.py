"""Command line: `python -m training {mine,teacher,mix,pointwise,ablate,cot,listwise,compare,merge,average,report,plan} RECIPE [key=value …]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dear.errors import BadInput, run_command_line
from dear.logs import start_logging
from training import recipes

app = typer.Typer(help="Train DeAR students by recipe.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="nano-cpu, nano-gpu, 3b, 8b, teacher-13b, or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]…", help="For instance pointwise.max_steps=100.")]
Fresh = Annotated[bool, typer.Option(help="Start again, do not go on from the last checkpoint.")]


@app.callback()
def _main(verbose: Annotated[bool, typer.Option("--verbose", help="Log what is chosen and why.")] = False) -> None:
    start_logging(verbose=verbose)


@app.command()
def mine(recipe: Name, overrides: Overrides = None) -> None:
    """Make stage 1's groups: labelled queries with mined negatives."""
    from training.prepare import mine_file

    loaded = _load(recipe, overrides)
    print(f"{mine_file(loaded, _say):,} groups in {loaded.mining.out}")


@app.command()
def teacher(recipe: Name, overrides: Overrides = None) -> None:
    """Write the teacher's scores as a column of the groups and drop false negatives; goes on where a run was cut."""
    from training.prepare import teach_file

    loaded = _load(recipe, overrides)
    found = teach_file(loaded, _say)
    print(f"{loaded.teacher.out}: {found.dropped:,} of {found.seen:,} negatives dropped, {found.groups_lost:,} groups lost")
    for kind, values in found.quantiles.items():
        print(f"  teacher score, {kind:8s} 10 / 50 / 90 %: " + " / ".join(f"{value:.2f}" for value in values))


@app.command()
def mix(recipe: Name, overrides: Overrides = None) -> None:
    """Draw a further piece's file from lists that are graded throughout, and one of the dev split for pointwise.dev."""
    from training.mix import mix_files

    loaded = _load(recipe, overrides)
    counts, dev = mix_files(loaded)
    print(f"{sum(counts.values()):,} lists in {loaded.mix.out}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count))
    if loaded.mix.dev_out:
        print(f"{dev:,} lists in {loaded.mix.dev_out}")


@app.command()
def pointwise(recipe: Name, overrides: Overrides = None, fresh: Fresh = False) -> None:
    """Train stage 1: a scorer of pairs, from labels and the teacher's scores."""
    loaded = _load(recipe, overrides)
    recipes.check(loaded, "pointwise")
    from training.pointwise import train

    print(f"stage 1 is in {train(loaded, resume=not fresh)}")


@app.command()
def compare(
    recipe: Name,
    overrides: Overrides = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="An adapter's folder, dear-nano, minilm, bi-encoder:PATH, cross-encoder:PATH; once for each. None: the recipe's own run."),
    ] = None,
    untitled: Annotated[bool, typer.Option(help="Read passages without titles, as those of MS MARCO are.")] = False,
) -> None:
    """Models side by side on the dev lists that mix wrote: nDCG@10 and RR@10 by kind of list."""
    from training import compare as comparing

    loaded = _load(recipe, overrides)
    groups = comparing.dev_groups(loaded, untitled=untitled)
    rows = []
    for row in comparing.compare(groups, model or [str(loaded.folder("pointwise"))]):
        rows.append(row)
        _say(f"{row.model} has scored {len(groups):,} lists")
    print(comparing.table(rows, groups))


@app.command()
def ablate(
    recipe: Name,
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs a loss, seeds 0, 1, …")] = 3,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs a run sees.")] = 4000,
) -> None:
    """Stage 1 by CE, CE + RankNet, CE + KL and all three: nDCG@10 and calibration on pointwise.dev or the teaching dev topics; goes on where cut."""
    from training import ablation

    loaded = _load(recipe, overrides)
    recipes.check(loaded, "pointwise")
    outcomes = []
    for outcome in ablation.ablate(loaded, range(seeds), pairs):
        outcomes.append(outcome)
        _say(f"{outcome.loss}, seed {outcome.seed}: nDCG@10 {outcome.ndcg}, ECE {outcome.ece}")
    print(ablation.table(outcomes))


@app.command()
def cot(
    recipe: Name,
    overrides: Overrides = None,
    only: Annotated[Literal["make", "check", "generate", "all"], typer.Option(help="all: make, then check.")] = "all",
    groups: Annotated[int, typer.Option(min=1, help="generate: at most so many queries of cot.groups.")] = 1000,
    yes: Annotated[bool, typer.Option("--yes", help="generate: spend what the estimate says.")] = False,
) -> None:
    """Make stage 2's rows from the written rationales and labelled data, and check them; or have a teacher generate more."""
    from training import cot_files

    loaded = _load(recipe, overrides)
    if only == "generate":
        _generate(loaded, groups, yes)
        return
    if only != "check":
        rows, dev = cot_files.make(loaded)
        print(f"{rows:,} rows in {loaded.cot.out}" + (f", {dev:,} in {loaded.cot.dev_out}" if dev else ""))
    if only != "make":
        _check([path for path in (loaded.cot.out, loaded.cot.dev_out if loaded.cot.dev_rows else "") if path], loaded)


@app.command()
def listwise(recipe: Name, overrides: Overrides = None, fresh: Fresh = False) -> None:
    """Train stage 2: a reranker of lists that gives reasons."""
    loaded = _load(recipe, overrides)
    recipes.check(loaded, "listwise")
    from training.listwise import train

    print(f"stage 2 is in {train(loaded, resume=not fresh)}")


@app.command()
def merge(
    recipe: Name,
    overrides: Overrides = None,
    stage: Annotated[Literal["pointwise", "listwise"], typer.Option()] = "listwise",
    dtype: Annotated[Literal["fp32", "bf16"], typer.Option()] = "bf16",
    out: Annotated[Path | None, typer.Option(help="Where to; STAGE-merged beside the adapter when left out.")] = None,
) -> None:
    """Fold a trained adapter into its base: one folder of safetensors."""
    from training.merge import merge as fold

    loaded = _load(recipe, overrides)
    folder = loaded.folder(stage)
    print(f"merged in {fold(folder, out or folder.with_name(f'{stage}-merged'), base=loaded.model.base, dtype=dtype)}")


@app.command()
def average(
    adapter: Annotated[Path, typer.Argument(help="The folder of a trained adapter; its files go along.")],
    other: Annotated[Path, typer.Argument(help="One of the same shape, such as the one the first went on from.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    share: Annotated[float, typer.Option(help="Of the other adapter, 0 to 1.")] = 0.5,
) -> None:
    """The mean of two adapters' weights: what a run learnt, and most of what was there before it."""
    from training.merge import average as mean

    print(f"averaged in {mean(adapter, other, out, share=share)}")


@app.command()
def report(recipe: Name, overrides: Overrides = None) -> None:
    """Draw the loss curves of what has run or is running, and say how far it is."""
    from training.report import rebuild, table

    print(table(rebuild(_load(recipe, overrides))))


@app.command()
def plan(
    recipe: Name,
    overrides: Overrides = None,
    gpu: Annotated[str, typer.Option(help="h200, h100, a100, a100-40, l40s, a10g, l4, rtx4090, cpu or cpu-bf16.")] = "h100",
    gpus: Annotated[int, typer.Option(min=1)] = 1,
    sharded: Annotated[bool, typer.Option(help="Weights split over the GPUs (FSDP, ZeRO-3).")] = False,
) -> None:
    """What the teacher and both stages will take: parameters, memory per GPU, tokens, hours. Nothing is loaded."""
    from training import plan as planning
    from training import plan_teacher

    loaded = _load(recipe, overrides)
    if bill := plan_teacher.plan_teacher(loaded, gpu=gpu, gpus=gpus):
        print(plan_teacher.text(bill))
    for stage in ("pointwise", "listwise"):
        print(planning.text(planning.plan(loaded, stage, gpu=gpu, gpus=gpus, sharded=sharded), gpu))


def _generate(loaded: recipes.Recipe, most: int, yes: bool) -> None:
    import random

    from tqdm import tqdm

    from training import cot_generate
    from training.groups import read_groups

    if not Path(loaded.cot.groups or ".").is_file():
        raise BadInput(
            f"cot.groups {loaded.cot.groups!r} does not exist: make it with `python -m training mine, then teacher`, or set cot.groups=FILE"
        )
    found = list(read_groups(loaded.cot.groups))
    random.Random(loaded.cot.seed).shuffle(found)  # a file has its sets one after another
    tasks = cot_generate.tasks_of(found[:most], loaded.cot.max_k)
    todo = cot_generate.open_tasks(tasks, loaded.cot.generated)
    print(f"{len(tasks) - len(todo):,} of {len(tasks):,} done; open: {cot_generate.estimate(todo, loaded.cot)}")
    with tqdm(total=len(todo), unit="row", disable=not todo or not yes) as bar:
        tally = cot_generate.generate(tasks, loaded.cot, yes=yes, progress=lambda done, _: bar.update(done - bar.n))
    print(cot_generate.as_json(tally))


def _check(paths: list[str], loaded: recipes.Recipe) -> None:
    from training import cot_files

    good = True
    for path in paths:
        found = cot_files.check(loaded, path)
        print(f"{path}\n{found}")
        good = good and found.ok
    if not good:
        raise typer.Exit(1)


def _load(recipe: str, overrides: list[str] | None) -> recipes.Recipe:
    return recipes.load(recipe, overrides or [])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line; see `dear.errors.run_command_line`."""
    run_command_line(app)


if __name__ == "__main__":
    main()

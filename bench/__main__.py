"""`make bench`, or `python -m bench [decode|score|start|page|load …]`: speed on this machine, rounds interleaved so that load hits all alike."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

import typer

from bench import load, models, page, visits

NAMES = ("decode", "score", "start", "page", "load")


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(NAMES)}; all when left out.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 3,
    clients: Annotated[int, typer.Option(min=1, max=200, help="How many at once, for load.")] = 20,
    model: Annotated[str, typer.Option(help="dear-nano or fake, for page and load.")] = "dear-nano",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Run benchmarks and print one table each (or one JSON line each)."""
    benches = {
        "decode": models.decode,
        "score": models.score,
        "start": page.start,
        "page": partial(visits.page, model=model),
        "load": partial(load.load, clients=clients, model=model),
    }
    for name in names or NAMES:
        if name not in benches:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(NAMES)}")
        result = benches[name](rounds)
        if as_json:
            print(json.dumps({"bench": name, **result}), flush=True)
        else:
            print(f"\n{name}: {result['what']}")
            for row in result["rows"]:
                print("  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


typer.run(main)

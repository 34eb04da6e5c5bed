"""`make bench`, or `python -m bench [decode|score|start …]`: speed on this machine as ratios, rounds interleaved so that load hits all alike."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench import models, page

BENCHES = {"decode": models.decode, "score": models.score, "start": page.start}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(BENCHES)}; all when left out.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")] = 3,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Run benchmarks and print one table each (or one JSON line each)."""
    for name in names or list(BENCHES):
        if name not in BENCHES:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(BENCHES)}")
        result = BENCHES[name](rounds)
        if as_json:
            print(json.dumps({"bench": name, **result}), flush=True)
        else:
            print(f"\n{name}: {result['what']}")
            for row in result["rows"]:
                print("  " + "  ".join(f"{key} {value}" for key, value in row.items()), flush=True)


typer.run(main)

"""`lewm envs`: which environments there are, and what one looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from lewm_data.envs.overview import Overview

envs = typer.Typer(invoke_without_command=True)


@envs.callback()
def list_all(context: typer.Context, json: options.Json = False) -> None:
    """List the environments: what each is, its actions, states and policies, and what it needs installed."""
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from lewm_data.envs.overview import overview

    found = overview()
    if json:
        output.show_json({"environments": [asdict(one) for one in found]})
    else:
        output.show(_table(found))


@envs.command()
def show(
    name: Annotated[str, typer.Argument(help=options.ANY_ENV)],
    out: Annotated[Path | None, typer.Option(help="PNG file to write.", show_default="NAME.png")] = None,
    vary: Annotated[
        str, typer.Option(help="Factors drawn for each episode, separated by commas, or all.", show_default="none")
    ] = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each policy.")] = 2,
    frame_size: Annotated[int, typer.Option(min=16, help="Side of a frame in pixels.")] = 128,
    detail: options.Detail = None,
    seed: options.Seed = 0,
) -> None:
    """Draw an environment: the goals and frames of a few episodes of each policy."""
    from lewm.files import check_output, file_name
    from lewm_data.envs.gallery import draw_gallery
    from lewm_data.envs.registry import world

    place = world(name).drawn(detail)
    out = out or Path(f"{file_name(place.name)}.png")
    check_output(out, options.WRITABLE)
    draw_gallery(place, out, frame_size=frame_size, episodes=episodes, seed=seed, vary=vary)
    output.show(str(out))


def _table(found: tuple[Overview, ...]) -> Table:
    from lewm_data.errors import INSTALL

    table = output.plain_table("environment", "", "actions", "states", "policies")
    for column in table.columns:
        column.overflow = "fold"  # a word that is too long continues in the next line
    table.columns[0].no_wrap = True
    longest = max((len(f"{factor},") for one in found for factor in one.factors), default=1)  # none is broken
    table.add_column("factors", width=max(longest, output.stdout.width // 4))
    for one in found:
        needs = "" if one.installed else f"\nneeds {INSTALL.format(one.extra)}"
        table.add_row(
            one.name,
            one.about + needs,
            str(one.action_dim),
            str(one.state_dim),
            ", ".join(one.policies),
            ", ".join(one.factors),
        )
    table.caption = "actions and states: numbers of each; factors: what --vary can draw for each episode"
    return table

"""The page's parts on what was trained: the model with its stages, the temporal head, the policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.held_out import held_out
from lewm.page import elements
from lewm.page.content import Content, other_weights
from lewm.page.course import collapse_of, health_over_training
from lewm.page.document import KeyNumber
from lewm.page.media import LARGEST, is_inside
from lewm.page.shelf import Shelf
from lewm.report_files import read_report
from lewm.training.metrics import read_metrics
from lewm.training.plot import PICTURE


def training(path: Path, shelf: Shelf) -> Content:
    """metrics.jsonl: the last numbers, and training.png; before them those of the stages."""
    lines = read_metrics(path)
    if not lines:
        raise LewmError(f"{path}: no whole line in it", "Train further.")
    config, _ = run.read_config(path.parent)
    body = _stages(path.parent, list(config.stages), shelf)
    last = lines[-1]
    rows = [
        *((name, f"{value:.4g}", "term of the loss, without its weight") for name, value in last["terms"].items()),
        ("Speed", f"{last['clips_per_second']:,.0f}", "clips a second"),
    ]
    numbers: tuple[KeyNumber, ...] = ()
    health = _health(lines)
    if health is not None:
        rows += [
            ("Effective rank", f"{health['effective_rank']:.1f}", "directions that the latents use, held-out data"),
            (
                "Standard deviation",
                f"{health['std_mean']:.2f}",
                f"of a latent number; the least {health['std_min']:.2f}",
            ),
        ]
        numbers = (_spread(health, collapse_of(lines)),)
        if health["curve"]:
            told = "between latent distance and the shortest path in the world"
            rows.append(("Rank correlation", f"{health['distance_correlation']:.2f}", told))
    body += elements.table(("", "last value", "what it is"), rows) + _picture(path.parent, lines, "", shelf)
    return Content(body + health_over_training(config.env, lines_of(path.parent), shelf), numbers)


def lines_of(directory: Path) -> list[dict[str, Any]]:
    """The metrics of a whole run: first those of its stages, each with the stage's name as "stage"."""
    config, _ = run.read_config(directory)
    before = [
        {**line, "stage": name}
        for name in config.stages
        for line in read_metrics(directory / run.STAGES / name / run.METRICS)
    ]
    return [*before, *read_metrics(directory / run.METRICS)]


def head(path: Path, shelf: Shelf) -> Content:
    """head-*.json: how far the head is off, and how it ranks pairs of moments."""
    report = read_report(path)
    body = other_weights(path, report)
    rows = [
        (f"{one['least']} to {one['most']}", *map(_steps, (one["real"], one["imagined"]))) for one in report["errors"]
    ]
    body += elements.table(("steps between two moments", "error from real latents", "from imagined ones"), rows)
    rankings = [(kind, report[kind]) for kind in ("real", "imagined") if report[kind] is not None]
    rows = [(f"{kind} latents", f"{one['head']:.2f}", f"{one['distance']:.2f}") for kind, one in rankings]
    body += elements.table(("rank correlation with the steps", "head", "latent distance"), rows)
    settings = report["head"]
    body += elements.paragraph(
        f"The errors are means in steps, on {held_out('episodes', report['held_out'])}. The head was trained for "
        f"{settings['steps']:,} steps on pairs of moments that lie at most {settings['longest']} steps apart, in "
        f"{settings['frames']:,} frames.",
        "quiet",
    )
    return Content(body)


def policy(path: Path, shelf: Shelf) -> Content:
    """policy-KIND-*.json: how far the policy's actions are from those that were taken."""
    report = read_report(path)
    body = other_weights(path, report)
    rows = [("the policy", f"{report['error']:.3f}"), ("always the mean action", f"{report['mean_action']:.3f}")]
    body += elements.table(("", "mean squared error"), rows)
    if report["value_correlation"] is not None:
        told = "Rank correlation of the learnt value and the steps to the goal"
        body += elements.facts([(told, f"{report['value_correlation']:.2f}")])
    settings = report["policy"]
    most = f"at most {settings['longest']} steps " if "longest" in settings else ""
    body += elements.paragraph(
        f"The errors are those of normalised actions in {held_out('episodes', report['held_out'])}, at goals which "
        f"these episodes reached {most}later. The policy was trained for {settings['steps']:,} steps, on "
        f"{settings['frames']:,} frames.",
        "quiet",
    )
    return Content(body)


def _stages(directory: Path, names: list[str], shelf: Shelf) -> str:
    """A row and a picture for each stage that has begun; empty for a run without stages."""
    rows, pictures = [], []
    for name in names:
        stage = directory / run.STAGES / name
        lines = read_metrics(stage / run.METRICS) if is_inside(stage / run.CONFIG, directory, LARGEST) else []
        if not lines:
            continue
        config, health = run.read_config(stage)[0], _health(lines)
        terms = ", ".join(f"{term} {value:.3g}" for term, value in lines[-1]["terms"].items())
        told = ("-", "-") if health is None else (f"{health['effective_rank']:.1f}", _correlation(health))
        rows.append((name, config.model.encoder.in_words, f"{lines[-1]['step']:,}", terms, *told))
        pictures.append(_picture(stage, lines, f"Stage {name}: ", shelf, directory))
    if not rows:
        return ""
    columns = ("stage before", "encoder", "steps", "last terms of the loss", "effective rank", "rank correlation")
    return elements.table(columns, rows) + elements.grid(pictures, "pairs")


def _picture(directory: Path, lines: list[dict[str, Any]], before: str, shelf: Shelf, whole: Path | None = None) -> str:
    """training.png of a training in the run `whole`, if it is there."""
    path = directory / PICTURE
    if not is_inside(path, whole or directory, LARGEST):
        return ""
    told = (
        f"{before}{'l' if before else 'L'}oss terms and the health of the latent space over {lines[-1]['step']} steps"
    )
    if whole is None:
        link = shelf.source_link(told)
    else:
        link = elements.data_link(shelf.take(directory / run.METRICS), f"{directory.name}-{run.METRICS}", told)
    return elements.picture(shelf.take(path), told, link)


def _health(lines: list[dict[str, Any]]) -> Mapping[str, Any] | None:
    """The last that was measured."""
    return next((line["health"] for line in reversed(lines) if "health" in line), None)


def _spread(health: Mapping[str, Any], collapsed: int | None) -> KeyNumber:
    """The effective rank of the latents, unless they are collapsed from a step on."""
    if collapsed is None:
        return KeyNumber(f"{health['effective_rank']:.1f}", "effective rank", "of the latents, held-out data")
    told = f"from step {collapsed:,} on; at the end their mean standard deviation is {health['std_mean']:.2g}"
    return KeyNumber("collapsed", "the latents are", told, warning=True)


def _correlation(health: Mapping[str, Any]) -> str:
    value = health["distance_correlation"]
    return "-" if value is None else f"{value:.2f}"


def _steps(error: float | None) -> str:
    return "-" if error is None else f"{error:.1f}"

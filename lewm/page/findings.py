"""The page's parts on what was found out about a trained model: probing, surprise, decoding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lewm.held_out import held_out
from lewm.page import elements
from lewm.page.content import Content, other_weights
from lewm.page.document import KeyNumber
from lewm.page.media import LARGEST, PICTURES, VIDEOS, Media, figure, is_inside, media_of
from lewm.page.shelf import Shelf
from lewm.report_files import read_report

EVENTS = ("event", "begin", "peak", "end", "p")  # columns
FIGURES = 24  # the most pictures and videos of one part


def decoding(path: Path, shelf: Shelf) -> Content:
    """decode-*.json: what the latents look like."""
    report = read_report(path)
    shown = f"Shown and measured are {held_out('episodes', report['held_out'])}."
    body = other_weights(path, report) + elements.paragraph(shown, "quiet")
    return Content(body + _gallery(media_of(path), path.parent, shelf))


def probing(path: Path, shelf: Shelf) -> Content:
    """probe-*.json: how well quantities are read from the latents, beside the baselines."""
    report = read_report(path)
    rows, numbers = [], []
    for one in report["probed"]:
        scores = [_number(one[probe][score]["value"], ".3f") for probe in ("linear", "mlp") for score in ("mse", "r")]
        rows.append((f"{one['property']}, {one['features']}", *scores))
        if one is report["probed"][0] and one["mlp"]["r"]["value"] is not None:
            low, high = one["mlp"]["r"]["interval_95"]
            told = f"{one['property']} read from the latents, 95 %: {low:.3f} to {high:.3f}"
            numbers.append(KeyNumber(f"{one['mlp']['r']['value']:.3f}", "correlation by an MLP", told))
    body = other_weights(path, report)
    body += elements.table(("quantity, read from", "linear MSE", "linear r", "MLP MSE", "MLP r"), rows)
    body += elements.paragraph(
        f"Probes fitted on {report['episodes']['train']} episodes and tested on {report['episodes']['test']} others.",
        "quiet",
    )
    return Content(body + _gallery(media_of(path), path.parent, shelf), tuple(numbers))


def surprise(path: Path, shelf: Shelf) -> Content:
    """surprise-*.json: the events of one video, the most surprising first."""
    report = read_report(path)
    expected = report["alpha"] * report["scored"]
    body = other_weights(path, report)
    body += elements.facts(
        [
            ("Video", Path(report["source"]).name),
            ("Actions", report["actions"]),
            ("Frames", f"{report['frames']}, {report['scored']} with a score"),
            ("Flagged", f"{report['flagged']}; a clean video would have about {expected:.1f}"),
            ("Calibrated on", _basis(report["calibration"], report["alpha"])),
        ]
    )
    rows = [
        (str(i), *(f"{event[at]:.2f}" for at in ("begin_time", "peak_time", "end_time")), f"{event['p_value']:.1g}")
        for i, event in sorted(enumerate(report["events"], 1), key=lambda one: one[1]["p_value"])
    ]
    body += (
        elements.table(EVENTS, rows, "Events, the most surprising first") if rows else elements.paragraph("No event.")
    )
    media = media_of(path)
    if report["out_video"]:
        video = Path(report["out_video"])
        if is_inside(video, path.parent, LARGEST):
            media = Media((*media.shown, video), media.left_out)
        else:
            body += elements.paragraph(f"The annotated video is not in the run: {video}", "quiet")
    return Content(body + _gallery(media, path.parent, shelf))


def _basis(basis: Mapping[str, Any], alpha: float) -> str:
    """What the threshold rests on, and whether that is enough."""
    episodes, needed = basis["clean_episodes"], basis["episodes_needed"]
    few = "" if episodes >= needed else f"; too few for alpha {alpha:g}, which needs {needed}"
    most = basis["false_alarms_at_most"]
    limit = "How many clean frames are flagged is not known, because the model's training may have seen these episodes"
    if most is not None:
        limit = f"At most {most:.1%} of the frames of a clean video are flagged, on average over videos like these"
    return f"{basis['clean_frames']} frames of {episodes} clean episodes{few}. {limit}"


def suite(path: Path, shelf: Shelf) -> Content:
    """surprise-suite-*.json: every perturbation, with known and with unknown actions."""
    report = read_report(path)
    body = other_weights(path, report)
    for alarms in report["false_alarms"]:
        actions = alarms["actions"]
        some = [one for one in report["outcomes"] if one["actions"] == actions]
        rows = [_outcome(one) for one in sorted(some, key=lambda one: (one["detected"], one["auroc"]))]
        body += elements.paragraph(f"Actions {actions}: events that were detected least come first.")
        head = ("event", "surprise", "untouched", "p (paired t)", "effect size", "AUROC", "detected", "delay in frames")
        body += elements.table(head, rows)
        low, high = alarms["interval_95"]
        body += elements.paragraph(
            f"False alarms: {alarms['rate']:.2%} of {alarms['frames']} untouched frames (95 %: {low:.2%} to "
            f"{high:.2%}), at alpha {report['alpha']:g}.",
            "quiet",
        )
    return Content(body + _gallery(media_of(path), path.parent, shelf))


def _outcome(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        one["perturbation"],
        f"{one['surprise']:.3f}",
        f"{one['untouched']:.3f}",
        _number(one["p_value"], ".0e"),
        _number(one["effect_size"], ".2f"),
        f"{one['auroc']:.3f}",
        f"{one['detected']:.0%}",
        _number(one["delay"], ".0f"),
    )


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _gallery(media: Media, run: Path, shelf: Shelf) -> str:
    """Pictures of a run below each other, then videos side by side."""
    found, shown = media.shown, media.shown[:FIGURES]
    body = "".join(figure(one, run, shelf) for one in shown if one.suffix in PICTURES)
    videos = [figure(one, run, shelf) for one in shown if one.suffix in VIDEOS]
    body += elements.grid(videos) if videos else ""
    if len(found) > FIGURES:
        body += elements.paragraph(f"{FIGURES} of {len(found)} pictures and videos.", "quiet")
    return body + media.note()

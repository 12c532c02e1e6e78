"""metrics.jsonl: what was logged, one line a step. It is a log: a damaged line is passed over."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lewm.files import write_text

log = logging.getLogger(__name__)

LINE_BYTES = 1_000_000  # a line has some hundreds of bytes, with the health of the latent space some thousands
NUMBERS = ("loss", "gradient_norm", "learning_rate", "seconds", "clips_per_second", "waiting_for_data")
MOST_TERMS = 64  # the most terms of a loss; PLDM's has seven
HEALTH = ("std_min", "std_mean", "effective_rank", "sigreg")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines, with ascending steps and equal terms; a warning says how many others there are.

    A last line without its end is left out without a warning: a training that is killed leaves one.
    """
    lines: list[dict[str, Any]] = []
    damaged = 0
    for text in _texts(path) if path.is_file() else ():
        line = _parse(text)
        if line is not None and (not lines or _follows(lines[-1], line)):
            lines.append(line)
        else:
            damaged += 1
    if damaged:
        log.warning("%s: %d damaged lines are passed over, %d are read.", path, damaged, len(lines))
    return lines


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a line."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def truncate(path: Path, done: int) -> None:
    """Keep the whole lines up to step `done`: the steps after it are run again."""
    if path.exists():
        kept = [line for line in read_metrics(path) if line["step"] <= done]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def seconds(path: Path) -> float:
    """What the steps of a training took so far, with what had to be read or encoded before them; 0 before the first."""
    lines = read_metrics(path)
    return float(lines[-1]["seconds"]) if lines else 0.0


def _texts(path: Path) -> Iterator[bytes]:
    """The lines that have an end. A line that is too long to be ours comes in pieces, none of which is whole."""
    with path.open("rb") as file:
        while text := file.readline(LINE_BYTES):
            if text.endswith(b"\n") or len(text) == LINE_BYTES:
                yield text


def _follows(before: dict[str, Any], line: dict[str, Any]) -> bool:
    same_terms: bool = line["terms"].keys() == before["terms"].keys()
    return same_terms and line["step"] > before["step"]


def _parse(text: bytes) -> dict[str, Any] | None:
    """A line as training writes it, or None."""
    try:
        line = json.loads(text)
        health = line.get("health", dict.fromkeys(HEALTH, 0.0) | {"distance_correlation": None, "curve": []})
        terms = line["terms"]
        numbers = [line["step"], *terms.values()] + [line[name] for name in NUMBERS] + [health[name] for name in HEALTH]
        numbers += [number for pair in health["curve"] for number in pair]
        pairs = all(len(pair) == 2 for pair in health["curve"])
        if health["distance_correlation"] is not None:
            numbers.append(health["distance_correlation"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    named = 0 < len(terms) <= MOST_TERMS and all(name.isidentifier() for name in terms)
    whole = type(line["step"]) is int and named and pairs and all(_is_number(number) for number in numbers)
    return line if whole else None


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)  # a float holds it exactly

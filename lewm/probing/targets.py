"""The quantities that a probe looks for: named pieces of a dataset's columns.

    state                   every number of a column, flattened
    state[2:4]  state[4]    some of them, one of them
    state[4]:angle          an angle in radians, as its sine and cosine
    qpos[3:7]:quaternion    a unit quaternion, as the products of its entries: q and -q are the same rotation

N frames, C numbers of a quantity.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from lewm.errors import LewmError, unknown
from lewm.probing.sample import Sample
from lewm_data.store.clips import CONSTANT
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION, PIXELS, REWARD

log = logging.getLogger(__name__)

EXPRESSION = re.compile(r"(?P<column>[^\[\]:]+)(\[(?P<first>\d+)(?P<range>:(?P<end>\d+))?\])?(:(?P<form>\w+))?")
FORMS = ("angle", "quaternion")
UNIT_WITHIN = 1e-3  # how far a quaternion's norm may be from 1: float32 and printed values stay well inside
QUATERNION_ENTRIES = np.triu_indices(4)

# Where a world names no targets, every column is probed except these, which say how the data were recorded, and except
# wide ones, such as depth pictures: nobody would read their numbers in a table.
RECORDED = (PIXELS, ACTION, REWARD, "goal", "policy", "episode_idx", "step_idx", "episode_seed")
WIDEST = 64


@dataclass(frozen=True)
class Quantity:
    """A quantity at every frame of a sample.

    Attributes:
        name: What the user calls it.
        expression: Where it comes from, such as "state[2:4]".
        labels: A name for each of its numbers.
        values: Its values, in the dataset's own units.
    """

    name: str
    expression: str
    labels: tuple[str, ...]
    values: Float64[np.ndarray, "N C"]


def numeric_columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns that targets can be taken from."""
    return tuple(name for name in dataset.columns if name != PIXELS)


def read_columns(dataset: Dataset, sample: Sample) -> list[Quantity]:
    """Every column that can be probed for, at the frames of a sample, for a world that names no targets.

    Raises:
        LewmError: there is none; says what is wrong with each.
    """
    found, wrong = [], []
    for column in dataset.schema:
        if column.name in RECORDED or not EXPRESSION.fullmatch(column.name):
            continue
        if (width := int(np.prod(column.shape))) > WIDEST:
            wrong.append(f"{column.name} has {width} numbers")
            continue
        try:
            found.append(_read(dataset, sample, column.name.removeprefix("observation."), column.name))
        except LewmError as error:
            wrong.append(str(error).split("\n")[0].removeprefix(f"{dataset.path}: "))
    reasons = "; ".join(wrong)
    if not found:
        raise LewmError(
            f"{dataset.path}: no column to probe for{': ' if wrong else ''}{reasons}",
            "Give --target NAME=COLUMN, with one of the columns "
            f"{', '.join(numeric_columns(dataset))}, or record what the frames show as a column with a row a frame.",
        )
    if wrong:
        log.warning("%s: left out: %s", dataset.path, reasons)
    return found


def read_quantities(dataset: Dataset, sample: Sample, targets: Mapping[str, str]) -> list[Quantity]:
    """The targets at the frames of a sample.

    Args:
        targets: The expression of each name, as described above.

    Raises:
        LewmError: an expression cannot be read, its column or numbers do not exist or are not finite, it is no angle
            or quaternion, or it does not vary within each part of the sample.
    """
    return [_read(dataset, sample, name, expression) for name, expression in targets.items()]


def _read(dataset: Dataset, sample: Sample, name: str, expression: str) -> Quantity:
    where = f"{dataset.path}: target {name}={expression}"
    match = EXPRESSION.fullmatch(expression)
    if not match:
        raise LewmError(
            f"target {name}={expression}: expected a column, perhaps with [i] or [i:j] and :angle or :quaternion",
            "Write it like state, state[2:4], state[4]:angle or qpos[3:7]:quaternion.",
        )
    column, form = match["column"], match["form"]
    if column not in numeric_columns(dataset):
        raise unknown(f"column of {dataset.path}:", column, numeric_columns(dataset))
    if form is not None and form not in FORMS:
        raise unknown(f"form of target {name}={expression}:", form, FORMS)
    stored = dataset.column(column)[sample.rows].astype(np.float64)
    values = stored.reshape(len(stored), -1)  # (N, numbers of the column)
    width = values.shape[1]
    first = int(match["first"] or 0)
    end = width if match["first"] is None else int(match["end"]) if match["range"] else first + 1
    if not first < end <= width:
        raise LewmError(f"{where}: column '{column}' has the numbers 0 to {width - 1}", "Give a slice within them.")
    values = values[:, first:end]
    if not np.isfinite(values).all():
        frames = int((~np.isfinite(values).all(axis=1)).sum())
        raise LewmError(
            f"{where}: not finite at {frames} of {len(values)} frames", "Probe for a column that is known everywhere."
        )
    labels = tuple(f"{name}[{i}]" for i in range(end - first)) if end - first > 1 else (name,)
    if form == "angle":
        labels, values = _sine_and_cosine(where, name, values)
    elif form == "quaternion":
        labels, values = _products(where, name, values)
    for part, some in sample.parts.items():
        constant = ~_varies(values[some])
        if constant.any():
            which = "" if constant.all() else f": {', '.join(np.array(labels)[constant])}"
            raise LewmError(
                f"{where}: constant over the {part} episodes{which}",
                "A probe needs something that varies: leave it out with --target for the others, or have more episodes "
                "held out.",
            )
    return Quantity(name, expression, labels, values)


def _sine_and_cosine(
    where: str, name: str, values: Float64[np.ndarray, "N C"]
) -> tuple[tuple[str, ...], Float64[np.ndarray, "N 2"]]:
    if values.shape[1] != 1:
        raise LewmError(f"{where}: {values.shape[1]} numbers, an angle is one", "Choose it, as in state[4]:angle.")
    return (f"sin {name}", f"cos {name}"), np.concatenate([np.sin(values), np.cos(values)], axis=1)


def _products(
    where: str, name: str, values: Float64[np.ndarray, "N C"]
) -> tuple[tuple[str, ...], Float64[np.ndarray, "N K"]]:
    """The entries of q qᵀ that vary, of its 10 different ones: in rotations about one fixed axis, some are always 0."""
    if values.shape[1] != 4:
        raise LewmError(
            f"{where}: {values.shape[1]} numbers, a quaternion has 4", "Choose them, as in qpos[3:7]:quaternion."
        )
    norm = np.linalg.norm(values, axis=1)
    worst = np.abs(norm - 1).argmax()
    if abs(norm[worst] - 1) > UNIT_WITHIN:
        raise LewmError(
            f"{where}: norm {norm[worst]:.6g} at a frame, a rotation's quaternion has norm 1",
            "Choose the four numbers of the quaternion, or leave :quaternion out.",
        )
    i, j = QUATERNION_ENTRIES
    products = values[:, i] * values[:, j]  # (N, 10)
    varies = _varies(products)
    kept = varies if varies.any() else np.ones(len(i), bool)
    labels = [f"{name} q{a}q{b}" for a, b in zip(i, j, strict=True)]
    return tuple(np.array(labels)[kept].tolist()), products[:, kept]


def _varies(values: Float64[np.ndarray, "N C"]) -> Bool[np.ndarray, " C"]:
    return values.std(axis=0) > CONSTANT * np.maximum(np.abs(values).max(axis=0), 1e-30)

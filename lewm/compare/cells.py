"""From a specification to its cells: for each row of a table and each seed a run, and how plans are made with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lewm.checkpoints.run import read_config
from lewm.compare.spec import Change, Method, Plan, Row, Spec, Train, slug
from lewm.config import Config, Planning, Section, override, validate
from lewm.errors import LewmError
from lewm.evaluation.tasks import PAPER
from lewm.recipes import PUBLISHED, recipe
from lewm_data.envs.registry import world

RECIPE = "small"  # where a specification names none
DIGITS = 10  # of a digest in the name of a folder
LABEL = 60  # characters of the readable part of such a name
NOT_TRAINED = ("planning", "evaluation")  # sections that a training does not depend on
KIND = "kind"  # the key of a section that decides which other keys it has
SEED = "training.seed"  # chosen by the specification's seeds
HORIZON = "horizon"  # of policies: `lewm plan` chooses it by the goal where it is not set
REMEDY = "Change {key} in the specification."


@dataclass(frozen=True)
class Trained:
    """A run that is trained here.

    Attributes:
        world: Its world.
        data: Name of its dataset, without the ending.
        config: Its whole configuration.
        changed: What it has other than its recipe, in words that a folder can be named with.
    """

    world: str
    data: str
    config: Config
    changed: str

    @property
    def name(self) -> str:
        """Its folder, from that of all runs: the same for the same settings, whoever asks for it."""
        settings = self.config.model_dump(mode="json", by_alias=True, exclude=set(NOT_TRAINED))
        seed = settings["training"].pop("seed")
        label = "-".join(part for part in (settings["recipe"], self.changed) if part)[:LABEL].strip("-.")
        return f"{self.world}/{label}-{digest([self.data, settings])}/seed-{seed}"


@dataclass(frozen=True)
class Given:
    """A run that was there before, and is not trained here."""

    world: str
    path: Path
    config: Config

    @property
    def name(self) -> str:
        """A name for it."""
        return f"{self.world}/{self.path.name}-{digest(str(self.path.resolve()))}"


@dataclass(frozen=True)
class Cell:
    """A row of a table and a seed.

    Attributes:
        method, title, x, note: See `lewm.compare.result.Row`.
        said: What is said of it where it stands alone.
        seed: The training seed.
        run: The run.
        planning: How plans are made with it.
        chosen: Which of the keys of planning that `lewm plan` chooses by itself the specification sets.
    """

    method: str
    title: str
    x: float | None
    note: str
    said: str
    seed: int
    run: Trained | Given
    planning: Planning
    chosen: frozenset[str]


def digest(values: Any) -> str:  # noqa: ANN401  # whatever JSON holds
    """Digits that are the same for the same values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def row_cells(spec: Spec, row: Row, group: str, place: str, data: str) -> tuple[Cell, ...]:
    """The cells of a row in one world, one for each seed.

    Args:
        spec: The specification.
        row: The row.
        group: Title of its group.
        place: The world.
        data: Name of the world's dataset.

    Raises:
        LewmError: The settings of the row do not fit together; names the key.
    """
    line = (*(spec.line(row.of) if row.of is not None else ()), row)
    key, title = row.key(group), spec.title_of(row)
    note = next((one.note for one in reversed(line) if one.note is not None), "")
    changes = [part.plan.set for part in _parts(spec, line, place)]
    by_plan = {HORIZON, *(PUBLISHED if spec.tasks.protocol == PAPER else ())}
    cells = []
    for seed in spec.seeds:
        run = _given(line, title, place, seed) or trained(spec, line, title, place, data, seed)
        tree = run.config.model_dump(mode="json", by_alias=True)
        for change in changes:
            override(tree["planning"], change)
        planning = validate(Config, tree, f"planning of {title}", REMEDY).planning  # some of it depends on the model
        chosen = frozenset(name for change in changes for name in change) & by_plan
        cells.append(Cell(key, title, row.x, note, f"{group}: {title}", seed, run, planning, chosen))
    return tuple(cells)


def _given(line: Sequence[Method], title: str, place: str, seed: int) -> Given | None:
    """The run that a method names, if it names one."""
    named = [number for number, one in enumerate(line) if one.run is not None]
    if not named:
        return None
    if any(one.train.set or one.train.recipe for one in line[named[-1] :]):
        raise LewmError(f"{title}: names a run that is there, and settings of a training", "Give one of both.")
    path = Path(str(line[named[-1]].run).replace("{world}", place).replace("{seed}", str(seed))).expanduser()
    config, _ = read_config(path)
    for what, found, expected in (("world", config.env, place), ("seed", config.training.seed, seed)):
        if found != expected:
            raise LewmError(f"{path}: its {what} is {found}, expected {expected}", f'Name another run for "{title}".')
    return Given(place, path, config)


def trained(spec: Spec, line: Sequence[Method], title: str, place: str, data: str, seed: int) -> Trained:
    """The run of a method in a world."""
    parts = [part.train for part in _parts(spec, line, place)]
    name = next((part.recipe for part in reversed(parts) if part.recipe is not None), RECIPE)
    begun = recipe(name, place, world(place).action_dim)
    tree = begun.model_dump(mode="json", by_alias=True)
    for part in parts:
        keys = {key for key, _ in _flat(part.set)} | set(part.set)
        wrong = [key for key in sorted(keys) if key == SEED or key.split(".")[0] in (*NOT_TRAINED, "recipe", "env")]
        if wrong:
            raise LewmError(
                f"train.set has the key {wrong[0]}, which a training does not depend on, or which is chosen elsewhere",
                "Set planning with plan.set, goals and budget in [tasks], seeds with the key seeds.",
            )
        override(tree, part.set)
    history = tree["model"]["predictor"].get("history")
    if isinstance(history, int):  # the recipe's context may be longer than what this predictor sees
        tree["planning"]["context"] = min(tree["planning"]["context"], history)
    tree["training"]["seed"] = seed
    config = validate(Config, tree, f"{title} in {place}", REMEDY)
    return Trained(place, data, config, _changed(begun, config))


def differences(own: Section, other: Section) -> dict[str, Any]:
    """What a section has other than another one, by dotted keys, without what no training depends on, and its seed."""
    mine, others = _values(own), _values(other)
    return {key: mine.get(key) for key in {**others, **mine} if mine.get(key) != others.get(key)}


def choices(own: Section, other: Section) -> dict[str, Any]:
    """The differences without those keys that only one side has because a section of it is of another kind."""
    mine, others = _values(own), _values(other)
    both, found = mine.keys() & others.keys(), differences(own, other)
    kinds = tuple(key.removesuffix(KIND) for key in found if key.endswith(f".{KIND}") and key in both)
    return {key: value for key, value in found.items() if key in both or not key.startswith(kinds)}


def settings(cell: Cell, reference: Cell) -> dict[str, Any]:
    """What a method has other than the reference, as a reader is told it: the choices, not all that follows from them.

    Keys of training and of planning begin with "train." and "plan.". Only the name is told of another recipe.

    Args:
        cell: A cell of the method.
        reference: A cell of the reference, of the same world.
    """
    own, other = cell.run.config, reference.run.config
    train = choices(own, other) if own.recipe == other.recipe else {"recipe": own.recipe}
    plan = choices(cell.planning, reference.planning)
    return {f"train.{key}": value for key, value in train.items()} | {f"plan.{key}": one for key, one in plan.items()}


def _values(section: Section) -> dict[str, Any]:
    values = _flat(section.model_dump(mode="json", by_alias=True))
    return {key: value for key, value in values if not key.startswith((*NOT_TRAINED, SEED))}


def _parts(spec: Spec, line: Sequence[Method], place: str) -> list[Change]:
    """Everything that has a say about a method in a world, the first first."""
    parts: list[Change] = [
        Change(train=Train(recipe=spec.train.recipe, set=spec.train.set), plan=Plan(set=spec.plan.set))
    ]
    for one in line:
        parts.append(one)
        if place in one.worlds:
            parts.append(one.worlds[place])
    return parts


def _changed(begun: Config, config: Config) -> str:
    """What a configuration has other than its recipe, in words for the name of a folder."""
    return slug("-".join(f"{_said(key)}={value}" for key, value in choices(config, begun).items()))


def _said(key: str) -> str:
    """The last part of a dotted key; that before it where the last is "kind", which does not say of what."""
    *above, last = key.split(".")
    return above[-1] if last == KIND else last


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree, each with its dotted key."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value

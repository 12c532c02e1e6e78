"""The whole tree: how it is read, overridden and written, and the errors for a fault in it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lewm.config.model import Model
from lewm.config.objective import Objective
from lewm.config.planning import Planning
from lewm.config.section import UNKNOWN_KIND, Kind, Section
from lewm.config.stages import Stage, StageName
from lewm.config.training import Evaluation, Training
from lewm.errors import LewmError, unknown
from lewm.reading import parse_json, parse_toml, read_json, read_toml

T = TypeVar("T", bound=Section)

SET = "Set it with --set {key}=VALUE or in the file given to --config."
OPTIONS = "the options"  # a source that need not be named where a wrong value is
OWN_KIND = "lewm --import FILE.py, before the command"  # makes a kind known that the user has written


class Config(Section):
    """Everything that decides a run."""

    recipe: str
    env: Annotated[str, Field(pattern=r"^[\w./:-]+$", max_length=120)]  # any name, plain and short
    model: Model
    objective: Objective
    training: Training
    planning: Planning
    evaluation: Evaluation
    # In the order in which they are trained, before the training of `model`.
    stages: dict[StageName, Stage] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _stages_fit(self) -> Config:
        for name, stage in self.stages.items():
            try:
                stage.config(self)
            except ValidationError as error:
                fault = _problem(error.errors()[0])
                raise ValueError(f"stages.{name}: {fault}") from error
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        self.objective.check_model(self.model)
        if self.objective.spreads() and not self.model.trains_latents:
            stages = " and ".join(f"stages.{name}.objective.kind" for name in self.stages)
            where = f"; for the latents themselves set {stages}" if stages else ""
            raise ValueError(
                f"objective.kind {self.objective.kind} spreads the latents, but these are frozen, so that it would "
                f"train nothing of them: set objective.kind to prediction{where}"
            )
        context, history = self.planning.context, self.model.predictor.history
        if context > history:
            raise ValueError(f"planning.context {context} exceeds model.predictor.history {history}")
        return self

    def to_json(self) -> str:
        """The whole tree as JSON, readable by `from_json` and by `--config`."""
        return self.model_dump_json(indent=2, by_alias=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> Config:
        """The tree that `to_json` wrote; errors name `source`."""
        return validate(cls, parse_json(text, source, "Restore the file or train again."), source)


def validate(section: type[T], values: Any, source: str, remedy: str | None = None) -> T:  # noqa: ANN401
    """`section` built from plain values; the first fault becomes a two-line error naming the key.

    Args:
        section: What to build.
        values: Plain values, nested as the sections are.
        source: Where they are from, for the first line.
        remedy: The second line for a wrong value, where {key} stands for the key to set; that of a whole tree when
            None.

    Raises:
        LewmError: a key is unknown (the nearest right one is named), missing, or has a wrong value.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        parts = tuple(part for part in fault["loc"] if part != "[key]")  # a wrong name is named by itself
        key = _dotted(parts)
        if fault["type"] == UNKNOWN_KIND:
            context = fault["ctx"]
            wrong = unknown(f"{key} in {source}:", context["kind"], context["known"].split(", "))
            raise LewmError(wrong.problem, f"{wrong.remedy} For one of your own: {OWN_KIND}.") from error
        if fault["type"] == "extra_forbidden":
            known = _known_keys(section, values, parts[:-1])
            inside = reduce(lambda branch, part: branch[part], parts[:-1], values)
            where = f", where {_dotted(parts[:-1], 'kind')} is {inside['kind']}" if "kind" in inside else ""
            raise unknown(f"key in {source}{where}:", key, [_dotted(parts[:-1], name) for name in known]) from error
        if fault["type"] == "missing" and parts[:1] == ("stages",) and len(parts) > 2:
            others = [name for name in values["stages"] if name != parts[1]]
            if difflib.get_close_matches(str(parts[1]), others):  # a new stage by mistake
                known = [_dotted(("stages",), name) for name in others]
                raise unknown(f"stage in {source}:", _dotted(parts[:2]), known) from error
        if fault["type"] == "dict_type":
            fault["msg"] = "expected a section with keys of its own"
        got = "" if fault["type"] in ("missing", "value_error") else f", got {fault['input']!r:.80}"
        # A fault of a whole section concerns several of its keys together, and only a single key can be set.
        together = fault["type"] == "value_error" and isinstance(fault["input"], dict)
        settable = _dotted(parts, "KEY") if together or fault["type"].startswith("model") else key
        if fault["type"] == "dict_type":  # a section, of which only keys can be set
            settable = _dotted(parts, "NAME.KEY" if parts == ("stages",) else "kind")
        own = fault.get("ctx", {}).get("error")
        if isinstance(own, LewmError):
            remedy = own.remedy
        where = "" if source == OPTIONS else f"{source}: "
        raise LewmError(
            f"{where}{f'{key}: ' if key else ''}{_problem(fault)}{got}",
            (remedy or SET).replace("{key}", settable),
        ) from error


def _problem(fault: ErrorDetails) -> str:
    """What is wrong, without what to do."""
    return fault["msg"].removeprefix("Value error, ").partition("\n")[0]


def _dotted(parts: tuple[int | str, ...], *more: str) -> str:
    return ".".join(map(str, [*parts, *more]))


def _known_keys(section: type[Section], values: Any, path: tuple[int | str, ...]) -> list[str]:  # noqa: ANN401
    """Names of the fields of the section found at `path`."""
    parts = iter(path)
    for part in parts:
        values, annotation = values[part], section.model_fields[str(part)].annotation
        if get_origin(annotation) in (dict, tuple):  # one of several sections, by its name or its place
            values = values[next(parts)]
        section = _section_in(annotation)
        section = section.kinds[values["kind"]] if issubclass(section, Kind) else section
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_in(annotation: Any) -> Any:  # noqa: ANN401
    """The section of an annotation: alone, or one of several, or None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for found in map(_section_in, get_args(annotation)) if found is not None), None)


def resolve(recipe: Config, file: Path | None = None, assignments: Mapping[str, Any] | None = None) -> Config:
    """The recipe, overridden by a file (.toml or .json), then by dotted assignments.

    Args:
        recipe: The base.
        file: A part of the tree, or all of it.
        assignments: `{"training.steps": 100}`; the later entry wins. A string is read as TOML where it can be
            (`1e-3`, `true`, `[32, 64]`), otherwise as text. None unsets an optional value.

    Raises:
        LewmError: for an unknown key or a wrong value, naming the one that was meant.
    """
    tree = recipe.model_dump(by_alias=True, mode="json")
    if file is not None:
        _merge(tree, _read(file))
    override(tree, assignments or {})
    sources = [*([str(file)] if file else []), *([OPTIONS] if assignments else [])]
    return validate(Config, tree, " and ".join(sources) or f'recipe "{recipe.recipe}"')


def override(tree: dict[str, Any], assignments: Mapping[str, Any]) -> None:
    """Overlay dotted assignments, such as those of `resolve`, on plain values.

    Kinds are set first, outer ones before inner ones, wherever they stand: a section of another kind begins with that
    kind's defaults.
    """
    for key in sorted(assignments, key=lambda key: (key.rpartition(".")[2] != "kind", key.count("."))):
        branch = assignments[key]
        if isinstance(branch, str):
            branch = parse_value(branch)
        for part in reversed(key.split(".")):
            branch = {part: branch}
        _merge(tree, branch)


def parse_value(text: str) -> Any:  # noqa: ANN401
    """A TOML value where `text` is one (1e-3, true, [32, 64]), None for "none", else the text itself."""
    if text.lower() in ("none", "null"):
        return None
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _read(file: Path) -> dict[str, Any]:
    remedy = "Give --config a .toml file, or JSON with the ending .json."
    tree = read_json(file, remedy) if file.suffix.lower() == ".json" else read_toml(file, remedy)
    if not isinstance(tree, dict):
        raise LewmError(f"{file}: expected a table of keys, got {type(tree).__name__}", "Write key = value lines.")
    return tree


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Overlay `change` on `base`. A part that changes its `kind` replaces the old part; `steps` replaces `epochs`.

    One of several sections in a list is named by its place: {"parts": {"1": {"width": 32}}}.
    """
    for key, value in change.items():
        old = base.get(key)
        places: dict[str, Any] = {}
        if isinstance(old, list) and all(isinstance(item, dict) for item in old):
            places = {str(i): item for i, item in enumerate(old)}
        if isinstance(value, dict) and places and value.keys() <= places.keys():
            _merge(places, value)
            base[key] = list(places.values())
        elif (
            isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            _merge(old, value)
        else:
            base[key] = copy.deepcopy(value)  # what is merged into it later does not change what the caller holds
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if key == one and value is not None and other in base and other not in change:
                base[other] = None

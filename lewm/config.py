"""The configuration: one frozen tree shared by the library, the command line, config files and checkpoints.

Every number's default lives in `lewm.recipes`, beside its source; the classes here only say what may be set.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lewm.errors import LewmError, unknown

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


T = TypeVar("T", bound=Section)


class VitEncoder(Section):
    """Vision transformer; its embedding is the CLS token of the last layer."""

    kind: Literal["vit"] = "vit"
    patch: Positive
    width: Positive
    depth: Positive
    heads: Positive
    mlp: Positive

    @model_validator(mode="after")
    def _heads_divide_width(self) -> VitEncoder:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class ConvEncoder(Section):
    """Strided convolutions, one a number in `channels`, each halving the frame; then a linear map to `width`."""

    kind: Literal["conv"] = "conv"
    channels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    width: Positive
    keypoints: Positive | None = (
        None  # the linear map is of the places of so many; None: of the last feature map itself
    )


Encoder = Annotated[VitEncoder | ConvEncoder, Field(discriminator="kind")]


class Predictor(Section):
    """Causal transformer over latents, modulated by actions (AdaLN-zero)."""

    history: Positive  # most latents it sees
    width: Positive
    depth: Positive
    heads: Positive
    head_dim: Positive
    mlp: Positive
    dropout: Fraction
    embedding_dropout: Fraction


class ActionEmbedder(Section):
    """Action block -> `bottleneck` (linear) -> `hidden` (SiLU) -> latent width."""

    bottleneck: Positive
    hidden: Positive


class Model(Section):
    """The world model: what is stored in a checkpoint and rebuilt from it."""

    frame_size: Positive
    frameskip: Positive  # environment steps a model step
    action_dim: Positive  # of one environment step
    latent: Positive  # D
    projector_hidden: Positive
    encoder: Encoder
    predictor: Predictor
    action_embedder: ActionEmbedder

    @property
    def action_block(self) -> int:
        """Width A of one action block: `frameskip` actions, flattened."""
        return self.frameskip * self.action_dim

    @model_validator(mode="after")
    def _encoder_fits_frame(self) -> Model:
        if isinstance(self.encoder, VitEncoder) and self.frame_size % self.encoder.patch:
            raise ValueError(f"frame_size {self.frame_size} is not a multiple of patch {self.encoder.patch}")
        if isinstance(self.encoder, ConvEncoder) and self.frame_size % (2 ** len(self.encoder.channels)):
            raise ValueError(
                f"frame_size {self.frame_size} cannot be halved {len(self.encoder.channels)} times, once a channel"
            )
        return self


class Objective(Section):
    """The two-term loss: prediction error plus `lambda` times SIGReg."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    lambda_: Annotated[float, Field(ge=0, alias="lambda")]
    directions: Positive  # M, drawn anew each step
    knots: Annotated[int, Field(ge=2)]  # K
    knot_max: Annotated[float, Field(gt=0)]


class Training(Section):
    """Optimisation. Exactly one of `steps` and `epochs` is set."""

    steps: Positive | None = None
    epochs: Positive | None = None
    batch_size: Annotated[int, Field(ge=2)]  # BatchNorm and SIGReg need two
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Annotated[float, Field(gt=0)]
    warmup: Fraction  # share of the steps
    held_out: Annotated[float, Field(gt=0, lt=1)]  # share of the episodes
    precision: Literal["fp32", "bf16"]
    # Encoder and predictor. auto: on CUDA devices that have a compiler, see `lewm.training.compilation`.
    compile: Literal["auto", "off"] = "auto"
    seed: Annotated[int, Field(ge=0)]
    log_every: Positive
    evaluate_every: Positive
    checkpoint_every: Positive

    @model_validator(mode="after")
    def _one_length(self) -> Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs")
        return self


class Planning(Section):
    """CEM over normalised action blocks, and how much of a plan is executed."""

    samples: Annotated[int, Field(ge=2)]  # S
    elites: Annotated[int, Field(ge=2)]  # E
    iterations: Positive
    horizon: Positive  # H, in blocks
    execute: Positive | None = None  # blocks executed before replanning; all of the plan when None
    # How the predictor's matrix products are rounded; sums are always float32. `choose_precision` decides what auto is.
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _sizes_fit(self) -> Planning:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} exceeds samples {self.samples}")
        if self.execute is not None and self.execute > self.horizon:
            raise ValueError(f"execute {self.execute} exceeds horizon {self.horizon}")
        return self


class Evaluation(Section):
    """How success is measured."""

    goal_offset: Positive  # environment steps between start and goal in the dataset episode
    budget: Positive  # environment steps allowed


class Config(Section):
    """Everything that decides a run."""

    recipe: str
    env: str
    model: Model
    objective: Objective
    training: Training
    planning: Planning
    evaluation: Evaluation

    def to_json(self) -> str:
        """The whole tree as JSON, readable by `from_json` and by `--config`."""
        return self.model_dump_json(indent=2, by_alias=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> Config:
        """The tree that `to_json` wrote; errors name `source`."""
        try:
            return validate(cls, json.loads(text), source, "Restore the file or train again.")
        except json.JSONDecodeError as error:
            raise LewmError(f"{source}: not JSON ({error})", "Restore the file or train again.") from error


def validate(section: type[T], values: Any, source: str, remedy: str | None = None) -> T:  # noqa: ANN401
    """`section` built from plain values; the first fault becomes a two-line error naming the key.

    Args:
        section: What to build.
        values: Plain values, nested as the sections are.
        source: Where they are from, for the first line.
        remedy: The second line for a wrong value; how to set the key when None.

    Raises:
        LewmError: a key is unknown (the nearest right one is named), missing, or has a wrong value.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        parts = [str(part) for part in fault["loc"] if part not in ("vit", "conv")]
        key = ".".join(parts)
        if fault["type"] == "extra_forbidden":
            known = _known_keys(section, values, parts[:-1])
            raise unknown(f"key in {source}:", key, [".".join([*parts[:-1], name]) for name in known]) from error
        got = "" if fault["type"] in ("missing", "value_error") else f", got {fault['input']!r}"
        # A fault of a section is of several of its keys together, and only a key can be set.
        together = fault["type"] == "value_error" and isinstance(fault["input"], dict)
        settable = ".".join([*parts, "KEY"]) if together or fault["type"].startswith("model") else key
        raise LewmError(
            f"{source}: {f'{key}: ' if key else ''}{fault['msg'].removeprefix('Value error, ')}{got}",
            remedy or f"Set it with --set {settable}=VALUE or in the file given to --config.",
        ) from error


def _known_keys(section: type[Section], values: Any, path: list[str]) -> list[str]:  # noqa: ANN401
    """Names of the fields of the section found at `path`."""
    for part in path:
        values = values.get(part, {})
        annotation = section.model_fields[part].annotation
        if annotation == VitEncoder | ConvEncoder:
            annotation = ConvEncoder if values.get("kind") == "conv" else VitEncoder
        assert isinstance(annotation, type)
        section = annotation
    return [field.alias or name for name, field in section.model_fields.items()]


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
    for key, value in (assignments or {}).items():
        branch: Any = parse_value(value) if isinstance(value, str) else value
        for part in reversed(key.split(".")):
            branch = {part: branch}
        _merge(tree, branch)
    sources = [*([str(file)] if file else []), *(["the options"] if assignments else [])]
    return validate(Config, tree, " and ".join(sources) or f'recipe "{recipe.recipe}"')


def parse_value(text: str) -> Any:  # noqa: ANN401
    """A TOML value where `text` is one (1e-3, true, [32, 64]), None for "none", else the text itself."""
    if text.lower() in ("none", "null"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text()
        tree = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise LewmError(
            f"{file}: {error.strerror or error}", "Give --config a readable .toml or .json file."
        ) from error
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LewmError(f"{file}: {error}", "Write it as TOML, or as JSON with the ending .json.") from error
    if not isinstance(tree, dict):
        raise LewmError(f"{file}: expected a table of keys, got {type(tree).__name__}", "Write key = value lines.")
    return tree


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Overlay `change` on `base`. A part that changes its `kind` replaces the old part; steps replaces epochs."""
    for key, value in change.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            _merge(old, value)
        else:
            base[key] = value
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if key == one and value is not None and other in base and other not in change:
                base[other] = None

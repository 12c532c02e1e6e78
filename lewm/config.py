"""The configuration: one frozen tree shared by the library, the command line, config files and checkpoints.

Every number's default lives in `lewm.recipes`, beside its source; the classes here only say what may be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lewm.errors import LewmError, unknown
from lewm.reading import parse_json, parse_toml, read_json, read_toml

# Upper limits, each ten times or more what this field uses, so that a slip of the keyboard or a hostile file is told by
# its key. What is within them and still too large for the machine is told by the memory that it needs: `lewm.memory`.
MOST_WIDTH = 2**16  # of a layer; the largest language models have 20,000
MOST_LAYERS = 1024  # also of heads
MOST_HISTORY = 4096  # latents
MOST_PIXELS = 4096  # a side of a frame
MOST_HALVINGS = 12  # after which a side of 4096 is 1
MOST_FRAMESKIP = 1000  # environment steps: a second of the fastest robots
MOST_ACTIONS = 10_000  # numbers an environment step
MOST_DIRECTIONS = 2**20  # the paper has 1024
MOST_KNOTS = 10_000  # the paper has 17
MOST_STEPS = 10**9  # also of episodes' steps
MOST_CLIPS = 2**20  # a batch
MOST_CANDIDATES = 10**6  # the paper has 300
MOST_ITERATIONS = 10**5  # the paper has 30
MOST_BLOCKS = 1000  # of a plan; the paper has 5


def _no_truth(value: Any) -> Any:  # noqa: ANN401
    """Python counts True as 1; somebody who writes `steps = true` does not."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value}")
    return value


Int = Annotated[int, BeforeValidator(_no_truth)]
Float = Annotated[float, BeforeValidator(_no_truth)]
Width = Annotated[Int, Field(gt=0, le=MOST_WIDTH)]
Layers = Annotated[Int, Field(gt=0, le=MOST_LAYERS)]
Pixels = Annotated[Int, Field(gt=0, le=MOST_PIXELS)]
Steps = Annotated[Int, Field(gt=0, le=MOST_STEPS)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of the configuration: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


T = TypeVar("T", bound=Section)


class VitEncoder(Section):
    """Vision transformer; its embedding is the CLS token of the last layer."""

    kind: Literal["vit"] = "vit"
    patch: Pixels
    width: Width
    depth: Layers
    heads: Layers
    mlp: Width

    @model_validator(mode="after")
    def _heads_divide_width(self) -> VitEncoder:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class ConvEncoder(Section):
    """Strided convolutions, one a number in `channels`, each halving the frame; then a linear map to `width`."""

    kind: Literal["conv"] = "conv"
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_HALVINGS)]
    width: Width
    keypoints: Width | None = None  # the linear map is of the places of so many; None: of the last feature map itself


Encoder = Annotated[VitEncoder | ConvEncoder, Field(discriminator="kind")]


class Predictor(Section):
    """Causal transformer over latents, modulated by actions (AdaLN-zero)."""

    history: Annotated[Int, Field(gt=0, le=MOST_HISTORY)]  # most latents it sees
    width: Width
    depth: Layers
    heads: Layers
    head_dim: Width
    mlp: Width
    dropout: Fraction
    embedding_dropout: Fraction


class ActionEmbedder(Section):
    """Action block -> `bottleneck` (linear) -> `hidden` (SiLU) -> latent width."""

    bottleneck: Width
    hidden: Width


class Model(Section):
    """The world model: what is stored in a checkpoint and rebuilt from it."""

    frame_size: Pixels
    frameskip: Annotated[Int, Field(gt=0, le=MOST_FRAMESKIP)]  # environment steps a model step
    action_dim: Annotated[Int, Field(gt=0, le=MOST_ACTIONS)]  # of one environment step
    latent: Width  # D
    projector_hidden: Width
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

    lambda_: Annotated[Float, Field(ge=0, alias="lambda")]
    directions: Annotated[Int, Field(gt=0, le=MOST_DIRECTIONS)]  # M, drawn anew each step
    knots: Annotated[Int, Field(ge=2, le=MOST_KNOTS)]  # K
    knot_max: Annotated[Float, Field(gt=0)]


class Training(Section):
    """Optimisation. Exactly one of `steps` and `epochs` is set."""

    steps: Steps | None = None
    epochs: Steps | None = None
    batch_size: Annotated[Int, Field(ge=2, le=MOST_CLIPS)]  # BatchNorm and SIGReg need two
    learning_rate: Annotated[Float, Field(gt=0)]
    weight_decay: Annotated[Float, Field(ge=0)]
    gradient_clip: Annotated[Float, Field(gt=0)]
    warmup: Fraction  # share of the steps
    held_out: Annotated[Float, Field(gt=0, lt=1)]  # share of the episodes
    precision: Literal["fp32", "bf16"]
    # Encoder and predictor. auto: on CUDA devices that have a compiler, see `lewm.training.compilation`.
    compile: Literal["auto", "off"] = "auto"
    seed: Annotated[Int, Field(ge=0, lt=2**64)]
    log_every: Steps
    evaluate_every: Steps
    checkpoint_every: Steps

    @model_validator(mode="after")
    def _one_length(self) -> Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs")
        return self


class Planning(Section):
    """CEM over normalised action blocks, and how much of a plan is executed."""

    samples: Annotated[Int, Field(ge=2, le=MOST_CANDIDATES)]  # S
    elites: Annotated[Int, Field(ge=2)]  # E
    iterations: Annotated[Int, Field(gt=0, le=MOST_ITERATIONS)]
    horizon: Annotated[Int, Field(gt=0, le=MOST_BLOCKS)]  # H, in blocks
    execute: Annotated[Int, Field(gt=0)] | None = None  # blocks executed before replanning; all of the plan when None
    # How the predictor's matrix products are rounded; sums are always float32. `choose_precision` decides what auto is.
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    # on: candidates are clamped to the action bounds that are stored with the run, so that what is imagined can be
    # executed. off: they are not, as in the released code, and the environment clips what it is given.
    bounds: Literal["on", "off"] = "on"

    @model_validator(mode="after")
    def _sizes_fit(self) -> Planning:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} exceeds samples {self.samples}")
        if self.execute is not None and self.execute > self.horizon:
            raise ValueError(f"execute {self.execute} exceeds horizon {self.horizon}")
        return self


class Evaluation(Section):
    """How success is measured."""

    goal_offset: Steps  # environment steps between start and goal in the dataset episode
    budget: Steps  # environment steps allowed


class Config(Section):
    """Everything that decides a run."""

    recipe: str
    env: Annotated[str, Field(pattern=r"^[\w./:-]+$", max_length=120)]  # any name, plain and short
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
        return validate(cls, parse_json(text, source, "Restore the file or train again."), source)


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
        got = "" if fault["type"] in ("missing", "value_error") else f", got {fault['input']!r:.80}"
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

"""The work of `lewm checkpoint info`: describes a run or a released checkpoint, also one that is not whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lewm.checkpoints import released, run
from lewm.checkpoints.faults import not_finite
from lewm.checkpoints.origin import Origin, import_command
from lewm.checkpoints.released_config import ReleasedConfig, read_released_config
from lewm.checkpoints.released_names import translate
from lewm.config import POLICY_KINDS, AdalnPredictor, Model, VitEncoder
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel

NAMES = "Give the directory of a run, the folder or file of a released checkpoint, or hf:USER/REPO."
RELEASED = "released checkpoint"  # what it is called
TENSOR = "tensor "  # before the names of tensors that are missing
NOT_STATED = "not stated: data of its world tell"
# Files of a run, and what they hold.
FILES = {
    run.TRAINING: "a training that can be resumed",
    "embeddings.json": "statistics of its embeddings",
    "reference.safetensors": "what is normal, for surprise",
    "decoder.safetensors": "a decoder",
    "head.safetensors": "a head",
    **{f"policy-{kind}.safetensors": f"a policy ({kind})" for kind in POLICY_KINDS},
}


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint holds.

    Attributes:
        path: As the user named it.
        kind: "run", "imported run" or `RELEASED`.
        weights: The file of weights.
        bytes: Its size.
        tensors, parameters: How many the file has: tensors, and numbers in them.
        types: Types of the tensors, such as "float32".
        layout: Which names the encoder's tensors have; None for a run, and where that cannot be told.
        form: The form of a released config.json.
        model: Kinds and sizes; None where config.json cannot be read.
        action_dim, frameskip: Numbers in an action, and actions in a block; None where the files do not state them.
        action_mean, action_std: Statistics of the actions; None where there are none.
        origin: Where an imported run's weights are from.
        dataset: The dataset of a run.
        holds: What else a run holds.
        missing: What is not there: tensors, files, what the files do not state.
        faults: Tensors that are surplus, misshapen or not finite; or what is wrong with config.json.
        others: Other files of weights in the same folder.
        aside: Tensors that were saved with the model and do not belong to it.
    """

    path: str
    kind: str
    weights: str
    bytes: int
    tensors: int
    parameters: int
    types: tuple[str, ...]
    layout: str | None = None
    form: str | None = None
    model: Model | None = None
    action_dim: int | None = None
    frameskip: int | None = None
    action_mean: tuple[float, ...] | None = None
    action_std: tuple[float, ...] | None = None
    origin: Origin | None = None
    dataset: str | None = None
    holds: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        model = None if self.model is None else self.model.model_dump(mode="json")
        return {**asdict(self), "model": model}

    def facts(self) -> dict[str, str]:
        """A name and a text for everything that is known; a text may have several lines."""
        facts = {
            "weights": f"{self.weights}, {self.bytes:,} bytes",
            "tensors": f"{self.tensors}, {self.parameters:,} numbers of {', '.join(self.types)}",
            "layout": self.layout,
            "config.json": self.form,
            **({} if self.model is None else _sizes(self.model)),
            "actions": self._actions(),
            "action mean": _numbers(self.action_mean),
            "action std": _numbers(self.action_std),
            "imported from": None if self.origin is None else str(self.origin),
            "data": self.dataset,
            "holds": "; ".join(self.holds),
            "left aside": ", ".join(self.aside),
            "not read": ", ".join(self.others),
            "missing": "\n".join(self.missing),
            "faults": "\n".join(self.faults),
        }
        return {name: text for name, text in facts.items() if text}

    @property
    def command(self) -> str | None:
        """The command that makes a run of it; None where it is a run, or cannot become one."""
        whole = not self.faults and not any(one.startswith(TENSOR) for one in self.missing)
        return import_command(self.path) if self.kind == RELEASED and whole else None

    def _actions(self) -> str | None:
        if self.model is None:
            return None
        block = f"blocks of {self.model.action_block} numbers"
        if self.frameskip is None:
            return f"{block}; frameskip and numbers an action {NOT_STATED}"
        if self.action_dim is None:
            return f"{block}, frameskip {self.frameskip}"
        return f"{block}: {self.frameskip} actions of {self.action_dim}"


def describe(source: str) -> CheckpointInfo:
    """What a run or a released checkpoint holds. Faults of its tensors or its configuration are told, not raised.

    Args:
        source: A run, or what `released.locate` takes.

    Raises:
        LewmError: Nothing is there, it is neither of the two, the weights cannot be read, or a run's files are damaged.
    """
    if released.at(source):
        return _of_released(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise LewmError(f"{source}: nothing is there", NAMES)
    if not (path / run.CONFIG).exists():
        raise LewmError(f"{source}: neither a run nor a released checkpoint", NAMES)
    return describe_run(path)


def describe_run(source: str | Path) -> CheckpointInfo:
    """What a run holds.

    Raises:
        LewmError: It is no run, or its files are damaged.
    """
    directory = Path(source).expanduser()
    config, dataset = run.read_config(directory)
    origin = run.read_origin(directory)
    path = directory / run.MODEL
    model = run.load_run(directory)
    state = model.state_dict()
    gone = [] if Path(dataset.path).is_file() else [f"its dataset {dataset.path}: say with --data where it is"]
    known = not bool(model.action_mean.isnan().any())
    return CheckpointInfo(
        path=str(source),
        kind="run" if origin is None else "imported run",
        weights=path.name,
        bytes=path.stat().st_size,
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        types=_types(state),
        model=config.model,
        action_dim=config.model.action_dim,
        frameskip=config.model.frameskip,
        action_mean=tuple(model.action_mean.tolist()) if known else None,
        action_std=tuple(model.action_std.tolist()) if known else None,
        origin=origin,
        dataset=dataset.path,
        holds=tuple(what for name, what in FILES.items() if (directory / name).is_file()),
        missing=(*gone, *([] if origin is None else ["which episodes its training saw"])),
    )


def _of_released(source: str) -> CheckpointInfo:
    found = released.locate(source)
    config, outline, faults = _configured(found)
    numbers = SOME_NUMBERS if outline is None else released.numbers_in(outline)
    weights = released.read_weights(found.weights, numbers)
    state = dict(weights.tensors)
    layout, missing = None, ["action statistics, and which data it was trained on"]
    if outline is not None:
        told = translate(state, outline)
        layout = told.layout
        missing += [TENSOR + name for name in told.missing]
        faults += [f"surplus {name}" for name in told.surplus] + [f"misshapen {name}" for name in told.misshapen]
    faults += [f"not finite {name}" for name in not_finite(state)]
    frameskip = None if config is None else config.frameskip
    divides = config is not None and frameskip is not None and config.model.action_block % frameskip == 0
    return CheckpointInfo(
        path=source,
        kind=RELEASED,
        weights=found.weights.name,
        bytes=found.weights.stat().st_size,
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        types=_types(state),
        layout=layout,
        form=None if config is None else config.form,
        model=None if config is None else config.assumed,
        action_dim=config.assumed.action_dim if config is not None and divides else None,
        frameskip=frameskip,
        missing=tuple(missing),
        faults=tuple(faults),
        others=found.others,
        aside=weights.aside,
    )


SOME_NUMBERS = 10**8  # the largest file that is read where no config.json says how large it may be


def _configured(found: released.Released) -> tuple[ReleasedConfig | None, WorldModel | None, list[str]]:
    """The configuration, a model of it without values, and what is wrong with it."""
    try:
        config = read_released_config(found.config)
        outline = released.outline(config.model, found.config)
    except LewmError as error:
        return None, None, [error.problem]
    block, frameskip = config.model.action_block, config.frameskip
    faults = []
    if frameskip is not None and block % frameskip:
        faults.append(f"{found.config}: frameskip {frameskip} does not divide action blocks of {block} numbers")
    return config, outline, faults


def _types(state: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}))


def _sizes(model: Model) -> dict[str, str]:
    encoder, predictor = model.encoder, model.predictor
    sizes = {
        "frames": f"{model.frame_size} x {model.frame_size} pixels",
        "encoder": encoder.in_words,
        "latent": f"{model.latent} numbers",
        "predictor": f"{predictor.in_words}, history {predictor.history}",
    }
    if isinstance(encoder, VitEncoder):
        layers = f"layers {encoder.depth}, heads {encoder.heads}, MLP {encoder.mlp}"
        sizes["encoder"] += f", patch {encoder.patch}, width {encoder.width}, {layers}"
    if model.projector_norm != "batch":
        sizes["projectors"] = "without BatchNorm"
    if isinstance(predictor, AdalnPredictor):
        sizes["predictor"] += f", width {predictor.width}, {predictor.heads} heads of {predictor.head_dim}"
    return sizes


def _numbers(values: tuple[float, ...] | None) -> str | None:
    return None if values is None else ", ".join(f"{value:.4g}" for value in values)

"""The work of `lewm checkpoint import`: makes a run of a released checkpoint and a dataset of its world."""

from __future__ import annotations

import errno
import itertools
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lewm import recipes
from lewm.checkpoints import released, run
from lewm.checkpoints.identity import DatasetIdentity
from lewm.checkpoints.origin import Origin
from lewm.checkpoints.released_config import FRAMESKIP, read_released_config
from lewm.config import Config, validate
from lewm.dataset_checks import check_action_width
from lewm.datasets import identity_of
from lewm.errors import LewmError
from lewm.files import check_new_folder, check_writable, file_name, home, sha256
from lewm.model.frames import warn_if_reshaped
from lewm.model.world_model import WorldModel
from lewm.training.actions import check_actions
from lewm_data.envs.registry import known_world, names_world, plain_name, world
from lewm_data.store.action_bounds import action_bounds
from lewm_data.store.clips import action_statistics
from lewm_data.store.dataset import Dataset
from lewm_data.temporary import temporary_folder

RECIPE = "imported"
PLANNED = "No plans can be made with this model: give another checkpoint."
ANOTHER = "Choose another --out."
WITHOUT_DATA = (
    "Give --data a dataset of its world: action statistics and frameskip come from there. Without one there are "
    '"lewm checkpoint info" and, in Python, lewm.load(PATH) with encode, predict and rollout, for normalised actions; '
    "plans, probes, surprise and pictures need data."
)


@dataclass(frozen=True)
class ImportRequest:
    """What `lewm checkpoint import` asks for.

    Attributes:
        source: See `released.locate`.
        data: A dataset of the world that the checkpoint was trained in.
        env: The name of that world, if the user typed one; else the dataset says it.
        out: The run's directory; None: the first of $LEWM_HOME/runs/ENV-imported, ENV-imported-2, ... that is free.
    """

    source: str
    data: Path | None
    env: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class ImportReport:
    """The run that was made, and everything that was decided.

    Attributes:
        run: Its directory.
        origin: Where its weights are from.
        form: The form of its config.json.
        tensors, parameters: How many it has.
        aside: Tensors that were saved with the model and do not belong to it.
        env: Its world.
        named: Whether the data, or the user, name that world.
        simulator: Whether lewm has a simulator of that world.
        dataset: The dataset, from which action statistics and bounds are.
        data_frame_size: Y and X of the frames there.
        frame_size: Side of the frames that the model sees.
        action_block, action_dim, frameskip: Numbers in an action block and in an action, and actions in a block.
        usual_frameskip: Whether that is the frameskip of all published trainings.
        action_mean, action_std: Statistics of the actions, by dimension.
        action_low, action_high: Bounds of the actions.
    """

    run: str
    origin: Origin
    form: str
    tensors: int
    parameters: int
    aside: tuple[str, ...]
    env: str
    named: bool
    simulator: bool
    dataset: str
    data_frame_size: tuple[int, int]
    frame_size: int
    action_block: int
    action_dim: int
    frameskip: int
    usual_frameskip: bool
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def import_checkpoint(request: ImportRequest, dataset_of: Callable[[Path], Path] = lambda path: path) -> ImportReport:
    """Make a run of a released checkpoint. The run is there whole or not at all.

    Args:
        request: What to import, and where to.
        dataset_of: Makes a dataset of `data` where that is in another format, which may take hours: called when the
            checkpoint and the run's place have been looked at.

    Raises:
        LewmError: The checkpoint is a run already, cannot be read or does not fit its configuration; there is no
            dataset, or its actions do not fit; or the run's directory is taken or cannot be written.
        DataError: The dataset cannot be read.
    """
    _refuse_run(request.source)
    if request.out is not None:
        check_new_folder(request.out, ANOTHER)
    check_writable(_runs() if request.out is None else request.out.parent, ANOTHER)
    found = released.locate(request.source)
    stated = read_released_config(found.config)
    if request.data is None:
        raise LewmError(f"{found.source}: a checkpoint without data", WITHOUT_DATA)
    with Dataset.open(dataset_of(request.data)) as dataset:
        check_actions(dataset)
        said = dataset.attributes.get("env")
        env = _world_name(request.env, said)
        check_action_width(dataset, env)
        config = _config(env, stated.of_actions(dataset.action_dim, found.config, str(dataset.path)), found)
        read = released.read(found, config.model)
        _tell_actions(read.model, dataset, env)
        warn_if_reshaped(*dataset.frame_size, (config.model.frame_size,) * 2, config.model.fit)
        identity = identity_of(dataset, env)
    layout = read.translated.layout or "unknown"
    where = found.source if found.revision else str(Path(found.source).expanduser().resolve())
    origin = Origin(where, found.weights.name, sha256(found.weights), layout, found.revision, request.env)
    directory = _write(request.out, config, read.model, identity, origin)
    model = read.model
    return ImportReport(
        run=str(directory),
        origin=origin,
        form=stated.form,
        tensors=len(read.weights.tensors),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        aside=read.weights.aside,
        env=env,
        named=names_world(request.env if request.env is not None else said),
        simulator=known_world(env) is not None,
        dataset=identity.path,
        data_frame_size=identity.frame_size,
        frame_size=config.model.frame_size,
        action_block=config.model.action_block,
        action_dim=config.model.action_dim,
        frameskip=config.model.frameskip,
        usual_frameskip=config.model.frameskip == FRAMESKIP,
        action_mean=tuple(model.action_mean.tolist()),
        action_std=tuple(model.action_std.tolist()),
        action_low=tuple(model.action_low.tolist()),
        action_high=tuple(model.action_high.tolist()),
    )


def _refuse_run(source: str) -> None:
    """Raises where a directory is a run of ours already, or a file is in one."""
    path = Path(source).expanduser()
    directory = path if path.is_dir() else path.parent
    if (directory / run.MODEL).is_file() and (path.is_dir() or path.name in (run.MODEL, run.CONFIG)):
        try:
            run.read_config(directory)
        except LewmError:
            return
        raise LewmError(f"{source}: is a run already", f'Use it: "lewm plan --run {shlex.quote(str(directory))}".')


def _world_name(typed: str | None, said: str | None) -> str:
    """The name of the world; the package of a typed one is imported."""
    if typed is not None and ":" in typed:
        return world(typed).name
    return plain_name(typed if typed is not None else said)


def _config(env: str, model: Any, found: released.Released) -> Config:  # noqa: ANN401
    """The paper's configuration with the checkpoint's model: its planning is the published one."""
    values = {**recipes.paper(env, model.action_dim).model_dump(by_alias=True), "recipe": RECIPE}
    values["model"] = model.model_dump()
    return validate(Config, values, str(found.config), PLANNED)


def _tell_actions(model: WorldModel, dataset: Dataset, env: str) -> None:
    """Give the model the statistics and bounds of all actions of the dataset: the published training takes all."""
    every = np.arange(dataset.num_episodes)
    mean, std = action_statistics(dataset, every)
    low, high = action_bounds(dataset, known_world(env), every)
    for name, values in {"mean": mean, "std": std, "low": low, "high": high}.items():
        getattr(model, f"action_{name}").copy_(torch.from_numpy(np.asarray(values)))


def _runs() -> Path:
    """Where runs are made for which no place is named."""
    return home() / "runs"


def _write(out: Path | None, config: Config, model: WorldModel, identity: DatasetIdentity, origin: Origin) -> Path:
    """Make the run beside its place, and move it there."""
    wanted = out or _runs() / f"{file_name(config.env)}-{RECIPE}"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(wanted) as scratch:
        built = scratch / "run"
        built.mkdir()
        run.save_tensors(built / run.MODEL, model.state_dict())
        run.write_config(built, config, identity, origin)
        for number in itertools.count(1):
            place = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
            try:
                built.rename(place)  # over an empty folder, and over nothing else
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if out is not None:
                    check_new_folder(out, ANOTHER)
                    raise
                continue
            return place
    raise AssertionError("the numbers have no end")

"""Checks that a dataset is of a run's world, and that its actions are those of that world."""

from __future__ import annotations

from lewm.checkpoints.run import DatasetIdentity, Recorded
from lewm.config import Config
from lewm.errors import LewmError
from lewm_data.convert.sampling import RESAMPLINGS, differ
from lewm_data.envs.registry import known_world, plain_name
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import DETAIL, FIT
from lewm_data.video.placing import FITS


def said_name(dataset: Dataset) -> str | None:
    """What a dataset calls its world; None where it does not say, as in published files."""
    said = dataset.attributes.get("env")
    return None if said is None else plain_name(said)


def detail_of(dataset: Dataset, env: str) -> str | None:
    """How finely the frames of a dataset of the world `env` are drawn.

    A file that does not say it, as published ones, has the world's usual detail.

    Returns:
        The detail; None where lewm does not know the world, or draws it in one way only.

    Raises:
        LewmError: The world has no such detail.
    """
    place, said = known_world(env), dataset.attributes.get(DETAIL)
    if place is None:
        return None
    if said is not None and said not in place.details:
        raise LewmError(
            f"{dataset.path}: the attribute '{DETAIL}' is {said!r:.80}, which {env} does not have",
            "Where the data are of another world, name it, or think of a name for it: --env my-robot.",
        )
    return place.drawn(said).detail


def recorded_in(dataset: Dataset) -> Recorded:
    """How recordings became the frames of a dataset, as far as the file says it."""
    usual = Recorded()
    fps, fit, resample = (dataset.attributes.get(name) for name in ("fps", FIT, "resample"))
    return Recorded(
        fps=float(fps) if isinstance(fps, int | float) and fps > 0 else None,
        fit=fit if fit in FITS else None,
        resample=resample if resample in RESAMPLINGS else usual.resample,
    )


def check_belongs(dataset: Dataset, config: Config, trained_on: DatasetIdentity, option: str = "--data") -> None:
    """Raises unless the model can be shown the dataset's frames.

    Args:
        option: The option that named the dataset on the command line.

    Raises:
        LewmError: its world, actions or frames differ from those of training.
    """
    said = said_name(dataset)
    if said not in (None, config.env, trained_on.env):
        raise LewmError(
            f"{dataset.path}: is of the world {said}, the run was trained in {config.env}",
            f"Give {option} a dataset of the run's world, or --run a run of this one. Other recordings of a robot get "
            f'its name with "lewm data convert --env {config.env}".',
        )
    if dataset.action_dim != config.model.action_dim:
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, the model expects "
            f"{config.model.action_dim}",
            f"Give {option} a dataset of the model's environment.",
        )
    if dataset.frame_size != trained_on.frame_size:
        ours, theirs = (f"{x} x {y} pixels" for y, x in (dataset.frame_size, trained_on.frame_size))
        raise LewmError(
            f"{dataset.path}: frames of {ours}, the run was trained on {theirs}",
            f"Give {option} a dataset collected with the same --frame-size.",
        )
    now, then = recorded_in(dataset), trained_on.recorded
    if now.fps is not None and then.fps is not None and differ(now.fps, then.fps):
        raise LewmError(
            f"{dataset.path}: has {now.fps:.4g} steps a second, the run was trained on {then.fps:.4g}",
            f"Give {option} a dataset made with the same --fps.",
        )
    if now.fit is not None and then.fit is not None and now.fit != then.fit:
        raise LewmError(
            f"{dataset.path}: frames of fit {now.fit}, the run was trained on fit {then.fit}",
            f"Give {option} a dataset made with the same --fit.",
        )
    detail = detail_of(dataset, config.env)
    if detail != trained_on.detail:
        raise LewmError(
            f"{dataset.path}: frames of detail {detail}, the run was trained on detail {trained_on.detail}",
            f"Give {option} a dataset collected with the same --detail.",
        )


def check_action_width(dataset: Dataset, env: str) -> None:
    """Raises where `env` is a known world whose actions are wider or narrower than those of the dataset.

    Raises:
        LewmError: The model could neither plan in that world nor be tested in it.
    """
    place = known_world(env)
    if place is not None and place.action_dim != dataset.action_dim:
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, those of {env} have {place.action_dim}",
            "Where the data are of another world, name it, or think of a name for it: --env my-robot.",
        )

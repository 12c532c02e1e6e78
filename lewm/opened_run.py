"""A run that a command works with: its configuration, its model, and data beside it.

S episodes that training sees, U that it does not.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from lewm.checkpoints import run as runs
from lewm.checkpoints.origin import Origin
from lewm.checkpoints.run import DatasetIdentity
from lewm.config import Config
from lewm.dataset_checks import check_belongs
from lewm.datasets import fingerprint_of
from lewm.episode_split import split
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.held_out import held_out
from lewm.model.world_model import WorldModel
from lewm_data.store.dataset import Dataset

log = logging.getLogger(__name__)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """A run directory whose configuration has been read. Its weights are read when they are first asked for.

    Attributes:
        path: The directory.
        config: The whole configuration.
        trained_on: The dataset of its training; of an imported run, the one that it was given.
        device: Where its model is.
        origin: Where its weights are from, if it was imported.
    """

    path: Path
    config: Config
    trained_on: DatasetIdentity
    device: torch.device
    origin: Origin | None = None

    @property
    def model(self) -> WorldModel:
        """The model, in eval mode, on the device.

        Raises:
            LewmError: There are no weights, or they are damaged, not finite or not of this configuration.
        """
        return self._weights[0]

    @property
    def checkpoint_sha256(self) -> str:
        """Digest of the file that the weights were read from; a training may have written another since."""
        return self._weights[1]

    @functools.cached_property
    def _weights(self) -> tuple[WorldModel, str]:
        path = self.path / runs.MODEL
        before = sha256(path) if path.is_file() else None  # load_run says what is missing
        model = runs.load_run(self.path)
        while (after := sha256(path)) != before:  # a training has written it in the meantime
            before, model = after, runs.load_run(self.path)
        return model.to(self.device), after

    @property
    def fit(self) -> str | None:
        """How a picture of the run's world becomes a square frame; None where that is not known.

        Where the frames of its data were not square, the model itself makes them so.
        """
        height, width = self.trained_on.frame_size
        return self.trained_on.recorded.fit if height == width else self.config.model.fit

    def split(self, episodes: int) -> tuple[Int64[np.ndarray, " S"], Int64[np.ndarray, " U"]]:
        """How training divides so many episodes: first the episodes that it sees, then those that it holds out.

        With `training.episodes` there are others, in neither part.
        In an imported run, only what is learnt on its latents is trained here. It sees the first episodes, too, and not
        the others.
        """
        return split(self.config.training, episodes)

    @property
    def holds_out(self) -> bool:
        """Whether it is known that the model's training did not see the episodes that `split` holds out."""
        return self.origin is None

    @property
    def held_out_in_words(self) -> str:
        """What a report calls the episodes that `split` holds out."""
        return f"the run's {held_out('episodes', self.holds_out)}"

    @contextmanager
    def data(self, path: Path | None = None, option: str = "--data") -> Iterator[RunData]:
        """Opens a dataset whose frames the model can be shown.

        Args:
            path: The dataset; the dataset of the run's training if None.
            option: The option that named it on the command line.

        Raises:
            LewmError: Its world, actions or frames differ from those of training; or the training's dataset has moved.
            DataError: It is not there, or cannot be read.
        """
        trained = Path(self.trained_on.path)
        if path is None and not trained.exists():
            remedy = f"The run was trained on it. If it has moved, say with {option} where it is."
            raise LewmError(f"{trained}: no such file", remedy)
        if self.origin is not None:
            log.warning(
                "%s was imported: its training may have seen every episode, so nothing here is known to be new to it",
                self.path,
            )
        with Dataset.open(path or trained) as dataset:
            check_belongs(dataset, self.config, self.trained_on, option)
            yield RunData(self, dataset)


@dataclass(frozen=True)
class RunData:
    """An open dataset, and what training has seen of it."""

    run: Run
    dataset: Dataset

    @functools.cached_property
    def fingerprint(self) -> str:
        """The dataset's fingerprint.

        Raises:
            DataError: A row differs from its hash, or cannot be read.
        """
        return fingerprint_of(self.dataset)

    @property
    def in_training(self) -> bool:
        """Whether these are the run's own data: those it was trained on, or was given when it was imported."""
        return self.fingerprint == self.run.trained_on.fingerprint

    @property
    def known_unseen(self) -> bool:
        """Whether it is known that the training of the model did not see the episodes in `unseen`."""
        return self.in_training and self.run.holds_out

    @property
    def seen(self) -> Int64[np.ndarray, " S"]:
        """The episodes that training saw: none where these are not the data it was trained on."""
        return self._split[0]

    @property
    def unseen(self) -> Int64[np.ndarray, " U"]:
        """The episodes that training held out; all, where it was trained on other data."""
        return self._split[1]

    @functools.cached_property
    def _split(self) -> tuple[Int64[np.ndarray, " S"], Int64[np.ndarray, " U"]]:
        episodes = self.dataset.num_episodes
        return self.run.split(episodes) if self.in_training else (np.arange(0), np.arange(episodes))

    def check_in_training(self, remedy: str) -> None:
        """Raises unless these are the data that the run was trained on.

        Raises:
            LewmError: They are others; says `remedy`.
        """
        if not self.in_training:
            raise LewmError(
                f"{self.dataset.path}: not the data that {self.run.path} was trained on, so what it held out is not "
                "known",
                remedy,
            )


def open_run(path: str | Path, device: torch.device = CPU) -> Run:
    """Opens a run directory.

    Raises:
        LewmError: It is no run, or its configuration is damaged or was changed.
    """
    directory = Path(path).expanduser()
    config, trained_on = runs.read_config(directory)
    return Run(directory, config, trained_on, device, runs.read_origin(directory))

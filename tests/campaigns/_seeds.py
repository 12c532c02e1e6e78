"""The whole inputs that are mutated: small ones, made anew."""

from __future__ import annotations

import csv
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import _victim
import numpy as np
from _scenes import COLLECT, PLAN, TINY, must

SECONDS, RATE = 2, 10
SIDE = 32
VIDEOS = {"mp4": "libx264", "avi": "mpeg4", "mkv": "libx264", "gif": None}
GOLDEN = Path(__file__).parents[1] / "golden"


class Seeds:
    """Where they are, in a folder of their own. Each is made when it is first asked for.

    Args:
        base: The folder, which is not there yet.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        base.mkdir(parents=True)
        self.settings.write_text(TINY)

    @property
    def settings(self) -> Path:
        """A file for --config that makes everything small."""
        return self.base / "tiny.toml"

    @cached_property
    def data(self) -> Path:
        """The dataset that `run` was trained on."""
        path = self.base / "home" / "datasets" / "two-room.h5"
        self._call(*COLLECT, "--episodes", "60", "--out", str(path))
        return path

    @cached_property
    def run(self) -> Path:
        """A run with a decoder, a head, a policy and a report of each kind."""
        run = self.base / "home" / "runs" / "r"
        paths = ["--config", str(self.settings), "--data", str(self.data), "--out", str(run)]
        self._call("train", "--device", "cpu", *paths)
        for command in ("decode", "train-head", "train-policy"):
            self._call(command, "--run", str(run), "--steps", "10")
        self._call("plan", "--run", str(run), *PLAN.split(), "--save-tasks", str(self.tasks))
        self._call("probe", "--run", str(run))
        self._call("surprise", str(self.videos["mp4"]), "--run", str(run))
        return run

    @property
    def tasks(self) -> Path:
        """The tasks of its plan; they exist when `run` does."""
        return self.base / "tasks.json"

    @cached_property
    def manifest(self) -> Path:
        """A manifest of CLEAR-LeWM with pairs of `data`."""
        return _manifest(self.base / "manifest.json", self.data)

    @cached_property
    def datasets(self) -> tuple[Path, ...]:
        """Small ones: closed, left by a writer that was killed, and in the layout of the released data."""
        return _datasets(self.base)

    @cached_property
    def videos(self) -> dict[str, Path]:
        """One of each format, by its ending."""
        return {ending: _video(self.base / f"video.{ending}", codec) for ending, codec in VIDEOS.items()}

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """A PNG and a JPEG."""
        return _images(self.base)

    @cached_property
    def actions(self) -> dict[str, Path]:
        """Files of actions, by their ending."""
        return _actions(self.base)

    @cached_property
    def released(self) -> Path:
        """A released checkpoint, as small as one can be."""
        return _released(self.base / "released")

    @cached_property
    def imported(self) -> Path:
        """A run that was made of it."""
        out = self.base / "home" / "runs" / "imported"
        self._call("checkpoint", "import", str(self.released), "--data", str(self.data), "--out", str(out))
        return out

    def _call(self, *arguments: str) -> None:
        must(_victim.run(list(arguments), self.base))


def _manifest(path: Path, data: Path) -> Path:
    from lewm.evaluation.clear.pairs import write_manifest
    from lewm.evaluation.from_dataset import draw_tasks
    from lewm_data.envs.registry import world
    from lewm_data.store.dataset import Dataset

    with Dataset.open(data) as dataset:
        episodes = np.arange(dataset.num_episodes)
        tasks = draw_tasks(dataset, world("two-room"), "unsolved", episodes, 5, 9, 20, 0)
        write_manifest(path, tasks, dataset, 0, 0.1, episodes)
    return path


def _datasets(base: Path) -> tuple[Path, ...]:
    from lewm_data.store.writer import Writer

    rng = np.random.default_rng(0)
    closed, interrupted = base / "closed.h5", base / "interrupted.h5"
    with Writer.create(closed, {"env": "two-room", "seed": 3, "policy": "expert"}) as writer:
        for steps in (6, 9, 12):
            actions = rng.standard_normal((steps, 2)).astype(np.float32)
            actions[-1] = np.nan
            writer.write_episode(
                {
                    "pixels": rng.integers(0, 256, (steps, 16, 16, 3), dtype=np.uint8),
                    "action": actions,
                    "state": rng.standard_normal((steps, 4)),
                    "reward": np.zeros(steps, np.float32),
                }
            )
    interrupted.write_bytes(closed.read_bytes())
    with Writer.append(interrupted):
        left = interrupted.read_bytes()
    interrupted.write_bytes(left)
    return closed, interrupted, GOLDEN / "official_layout.h5"


def _video(path: Path, codec: str | None) -> Path:
    import av

    from lewm_data.video.video_writer import write_video

    texture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    frames = np.stack([np.roll(texture, i, axis=1) for i in range(SECONDS * RATE)])
    if codec is None:
        write_video(path, frames, RATE)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options={"g": "6"})
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _images(base: Path) -> tuple[Path, ...]:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    paths = base / "image.png", base / "image.jpg"
    for path in paths:
        image.save(path)
    return paths


def _actions(base: Path) -> dict[str, Path]:
    actions = np.random.default_rng(2).standard_normal((SECONDS * RATE, 2))
    np.save(base / "actions.npy", actions)
    np.savez(base / "actions.npz", actions=actions)
    with (base / "actions.csv").open("w") as file:
        csv.writer(file).writerows([["x", "y"], *actions.tolist()])
    return {ending: base / f"actions.{ending}" for ending in ("npy", "npz", "csv")}


def _released(directory: Path) -> Path:
    """A checkpoint as the released code writes it, of the smallest sizes."""
    from lewm import recipes
    from lewm.checkpoints.export import export
    from lewm.config import resolve
    from lewm.model import build

    encoder = {"kind": "vit", "patch": 7, "width": 12, "depth": 1, "heads": 3, "mlp": 8}
    predictor = {"depth": 1, "heads": 1, "mlp": 8, "head_dim": 4, "width": 12, "projector_hidden": 8}
    changes = {f"model.predictor.{key}": value for key, value in predictor.items()}
    sizes = {"model.frame_size": 28, "model.latent": 8, "model.projector_hidden": 8, "model.action_embedder.hidden": 8}
    config = resolve(recipes.paper("two-room", 2), None, changes | sizes | {"model.encoder": encoder})
    export(build(config.model), "transformers4", directory)
    return directory

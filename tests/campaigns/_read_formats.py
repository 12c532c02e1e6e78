"""Readers of other projects' formats: the recordings that these wrote, one file of each spoilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from _batch import Reader
from _mutate import mutate_bytes, mutate_text, mutate_tree, to_json
from _seeds import Seeds

FIXTURES = Path(__file__).parents[1] / "data" / "convert" / "fixtures"
HEADER = 4096  # bytes that say what the others are
CAMERAS = ("front", "wrist", "cam_high", "agentview_image", "agentview_rgb", "channels-0-2", None)
SOURCES = (
    "lerobot-v2.1/recording",
    "lerobot-v3/recording",
    "aloha/recording",
    "aloha/recording-jpeg",
    "robomimic/image_compact.hdf5",
    "libero/demo.hdf5",
    "minari/recording",
    "minari/recording-arrow",
    "minari/recording-parquet",
    "ogbench/recording.npz",
    "ogbench/powderworld.npz",
    "dino-wm/recording",
    "stable-worldmodel/released.h5",
    "stable-worldmodel/current-folder",
    "stable-worldmodel/current-video",
    "stable-worldmodel/current.lance",
)


def readers(seeds: Seeds) -> list[Reader]:
    """All of them."""
    return [Reader(f"format, {name}", 200, _spoilt(FIXTURES / name), convert) for name in SOURCES]


def convert(path: Path) -> None:
    """Converts a source, with the camera that it has."""
    from lewm_data.convert.convert import convert as convert_source
    from lewm_data.convert.formats import open_source
    from lewm_data.convert.request import Request
    from lewm_data.errors import DataError

    for camera in CAMERAS:
        try:
            open_source(path, camera).close()
        except DataError as error:
            if not error.problem.startswith("unknown camera") or camera is None:
                raise
        else:
            convert_source(Request(path, path.parent / "out.h5", camera, frame_size=16, overwrite=True))
            return


def _spoilt(source: Path) -> Callable[[Random, Path], Path]:
    files = [source] if source.is_file() else sorted(one for one in source.rglob("*") if one.is_file())

    def make(rng: Random, folder: Path) -> Path:
        made = folder / source.name
        for file in files:
            copy = made / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        _spoil(made / rng.choice(files).relative_to(source), rng)
        return made

    return make


def _spoil(file: Path, rng: Random) -> None:
    data = file.read_bytes()
    if file.suffix in (".json", ".jsonl") and rng.random() < 0.8:
        lines = [data.decode()] if file.suffix == ".json" else data.decode().splitlines()
        at = rng.randrange(len(lines))
        whole = rng.random() < 0.7
        lines[at] = to_json(mutate_tree(json.loads(lines[at]), rng)) if whole else mutate_text(lines[at], rng)
        file.write_text("\n".join(lines), errors="replace")
    elif rng.random() < 0.05:
        file.unlink()
    else:
        end = (max(0, len(data) - HEADER), len(data))
        file.write_bytes(mutate_bytes(data, rng, rng.choice(((0, HEADER), end))))

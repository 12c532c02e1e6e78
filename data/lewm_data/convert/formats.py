"""The formats that can be converted, and which of them a path is."""

from __future__ import annotations

from pathlib import Path

from lewm_data.convert import aloha, dino_wm, media, ogbench, robomimic
from lewm_data.convert.lerobot import dataset as lerobot
from lewm_data.convert.minari import dataset as minari
from lewm_data.convert.source import Format, Source
from lewm_data.convert.stable_worldmodel import folder, hdf5, lance
from lewm_data.errors import DataError

# The first that recognises a path is taken, so what recognises the least comes first.
FORMATS = (
    Format("LeRobot v2 or v3", lerobot.recognises, lerobot.opens),
    Format("stable-worldmodel's Lance table", lance.recognises, lance.opens),
    Format("stable-worldmodel's HDF5 file", hdf5.recognises, hdf5.opens),
    Format("stable-worldmodel's folder", folder.recognises, folder.opens),
    Format("robomimic", robomimic.recognises, robomimic.opens),
    Format("Minari", minari.recognises, minari.opens),
    Format("ALOHA", aloha.recognises, aloha.opens),
    Format("OGBench", ogbench.recognises, ogbench.opens),
    Format("DINO-WM's Push-T", dino_wm.recognises, dino_wm.opens),
    Format("a folder of videos or pictures, with actions", media.recognises, media.opens),
)


def open_source(path: Path, camera: str | None) -> Source:
    """Opens a source in whichever format it is.

    Args:
        path: A file or a folder.
        camera: The camera to take, where it has several.

    Raises:
        DataError: Nothing is there, it is in no known format, or it is damaged.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", "Check the name.")
    for one in FORMATS:
        if one.recognises(path):
            return one.opens(path, camera)
    known = "; ".join(one.name for one in FORMATS)
    raise DataError(f"{path}: is in no format that is known here", f"Known: {known}. docs/data.md describes each.")

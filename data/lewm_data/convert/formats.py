"""The formats that can be converted, and which of them a path is."""

from __future__ import annotations

from pathlib import Path

from lewm_data.convert import media
from lewm_data.convert.source import Format, Source
from lewm_data.errors import DataError

# The first that recognises a path is taken, so what recognises the least comes first.
FORMATS = (Format("a folder of videos or pictures, with actions", media.recognises, media.opens),)


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

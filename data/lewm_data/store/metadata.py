"""A digest of what a file holds in outline, which takes no longer for a large file."""

import hashlib
import json
from pathlib import Path

import h5py

from lewm_data.errors import DataError
from lewm_data.store.opening import open_file, reading, repair_command


def metadata_sha256(path: Path) -> str:
    """SHA-256 of a file's size and of the name, shape and type of each HDF5 dataset at its root.

    Equal files have equal digests. Two files that differ in their numbers alone have equal digests, too.

    Raises:
        DataError: The file cannot be read, or it was not closed, so that its size is not final.

    Source: "metadata-sha256" of CLEAR-LeWM, github.com/DavidSunok/CLEAR-LeWM, v0.8.
    """
    opened = open_file(path)
    try:
        if opened.interrupted:
            raise DataError(f"{path}: was not closed, so that its size is not final", f"Run: {repair_command(path)}.")
        with reading(path):
            found = [(name, item) for name, item in sorted(opened.file.items()) if isinstance(item, h5py.Dataset)]
            outline = [{"key": name, "shape": list(item.shape), "dtype": str(item.dtype)} for name, item in found]
    finally:
        opened.close()
    text = json.dumps({"size_bytes": path.stat().st_size, "schema": outline}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

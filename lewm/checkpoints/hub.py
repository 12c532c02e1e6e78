"""Fetches a released checkpoint from the Hugging Face Hub, or takes it from that package's cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lewm.checkpoints.released_config import CONFIG
from lewm.checkpoints.weight_names import chosen
from lewm.errors import LewmError, missing
from lewm.reading import MOST_BYTES, decoding

HUB = "hf:"
# One name for the user and one for the repository, neither of which climbs; then a branch, a tag or a commit.
NAME = re.compile(r"hf:((?!\.)[\w.-]{1,96}/(?!\.)[\w.-]{1,96})(?:@((?!\.)[\w.-]{1,96}))?", re.ASCII)
CHECK = "Check the name and the network, or give a folder with the files."
ANOTHER = "Give another repository."
NOT_THERE = f"no {CONFIG} with one file of weights that is clearly meant"


def fetch(source: str, most: Callable[[Path], int]) -> tuple[Path, str]:
    """The folder in the cache that holds config.json and one file of weights, and the commit that they are of.

    Sizes are looked up before anything is fetched. Without a network, what is in the cache is taken.

    Args:
        source: hf:USER/REPOSITORY or hf:USER/REPOSITORY@REVISION.
        most: The most bytes that the weights of such a config.json may have.

    Raises:
        LewmError: The name is not of this form, huggingface_hub is not installed, or the files are not there, too large
            or of a size that is not known.
    """
    named = NAME.fullmatch(source)
    if named is None:
        raise LewmError(f"{source:.200}: expected hf:USER/REPOSITORY or hf:USER/REPOSITORY@REVISION", CHECK)
    repository, revision = named.groups()
    try:
        import huggingface_hub as hub
    except ModuleNotFoundError as error:
        raise missing("checkpoints on the Hugging Face Hub need huggingface_hub", "hub") from error
    with decoding(Path(source), "cannot be fetched", CHECK):
        commit, sizes = _listed(hub, repository, revision)

        def get(name: str, most: int) -> Path:
            # by its name, not by a pattern: in a pattern, a file called *.pt would stand for all others
            if sizes is not None:
                _check(source, name, sizes[name], most)
            cached = sizes is None
            return Path(hub.hf_hub_download(repository, name, revision=commit or revision, local_files_only=cached))

        if sizes is not None and (CONFIG not in sizes or chosen(sizes) is None):
            raise LewmError(f"{source}: {NOT_THERE}", CHECK)
        folder = get(CONFIG, MOST_BYTES).parent
        weights = chosen(sizes if sizes is not None else (file.name for file in folder.iterdir()))
        if weights is None:
            raise LewmError(f"{source}: {NOT_THERE}", CHECK)
        get(weights, most(folder / CONFIG))
    return folder, commit or folder.name


def _listed(
    hub: Any,  # noqa: ANN401
    repository: str,
    revision: str | None,
) -> tuple[str | None, dict[str, int | None] | None]:
    """The commit, and the sizes of the files at the repository's root; None for both where it cannot be asked."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    except HfHubHTTPError:  # it was asked, and has no such repository
        raise
    except Exception:  # the network is not there: which error that is depends on the version
        return None, None
    return found.sha, {one.rfilename: one.size for one in found.siblings or [] if "/" not in one.rfilename}


def _check(source: str, name: str, size: int | None, most: int) -> None:
    """Raises where a file is too large to be fetched, or where it is not known how large it is."""
    if size is None:
        raise LewmError(f"{source}: {name:.200}: the repository does not say how many bytes it has", ANOTHER)
    if size > most:
        raise LewmError(f"{source}: {name:.200} has {size:,} bytes, at most {most:,} are read", ANOTHER)

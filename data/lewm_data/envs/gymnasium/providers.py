"""Installed packages that register an id with Gymnasium, found without importing any of them."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path

MOST_FILES, MOST_BYTES = 5000, 2**20  # of a package that are read, and of one of its files
REGISTERED = ("gymnasium", "lewm")  # their ids are known without an import


def providers(gymnasium_id: str) -> list[str]:
    """The modules whose import may register an id, judging by the text of installed packages.

    A package counts if it requires Gymnasium, and if a text in one of its files begins with the namespace of the id
    ("swm/"), or is the id where that has no namespace.
    """
    namespace, slash, name = gymnasium_id.rpartition("/")
    text = re.escape(namespace + slash) if slash else f"{re.escape(name)}[\"']"
    wanted = re.compile(f"[\"']{text}".encode())
    found = set()
    for distribution in distributions():
        if _uses_gymnasium(distribution):
            found |= {_module(file) for file, path in _sources(distribution) if wanted.search(path.read_bytes())}
    return sorted(module for module in found if module.isidentifier())


def _uses_gymnasium(distribution: Distribution) -> bool:
    required = {re.split(r"[^\w.-]", one, maxsplit=1)[0].lower() for one in distribution.requires or []}
    name = str(distribution.metadata["Name"]).lower()  # damaged metadata have no name
    return "gymnasium" in required and name not in REGISTERED


def _sources(distribution: Distribution) -> Iterator[tuple[PackagePath, Path]]:
    """The first `MOST_FILES` files of Python code, except those of unusual size."""
    sources = [file for file in distribution.files or [] if file.suffix == ".py" and ".." not in file.parts]
    for file in sources[:MOST_FILES]:
        path = Path(str(distribution.locate_file(file)))
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            yield file, path


def _module(file: PackagePath) -> str:
    """The module to import for a file of a package: "shimmy" for shimmy/registration.py."""
    return file.parts[0].removesuffix(".py")

"""JSON files with a checksum inside, so that one changed bit is found when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SHA256 = "sha256"  # the key of the checksum


class SealError(ValueError):
    """A file that does not hold what was written; the text says what is wrong, without the file's name."""


def sealed_json(content: Mapping[str, Any]) -> str:
    """The text of a JSON file with a checksum; an old checksum in `content` is replaced.

    Raises:
        ValueError: A number is not finite: JSON has none.
    """
    read = json.loads(json.dumps(content, allow_nan=False))  # what will be read: its keys are text
    plain = {key: value for key, value in read.items() if key != SHA256}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return json.dumps({**plain, SHA256: digest}, indent=2) + "\n"


def check_sealed(content: Any, text: str) -> None:  # noqa: ANN401
    """Pass if `text` is what `sealed_json` made; spaces and the case of letters in numbers count too.

    Args:
        content: The value that `text` stands for.

    Raises:
        SealError: it is not.
    """
    if not isinstance(content, dict) or SHA256 not in content:
        raise SealError("it has no checksum")
    try:
        expected = sealed_json(content)
    except ValueError as error:
        raise SealError("a number in it is not finite") from error
    if text != expected:
        raise SealError("its checksum is of another content")

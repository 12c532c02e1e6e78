"""Mutations of bytes, of text, and of trees of plain values; each is a function of its generator."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

# In the place of a number too long for Python's conversion, or of what no writer of JSON would write
LITERALS = {
    "@digits": "9" * 6000,
    "@nan": "NaN",
    "@infinity": "-Infinity",
    "@exponent": "1e99999",
    "@deep": "[" * 100_000 + "]" * 100_000,
    "@open": "{" * 3000,
    "@surrogate": '"\\ud800"',
}
VALUES = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**9, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, 3.0),
    *("", "0", "none", "a" * 20_000, "a\nb", "\x1b[31mred\x1b[0m", "[red]", ":x:", "\u202eabc", "é\u0301", "\x00"),
    *("../../etc/passwd", "/dev/zero", "%s%n", "{}", "os:abort"),
    *([], {}, [[]], [None], [1] * 1000, {"": {}}, {"a": {"b": {"c": []}}}),
    *LITERALS,
)
TOKENS = (
    *(
        "=",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        ",",
        ":",
        ";",
        "#",
        "\\",
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b[2J",
        "\ufeff",
        "\u2028",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "9" * 400,
        "9" * 6000,
        "true",
        "null",
        "é",
        "😀",
        "\u202e",
        "٣",
        "0x10",
        "1_000",
    ),
)
INTEGERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def mutate_bytes(data: bytes, rng: Random, hot: tuple[int, int] | None = None) -> bytes:
    """One to four mutations, most of them within `hot`, the bytes that a reader looks at first."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        low, high = hot if hot is not None and rng.random() < 0.7 else (0, len(spoilt))
        high = min(high, len(spoilt))
        if low >= high:
            break
        at = rng.randrange(low, high)
        length = min(rng.choice((1, 2, 4, 8, 16, 64, 512)), len(spoilt) - at)
        match rng.randrange(8):
            case 0:
                spoilt[at] ^= 1 << rng.randrange(8)
            case 1:
                spoilt[at : at + length] = rng.randbytes(length)
            case 2:
                spoilt[at : at + length] = bytes([rng.choice((0, 255))]) * length
            case 3:
                del spoilt[at:]
            case 4:  # a splice
                other = rng.randrange(len(spoilt))
                spoilt[at : at + length] = spoilt[other : other + length]
            case 5:  # a block twice
                spoilt[at:at] = spoilt[at : at + length]
            case 6:
                del spoilt[at : at + length]
            case 7:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(INTEGERS) % 256**width
                spoilt[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
    return bytes(spoilt)


def mutate_text(text: str, rng: Random) -> str:
    """One to three edits: a token put in or in the place of others, lines left out, twice or exchanged."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((0, 1, 3, 10)))
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0 | 1 | 2:
                text = text[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 2, 50)) + text[end:]
            case 3:
                text = "\n".join(lines[:line] + lines[line + 1 :])
            case 4:
                text = "\n".join(lines[:line] + [lines[line]] * 3 + lines[line:])
            case 5:
                text = text[:at]
    return text


def mutate_tree(tree: Any, rng: Random) -> Any:
    """A copy of a tree of dictionaries and lists with one to three nodes of other values, names or places."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            break
        parent, key = rng.choice(places)
        match rng.randrange(8):
            case 0 | 1 | 2 | 3:
                parent[key] = rng.choice(VALUES)
            case 4:
                del parent[key]
            case 5 if isinstance(parent, dict):
                parent[rng.choice(("", "format", "a" * 500, "\x1b[1m", str(key).upper(), f"{key} ", "0"))] = parent.pop(
                    key
                )
            case 6:  # another node's value
                other, name = rng.choice(places)
                parent[key] = copy.deepcopy(other[name]) if name in other or isinstance(other, list) else None
            case _:
                parent[key] = [parent[key]] * rng.choice((1, 3)) if rng.random() < 0.5 else {"value": parent[key]}
    return tree


def to_json(tree: Any) -> str:
    """JSON, with the literals that no writer would write."""
    return with_literals(json.dumps(tree, indent=1))


def with_literals(text: str) -> str:
    """A text with the literals in the place of their names."""
    for name, literal in LITERALS.items():
        text = text.replace(f'"{name}"', literal)
    return text


def to_toml(tree: dict[str, Any], name: str = "") -> str:
    """TOML of a tree; what TOML has no word for is written as JSON writes it, which is a fault of the file's."""
    leaves = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    lines = [f"[{name}]"] if name else []
    lines += [f"{_key(key)} = {json.dumps(value)}" for key, value in leaves.items()]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(to_toml(value, f"{name}.{_key(key)}" if name else _key(key)))
    return with_literals("\n".join(lines))


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def _places(tree: Any) -> Any:
    """Every (parent, key) of a tree; only the first few of a long list."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _places(value)
    elif isinstance(tree, list):
        for index, value in enumerate(tree[:4]):
            yield tree, index
            yield from _places(value)

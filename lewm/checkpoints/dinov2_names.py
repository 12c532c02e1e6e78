"""The names of DINOv2's tensors in files of others, beside ours.

Three layouts are read: our own, that of the released code, also with blocks in chunks (blocks.CHUNK.LAYER), and that of
files which the transformers package saves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from lewm.checkpoints.faults import refuse_faults, refuse_not_finite
from lewm.checkpoints.tensor_files import read_wanted
from lewm.config import Dinov2Encoder

# What encoding does not use: it stands for patches that are hidden in training.
UNUSED = ("mask_token", "embeddings.mask_token")
CHUNKED = re.compile(r"blocks\.\d+\.(\d+)\.")

# Names outside the layers, and names of a layer: ours, the released ones, those of transformers.
OUTSIDE = (
    ("cls_token", "cls_token", "embeddings.cls_token"),
    ("positions", "pos_embed", "embeddings.position_embeddings"),
    ("patch.weight", "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"),
    ("patch.bias", "patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias"),
    ("norm.weight", "norm.weight", "layernorm.weight"),
    ("norm.bias", "norm.bias", "layernorm.bias"),
)
REGISTERS = ("registers", "register_tokens", "embeddings.register_tokens")
INSIDE = (
    ("attention_norm", "norm1", "norm1"),
    ("out", "attn.proj", "attention.output.dense"),
    ("mlp_norm", "norm2", "norm2"),
    ("fc1", "mlp.fc1", "mlp.fc1"),
    ("fc2", "mlp.fc2", "mlp.fc2"),
)
SCALES = (("attention_scale", "ls1.gamma", "layer_scale1.lambda1"), ("mlp_scale", "ls2.gamma", "layer_scale2.lambda1"))

Names = tuple[str, ...]  # the tensors that one of ours is made of, in order


def sources(config: Dinov2Encoder) -> Iterator[tuple[str, tuple[Names, Names, Names]]]:
    """Each parameter of ours, and for each layout the tensors that it is made of.

    The query, key and value of transformers are one tensor in our model, stacked along their first dimension.
    """
    for ours, released, saved in OUTSIDE + ((REGISTERS,) if config.registers else ()):
        yield ours, ((ours,), (released,), (saved,))
    for layer in range(config.depth):
        inner, outer = f"blocks.{layer}", f"encoder.layer.{layer}"
        for ours, released, saved in SCALES:
            yield f"{inner}.{ours}", ((f"{inner}.{ours}",), (f"{inner}.{released}",), (f"{outer}.{saved}",))
        for leaf in ("weight", "bias"):
            parts = tuple(f"{outer}.attention.attention.{part}.{leaf}" for part in ("query", "key", "value"))
            yield f"{inner}.qkv.{leaf}", ((f"{inner}.qkv.{leaf}",), (f"{inner}.attn.qkv.{leaf}",), parts)
            for ours, released, saved in INSIDE:
                names = f"{inner}.{ours}.{leaf}", f"{inner}.{released}.{leaf}", f"{outer}.{saved}.{leaf}"
                yield names[0], ((names[0],), (names[1],), (names[2],))


def read_dinov2(path: Path, prefix: str, encoder: nn.Module, config: Dinov2Encoder, remedy: str) -> None:
    """Fill an encoder with the tensors of a file of any layout.

    Args:
        path: The file.
        prefix: What the names begin with.
        encoder: The encoder.
        config: Its section.
        remedy: The second line of the error where the file does not fit.

    Raises:
        LewmError: It cannot be read, tensors are missing, surplus or misshapen, or they are not finite.
    """
    expected = dict(encoder.state_dict())
    empty = {"registers": expected.pop("registers")} if not config.registers else {}
    parts = {
        name: torch.empty(expected[ours].shape[0] // len(names), *expected[ours].shape[1:], device="meta")
        for ours, layouts in sources(config)
        for names in layouts
        for name in names
    }
    numbers = sum(tensor.numel() for tensor in expected.values())
    wanted = {prefix + name: part for name, part in parts.items()}
    found = read_wanted(path, prefix, wanted, numbers, remedy, lambda name: CHUNKED.sub(r"blocks.\1.", name))
    tensors = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    layout = max(range(3), key=lambda i: sum(name in tensors for _, layouts in sources(config) for name in layouts[i]))
    made_of = {ours: layouts[layout] for ours, layouts in sources(config)}
    needed = {name for names in made_of.values() for name in names}
    misshapen = [
        f"{prefix}{name} {list(tensors[name].shape)}, expected {list(parts[name].shape)}"
        for name in sorted(needed & set(tensors))
        if tensors[name].shape != parts[name].shape
    ]
    missing = [prefix + name for name in sorted(needed - set(tensors))]
    surplus = [prefix + name for name in sorted(set(tensors) - needed - set(UNUSED))]
    refuse_faults(path, remedy, missing=missing, surplus=surplus, misshapen=misshapen)
    refuse_not_finite(path, {prefix + name: tensors[name] for name in needed}, remedy)
    state = {ours: torch.cat([tensors[name] for name in names]) for ours, names in made_of.items()}
    encoder.load_state_dict({**state, **empty})

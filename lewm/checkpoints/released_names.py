"""The names of the tensors in released checkpoints, beside ours: read from both layouts, and written in both.

The layouts differ in the names of the encoder's layers, which come from the transformers package: its versions 4 and 5
give them other names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lewm.config import AdalnPredictor, Model, VitEncoder
from lewm.model.world_model import WorldModel

Layout = Literal["transformers4", "transformers5"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# How the names of released tensors begin.
PARTS = ("encoder.", "predictor.", "action_encoder.", "projector.", "pred_proj.")
CONVOLUTION = "action_embedder.bottleneck.weight"  # theirs is a convolution of width 1
UNUSED = ("encoder.embeddings.mask_token",)  # what encoding does not use; some encoders have it
# How the names of tensors begin where a whole training module was saved, or one that was compiled or distributed.
WRAPPERS = ("model.", "module.", "_orig_mod.")
DEEPEST = 4  # how many of these a name may begin with: a training module that was compiled, then distributed, has 3


@dataclass(frozen=True)
class Translated:
    """Released tensors under our names.

    Attributes:
        state: The tensors that fit.
        layout: Which layout they have; None where that cannot be told.
        missing: Released names of tensors that the model needs.
        surplus: Names that the model does not have.
        misshapen: Names with their shape or type and the one that was expected.
    """

    state: dict[str, Tensor]
    layout: Layout | None
    missing: list[str]
    surplus: list[str]
    misshapen: list[str]


def sources(config: Model) -> Iterator[tuple[str, list[list[str]]]]:
    """Each parameter of ours, and for each name layout the released tensors that it is made of, in order.

    The query, key and value of the encoder are one tensor in our model, stacked along their first dimension.
    """
    assert isinstance(config.encoder, VitEncoder)
    assert isinstance(config.predictor, AdalnPredictor)
    embeddings = {
        "cls_token": "cls_token",
        "positions": "position_embeddings",
        "patch.weight": "patch_embeddings.projection.weight",
        "patch.bias": "patch_embeddings.projection.bias",
    }
    for ours, theirs in embeddings.items():
        yield f"encoder.{ours}", [[f"encoder.embeddings.{theirs}"]]
    for layer in range(config.encoder.depth):
        old, new = f"encoder.encoder.layer.{layer}", f"encoder.layers.{layer}"
        for leaf in ("weight", "bias"):
            block = f"encoder.blocks.{layer}"
            yield (
                f"{block}.qkv.{leaf}",
                [
                    [f"{old}.attention.attention.{part}.{leaf}" for part in ("query", "key", "value")],
                    [f"{new}.attention.{part}_proj.{leaf}" for part in ("q", "k", "v")],
                ],
            )
            for ours, theirs_4, theirs_5 in (
                ("out", "attention.output.dense", "attention.o_proj"),
                ("fc1", "intermediate.dense", "mlp.fc1"),
                ("fc2", "output.dense", "mlp.fc2"),
                ("attention_norm", "layernorm_before", "layernorm_before"),
                ("mlp_norm", "layernorm_after", "layernorm_after"),
            ):
                yield f"{block}.{ours}.{leaf}", [[f"{old}.{theirs_4}.{leaf}"], [f"{new}.{theirs_5}.{leaf}"]]
    affine = {"encoder.norm": "encoder.layernorm", "predictor.norm": "predictor.transformer.norm"}
    affine |= {
        "action_embedder.bottleneck": "action_encoder.patch_embed",
        "action_embedder.hidden": "action_encoder.embed.0",
        "action_embedder.out": "action_encoder.embed.2",
    }
    yield "predictor.positions", [["predictor.pos_embedding"]]
    if config.predictor.width != config.latent:
        for ours, theirs in (("input", "input_proj"), ("condition", "cond_proj"), ("output", "output_proj")):
            affine[f"predictor.{ours}"] = f"predictor.transformer.{theirs}"
    for layer in range(config.predictor.depth):
        block, released = f"predictor.blocks.{layer}", f"predictor.transformer.layers.{layer}"
        yield f"{block}.qkv.weight", [[f"{released}.attn.to_qkv.weight"]]
        affine |= {
            f"{block}.attention_norm": f"{released}.attn.norm",
            f"{block}.out": f"{released}.attn.to_out.0",
            f"{block}.mlp_norm": f"{released}.mlp.net.0",
            f"{block}.fc1": f"{released}.mlp.net.1",
            f"{block}.fc2": f"{released}.mlp.net.4",
            f"{block}.modulation": f"{released}.adaLN_modulation.1",
        }
    for ours, theirs, hidden in (
        ("projector", "projector", config.projector_hidden),
        ("prediction_projector", "pred_proj", config.predictor.projector_hidden),
    ):
        if hidden is None:
            continue
        affine |= {f"{ours}.{i}": f"{theirs}.net.{i}" for i in (0, 1, 3)}
        for leaf in ("running_mean", "running_var", "num_batches_tracked"):
            yield f"{ours}.1.{leaf}", [[f"{theirs}.net.1.{leaf}"]]
    for ours, theirs in affine.items():
        for leaf in ("weight", "bias"):
            yield f"{ours}.{leaf}", [[f"{theirs}.{leaf}"]]


def wrapper(names: Iterable[str]) -> str:
    """What the names of the model begin with: before most names whose rest is like those of a model; else nothing."""
    found = Counter(prefix for name in names if (prefix := _prefix(name)) is not None)
    return max(found, key=lambda prefix: (found[prefix], -len(prefix)), default="")


def _prefix(name: str) -> str | None:
    """What a name has before the name of a part of the model; None where there is no such part."""
    rest = name
    for _ in range(DEEPEST):
        if rest.startswith(PARTS):
            break
        rest = rest.removeprefix(next((one for one in WRAPPERS if rest.startswith(one)), ""))
    return name.removesuffix(rest) if rest.startswith(PARTS) else None


def translate(tensors: Mapping[str, Tensor], outline: WorldModel) -> Translated:
    """Released tensors under our names.

    Args:
        tensors: Released tensors by name.
        outline: A model of their configuration; only the shapes and types of its tensors are looked at.
    """
    expected = outline.state_dict()
    state: dict[str, Tensor] = {}
    missing, misshapen, used = [], [], set(UNUSED)
    told: set[Layout] = set()
    for ours, layouts in sources(outline.config):
        found = next((names for names in layouts if any(name in tensors for name in names)), None)
        names = found or layouts[0]
        if found and len(layouts) > 1:
            told.add(LAYOUTS[layouts.index(found)])
        used.update(names)
        absent = [name for name in names if name not in tensors]
        if absent:
            missing += absent
            continue
        like = expected[ours]
        part = torch.Size((like.shape[0] // len(names), *like.shape[1:])) if like.shape else like.shape
        wanted = [*part, 1] if ours == CONVOLUTION else [*part]
        wrong = [fault for name in names if (fault := _fault(name, tensors[name], wanted, like))]
        misshapen += wrong
        if not wrong:
            parts = [tensors[name].reshape(part) for name in names]
            state[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    surplus = sorted(set(tensors) - used)
    return Translated(state, told.pop() if len(told) == 1 else None, missing, surplus, misshapen)


def released_tensors(model: WorldModel, layout: Layout) -> dict[str, Tensor]:
    """The model's tensors under released names, in memory of their own: what `translate` makes its state of."""
    state, released = model.state_dict(), dict[str, Tensor]()
    for ours, layouts in sources(model.config):
        names = layouts[LAYOUTS.index(layout) if len(layouts) > 1 else 0]
        tensor = state[ours].detach().cpu()
        tensor = tensor[..., None] if ours == CONVOLUTION else tensor
        parts = tensor.chunk(len(names)) if len(names) > 1 else [tensor]
        # a copy: a part is saved with all of the tensor that it is a part of
        released |= {name: part.contiguous().clone() for name, part in zip(names, parts, strict=True)}
    return released


def _fault(name: str, tensor: Tensor, wanted: list[int], like: Tensor) -> str | None:
    if [*tensor.shape] != wanted:
        return f"{name} {[*tensor.shape]}, expected {wanted}"
    if tensor.is_floating_point() != like.is_floating_point():
        return f"{name} of {tensor.dtype}, expected {like.dtype}"
    return None

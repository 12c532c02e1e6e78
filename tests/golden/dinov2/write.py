"""Writes dinov2.npz and names.json beside itself: what DINOv2 gives in the code of others, and its tensors' names.

The values of all tensors are those of ../fill.py, by the names in files of the transformers package, so that a test can
make the same models. It runs where transformers is installed, 5.24.0 when the files were made. The second argument is
the folder of the package dinov2 0.0.1.dev2, which is the released code of April 2023:

    python tests/golden/dinov2/write.py tests/golden FOLDER

Names of the released code come from the models in that package; those with registers are not in it.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

HERE = Path(__file__).parent
sys.path.insert(0, sys.argv[1])
from fill import draw, fill  # noqa: E402

PATCH, GRID, WIDTH, DEPTH, HEADS, RATIO, REGISTERS = 4, 5, 24, 3, 3, 2, 4
SIDES = (PATCH * GRID, PATCH * 3)


def values(names: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(fill(name, tuple(shape)))).float() for name, shape in names.items()}


def pixels(side: int) -> torch.Tensor:
    return torch.from_numpy(draw(f"pixels {side}", (2, 3, side, side))).float()


def saved(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors as the package saves them."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


@torch.inference_mode()
def of_transformers(make, section) -> tuple[dict[str, torch.Size], dict[int, np.ndarray]]:
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "mlp_ratio": RATIO}
    config = section(image_size=PATCH * GRID, patch_size=PATCH, **sizes)
    names = {name: tensor.shape for name, tensor in saved(make(config)).items()}
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        model = make.from_pretrained(None, config=config, state_dict=values(names)).eval()
    first = 1 + getattr(config, "num_register_tokens", 0)
    return names, {side: model(pixels(side)).last_hidden_state[:, first:].numpy() for side in SIDES}


@torch.inference_mode()
def of_released(folder: str, theirs: dict[str, torch.Size]) -> tuple[dict[str, torch.Size], dict[int, np.ndarray]]:
    """The released code with the values of the other: names are put side by side here, and by hand."""
    sys.path.insert(0, folder)
    from dinov2.models.vision_transformer import DinoVisionTransformer

    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "mlp_ratio": RATIO}
    model = DinoVisionTransformer(PATCH * GRID, PATCH, init_values=1.0, block_chunks=0, **sizes).eval()
    filled = values(theirs)
    state = {
        "cls_token": filled["embeddings.cls_token"],
        "pos_embed": filled["embeddings.position_embeddings"],
        "mask_token": filled["embeddings.mask_token"],
        "patch_embed.proj.weight": filled["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": filled["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": filled["layernorm.weight"],
        "norm.bias": filled["layernorm.bias"],
    }
    for i in range(DEPTH):
        inner, outer = f"blocks.{i}", f"encoder.layer.{i}"
        for leaf in ("weight", "bias"):
            parts = [filled[f"{outer}.attention.attention.{part}.{leaf}"] for part in ("query", "key", "value")]
            state[f"{inner}.attn.qkv.{leaf}"] = torch.cat(parts)
            state[f"{inner}.attn.proj.{leaf}"] = filled[f"{outer}.attention.output.dense.{leaf}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                state[f"{inner}.{name}.{leaf}"] = filled[f"{outer}.{name}.{leaf}"]
        for n in (1, 2):
            state[f"{inner}.ls{n}.gamma"] = filled[f"{outer}.layer_scale{n}.lambda1"]
    model.load_state_dict(state)
    outputs = {side: model.forward_features(pixels(side))["x_norm_patchtokens"].numpy() for side in SIDES}
    return {name: tensor.shape for name, tensor in model.state_dict().items()}, outputs


plain, of_plain = of_transformers(Dinov2Model, Dinov2Config)
registers, of_registers = of_transformers(Dinov2WithRegistersModel, Dinov2WithRegistersConfig)
released, of_original = of_released(sys.argv[2], plain)
outputs = {"plain": of_plain, "registers": of_registers, "released": of_original}
np.savez_compressed(
    HERE / "dinov2.npz", **{f"{name} {side}": array for name, by in outputs.items() for side, array in by.items()}
)
names = {"plain": plain, "registers": registers, "released": released}
text = json.dumps({key: {name: list(shape) for name, shape in some.items()} for key, some in names.items()}, indent=1)
(HERE / "names.json").write_text(text + "\n")

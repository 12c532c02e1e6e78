"""Writes checkpoints with stable-worldmodel, and what its model computes with them.

    lewm collect --env two-room --episodes 12 --frame-size 28 --seed 5 --out rooms.h5
    python tests/golden/stable_worldmodel/write.py rooms.h5 tests/golden/stable_worldmodel/transformers4

It needs stable-worldmodel 0.1.1, stable-pretraining and hydra-core. Which layout of names comes out depends on the
version of transformers that is installed. The model is tiny, so that the files are small. Its reader, its model, its
loss, its training module and the function that saves are the package's own; the step of the training is the one that
the published training takes, written for this file.
"""

import json
import shutil
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning
import numpy as np
import stable_pretraining as spt
import stable_worldmodel as swm
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from stable_pretraining import data as dt
from stable_worldmodel.wm.loss import SIGReg
from stable_worldmodel.wm.utils import load_pretrained, save_pretrained

HISTORY, FRAMESKIP, SIDE, EPOCHS = 3, 5, 28, 2
PACKAGES = ("stable-worldmodel", "stable-pretraining", "transformers", "torch")
MODULE = "stable_worldmodel.wm.lewm.module"
NORM = {"_target_": "torch.nn.BatchNorm1d", "_partial_": True}
# Every width is another one, so that no two of them can be taken for each other. What is left out has its default.
CONFIG = {
    "_target_": "stable_worldmodel.wm.lewm.LeWM",
    "embed_dim": 8,
    "history_size": HISTORY,
    "encoder": {
        "_target_": "stable_pretraining.backbone.utils.vit_hf",
        "size": "tiny",
        "patch_size": 7,
        "image_size": SIDE,
        "pretrained": False,
        "use_mask_token": False,
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 3,
        "intermediate_size": 20,
    },
    "predictor": {
        "_target_": f"{MODULE}.Predictor",
        "num_frames": HISTORY,
        "input_dim": 8,
        "hidden_dim": 14,
        "depth": 1,
        "heads": 2,
        "dim_head": 9,
        "mlp_dim": 22,
        "dropout": 0.1,
    },
    "action_encoder": {"_target_": f"{MODULE}.Embedder", "input_dim": 10, "emb_dim": 8},
    "projector": {
        "_target_": f"{MODULE}.MLP",
        "input_dim": 12,
        "output_dim": 8,
        "hidden_dim": 18,
        "norm_fn": NORM,
    },
    "pred_proj": {"_target_": f"{MODULE}.MLP", "input_dim": 8, "hidden_dim": 16, "norm_fn": NORM},
}


def images(side: int) -> dt.transforms.Compose:
    """The package's way from a frame to what its encoder takes."""
    scaled = dt.transforms.ToImage(**dt.dataset_stats.ImageNet, source="pixels", target="pixels")
    return dt.transforms.Compose(scaled, dt.transforms.Resize(side, source="pixels", target="pixels"))


def step(module, batch, stage, weight):
    """One step's loss: the error of the next embedding and SIGReg."""
    batch["action"] = torch.nan_to_num(batch["action"], 0.0)
    seen = module.model.encode(batch)
    latents, actions = seen["emb"], seen["act_emb"]
    predicted = module.model.predict(latents[:, :HISTORY], actions[:, :HISTORY])
    error = (predicted - latents[:, 1:]).square().mean()
    return {"loss": error + weight * module.sigreg(latents.transpose(0, 1))}


class Saving(lightning.Callback):
    """Saves the weights after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer, module) -> None:
        name = f"weights_epoch_{trainer.current_epoch + 1}.pt"
        save_pretrained(module.model, "run", OmegaConf.create(CONFIG), filename=name, cache_dir=str(self.folder))


def train(data: Path, folder: Path) -> None:
    """Trains a model; the checkpoints come to lie in folder/checkpoints/run."""
    torch.manual_seed(0)
    dataset = swm.data.HDF5Dataset(
        path=data, frameskip=FRAMESKIP, num_steps=HISTORY + 1, keys_to_load=["pixels", "action"]
    )
    actions = torch.from_numpy(dataset.get_col_data("action"))
    actions = actions[~actions.isnan().any(dim=1)]
    mean, std = actions.mean(dim=0), actions.std(dim=0)
    scale = dt.transforms.WrapTorchTransform(lambda x: ((x - mean) / std).float(), source="action", target="action")
    dataset.transform = dt.transforms.Compose(images(SIDE), scale)
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True)
    optimizer = {"type": "AdamW", "lr": 1e-2, "weight_decay": 1e-3}
    module = spt.Module(
        model=instantiate(CONFIG),
        sigreg=SIGReg(num_proj=64),
        forward=partial(step, weight=0.09),
        optim={"model_opt": {"modules": "model", "optimizer": optimizer}},
    )
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[Saving(folder)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, loader)


@torch.inference_mode()
def reference(folder: Path, frames: np.ndarray) -> dict[str, np.ndarray]:
    """What the package's model computes with the last weights, from `frames` (T, Y, X, 3) and drawn action blocks."""
    model = load_pretrained(f"run/weights_epoch_{EPOCHS}.pt", cache_dir=str(folder)).eval()
    pixels = images(SIDE)({"pixels": torch.from_numpy(frames).permute(0, 3, 1, 2)})["pixels"][None]
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((1, 4, 5, 10)).astype(np.float32)
    history = rng.standard_normal((1, HISTORY - 1, 10)).astype(np.float32)
    embedding = model.encode({"pixels": pixels})["emb"]
    ahead = torch.from_numpy(candidates)
    behind = torch.from_numpy(history)[:, None].expand(-1, ahead.shape[1], -1, -1)

    def imagined(context: int, actions: torch.Tensor) -> np.ndarray:
        info = {"pixels": pixels[:, None, :context].expand(-1, ahead.shape[1], -1, -1, -1, -1)}
        return model.rollout(info, actions)["predicted_emb"][:, :, context:].numpy()

    return {
        "frames": frames,
        "candidates": candidates,
        "history": history,
        "embedding": embedding.numpy(),
        "rollout_1_frame": imagined(1, ahead),
        "rollout_3_frames": imagined(HISTORY, torch.cat([behind, ahead], dim=2)),
    }


def main(data: Path, out: Path) -> None:
    """Fills the folder `out` anew."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        train(data, folder)
        frames = swm.data.HDF5Dataset(path=data, keys_to_load=["pixels"]).get_col_data("pixels")[: HISTORY * 5 : 5]
        values = reference(folder, np.asarray(frames))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder / "checkpoints" / "run", out)
        (out / "weights_epoch_1.pt").unlink()  # the last one is enough
    np.savez_compressed(out / "reference.npz", **values)
    (out / "versions.json").write_text(json.dumps({name: version(name) for name in PACKAGES}, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Folders of released checkpoints as tests change them."""

import json
import shutil

import torch

WEIGHTS = "weights_epoch_2.pt"


def copied(golden, to):
    """A checkpoint that stable-worldmodel's training wrote."""
    return shutil.copytree(golden / "stable_worldmodel" / "transformers4", to / "released")


def tensors(folder):
    """Its tensors."""
    return torch.load(folder / WEIGHTS, weights_only=True)


def change_config(folder, change):
    """Changes its configuration, in place unless `change` returns another; the path of it."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))
    return path


def same(model, other):
    """Whether two models are the same, but for what they know of actions."""
    some, others = model.state_dict(), other.state_dict()
    return all(torch.equal(some[name], others[name]) for name in some if not name.startswith("action_"))

"""The requirements of this folder's tests on the machine; a CPU can check a part of them."""

import importlib
import warnings

import pytest
import torch

from lewm_kernels.dispatch import OPERATORS
from lewm_kernels.rollout import tiles


@pytest.mark.parametrize("operator", [name for name, backends in OPERATORS.items() if "triton" in backends])
def test_kernels_can_be_imported(operator):
    pytest.importorskip("triton")
    importlib.import_module(f"lewm_kernels.{operator}.triton")


@pytest.mark.parametrize("action_dim", [2, 5])
@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_kernels_take_the_models_of_these_tests(make_model, precision, history, action_dim):
    model = make_model({"model.predictor.history": history, "model.action_dim": action_dim})
    assert tiles.unsupported(model.pack(precision)) is None


def first_call_warns(monkeypatch, words):
    """Stands for PyTorch's watch over synchronisations, where there is no CUDA; the modes that it is set to."""
    modes = []

    def set_mode(mode):
        modes.append(mode)
        if len(modes) == 1:
            warnings.warn(words, stacklevel=2)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    return modes


def test_the_notice_of_the_watch_over_synchronisations_is_no_error(nothing_waits, monkeypatch):
    # the words of torch/csrc/cuda/Module.cpp, and what PyTorch adds to a warning of its C++ code
    notice = "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
    modes = first_call_warns(monkeypatch, f"{notice} (Triggered internally at torch/csrc/cuda/Module.cpp:1000.)")
    with nothing_waits():
        assert modes == ["error"]
    assert modes == ["error", "default"]


def test_every_other_warning_is_an_error(nothing_waits, monkeypatch):
    first_call_warns(monkeypatch, "something else")
    with pytest.raises(UserWarning, match="something else"), nothing_waits():
        pass

"""What released checkpoints claim is not believed: prefixes of names, sizes of models, numbers of actions."""

import re

import pytest
import torch

import lewm
from lewm.checkpoints.info import describe
from lewm.checkpoints.released_config import read_released_config
from lewm.checkpoints.released_names import LAYOUTS, PARTS, sources
from lewm.errors import LewmError
from tests.lewm.released_folders import WEIGHTS, change_config, copied, same, tensors


@pytest.fixture
def folder(tmp_path, golden):
    return copied(golden, tmp_path)


@pytest.mark.parametrize("name", ["model.note", "module.model.note"])
def test_a_single_name_that_begins_like_a_wrapper_hides_no_other(folder, name):
    torch.save(dict(tensors(folder)) | {name: torch.zeros(1)}, folder / WEIGHTS)
    found = describe(str(folder))
    assert (found.tensors, found.faults, found.aside) == (69, (f"surplus {name}",), ())
    assert not any(one.startswith("tensor ") for one in found.missing)


@pytest.mark.parametrize("prefix", ["module.model._orig_mod.", "model.", "_orig_mod."])
def test_what_names_begin_with_is_that_of_the_most_that_a_model_has(folder, prefix):
    plain = lewm.load(folder)
    wrapped = {prefix + name: one for name, one in tensors(folder).items()}
    others = {f"optimizer.{number}": torch.zeros(1) for number in range(2 * len(wrapped))}
    torch.save(wrapped | others | {"encoder.note": torch.zeros(1)}, folder / WEIGHTS)
    assert same(lewm.load(folder), plain)
    assert set(describe(str(folder)).aside) == {*others, "encoder.note"}


def test_all_released_names_begin_with_a_part_of_the_model(folder):
    config = read_released_config(folder / "config.json").model
    names = [name for _, layouts in sources(config) for layout in layouts for name in layout]
    assert len(names) > len(LAYOUTS) * 20
    assert all(name.startswith(PARTS) for name in names)
    assert all(any(name.startswith(part) for name in names) for part in PARTS)


def large(content):
    """Sizes of a model of 10^12 numbers."""
    wide = {"hidden_size": 2**14, "num_hidden_layers": 128, "intermediate_size": 2**16, "num_attention_heads": 2}
    content["encoder"].update(wide)
    content["projector"]["input_dim"] = 2**14


@pytest.mark.parametrize("there", [2**30, 2**60])
def test_no_memory_is_taken_for_a_model_that_the_file_does_not_hold(folder, monkeypatch, there):
    """Also on a machine that has it; were the model built, the test would end for lack of memory."""
    change_config(folder, large)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda device: there)
    with pytest.raises(LewmError) as caught:
        lewm.load(folder)
    if there == 2**30:
        assert re.search(r"the model of .*config\.json needs at least .* of memory", caught.value.problem)
        assert caught.value.remedy == "Use a machine with more memory, or give a smaller checkpoint."
    else:
        assert "missing encoder.encoder.layer." in caught.value.problem


@pytest.mark.parametrize("action_dim", [0, -2, True])
def test_a_number_of_actions_that_is_none(folder, action_dim):
    with pytest.raises(LewmError, match="action_dim: expected a whole number above 0, got"):
        lewm.load(folder, action_dim=action_dim)


def test_a_frameskip_that_does_not_divide_the_block_is_a_fault(folder):
    assert "lewm checkpoint import" in (describe(str(folder)).command or "")
    change_config(folder, lambda content: {"model": content, "data": {"dataset": {"frameskip": 3}}})
    found = describe(str(folder))
    assert [fault.partition(": ")[2] for fault in found.faults] == [
        "frameskip 3 does not divide action blocks of 10 numbers"
    ]
    assert (found.frameskip, found.action_dim) == (3, None)
    assert found.facts()["actions"] == "blocks of 10 numbers, frameskip 3"
    assert "to use it" not in found.facts()


def test_a_file_without_all_tensors_is_not_said_to_be_of_use(folder):
    fewer = tensors(folder)
    del fewer["predictor.pos_embedding"]
    torch.save(fewer, folder / WEIGHTS)
    found = describe(str(folder))
    assert found.faults == ()
    assert "to use it" not in found.facts()

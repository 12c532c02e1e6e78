"""Where frames are kept during training: the batches are the same everywhere."""

import h5py
import numpy as np
import pytest
import torch

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.training import frame_cache
from lewm.training.batches import copier
from lewm.training.frame_cache import FramesOnDevice, check_setting, choose_cache
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.clips import Clips
from lewm_data.store.dataset import Dataset
from lewm_data.store.kept_frames import KeptFrames
from lewm_data.store.reader import BatchReader

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


@pytest.fixture(scope="module")
def packed(plain):
    path = plain.with_name("packed.h5")
    with h5py.File(plain) as source, h5py.File(path, "w") as target:
        for name, item in source.items():
            target.create_dataset(name, data=item[:], compression="gzip" if name == "pixels" else None)
        target.attrs.update(source.attrs)
    return path


@pytest.fixture
def memory(monkeypatch):
    """Bytes of memory of each kind of device."""
    found = {"cpu": 1 << 34, "cuda": 1 << 34}
    monkeypatch.setattr(frame_cache, "physical_memory", lambda device: found[device.type])
    monkeypatch.setattr("lewm.memory.physical_memory", lambda device: found[device.type])
    return found


def choice(path, setting="auto", device=CPU, reads=10**9):
    with Dataset.open(path) as dataset:
        return choose_cache(setting, Clips(dataset, 4, 5), device, reads).kind


def frame_bytes(path):
    with Dataset.open(path) as dataset:
        return dataset.num_steps * 16 * 16 * 3


def test_auto_takes_the_device_for_frames_that_fit_and_are_read_again(plain, memory):
    frames = frame_bytes(plain) // (16 * 16 * 3)
    assert choice(plain, device=CUDA) == "device"
    assert choice(plain, device=CUDA, reads=frames) == "off"
    assert choice(plain, device=CUDA, reads=frames + 1) == "device"
    memory["cuda"] = 4 * frame_bytes(plain)
    assert choice(plain, device=CUDA) == "device"
    memory["cuda"] -= 4
    assert choice(plain, device=CUDA) == "off"


def test_auto_takes_memory_for_compressed_frames_that_fit(plain, packed, memory):
    assert (choice(plain), choice(packed)) == ("off", "ram")
    memory["cuda"] = 0
    assert (choice(plain, device=CUDA), choice(packed, device=CUDA)) == ("off", "ram")
    memory["cpu"] = 4 * frame_bytes(packed) - 4
    assert choice(packed) == "off"


def test_what_the_user_wants_is_done_or_refused(plain, memory):
    assert [choice(plain, setting) for setting in ("off", "ram", "device")] == ["off", "ram", "device"]
    memory["cuda"] = memory["cpu"] = frame_bytes(plain) - 1
    assert choice(plain, "off") == "off"
    with pytest.raises(LewmError, match=r"all [\d,]+ frames needs at least .* cpu has .*\nUse --cache off"):
        choice(plain, "ram", CUDA)
    with pytest.raises(LewmError, match=r"cuda has .*\nUse --cache off"):
        choice(plain, "device", CUDA)


def test_a_setting_that_is_none():
    with pytest.raises(LewmError, match='unknown --cache "gpu"\nKnown: auto, device, off, ram'):
        check_setting("gpu")
    assert check_setting("ram") == "ram"


def test_batches_on_the_device_are_those_of_the_reader(plain):
    with Dataset.open(plain) as dataset:
        clips = Clips(dataset, 4, 5, np.array([1, 4, 5, 9]))
        shares = []
        held = FramesOnDevice(clips, CPU, 8, 3, 2, shares.append)
        with BatchReader(clips, 8, 3, copier(CPU), start_step=2) as reader:
            for _ in range(2 * len(clips) // 8):
                one, other = next(held), next(reader)
                assert torch.equal(one.frames, other.frames)
                assert torch.equal(one.actions, other.actions)
    assert shares[-1] == 1


def test_frames_that_were_changed_are_not_put_on_the_device(plain, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(plain.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["pixels"][0] ^= 1
    with Dataset.open(copy) as dataset, pytest.raises(DataError, match="step 0 of episode 0 is not the one"):
        FramesOnDevice(Clips(dataset, 4, 5), CPU, 8, 0, 0)


def test_training_is_the_same_wherever_frames_are_kept(tiny, plain, packed, tmp_path, monkeypatch):
    begun, kept = {}, []
    monkeypatch.setattr(KeptFrames, "read", lambda *arguments, read=KeptFrames.read: kept.append(1) or read(*arguments))
    for name, path, setting in (("off", plain, "off"), ("ram", packed, "auto"), ("device", plain, "device")):
        kept.clear()
        train(
            tiny, path, tmp_path / name, CPU, cache=setting, on_begin=lambda one, name=name: begun.update({name: one})
        )
        assert bool(kept) == (name == "ram")
        assert begun[name].cache.kind == name
    off, ram, device = ((tmp_path / name / run.TRAINING).read_bytes() for name in ("off", "ram", "device"))
    assert off == ram == device

import copy

import numpy as np
import pytest
import torch

from lewm import memory
from lewm.episode_latents import encode_episodes
from lewm.errors import LewmError
from lewm.heads import prepared
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 4, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=2)
    return path


def test_every_step_has_its_latent_and_its_action(model, dataset):
    with Dataset.open(dataset) as data:
        episodes, shares = np.array([3, 1]), []
        found = encode_episodes(model, data, episodes, shares.append)
        assert found.lengths.tolist() == data.lengths[episodes].tolist()
        assert found.starts.tolist() == [0, data.lengths[3]]
        assert shares[-1] == 1
        for start, episode in zip(found.starts, episodes, strict=True):
            rows = data.rows(np.array([episode]))
            of_episode = slice(start, start + len(rows))
            expected = model.embed(torch.from_numpy(data.frames(rows)))
            assert torch.equal(found.latents[of_episode], expected)
            actions = np.nan_to_num(data.column("action", np.array([episode])))
            assert np.array_equal(found.actions[of_episode].numpy(), actions)


def test_latents_that_memory_cannot_hold_are_refused(model, dataset, monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda device: 100)
    with Dataset.open(dataset) as data, pytest.raises(LewmError, match="latents needs at least"):
        encode_episodes(model, data, np.array([0]))


def test_the_latents_of_the_last_encoder_are_kept_and_no_others(model, dataset, monkeypatch):
    calls = []

    def encoding(model, data, episodes, on_share):
        calls.append(episodes.tolist())
        return encode_episodes(model, data, episodes, on_share)

    monkeypatch.setattr(prepared, "encode_episodes", encoding)
    encode, other = prepared.LastEncoded(), copy.deepcopy(model)
    with torch.no_grad():
        next(other.encoder.parameters()).add_(0.1)
        same = copy.deepcopy(model)
        next(same.predictor.parameters()).add_(0.1)
    with Dataset.open(dataset) as data:

        def latents(of, episodes):
            return encode(of, data, np.array(episodes), lambda share: None).latents

        first = latents(model, [0, 1])
        assert latents(same, [0, 1]) is first, "the predictor does not matter"
        assert not torch.equal(latents(model, [2]), first)
        assert latents(model, [0, 1]) is first
        assert calls == [[0, 1], [2]]
        assert not torch.equal(latents(other, [0, 1]), first)
        assert torch.equal(latents(model, [0, 1]), first)
        assert calls[2:] == [[0, 1], [0, 1]], "the latents of an encoder before the last one are not kept"

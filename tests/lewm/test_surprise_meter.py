"""Surprise of frames, against its definition."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm.planning.dynamics import PackedDynamics
from lewm.surprise import meter as meters
from lewm.surprise.meter import ActionSearch, Meter, blocks_leading_to

FRAMES = 41


@pytest.fixture
def latents(model):
    return torch.randn(FRAMES, model.config.latent, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def actions(model):
    return torch.randn(FRAMES - 1, model.config.action_dim, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def bank(model):
    return torch.randn(200, model.config.action_block, generator=torch.Generator().manual_seed(3))


def test_blocks_are_the_actions_before_each_frame(model, actions):
    model.action_mean.fill_(0.5)
    model.action_std.fill_(2)
    blocks = blocks_leading_to(model, actions)
    assert blocks.shape == (FRAMES, model.config.action_block)
    assert (blocks[:5] == 0).all()
    torch.testing.assert_close(blocks[5], (actions[:5].flatten() - 0.5) / 2)
    torch.testing.assert_close(blocks[-1], (actions[-5:].flatten() - 0.5) / 2)
    assert (blocks_leading_to(model, actions[:3]) == 0).all()
    assert len(blocks_leading_to(model, actions[:3])) == 4


def test_the_score_is_the_squared_error_of_the_predicted_embedding(model, latents, actions):
    blocks = blocks_leading_to(model, actions)
    scores = Meter(model, 5, blocks).push(latents)
    warm_up = 5 * model.history
    assert scores[:warm_up].isnan().all()
    for t in (warm_up, warm_up + 3, FRAMES - 1):
        at = [t - 5 * i for i in range(model.history, 0, -1)]
        with torch.inference_mode():
            predicted = model.predict(latents[None, at], blocks[None, [s + 5 for s in at]])[0, -1]
        torch.testing.assert_close(scores[t], (predicted - latents[t]).square().mean())


def test_a_perfect_predictor_is_never_surprised(model, latents, actions):
    blocks, F, L = blocks_leading_to(model, actions), 5, model.history
    world = latents.clone()
    with torch.inference_mode():
        for t in range(F * L, FRAMES):
            at = [t - F * i for i in range(L, 0, -1)]
            world[t] = model.predict(world[None, at], blocks[None, [s + F for s in at]])[0, -1]
    assert Meter(model, F, blocks).push(world)[F * L :].max() < 1e-10
    if L == 1:  # with more context, actions before its first frame are guesses
        exact = ActionSearch(blocks[F:], seed=0)  # the action that was taken is among those tried
        assert Meter(model, F, exact).push(world)[F:].max() < 1e-10


@pytest.mark.parametrize("search", [False, True])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, FRAMES), max_size=6))
def test_frames_in_pieces_score_as_the_whole_video(model, latents, actions, bank, search, cuts):
    known = ActionSearch(bank, seed=4) if search else blocks_leading_to(model, actions)
    whole = Meter(model, 5, known).push(latents)
    meter = Meter(model, 5, known)
    edges = [0, *sorted(cuts), FRAMES]
    pieces = [meter.push(latents[a:b]) for a, b in itertools.pairwise(edges)]
    torch.testing.assert_close(torch.cat(pieces), whole, equal_nan=True, rtol=1e-4, atol=1e-6)


def test_the_search_finds_less_surprise_than_any_block_it_starts_from_and_stays_in_their_range(model, latents, bank):
    search = ActionSearch(bank, seed=0)
    context, target = latents[:8, None], latents[8:16]
    errors, blocks = search(PackedDynamics(model), 5, context, None, target, torch.arange(8))
    with torch.inference_mode():
        first = bank[: meters.CANDIDATES].expand(8, -1, -1)
        reached = model.rollout(context, first[:, :, None])[:, :, 0]
        tried = (reached - target[:, None]).square().mean(dim=-1).amin(dim=1)
        again = model.rollout(context, blocks[:, None, None])[:, 0, 0]
    assert (errors <= tried + 1e-7).all()
    assert (errors < tried - 1e-5).any()
    torch.testing.assert_close(errors, (again - target).square().mean(dim=-1))
    assert (blocks >= bank.amin(dim=0)).all()
    assert (blocks <= bank.amax(dim=0)).all()


def test_what_is_found_depends_on_the_frame_and_the_seed_not_on_the_others(model, latents, bank, monkeypatch):
    arguments = PackedDynamics(model), 5, latents[:8, None], None, latents[8:16], torch.arange(8)
    together, _ = ActionSearch(bank, seed=0)(*arguments)
    monkeypatch.setattr(PackedDynamics, "rows", lambda self, horizon: 3 * meters.CANDIDATES)
    few, _ = ActionSearch(bank, seed=0)(*arguments)
    torch.testing.assert_close(few, together)
    other, _ = ActionSearch(bank, seed=1)(*arguments)
    assert not torch.allclose(other, together)


def one_hot_blocks(count, seed):
    """Five steps of one of two choices, normalised."""
    chosen = torch.randint(2, (count, 5), generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.one_hot(chosen, 2).flatten(1) - 0.5) / 0.5


def test_where_actions_are_choices_none_between_them_explains_a_frame(model, latents):
    every = one_hot_blocks(1000, seed=0).unique(dim=0)
    assert len(every) == 32
    executed = torch.cat([every[::3], every[-1:]])  # other blocks have to be made of parts of these
    context = latents[:30, None]
    with torch.inference_mode():
        target = model.rollout(context, every.expand(30, -1, -1)[:, :, None])[torch.arange(30), torch.arange(30), 0]
    search = ActionSearch(executed, seed=0)
    errors, blocks = search(PackedDynamics(model), 5, context, None, target, torch.arange(30))
    equal = (blocks[:, None] == every).all(dim=2)
    assert equal.any(dim=1).all()
    assert (errors[equal.int().argmax(dim=1) == torch.arange(30)] < 1e-10).all()
    executed_too = (blocks[:, None] == executed).all(dim=2).any(dim=1)
    assert not executed_too.all()
    assert not ActionSearch(torch.randn(200, model.config.action_block), seed=0).are_choices


def test_a_search_packs_the_predictor_once(model, latents, bank, monkeypatch):
    packed = []
    pack = type(model).pack
    monkeypatch.setattr(type(model), "pack", lambda self, *precision: packed.append(self) or pack(self, *precision))
    Meter(model, 5, ActionSearch(bank, seed=0)).push(latents)
    assert packed == [model]


def test_the_context_of_later_frames_uses_the_actions_that_were_found(model, latents, actions):
    if model.history == 1:
        return
    blocks = blocks_leading_to(model, actions)
    found = Meter(model, 5, ActionSearch(blocks[5:6].repeat(2, 1), seed=0)).push(latents)  # only one action is possible
    same = torch.cat([torch.zeros(5, blocks.shape[1]), blocks[5:6].expand(FRAMES - 5, -1)])
    torch.testing.assert_close(found, Meter(model, 5, same).push(latents), equal_nan=True, rtol=1e-4, atol=1e-6)


def test_a_step_of_another_length_uses_frames_that_far_apart(model, latents):
    one = Meter(model, 1, torch.zeros(FRAMES, model.config.action_block)).push(latents)
    assert one[: model.history].isnan().all()
    assert np.isfinite(one[model.history :].numpy()).all()
    every_fifth = Meter(model, 5, torch.zeros(FRAMES, model.config.action_block)).push(latents)
    alone = Meter(model, 1, torch.zeros(9, model.config.action_block)).push(latents[::5])
    torch.testing.assert_close(every_fifth[::5], alone, equal_nan=True, rtol=1e-4, atol=1e-6)

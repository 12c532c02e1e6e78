"""What the kinds of policies learn: goals, rewards and losses by hand, and a corridor whose distances are known."""

import math

import numpy as np
import pytest
import torch

from lewm.config import POLICY_KINDS
from lewm.episode_latents import EpisodeLatents
from lewm.heads.policies import POLICIES
from lewm.heads.policies.gcbc import GcbcSettings, train_gcbc
from lewm.heads.policies.gcivl import GcivlSettings, _Goals, train_gcivl
from lewm.heads.policies.transitions import Transitions, later_goals, near_goals, transitions_of
from lewm.heads.policies.value import Value, actor_weights, block_rewards, expectile_loss, value_loss
from lewm.planning.policy import NAMES, PATCH_WIDTH, Policy, load_policy, save_policy

LONG = 8  # cells of the corridor
EPISODE = 16  # steps


def test_every_kind_can_be_learnt_and_named():
    assert tuple(POLICIES) == POLICY_KINDS == tuple(NAMES)


def test_transitions_are_all_whole_blocks_of_each_episode(model):
    lengths = np.array([7, 3, 6])  # a block has 5 steps, so it needs 6 frames
    starts = np.array([0, 7, 10])
    actions = torch.arange(32.0).reshape(16, 2)
    transitions = transitions_of(model, EpisodeLatents(torch.zeros(16, 8), actions, lengths, starts))
    assert transitions.starts.tolist() == [0, 1, 10]
    assert transitions.lasts.tolist() == [6, 6, 15]
    rows = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [10, 11, 12, 13, 14]])
    assert torch.equal(transitions.blocks, actions[rows].flatten(1))


def test_later_goals_are_every_later_frame():
    starts, lasts = torch.full((8,), 3), torch.full((8,), 7)
    shares = torch.arange(8) / 8
    assert later_goals(starts, lasts, shares).tolist() == [4, 4, 5, 5, 6, 6, 7, 7]
    steps = torch.arange(1, 5000)
    assert torch.equal(later_goals(0 * steps, steps, torch.full((4999,), 1 - 2**-24)), steps)


def test_near_goals_are_geometric_and_end_with_the_episode():
    shares = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 0.999])
    starts = torch.full((6,), 3)
    assert near_goals(starts, torch.full((6,), 90), shares, 0.5).tolist() == [4, 4, 5, 5, 6, 13]
    assert near_goals(starts, torch.full((6,), 5), shares, 0.5).tolist() == [4, 4, 5, 5, 5, 5]


def test_goals_of_value_and_actor_have_the_shares_of_the_settings():
    transitions = corridor(0, 400)
    chosen = torch.arange(len(transitions.starts))
    starts, lasts = transitions.starts, transitions.lasts
    goals = _Goals(transitions, GcivlSettings(value_random=0.0, value_present=0.2)).value(chosen)
    assert (goals == starts).double().mean().item() == pytest.approx(0.2, abs=0.02)
    assert ((goals >= starts) & (goals <= lasts)).all()
    elsewhere = _Goals(transitions, GcivlSettings(value_present=0.0)).value(chosen)
    assert ((elsewhere < starts) | (elsewhere > lasts)).double().mean().item() == pytest.approx(0.3, abs=0.02)
    goals = _Goals(transitions, GcivlSettings(actor_random=0.0)).actor(chosen)
    assert ((goals > starts) & (goals <= lasts)).all()
    elsewhere = _Goals(transitions, GcivlSettings()).actor(chosen)
    assert ((elsewhere < starts) | (elsewhere > lasts)).double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_block_costs_what_of_it_is_on_the_way():
    starts = torch.full((6,), 10)
    rewards, goes_on = block_rewards(starts, torch.tensor([10, 11, 15, 16, 9, 90]), 5)
    torch.testing.assert_close(rewards, torch.tensor([0, -0.2, -1, -1, -1, -1]))
    assert goes_on.tolist() == [False, False, False, True, True, True]


def test_what_is_worse_than_expected_counts_less():
    loss = expectile_loss(torch.tensor([2.0, -1.0]), torch.tensor([3.0, 4.0]), 0.9)
    assert loss.item() == pytest.approx((0.9 * 9 + 0.1 * 16) / 2)


def test_the_value_s_loss_by_hand():
    values = torch.tensor([[-2.0, -3.0], [-1.0, -3.5]])
    here = torch.tensor([[-2.0, -4.0], [-3.0, -5.0]])
    ahead = torch.tensor([[-1.0, -9.0], [-2.0, -7.0]])
    rewards, goes_on = torch.tensor([-1.0, -0.4]), torch.tensor([True, False])
    loss = value_loss(values, here, ahead, rewards, goes_on, 0.5, 0.9)
    # The first: advantage -1 + 0.5 * -2 - -2.5 = 0.5, errors -1.5 - -2 and -2 - -1. The second ends: 4.1, 2.6 and 3.1.
    by_hand = 0.9 * (0.5**2 + 2.6**2) / 2 + 0.9 * (1.0**2 + 3.1**2) / 2
    assert loss.item() == pytest.approx(by_hand)
    worse = value_loss(values, here + 2, ahead, rewards, goes_on, 0.5, 0.9)  # the first falls short: -1.5
    assert worse.item() == pytest.approx(by_hand - 0.8 * (0.5**2 + 1.0**2) / 2)


def test_weights_of_the_actor_rise_with_the_value_and_are_bounded():
    here, ahead = torch.tensor([[-2.0, -9.0, 0.0], [-4.0, -9.0, 0.0]]), torch.tensor([[-2.0, 0.0, -1.0]] * 2)
    weights = actor_weights(here, ahead, 3.0, 100.0)
    torch.testing.assert_close(weights, torch.tensor([math.exp(3), 100.0, math.exp(-3)]))


def corridor(seed, episodes):
    """Random walks in a corridor: each step goes one cell to a side, or stays at the wall."""
    rng = np.random.default_rng(seed)
    actions = rng.choice([-1, 1], (episodes, EPISODE))
    cells = [rng.integers(LONG, size=episodes)]
    for step in range(EPISODE):
        cells.append(np.clip(cells[-1] + actions[:, step], 0, LONG - 1))
    first = np.arange(episodes)[:, None] * (EPISODE + 1)
    starts = torch.from_numpy((first + np.arange(EPISODE)).reshape(-1))
    lasts = torch.from_numpy(np.repeat(first + EPISODE, EPISODE, axis=1).reshape(-1))
    blocks = torch.from_numpy(actions.reshape(-1, 1).astype(np.float32))
    return Transitions(latents_of(np.stack(cells, axis=1).reshape(-1)), starts, lasts, blocks, 1)


def latents_of(cells):
    """A bump at the cell's place: neighbours are alike, and cells far away are equally unlike."""
    apart = torch.as_tensor(cells)[:, None] - torch.arange(LONG)
    return torch.exp(-apart.square() / 2).float()


def pairs():
    """All cells with all goals."""
    return [cells.reshape(-1) for cells in np.meshgrid(np.arange(LONG), np.arange(LONG))]


QUICK = {"steps": 250, "batch": 64, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def learnt():
    return train_gcivl(corridor(0, 300), GcivlSettings(**QUICK, discount=0.9, average=0.95, value_width=32))


def test_the_value_orders_states_by_their_distance(learnt):
    cells, goals = pairs()
    values = learnt[1](latents_of(cells), latents_of(goals)).mean(dim=0).detach().numpy().reshape(LONG, LONG)
    apart = np.abs(cells - goals).reshape(LONG, LONG)
    for of_goal, steps in zip(values, apart, strict=True):
        means = [of_goal[steps == number].mean() for number in range(steps.max() + 1)]
        assert (np.diff(means[:6]) < 0).all(), means  # farther goals, at 0.9 a step, hardly differ
    near = values[apart == 1].mean()
    assert abs(values[apart == 0].mean()) < 0.3
    assert near == pytest.approx(-1, abs=0.4)


def test_a_policy_goes_towards_the_goal_and_the_value_makes_it_bolder(learnt):
    cells, goals = (torch.from_numpy(some) for some in pairs())
    there = cells != goals
    towards = torch.sign(goals - cells)[there].float()
    cloned = train_gcbc(corridor(0, 300), GcbcSettings(**QUICK))
    bold, plain = (policy(latents_of(cells), latents_of(goals), None)[there, 0] for policy in (learnt[0], cloned))
    assert (torch.sign(bold) == towards).float().mean() > 0.95
    assert (torch.sign(plain) == towards).float().mean() > 0.85
    assert (bold * towards).mean() > (plain * towards).mean() + 0.1


def test_a_policy_that_is_not_told_the_steps_needs_none():
    torch.manual_seed(0)
    policy = Policy("gcbc", 8, 10, None).eval()
    latents, goals = torch.randn(2, 5, 8)
    assert torch.equal(policy(latents, goals, None), policy(latents, goals, torch.tensor([1, 2, 3, 4, 5])))


@pytest.mark.parametrize("longest", [None, 20])
def test_a_policy_on_patches_looks_at_all_of_them_and_chooses_the_same_in_any_batch(tmp_path, longest):
    torch.manual_seed(0)
    policy = Policy("gcbc" if longest is None else "idm", 6 * 24, 10, longest, 6).eval()
    assert policy.layers[0].in_features == 2 * 6 * PATCH_WIDTH
    latents, goals, steps = torch.randn(200, 144), torch.randn(200, 144), torch.randint(1, 21, (200,))
    together = policy(latents, goals, steps)
    for some in (slice(0, 1), slice(3, 70), slice(150, 200)):
        assert torch.equal(policy(latents[some], goals[some], steps[some]), together[some])
    for patch in range(6):
        other = latents.clone()
        other[:, patch::6] += 1
        assert not torch.allclose(policy(other, goals, steps), together)
        apart = (policy.latents(other) - policy.latents(latents)).unflatten(1, (6, PATCH_WIDTH)).abs().sum(dim=(0, 2))
        assert torch.nonzero(apart > 1).flatten().tolist() == [patch]
        assert not torch.allclose(policy(goals, other, steps), policy(goals, latents, steps))
    save_policy(tmp_path / "policy.safetensors", policy)
    loaded, _ = load_policy(tmp_path / "policy.safetensors", torch.device("cpu"))
    assert torch.equal(loaded(latents, goals, steps), together)


def test_a_value_on_patches_looks_at_all_of_them():
    torch.manual_seed(0)
    value = Value(6 * 24, 8, 6)
    states, goals = torch.randn(2, 50, 144)
    for patch in range(6):
        other = states.clone()
        other[:, patch::6] += 1
        for network in value.networks:
            apart = network.latents(other) - network.latents(states)
            of_patches = apart.unflatten(1, (6, PATCH_WIDTH)).abs().sum(dim=(0, 2))
            assert torch.nonzero(of_patches > 1).flatten().tolist() == [patch]
            assert not torch.allclose(network(other, goals), network(states, goals))
            assert not torch.allclose(network(goals, other), network(goals, states))


def test_policies_and_values_learn_on_patches():
    """Either half of the corridor is in a patch of its own, so that both patches are needed."""
    left = torch.arange(LONG) < LONG // 2

    def patched(latents):
        return torch.stack([latents * left, latents * ~left], dim=2).flatten(1)

    flat = corridor(0, 300)
    both = Transitions(patched(flat.latents), flat.starts, flat.lasts, flat.blocks, 1)
    quick = QUICK | {"steps": 150}
    cloned = train_gcbc(both, GcbcSettings(**quick), 2)
    bold, value = train_gcivl(both, GcivlSettings(**quick, discount=0.9, average=0.95, value_width=32), 2)
    cells, goals = (torch.from_numpy(some) for some in pairs())
    states, ends, apart = patched(latents_of(cells)), patched(latents_of(goals)), (cells - goals).abs()
    for policy in (cloned, bold):
        towards = policy(states, ends, None)[:, 0] * (goals - cells) > 0
        assert towards[apart > 0].float().mean() > 0.75
    values = value(states, ends).mean(dim=0)
    for half in (goals < LONG // 2, goals >= LONG // 2):
        means = [values[half & (apart == steps)].mean().item() for steps in range(4)]
        assert (np.diff(means) < 0).all(), means

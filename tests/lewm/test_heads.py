"""What is learnt on frozen latents: its examples are what episodes did, and it learns what they show."""

import json

import numpy as np
import pytest
import torch

from lewm.checkpoints.run import save_tensors
from lewm.config import resolve
from lewm.episode_latents import EpisodeLatents
from lewm.errors import LewmError
from lewm.heads.moves import Moves, draw_moves
from lewm.heads.pairs import Pairs, draw_pairs
from lewm.heads.policies.idm import IdmSettings, train_idm
from lewm.heads.policies.measuring import measure
from lewm.heads.prepared import _some
from lewm.heads.temporal import HeadSettings, measure_head, train_head
from lewm.heads.windows import draw_starts
from lewm.planning.controller import Controller
from lewm.planning.plan import Context
from lewm.planning.policy import Policy, load_policy, save_policy
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer

CPU = torch.device("cpu")
LENGTHS = np.array([30, 41, 12, 41])
STARTS = np.cumsum(LENGTHS) - LENGTHS
EPISODE, STEP = np.repeat(np.arange(4), LENGTHS), np.concatenate([np.arange(length) for length in LENGTHS])


@pytest.fixture(scope="module")
def model(make_model):
    return make_model({})


@pytest.fixture(scope="module")
def episodes(model):
    """Latents whose first numbers are the episode and the step, and actions that are the row."""
    rows = np.stack([EPISODE, STEP], axis=1)
    noise = torch.randn(len(rows), model.config.latent - 2, generator=torch.Generator().manual_seed(0))
    actions = torch.arange(len(rows))[:, None] + torch.zeros(model.config.action_dim)
    return EpisodeLatents(torch.cat([torch.from_numpy(rows).float(), noise], dim=1), actions, LENGTHS, STARTS)


def test_windows_stay_within_their_episodes_and_cover_them(episodes):
    reach = np.repeat([0, 11, 29, 40], 500)
    starts = draw_starts(episodes, reach, np.random.default_rng(0))
    assert (EPISODE[starts] == EPISODE[starts + reach]).all()
    assert set(starts[reach == 40].tolist()) == {STARTS[1], STARTS[3]}
    share = np.bincount(EPISODE[starts[reach == 11]], minlength=4) / 500
    np.testing.assert_allclose(share, 0.25, atol=0.08)  # episodes are drawn, not rows


def test_real_pairs_are_moments_of_one_episode_with_their_steps(model, episodes):
    pairs = draw_pairs(model, episodes, 4000, 40, 0.0, 5, np.random.default_rng(0))
    assert not pairs.imagined.any()
    assert torch.equal(pairs.earlier[:, 0], pairs.later[:, 0])
    assert torch.equal(pairs.later[:, 1] - pairs.earlier[:, 1], pairs.steps)
    counts = torch.bincount(pairs.steps.long())
    assert len(counts) == 41
    assert counts.min() > 50  # uniform, though most windows of the episodes are short


def test_imagined_latents_are_predicted_for_the_moment_the_steps_count_from(model, episodes):
    pairs = draw_pairs(model, episodes, 100, 20, 1.0, 2, np.random.default_rng(0))
    assert pairs.imagined.all()
    skip, ways = model.config.frameskip, {}
    for row, (episode, step) in enumerate(zip(EPISODE, STEP, strict=True)):
        blocks = min(2, (LENGTHS[episode] - 1 - step) // skip)
        if blocks == 0:
            continue
        executed = episodes.actions[row : row + blocks * skip].reshape(1, 1, blocks, model.config.action_block)
        with torch.inference_mode():
            predicted = model.rollout(episodes.latents[row][None, None], model.normalize_actions(executed))[0, 0]
        for block in range(blocks):
            ways.setdefault((episode, step + (block + 1) * skip), []).append(predicted[block])
    for earlier, later, steps in zip(pairs.earlier, pairs.later, pairs.steps, strict=True):
        found = ways[int(later[0]), int(later[1] - steps)]
        assert any(torch.allclose(earlier, one, atol=1e-3) for one in found)


def test_pairs_are_real_where_no_episode_is_long_enough_to_imagine(model, episodes):
    pairs = draw_pairs(model, episodes, 2000, 40, 1.0, 5, np.random.default_rng(0))
    assert torch.equal(pairs.imagined, pairs.steps <= 40 - model.config.frameskip)


def test_moves_have_the_block_that_was_executed(model, episodes):
    moves = draw_moves(model, episodes, 2000, 40, np.random.default_rng(0))
    starts, goals = ends_of(moves)
    assert torch.equal(starts[:, 0], goals[:, 0])
    assert torch.equal((goals - starts)[:, 1], moves.steps.float())
    assert set(moves.steps.tolist()) == set(range(1, 41))
    near = (moves.steps <= 10).float().mean()
    assert abs(near - 0.5) < 0.05  # the square root of a quarter of the longest
    rows = torch.from_numpy(STARTS)[starts[:, 0].long()] + starts[:, 1].long()
    skip = model.config.frameskip
    executed = torch.stack([episodes.actions[row : row + skip].flatten() for row in rows.tolist()])
    assert torch.equal(moves.blocks, model.normalize_actions(executed))


def walks(seed, episodes=40, length=50, width=8):
    """Pairs of moments of walks with constant speed, in random directions of a plane."""
    rng = np.random.default_rng(seed)
    angles, steps = rng.uniform(0, 2 * np.pi, episodes * 50), rng.integers(length, size=episodes * 50)
    earlier = rng.normal(size=(len(steps), width))
    later = earlier.copy()
    later[:, :2] += steps[:, None] / 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    later[:, 2:] = rng.normal(size=(len(steps), width - 2))  # distance there says nothing
    earlier, later, steps = (torch.from_numpy(one).float() for one in (earlier, later, steps))
    return Pairs(earlier, later, steps, torch.from_numpy(rng.random(len(steps)) < 0.5))


def test_a_head_learns_the_steps_and_the_same_again():
    pairs, shares = walks(0), []
    head = train_head(pairs, HeadSettings(steps=300, batch=128, learning_rate=3e-3), shares.append)
    assert shares[-1] == 1
    errors, real, imagined = measure_head(head, walks(1), 49)
    assert min(real.head, imagined.head) > 0.85 > max(real.distance, imagined.distance) + 0.1
    assert [(one.least, one.most) for one in errors] == [(1, 12), (13, 24), (25, 36), (37, 49)]
    assert max(max(one.real, one.imagined) for one in errors) < 8
    one, again = (train_head(pairs, HeadSettings(steps=10, batch=128)) for _ in range(2))
    assert all(torch.equal(*both) for both in zip(one.parameters(), again.parameters(), strict=True))


def test_a_range_without_pairs_has_no_error(model, episodes):
    pairs = draw_pairs(model, episodes, 100, 10, 0.0, 5, np.random.default_rng(0))
    errors, real, imagined = measure_head(train_head(pairs, HeadSettings(steps=1)), pairs, 40)
    assert real is not None
    assert imagined is None
    assert [one.imagined for one in errors] == [None] * 4
    assert errors[-1].real is None


def test_episodes_that_are_shorter_than_a_block_are_left_out_if_there_are_others(tmp_path):
    with Writer.create(tmp_path / "data.h5", {"env": "arm"}) as writer:
        for rows in (3, 40, 5):
            pixels, action = np.zeros((rows, 16, 16, 3), np.uint8), np.zeros((rows, 2), np.float32)
            writer.write_episode({"pixels": pixels, "action": action})
    with Dataset.open(tmp_path / "data.h5") as dataset:
        for seed in range(9):
            assert _some(dataset, np.arange(3), 5, 20, seed).tolist() == [1]
            assert _some(dataset, np.arange(3), 5, None, seed).tolist() == [1]
            assert set(_some(dataset, np.array([0, 2]), 5, 20, seed).tolist()) == {0, 2}


def test_there_are_fewer_ranges_where_there_are_fewer_steps(model, episodes):
    pairs = draw_pairs(model, episodes, 100, 3, 0.0, 5, np.random.default_rng(0))
    head = train_head(pairs, HeadSettings(steps=1))
    for longest, ranges in ((1, [(1, 1)]), (2, [(1, 1), (2, 2)]), (5, [(1, 1), (2, 2), (3, 3), (4, 5)])):
        assert [(one.least, one.most) for one in measure_head(head, pairs, longest)[0]] == ranges


def test_training_ends_with_a_learning_rate_of_zero(monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            rates.extend(group["lr"] for group in self.param_groups)
            assert all(group["weight_decay"] == 0.5 for group in self.param_groups)
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    train_head(walks(0), HeadSettings(steps=9, batch=8, learning_rate=0.01, weight_decay=0.5))
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.01
    assert rates[-1] < 0.0005


def moves_of(model, seed):
    """Moves whose actions lead straight to the goal; the fewer the steps, the stronger."""
    generator = torch.Generator().manual_seed(seed)
    latents, goals = torch.randn(2, 1500, 8, generator=generator)
    steps = torch.randint(1, 21, (1500,), generator=generator)
    way = (goals - latents)[:, :2] / steps[:, None].float().sqrt()
    starts = torch.arange(1500)
    return Moves(
        torch.cat([latents, goals]), starts, starts + 1500, steps, way.repeat(1, model.config.action_block // 2)
    )


def ends_of(moves):
    """The latents of the moments and of their goals."""
    return moves.latents[moves.starts], moves.latents[moves.goals]


@pytest.fixture(scope="module")
def policy(model):
    settings = IdmSettings(steps=200, batch=128, learning_rate=1e-3)
    return train_idm(moves_of(model, 0), 20, settings)


def test_a_policy_learns_where_to_go_and_how_fast(model, policy):
    held_out = moves_of(model, 1)
    assert measure(policy, held_out)[0] < 0.25 * held_out.blocks.square().mean()
    ends = ends_of(held_out)
    slow, fast = (policy(*ends, torch.full((1500,), steps)) for steps in (20, 2))
    assert fast.norm() > 1.5 * slow.norm()
    assert torch.equal(slow, policy(*ends, torch.full((1500,), 90)))  # 20 is the most


def test_a_policy_chooses_the_same_alone_and_in_any_batch(model, policy):
    moves = moves_of(model, 2)
    starts, goals = ends_of(moves)
    together = policy(starts, goals, moves.steps)
    for some in (slice(0, 1), slice(3, 70), slice(1400, 1500)):
        assert torch.equal(policy(starts[some], goals[some], moves.steps[some]), together[some])


def test_a_policy_decides_at_each_imagined_latent_and_with_the_steps_that_are_left(model, tiny, policy):
    planning = resolve(tiny, None, {"planning.agent": "idm", "planning.horizon": 3, "planning.execute": 2}).planning
    controller = Controller(model, planning, 0, policy=policy)
    moves, skip, shares = moves_of(model, 3), model.config.frameskip, []
    start, goals = (latents[:5] for latents in ends_of(moves))
    with torch.inference_mode():
        first = policy(start, goals, torch.full((5,), 3 * skip))
        reached = controller.imagine(Context(start[:, None]), first[:, None])[:, 0]
        second = policy(reached, goals, torch.full((5,), 2 * skip))
    plan = controller.plan(Context(start[:, None]), goals, np.arange(5), 0, on_iteration=shares.append)
    torch.testing.assert_close(plan.actions, torch.stack([first, second], dim=1))
    assert not torch.allclose(second, policy(reached, goals, torch.full((5,), 3 * skip)))
    assert shares == [1.0]


def test_a_file_has_the_whole_policy(tmp_path, model, policy):
    path, moves = tmp_path / "policy.safetensors", moves_of(model, 2)
    save_policy(path, policy, "digest")
    loaded, checkpoint = load_policy(path, CPU)
    assert checkpoint == "digest"
    given = *ends_of(moves), moves.steps
    assert torch.equal(loaded(*given), policy(*given))
    assert not loaded.training


@pytest.mark.parametrize(
    "changes",
    [
        *({"longest": 10**12}, {"longest": 20.0}, {"longest": True}, {"longest": None}, {"latent": 9}),
        *({"action_block": "two"}, {"patches": 0}, {"patches": 2}, {"patches": 3}, {"kind": "none"}, {"kind": ["idm"]}),
    ],
)
def test_a_file_that_states_other_sizes_is_no_policy(tmp_path, changes):
    path = tmp_path / "policy.safetensors"
    about = {"kind": "idm", "latent": 8, "action_block": 10, "longest": 20, "patches": 1, "checkpoint_sha256": None}
    save_tensors(path, Policy("idm", 8, 10, 20).state_dict(), {"policy": json.dumps(about | changes)})
    with pytest.raises(LewmError, match="not a policy, or of another version"):
        load_policy(path, CPU)

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_data.errors import DataError
from lewm_data.store.clips import Clips, action_statistics, split_episodes
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer


def dataset_of(path, lengths):
    """Frame and action say which episode and step they are of."""
    with Writer.create(path) as writer:
        for number, rows in enumerate(lengths):
            pixels = np.zeros((rows, 2, 2, 3), np.uint8)
            pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = number, np.arange(rows)
            action = np.stack([np.full(rows, number), np.arange(rows)], axis=1).astype(np.float32)
            action[-1] = np.nan
            writer.write_episode({"pixels": pixels, "action": action})
    return Dataset.open(path)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    num_frames=st.integers(1, 4),
    frameskip=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clips_are_all_that_fit_and_never_cross_an_episode(tmp_path_factory, lengths, num_frames, frameskip, data):
    chosen = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, unique=True), label="episodes")
    expected = [
        (episode, start)
        for episode in chosen
        for start in range(lengths[episode])
        if start + num_frames * frameskip <= lengths[episode]
    ]
    with dataset_of(tmp_path_factory.mktemp("clips") / "a.h5", lengths) as dataset:
        if not expected:
            with pytest.raises(DataError, match="no episode has the"):
                Clips(dataset, num_frames, frameskip, np.array(chosen))
            return
        clips = Clips(dataset, num_frames, frameskip, np.array(chosen))
        episodes, starts = clips.locate(np.arange(len(clips)))
        assert list(zip(episodes.tolist(), starts.tolist(), strict=True)) == expected
        batch = clips.read(np.arange(len(clips))[::-1])
        for frames, actions, (episode, start) in zip(batch.frames, batch.actions, expected[::-1], strict=True):
            assert (frames[:, 0, 0, 0] == episode).all()
            assert frames[:, 0, 0, 1].tolist() == list(range(start, start + num_frames * frameskip, frameskip))
            steps = actions.reshape(-1, 2)  # the blocks' actions, one after the other
            for number, action in enumerate(steps, start):
                last = number == lengths[episode] - 1  # NaN in the file
                assert action.tolist() == ([0, 0] if last else [episode, number])


def test_batches_have_the_shapes_of_the_model(tmp_path):
    with dataset_of(tmp_path / "a.h5", [20, 30]) as dataset:
        batch = Clips(dataset, 4, 5).read(np.array([0, 3, 3]))
    assert (batch.frames.shape, batch.frames.dtype) == ((3, 4, 2, 2, 3), np.uint8)
    assert (batch.actions.shape, batch.actions.dtype) == ((3, 4, 10), np.float32)
    np.testing.assert_array_equal(batch.actions[1], batch.actions[2])


def test_too_short_episodes_name_the_longest(tmp_path):
    with dataset_of(tmp_path / "a.h5", [12, 19, 7]) as dataset:
        problem = r"no episode has the 20 steps .*4 frames at frameskip 5.*the longest, episode 1, has 19\n"
        with pytest.raises(DataError, match=problem):
            Clips(dataset, 4, 5)
        with pytest.raises(DataError, match="none were chosen"):
            Clips(dataset, 4, 5, np.array([], np.int64))
        with pytest.raises(DataError, match="no episode 3, it has 3"):
            Clips(dataset, 1, 1, np.array([3]))
        with pytest.raises(DataError, match="at least 1"):
            Clips(dataset, 0, 5)
        with pytest.raises(IndexError):
            Clips(dataset, 1, 1).read(np.array([38]))


@given(st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 2**40))
@settings(max_examples=60)
def test_split_is_a_partition_by_episode(num_episodes, share, seed):
    train, held_out = split_episodes(num_episodes, share, seed)
    assert len(train) >= 1
    assert len(held_out) >= 1
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(num_episodes))
    assert abs(len(held_out) - share * num_episodes) <= 1
    again = split_episodes(num_episodes, share, seed)
    np.testing.assert_array_equal(again[1], held_out)


def test_split_stays_the_same_over_releases():
    train, held_out = split_episodes(10, 0.3, 0)
    assert held_out.tolist() == [0, 2, 9]
    assert train.tolist() == [1, 3, 4, 5, 6, 7, 8]
    assert split_episodes(10, 0.3, 1)[1].tolist() != held_out.tolist()


def test_fewer_episodes_to_train_on_are_among_more_and_leave_what_is_held_out():
    order, held_out = split_episodes(30, 0.2, 3)
    parts = [split_episodes(30, 0.2, 3, seen) for seen in (1, 5, 23, 24)]
    assert [len(train) for train, _ in parts] == [1, 5, 23, 24]
    for train, same in parts:
        assert train.tolist() == sorted(train)
        np.testing.assert_array_equal(same, held_out)
    for (fewer, _), (more, _) in itertools.pairwise(parts):
        assert set(fewer) < set(more)
    np.testing.assert_array_equal(parts[-1][0], order)
    assert parts[1][0].tolist() != order[:5].tolist()  # of a shuffled order, not those that were recorded first


@pytest.mark.parametrize("seen", [0, -1, 25])
def test_more_episodes_than_there_are_to_train_on(seen):
    left = "of 30, 6 are held out and 24 are left\nSet training.episodes to at most 24"
    with pytest.raises(DataError, match=f"{seen} episodes to train on .* {left}"):
        split_episodes(30, 0.2, 3, seen)


@pytest.mark.parametrize(("episodes", "share"), [(1, 0.5), (10, 0.0), (10, 1.0)])
def test_split_that_leaves_one_side_empty(episodes, share):
    with pytest.raises(DataError, match="held"):
        split_episodes(episodes, share, 0)


def test_action_statistics_of_chosen_episodes(tmp_path):
    with dataset_of(tmp_path / "a.h5", [4, 9, 5]) as dataset:
        mean, std = action_statistics(dataset, np.array([1, 0]))
        actions = np.concatenate([dataset.episode(1)["action"][:-1], dataset.episode(0)["action"][:-1]])
        np.testing.assert_allclose(mean, actions.mean(axis=0))
        np.testing.assert_allclose(std, actions.std(axis=0, ddof=1))
        _, std = action_statistics(dataset, np.array([2]))
        assert std[0] == 1  # the action's first number is always 2
        with pytest.raises(DataError, match="no episode 5"):
            action_statistics(dataset, np.array([5]))


def test_statistics_need_two_actions(tmp_path):
    with dataset_of(tmp_path / "a.h5", [2, 9]) as dataset, pytest.raises(DataError, match="1 actions have"):
        action_statistics(dataset, np.array([0]))

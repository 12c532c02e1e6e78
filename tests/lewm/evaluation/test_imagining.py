"""What a plan expects, decoded beside what happened."""

import numpy as np
import pytest
import torch

from lewm.errors import LewmError
from lewm.evaluation.agents import run_planner
from lewm.evaluation.command import evaluate_run
from lewm.planning.controller import Controller
from tests.lewm.evaluation.drawing import CPU, WORLD, draw, request


class Recorded(Controller):
    """Remembers the plans of each episode."""

    def plan(self, context, goals, episodes, *about):
        plan = super().plan(context, goals, episodes, *about)
        for episode, now, blocks in zip(episodes.tolist(), context.latents, plan.actions, strict=True):
            recorded.setdefault(episode, []).append((now, blocks))
        return plan


recorded: dict = {}


def shades(latents):
    """Stands for a decoder: what is in the latents, as frames."""
    values = (latents[:, :3] * 100 + 128).clamp(0, 255).round().to(torch.uint8)
    return values[:, None, None].expand(-1, 4, 6, 3).numpy()


@pytest.mark.parametrize("execute", [1, 2])
def test_what_is_imagined_is_the_rollout_of_what_was_executed(dataset, tiny, awake, execute):
    recorded.clear()
    planning = tiny.planning.model_copy(update={"horizon": 3, "execute": execute})
    tasks = draw(dataset, count=5)
    plain, films = [], []
    run_planner(Controller(awake, planning, seed=3), WORLD, tasks, 16, 5, plain.append)
    run_planner(Recorded(awake, planning, seed=3), WORLD, tasks, 16, 3, films.append, decode=shades)
    for film, other in zip(films, plain, strict=True):
        assert other.imagined is None
        np.testing.assert_array_equal(film.frames, other.frames)
        assert len(film.imagined) == len(film.frames)
        step = 0
        for present, blocks in recorded[film.task]:
            with torch.inference_mode():
                assert torch.equal(present, awake.embed(torch.from_numpy(film.frames[[step]])))
                expected = shades(torch.cat([present, awake.rollout(present[None], blocks[None, None])[0, 0]]))
            if step == 0:
                np.testing.assert_array_equal(film.imagined[0], expected[0])
            steps = 5 * min(execute, len(blocks))
            for k, picture in enumerate(film.imagined[step + 1 : step + 1 + steps]):
                np.testing.assert_allclose(picture.astype(int), expected[1 + k // 5], atol=1)
            step += steps


def test_nothing_is_imagined_after_the_present_where_nothing_was_planned(dataset, tiny, awake):
    tasks = draw(dataset, "paper", count=60, goal_offset=1)
    films = []
    run_planner(Controller(awake, tiny.planning, seed=3), WORLD, tasks, 16, 60, films.append, decode=shades)
    solved_at_once = [film for film in films if len(film.frames) == 1]
    assert solved_at_once
    assert all(film.imagined.shape == (1, 4, 6, 3) for film in solved_at_once)


def test_imagining_without_a_decoder_is_refused_before_planning(tiny, trained, monkeypatch):
    monkeypatch.setattr(Controller, "plan", lambda *_: pytest.fail("planned"))
    with pytest.raises(LewmError, match=r'no decoder\.safetensors(?s:.)*"lewm decode --run'):
        evaluate_run(request(trained, tiny, video="mp4", imagine=True), CPU)

"""The properties that each planner has from its paper."""

import math

import numpy as np
import pytest
import torch

from lewm.config import Adam, Icem, Mppi, Planner
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import DifferentiableDynamics
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners.adam import adam
from lewm.planning.planners.categorical import categorical_mppi
from lewm.planning.planners.icem import icem
from lewm.planning.planners.mppi import mppi, weights

CPU = torch.device("cpu")
KEYS = Keys(0, torch.tensor([3]), 0)


class Watched:
    """A cost that keeps what it was asked, and what it answered."""

    def __init__(self, cost):
        self.cost, self.candidates, self.costs = cost, [], []

    def __call__(self, candidates):
        self.candidates.append(candidates.detach().clone())
        self.costs.append(self.cost(candidates))
        return self.costs[-1]


def quadratic(candidates):
    return (candidates - 0.5).square().sum(dim=(2, 3))


@pytest.mark.parametrize("exponent", [0, 0.5, 1, 2, 3])
def test_icem_noise_has_the_power_spectrum_it_is_named_for(exponent):
    cost = Watched(quadratic)
    icem(cost, Start.standard(1, 4, 8, CPU, frameskip=4), Icem(samples=8000, iterations=1, noise=exponent), KEYS)
    series = cost.candidates[0][0, 1:].view(-1, 16, 2)  # (S, steps, action_dim); the mean, which is 0, is left out
    power = torch.fft.rfft(series, dim=1).abs().square().mean(dim=(0, 2)).numpy()
    frequency = np.arange(1, 9)
    slope = np.polyfit(np.log(frequency), np.log(power[1:]), deg=1)[0]
    assert slope == pytest.approx(-exponent, abs=0.03)
    assert power[0] == pytest.approx(power[1], rel=0.05)
    torch.testing.assert_close(series.var(dim=(0, 2)), torch.ones(16), atol=0.06, rtol=0)
    assert abs(torch.corrcoef(series[:, 5].T)[0, 1]) < 0.05  # dimensions of an action are independent


def test_icem_has_fewer_samples_each_time_but_twice_the_elites():
    config = Icem(samples=60, elites=10, iterations=8, shrink=1.25)
    cost = Watched(quadratic)
    icem(cost, Start.standard(1, 2, 4, CPU), config, KEYS)
    expected = [max(math.ceil(60 * 1.25**-iteration), 20) for iteration in range(8)]
    assert [candidates.shape[1] for candidates in cost.candidates] == [*expected, 1]


def test_icem_may_have_very_many_iterations():
    assert Icem(samples=60, elites=10, iterations=100_000, shrink=1000).sizes[-1] == 20


def test_icem_keeps_elites_and_tries_its_mean_at_last():
    config = Icem(samples=40, elites=10, iterations=4, keep=0.3, momentum=0.25)
    cost = Watched(quadratic)
    plan = icem(cost, Start.standard(1, 2, 4, CPU), config, KEYS)
    mean = torch.zeros(2, 4)
    for i in range(3):
        order = cost.costs[i][0].argsort()
        kept = cost.candidates[i][0][order[:3].sort().values]
        assert torch.equal(cost.candidates[i + 1][0, :3], kept)
        elites = cost.candidates[i][0][order[:10]]
        mean = 0.25 * mean + 0.75 * elites.mean(dim=0)
    torch.testing.assert_close(cost.candidates[3][0, 3], mean)
    assert plan.cost == min(costs.min() for costs in cost.costs)


def test_icem_with_as_many_elites_as_samples_has_room_for_all():
    config = Icem(samples=2, elites=2, iterations=3, keep=0.9)
    plan = icem(quadratic, Start.standard(1, 2, 4, CPU), config, KEYS)
    assert torch.isfinite(plan.actions).all()


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("samples", [2, 3, 64, 301])
def test_mppi_weights_are_those_of_float64(temperature, samples):
    rng = np.random.default_rng(0)
    costs = (100 + 30 * rng.standard_normal((4, samples))).astype(np.float32)
    exact = costs.astype(np.float64)
    excess = exact - exact.min(axis=1, keepdims=True)
    expected = np.exp(-excess / (temperature * excess.mean(axis=1, keepdims=True)))
    expected /= expected.sum(axis=1, keepdims=True)
    got = weights(torch.from_numpy(costs), temperature).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(weights(torch.from_numpy(costs) * 1024 + 5, temperature), expected, rtol=1e-2, atol=1e-5)


def test_mppi_weighs_equal_costs_equally():
    torch.testing.assert_close(weights(torch.full((2, 50), 7.0), 0.1), torch.full((2, 50), 1 / 50))


def test_an_iteration_of_mppi_is_its_definition():
    config = Mppi(samples=50, iterations=2, temperature=0.3, least_spread=0.5)
    start, cost = Start(torch.full((1, 2, 3), -1.0), torch.full((1, 2, 3), 2.0)), Watched(quadratic)
    plan = mppi(cost, start, config, KEYS)
    for i in range(2):
        share = weights(cost.costs[i], 0.3)[0].double()
        mean = torch.einsum("s, sha -> ha", share, cost.candidates[i][0].double()).float()
        result = cost.candidates[i + 1][0, 0]
        torch.testing.assert_close(result, mean)
        torch.testing.assert_close(plan.history[0, i], (share @ cost.costs[i][0].double()).float())
    assert torch.equal(plan.actions[0], cost.candidates[2][0, 0])


@pytest.mark.parametrize(("least", "below"), [(1.0, False), (0.05, True)])
def test_mppi_keeps_at_least_the_share_of_the_first_spread(least, below):
    start, cost = Start(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 2.0)), Watched(quadratic)
    mppi(cost, start, Mppi(samples=400, iterations=12, temperature=0.05, least_spread=least), KEYS)
    spread = cost.candidates[11][0, 1:].std(dim=0)
    assert ((spread < 0.5) == below).all()
    assert (spread > 0.8 * least * 2).all()


@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_mppi_leaves_every_choice_a_share_of_its_first_probability(make_model, least):
    model = make_model({"model.action_dim": 4, "model.frameskip": 1})
    probability = torch.tensor([0.1, 0.2, 0.3, 0.4])
    model.action_mean.copy_(probability)
    one_hot = OneHot.of(model, (4,))
    start = Start.standard(1, 1, 4, CPU, one_hot=one_hot)
    cost = Watched(lambda candidates: candidates[:, :, 0, 3].neg())  # the last choice is cheapest
    config = Mppi(samples=20_000, iterations=4, temperature=0.01, least_spread=least)
    plan = categorical_mppi(cost, start, config, KEYS)
    drawn = one_hot.chosen(cost.candidates[3])[0, 1:, 0].float().mean(dim=0)
    expected = least**2 * probability + (1 - least**2) * torch.tensor([0.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(drawn, expected, atol=0.015, rtol=0)
    assert one_hot.chosen(plan.actions)[0, 0].tolist() == [False, False, False, True]


@pytest.mark.parametrize("kind", ["last", "min", "mean"])
def test_costs_have_the_gradient_of_finite_differences(make_model, kind):
    model = make_model({"model.predictor.history": 2}).double()
    dynamics, generator = DifferentiableDynamics(model), torch.Generator().manual_seed(0)
    latents, goal, candidates = (
        torch.randn(2, *shape, dtype=torch.float64, generator=generator)
        for shape in ((1, model.config.latent), (model.config.latent,), (2, 3, model.config.action_block))
    )
    cost = COSTS[kind](None, CPU)(dynamics, Context(latents), goal)
    assert torch.autograd.gradcheck(cost, candidates.requires_grad_())


def test_adam_takes_the_steps_of_adam():
    config, scale = Adam(samples=5, iterations=3, learning_rate=0.2), torch.tensor([1.0, 10.0, 100.0])
    cost = Watched(lambda candidates: (scale * (candidates - 1).square()).sum(dim=(2, 3)))
    adam(cost, Start.standard(1, 2, 3, CPU), config, KEYS)
    first, second = 0.0, 0.0
    for t in range(1, 4):
        candidates, after = cost.candidates[t - 1].double(), cost.candidates[t].double()
        gradient = 2 * scale * (candidates - 1)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        step = 0.2 * (first / (1 - 0.9**t)) / (second / (1 - 0.999**t)).sqrt()
        torch.testing.assert_close(after, candidates - step, atol=1e-5, rtol=0)


def test_adam_returns_the_cheapest_of_its_candidates():
    cost = Watched(lambda candidates: torch.cos(3 * candidates).sum(dim=(2, 3)) + 0.1 * quadratic(candidates))
    start = Start(torch.full((1, 2, 3), 3.0), torch.full((1, 2, 3), 2.0))  # the mean is far from the lowest valley
    plan = adam(cost, start, Adam(samples=20, iterations=40), KEYS)
    best = cost.costs[-1][0].argmin()
    assert torch.equal(plan.actions[0], cost.candidates[-1][0, best])
    assert best != 0


@pytest.mark.parametrize("kind", ["cem", "icem"])
def test_more_elites_than_samples_are_refused(kind):
    with pytest.raises(ValueError, match="elites 9 exceeds samples 8"):
        Planner.kinds[kind](samples=8, elites=9)

"""PLDM's loss: each term against its formula, and in a small case against numbers and gradients worked out by hand.

B clips, T frames a clip, D latent width, A action-block width.
"""

import numpy as np
import pytest
import torch

from lewm.config import resolve
from lewm.ranks import Ranks
from lewm.training.objectives import OBJECTIVES, Network
from tests.lewm.given_network import Given

EVERY_TERM = {"objective.kind": "pldm", "objective.cov_t": 0.3, "objective.idm": 0.5, "objective.idm_hidden": 12}
FLOOR = 1e-4  # added to variances, as in stable-worldmodel 0.1.1

# Three clips of three frames with a latent of two numbers, (B, T, D). The means over clips are (1, 2), (2, 0), (-1, 1).
SMALL = np.array(
    [
        [[1.2, 2.3], [2.6, -0.9], [-1.3, 1.6]],
        [[0.6, 1.6], [1.7, 0.6], [-0.5, 0.1]],
        [[1.2, 2.1], [1.7, 0.3], [-1.2, 1.3]],
    ]
)
ACTIONS = np.array([[0.4, -1.1, 9.0], [-0.2, 0.3, 9.0], [0.0, 0.8, 9.0]])[:, :, None]  # (B, T, 1); the last is not used


def objective_of(tiny, changes):
    config = resolve(tiny, None, EVERY_TERM | changes)
    torch.manual_seed(1)
    return OBJECTIVES["pldm"](config.objective, config.model, 0)


def terms_of(objective, latents, actions):
    frames = torch.zeros(*latents.shape[:2], 16, 16, 3, dtype=torch.uint8)
    network = Given(latents)
    assert isinstance(network, Network)
    return objective(network, frames, actions, 0, Ranks()).terms


def in_numpy(e, actions, head):
    """The formulas of the class, one after the other, in float64."""
    (clips, times, width), z = e.shape, e - e.mean(axis=0)
    over_clips = [z[:, t] for t in range(times)]  # (B, D) each
    over_time = [z[b] for b in range(clips)]  # (T, D) each

    def std(samples):
        return np.mean([np.maximum(0, 1 - np.sqrt(s.var(axis=0, ddof=1) + FLOOR)).mean() for s in samples])

    def cov(samples):
        matrices = [s.T @ s / (len(s) - 1) for s in samples]
        pairs = [(i, j) for i in range(width) for j in range(width) if i != j]
        return np.mean([sum(C[pair] ** 2 for pair in pairs) / (width**2 - width) for C in matrices])

    both = torch.from_numpy(np.concatenate([e[:, 1:], e[:, :-1]], axis=-1))
    told = head(both).detach().numpy()
    return {
        "prediction": np.mean((e[:, :-1] + actions[:, :-1, :1] - e[:, 1:]) ** 2),
        "std": std(over_clips),
        "cov": cov(over_clips),
        "std_t": std(over_time),
        "cov_t": cov(over_time),
        "align": np.mean((e[:, 1:] - e[:, :-1]) ** 2),
        "idm": np.mean((told - actions[:, :-1]) ** 2),
    }


def test_the_terms_are_their_formulas(tiny):
    B, T, D, A = 5, 4, 6, 10
    objective = objective_of(tiny, {"model.latent": D})
    rng = np.random.default_rng(0)
    e = rng.standard_normal((B, T, D)) * np.linspace(0.1, 1.5, D) + np.arange(T)[:, None]
    actions = rng.standard_normal((B, T, A))
    terms = terms_of(objective, torch.from_numpy(e).float(), torch.from_numpy(actions).float())
    expected = in_numpy(e, actions, objective.double().inverse_dynamics)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def back_through_means(gradient):
    """The gradient of the embeddings from that of z = e minus the means over clips: its own means are taken away."""
    return gradient - gradient.mean(axis=0)


def std_by_hand(z, axis):
    """The spread's term over an axis, and its gradient.

    For one group s_d = sqrt(v_d + 1e-4), v_d = sum_n (z_nd - m_d)^2 / (N - 1), and the term is the mean of 1 - s_d over
    groups and dimensions where s_d < 1. So d v_d / d z_nd = 2 (z_nd - m_d) / (N - 1), d s_d / d v_d = 1 / (2 s_d).
    """
    N, away = z.shape[axis], z - z.mean(axis=axis, keepdims=True)
    s = np.sqrt((away**2).sum(axis=axis, keepdims=True) / (N - 1) + FLOOR)
    short = s < 1
    gradient = -(short * away) / ((N - 1) * s) / s.size
    return (short * (1 - s)).mean(), gradient


def cov_by_hand(z, axis):
    """The covariances' term over an axis, and its gradient, for D = 2.

    The two entries beside the diagonal are c = sum_n z_n0 z_n1 / (N - 1), so the term of a group is
    2 c^2 / (D^2 - D) = c^2, and d c^2 / d z_n0 = 2 c z_n1 / (N - 1); z_n1 likewise.
    """
    N = z.shape[axis]
    c = z.prod(axis=-1).sum(axis=axis, keepdims=True) / (N - 1)
    return (c**2).mean(), 2 * c[..., None] * z[..., ::-1] / (N - 1) / c.size


def neighbours_by_hand(e, extra):
    """Mean square of e_{t+1} - e_t - extra_t, and its gradient: both frames of each difference get their share."""
    differences = e[:, 1:] - e[:, :-1] - extra
    gradient = np.zeros_like(e)
    gradient[:, 1:] += 2 * differences / differences.size
    gradient[:, :-1] -= 2 * differences / differences.size
    return (differences**2).mean(), gradient


def idm_by_hand(e, actions, weight):
    """Mean square of weight · (e_{t+1}, e_t) minus the action, and its gradient: the network of the test is linear."""
    D = e.shape[-1]
    error = np.concatenate([e[:, 1:], e[:, :-1]], axis=-1) @ weight[:, None] - actions[:, :-1]  # (B, T - 1, 1)
    gradient = np.zeros_like(e)
    gradient[:, 1:] += 2 * error * weight[:D] / error.size
    gradient[:, :-1] += 2 * error * weight[D:] / error.size
    return (error**2).mean(), gradient


def by_hand(e, weight):
    """Each term with its gradient (B, T, D)."""
    z = e - e.mean(axis=0)
    of_z = {
        "std": std_by_hand(z, 0),
        "cov": cov_by_hand(z, 0),
        "std_t": std_by_hand(z, 1),
        "cov_t": cov_by_hand(z, 1),
    }
    return {
        "prediction": neighbours_by_hand(e, ACTIONS[:, :-1]),
        **{name: (value, back_through_means(gradient)) for name, (value, gradient) in of_z.items()},
        "align": neighbours_by_hand(e, 0.0),
        "idm": idm_by_hand(e, ACTIONS, weight),
    }


def small(tiny, scale=1):
    """The terms of the small case, its embeddings, and the weights of its linear network for actions."""
    objective = objective_of(tiny, {"model.latent": 2, "model.frameskip": 1, "model.action_dim": 1})
    weight = np.array([0.7, -0.4, 0.2, 0.5])
    objective.inverse_dynamics = torch.nn.Linear(4, 1, bias=False)
    objective.inverse_dynamics.weight.data[:] = torch.from_numpy(weight)
    latents = torch.from_numpy(scale * SMALL).float().requires_grad_()
    return terms_of(objective, latents, torch.from_numpy(ACTIONS).float()), latents, weight


# Worked out from `SMALL`: all differences of neighbours, one clip after the other; the same less the actions; and the
# variances over clips and the covariance of the frames in turn.
DIFFERENCES = [1.4, -3.2, -3.9, 2.5, 1.1, -1.0, -2.2, -0.5, 0.5, -1.8, -2.9, 1.0]
LESS_ACTIONS = [1.0, -3.6, -2.8, 3.6, 1.3, -0.8, -2.5, -0.8, 0.5, -1.8, -3.7, 0.2]
VARIANCES, COVARIANCES = [0.12, 0.13, 0.27, 0.63, 0.19, 0.63], [0.12, -0.405, -0.345]
VALUES = {
    "prediction": sum(one**2 for one in LESS_ACTIONS) / 12,
    "align": sum(one**2 for one in DIFFERENCES) / 12,
    "std": sum(1 - (one + FLOOR) ** 0.5 for one in VARIANCES) / 6,
    "cov": sum(one**2 for one in COVARIANCES) / 3,
}


@pytest.mark.parametrize("scale", [1, 2])  # twice as wide, some standard deviations are above 1, and do not count
@pytest.mark.parametrize("name", ["prediction", "std", "cov", "std_t", "cov_t", "align", "idm"])
def test_a_small_case_by_hand_with_gradients(tiny, name, scale):
    terms, latents, weight = small(tiny, scale)
    value, gradient = by_hand(scale * SMALL, weight)[name]
    (found,) = torch.autograd.grad(terms[name], latents)
    assert terms[name].item() == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(found.numpy(), gradient, rtol=2e-5, atol=2e-7)
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("name", VALUES)
def test_a_small_case_in_numbers(tiny, name):
    assert small(tiny)[0][name].item() == pytest.approx(VALUES[name], rel=1e-5)

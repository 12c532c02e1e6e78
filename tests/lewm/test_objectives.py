"""Every kind of objective trains encoder and predictor, resumes to the bit, and says when the latents collapse.

B clips, T frames a clip, D latent width, A action-block width.
"""

import numpy as np
import pytest
import torch

from lewm import config as cfg
from lewm.checkpoints import run
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.memory import check_training
from lewm.model import build
from lewm.ranks import Ranks
from lewm.training import preparation
from lewm.training.loop import train
from lewm.training.metrics import read_metrics
from lewm.training.objectives import OBJECTIVES
from lewm.training.objectives.loss import weighted
from lewm.training.objectives.sigreg import SIGREGS
from lewm.training.plot import plot_training
from lewm.training.trainer import seeded
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from lewm_kernels import RandomDirections, sigreg
from tests.lewm.given_network import Given

CPU = torch.device("cpu")
B, T, D, A = 5, 4, 6, 10
EVERY_TERM = {"objective.cov_t": 0.3, "objective.idm": 0.5, "objective.idm_hidden": 12}

# What trains an encoder: each line of the table of objectives but one, and each of that of SIGReg.
CASES = {
    "lewm": {},
    "lewm, exact": {"objective.sigreg": {"kind": "exact"}},
    "lewm, subspaces": {"objective.sigreg": {"kind": "subspaces", "directions": 16, "subspaces": 4}},
    "lewm, straightening": {"objective.straightening": 0.1, "model.predictor.history": 3},
    "pldm": {"objective.kind": "pldm"},
    "pldm, every term": {"objective.kind": "pldm"} | EVERY_TERM,
}
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(world("two-room"), path, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=4)
    return path


def objective_of(config, seed=0):
    torch.manual_seed(1)
    return OBJECTIVES[config.objective.kind](config.objective, config.model, seed)


def batch(config, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (B, config.model.predictor.history + 1, 16, 16, 3), dtype=np.uint8)
    actions = rng.standard_normal((*frames.shape[:2], config.model.action_block), dtype=np.float32)
    return torch.from_numpy(frames), torch.from_numpy(actions)


def test_the_cases_are_the_tables(tiny):
    configs = [resolve(tiny, None, changes) for changes in CASES.values()]
    kinds = {config.objective.kind for config in configs}
    assert kinds | {"prediction"} == set(OBJECTIVES) == set(cfg.Objective.kinds)  # see test_stage_sections.py
    forms = {config.objective.sigreg.kind for config in configs if config.objective.kind == "lewm"}
    assert forms == set(SIGREGS) == set(cfg.Sigreg.kinds)


@every_case
def test_the_total_is_the_weighted_sum_and_reaches_encoder_and_predictor(tiny, make_model, case):
    config = resolve(tiny, None, CASES[case])
    model, objective = make_model(CASES[case]).train(), objective_of(config)
    loss = objective(model, *batch(config), 3, Ranks())
    weights = config.objective.weights()
    assert list(loss.terms) == list(weights)
    assert all(name.isidentifier() for name in weights)
    assert all(term > 0 for term in loss.terms.values())
    expected = sum(weights[name] * term.item() for name, term in loss.terms.items())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    loss.total.backward()
    for part in (model.encoder, model.projector, model.predictor, model.action_embedder, objective):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    for part in (model.encoder, model.predictor):
        assert any(parameter.grad.any() for parameter in part.parameters())


def test_terms_of_weight_0_are_left_out_with_their_networks(tiny):
    config = resolve(tiny, None, CASES["pldm"] | {"objective.std_t": 0})
    objective = objective_of(config)
    assert list(config.objective.weights()) == ["prediction", "std", "cov", "align"]
    assert not list(objective.parameters())
    frames, actions = torch.zeros(B, T, 2, 2, 3, dtype=torch.uint8), torch.zeros(B, T, A)
    loss = objective(Given(torch.randn(B, T, D)), frames, actions, 0, Ranks())
    assert list(loss.terms) == list(config.objective.weights())


def straightening_of(tiny, latents):
    """The term for given latents, and the weight of the loss."""
    objective = objective_of(resolve(tiny, None, CASES["lewm, straightening"] | {"model.latent": latents.shape[-1]}))
    frames, actions = torch.zeros(len(latents), latents.shape[1], 2, 2, 3, dtype=torch.uint8), torch.zeros(1, 1, 1)
    loss = objective(Given(latents), frames, actions.expand(*latents.shape[:2], A), 0, Ranks())
    return loss.terms["straightening"]


def test_straightening_of_a_path_by_hand(tiny):
    """Two clips of four places in the plane. The first turns left, then back; the second goes straight on, then stays.

    The cosines are 0, -1 and 1, 0. Only a turn has a gradient: where steps v and w are at right angles, the cosine
    changes by w / (|v| |w|) when v does, and by v / (|v| |w|) when w does.
    """
    turning = [[0.0, 0.0], [2.0, 0.0], [2.0, 4.0], [2.0, 1.0]]
    straight = [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [3.0, 0.0]]
    latents = torch.tensor([turning, straight], dtype=torch.float32, requires_grad=True)
    term = straightening_of(tiny, latents)
    assert term.item() == pytest.approx(-(0 - 1 + 1 + 0) / 4, abs=1e-6)
    (gradient,) = torch.autograd.grad(term, latents)
    first, second = torch.tensor([0.0, 4.0]) / 8, torch.tensor([2.0, 0.0]) / 8  # by v = (2, 0) and w = (0, 4)
    by_hand = -torch.stack([-first, first - second, second, torch.zeros(2)]) / 4
    torch.testing.assert_close(gradient[0], by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-12, 1e-4])
def test_straightening_of_steps_without_length_has_a_gradient_that_is_bounded(tiny, length):
    generator = torch.Generator().manual_seed(0)
    latents = (length * torch.randn(B, T, D, generator=generator)).requires_grad_()
    term = straightening_of(tiny, latents)
    (gradient,) = torch.autograd.grad(term, latents)
    assert abs(term.item()) < (0.1 if length else 1e-12)
    assert gradient.isfinite().all()
    assert gradient.norm() < 1000


def test_straightening_makes_paths_straight(tiny):
    latents = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = straightening_of(tiny, latents).item()
    optimizer = torch.optim.Adam([latents], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        straightening_of(tiny, latents).backward()
        optimizer.step()
    assert before > 0
    assert straightening_of(tiny, latents).item() < -0.95


def test_straightening_needs_clips_of_two_steps(tiny):
    assert tiny.model.predictor.history == 1
    with pytest.raises(LewmError) as caught:
        resolve(tiny, None, {"objective.straightening": 0.1})
    assert str(caught.value).splitlines() == [
        "objective.straightening 0.1 compares two steps, and with model.predictor.history 1 a clip has one",
        "Add --set model.predictor.history=2, or more.",
    ]
    two = resolve(tiny, None, {"objective.straightening": 0.1, "model.predictor.history": 2})
    assert two.objective.formula() == "prediction + 0.01 · sigreg + 0.1 · straightening"


def test_sigreg_in_subspaces_is_the_mean_of_the_sketches_in_each(tiny):
    config = resolve(tiny, None, CASES["lewm, subspaces"])
    form, directions = objective_of(config, seed=9).sigreg, RandomDirections(9, 4, 16)
    bases = form.bases  # (S, D, W)
    assert bases.shape == (4, 8, 2)
    torch.testing.assert_close(sum(basis @ basis.T for basis in bases), torch.eye(8))
    assert not form.state_dict()["bases"].requires_grad
    latents = torch.randn(2, 20, 8)
    expected = sum(sigreg(latents @ basis, directions, torch.linspace(0, 3, 17)) for basis in bases) / 4
    torch.testing.assert_close(form(latents, 4, Ranks()), expected)


def test_the_model_begins_alike_whatever_the_objective_is(tiny, dataset):
    """Objectives can then be compared at one seed."""
    with Dataset.open(dataset) as opened:
        episodes = np.arange(opened.num_episodes)
        configs = [resolve(tiny, None, changes | {"model.predictor.history": 3}) for changes in CASES.values()]
        model, *others = (preparation.new_learners(config, opened, episodes)[0] for config in configs)
    for other in others:
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def killed_and_resumed(config, dataset, directory, step):
    def kill(progress):
        if progress.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(config, dataset, directory, CPU, on_progress=kill)
    train(config, dataset, directory, CPU, resume=True)


@every_case
def test_killed_and_resumed_equals_uninterrupted(tiny, dataset, tmp_path, case):
    config = resolve(tiny, None, CASES[case])
    train(config, dataset, tmp_path / "whole", CPU)
    killed_and_resumed(config, dataset, tmp_path / "pieces", 3)
    whole, pieces = (run.read_tensors(tmp_path / name / run.TRAINING) for name in ("whole", "pieces"))
    assert set(whole) == set(pieces)
    assert all(torch.equal(tensor, pieces[name]) for name, tensor in whole.items())
    learnt = {f"objective.{name}" for name in objective_of(config).state_dict()}
    assert {name for name in whole if name.startswith("objective.")} == learnt
    assert not any(name.startswith("objective.") for name in run.read_tensors(tmp_path / "whole" / run.MODEL))
    lines = read_metrics(tmp_path / "whole" / run.METRICS)
    assert [list(line["terms"]) for line in lines] == [list(config.objective.weights())] * 6
    assert plot_training(tmp_path / "whole").read_bytes().startswith(b"\x89PNG")


def test_a_head_is_trained(tiny, dataset, tmp_path):
    config = resolve(tiny, None, CASES["pldm, every term"])
    train(config, dataset, tmp_path / "run", CPU)
    tensors = run.read_tensors(tmp_path / "run" / run.TRAINING)
    with seeded(config.training.seed, 0, CPU):
        build(config.model)
        begun = OBJECTIVES["pldm"](config.objective, config.model, 0)
    for name, parameter in begun.named_parameters():
        assert not torch.equal(tensors[f"objective.{name}"], parameter), name
        assert tensors[f"optimizer.objective.{name}.step"] == 6


def test_parameters_that_are_frozen_or_idle_stay_and_the_training_resumes(tiny, dataset, tmp_path, monkeypatch):
    make = preparation.new_learners

    def frozen(*some):
        model, objective = make(*some)
        model.encoder.requires_grad_(False)
        objective.idle = torch.nn.Parameter(torch.ones(2))  # no loss depends on it, so it has no gradient
        begun.append({name: tensor.clone() for name, tensor in model.encoder.state_dict().items()})
        return model, objective

    begun = []
    monkeypatch.setattr(preparation, "new_learners", frozen)
    train(tiny, dataset, tmp_path / "whole", CPU)
    killed_and_resumed(tiny, dataset, tmp_path / "pieces", 3)
    whole, pieces = (run.read_tensors(tmp_path / name / run.TRAINING) for name in ("whole", "pieces"))
    assert set(whole) == set(pieces)
    assert all(torch.equal(tensor, pieces[name]) for name, tensor in whole.items())
    assert begun[0]
    assert all(torch.equal(tensor, whole[f"model.encoder.{name}"]) for name, tensor in begun[0].items())
    assert not any(name.startswith("optimizer.model.encoder.") for name in whole)
    assert any(name.startswith("optimizer.model.predictor.") for name in whole)
    assert whole["optimizer.objective.idle.step"] == 0


COLLAPSING = {
    "lewm": ({"objective.lambda": 0}, "raise objective.lambda (now 0) with --set."),
    "pldm": (
        dict.fromkeys(["objective.std", "objective.cov", "objective.std_t"], 0),
        "raise objective.std (now 0) or objective.cov (now 0) with --set.",
    ),
}


@pytest.mark.parametrize("kind", sorted(set(OBJECTIVES) - {"prediction"}))
def test_collapse_is_warned_of_with_what_helps(tiny, dataset, tmp_path, caplog, kind):
    changes, advice = COLLAPSING[kind]
    fast = {"objective.kind": kind, "training.steps": 60, "training.learning_rate": 1e-2, "training.log_every": 60}
    train(resolve(tiny, None, fast | changes), dataset, tmp_path / "run", CPU)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "the latents are collapsing" in message
    assert message.endswith(advice)


def test_without_batch_norm_that_is_named_first(tiny, dataset, tmp_path, caplog):
    bare = {"model.projector_norm": "none", "objective.lambda": 0, "training.steps": 60, "training.log_every": 60}
    train(resolve(tiny, None, bare), dataset, tmp_path / "run", CPU)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith(
        "set model.projector_norm to batch (now none), or raise objective.lambda (now 0) with --set."
    )


def test_the_weight_of_sigreg_is_no_key_of_pldm(tiny):
    with pytest.raises(LewmError, match=r'objective.kind is pldm: "objective.lambda"\nKnown: .*objective.std'):
        resolve(tiny, None, {"objective.kind": "pldm", "objective.lambda": 0.1})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective.sigreg": {"kind": "subspaces", "subspaces": 3}}, "model.latent 8 is not a multiple"),
        ({"objective.kind": "pldm", "model.latent": 1}, "model.latent 1 has no covariances"),
    ],
)
def test_objectives_that_do_not_fit_the_latent_are_refused(tiny, changes, words):
    with pytest.raises(LewmError, match=words):
        resolve(tiny, None, changes)


@pytest.mark.parametrize(
    ("changes", "floats"),
    [
        ({"objective.sigreg": {"kind": "exact"}}, 2 * 8 * 8),
        (
            {"objective.sigreg": {"kind": "subspaces", "directions": 5, "subspaces": 4}},
            8 * 8 + 5 * (2 + 272),
        ),
        ({"objective.kind": "pldm", "objective.cov_t": 1}, 8 * 8 * (2 + 8)),
    ],
)
def test_training_asks_the_objective_for_its_memory(tiny, monkeypatch, changes, floats):
    config = resolve(tiny, None, changes)
    needed = 8 * 2 * 3 * (16 * 16 + 4 * 16 * 16) + 4 * floats
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed)
    check_training(config, 0, 0, (16, 16), CPU)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed - 1)
    with pytest.raises(LewmError, match="training needs at least"):
        check_training(config, 0, 0, (16, 16), CPU)


@pytest.mark.parametrize("names", [["prediction"], ["prediction", "std", "idm"]])
def test_terms_of_other_names_than_the_weights_are_refused(names):
    with pytest.raises(LewmError, match="its section weighs prediction, std"):
        weighted({name: torch.tensor(1.0) for name in names}, {"prediction": 1.0, "std": 2.0})

"""The predictor over patches: what sees what, its rollout, its plans, and what it holds in memory.

N sequences, T time in blocks, P patches, C numbers of a patch, D = C P.
"""

import itertools

import numpy as np
import pytest
import torch

import lewm
from lewm import recipes
from lewm.checkpoints.frozen import take_frozen
from lewm.config import Icem, PatchesPredictor, resolve
from lewm.errors import LewmError
from lewm.memory import check_training
from lewm.model import build
from lewm.model.assembly import without_values
from lewm.model.patches import PatchTransformer
from lewm.planning import dynamics as dynamics_module
from lewm.planning.controller import Controller
from lewm.planning.dynamics import DifferentiableDynamics, dynamics_of
from lewm.planning.plan import Context
from lewm.training.loop import train
from lewm.training.metrics import read_metrics
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world

CPU = torch.device("cpu")
P, C, D = 4, 3, 12
SECTION = {
    "kind": "patches",
    "patches": P,
    "action_width": 2,
    "depth": 2,
    "heads": 3,
    "head_dim": 5,
    "mlp": 16,
    "dropout": 0.1,
}
EMBEDDER = {"bottleneck": 2, "hidden": None}
CHANGES = {"model.latent": D, "model.predictor": SECTION, "model.action_embedder": EMBEDDER}


@pytest.fixture(params=[1, 3], ids=["history-1", "history-3"])
def model(request, make_model):
    return make_model(CHANGES | {"model.predictor": {**SECTION, "history": request.param}})


def maps(latents):
    """Latents (..., D) as maps (..., C, P)."""
    return latents.unflatten(-1, (C, P))


def inputs(model, L, H=4, B=2, S=5):
    generator = torch.Generator().manual_seed(L)
    A = model.config.action_block
    shapes = (B, L, D), (B, S, H, A), (B, L - 1, A)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def by_formula(predictor, latents, actions):
    """The predictor in float64, with every sum of an attention written out."""
    weights = {name: tensor.double() for name, tensor in predictor.state_dict().items()}
    T = latents.shape[1]

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def norm(name, x):
        x = x - x.mean(dim=-1, keepdim=True)
        x = x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    patches = maps(latents.double()).transpose(-1, -2)  # (N, T, P, C)
    x = torch.cat([patches, actions.double()[:, :, None].expand(-1, -1, P, -1)], dim=-1)
    x = x + weights["positions"][:, :T]
    for i in range(2):
        qkv = linear(f"layers.{i}.qkv", norm(f"layers.{i}.attention_norm", x)).unflatten(-1, (3, 3, 5))
        mixed = torch.zeros(*x.shape[:3], 3, 5, dtype=torch.float64)
        for t in range(T):
            query, (key, value) = qkv[:, t, :, 0], (qkv[:, : t + 1, :, part].flatten(1, 2) for part in (1, 2))
            scores = torch.einsum("nphe,nqhe->nphq", query, key) / 5**0.5
            mixed[:, t] = torch.einsum("nphq,nqhe->nphe", scores.softmax(dim=-1), value)
        x = x + linear(f"layers.{i}.out", mixed.flatten(3))
        x = x + linear(
            f"layers.{i}.fc2", torch.nn.functional.gelu(linear(f"layers.{i}.fc1", norm(f"layers.{i}.mlp_norm", x)))
        )
    return norm("norm", x)[..., :C].transpose(-1, -2).flatten(2)


@torch.no_grad()
def test_predictions_are_those_of_the_formula(model):
    latents, actions = torch.randn(3, model.history, D), torch.randn(3, model.history, 2)
    got = model.predictor(latents, actions)
    torch.testing.assert_close(got.double(), by_formula(model.predictor, latents, actions), rtol=1e-5, atol=1e-5)


def test_a_patch_sees_all_of_its_frame_and_of_those_before_and_nothing_later(make_model):
    model = make_model(CHANGES | {"model.predictor": {**SECTION, "history": 3}})
    latents, actions = torch.randn(1, 3, D).requires_grad_(), torch.randn(1, 3, 10).requires_grad_()
    predicted = maps(model.predict(latents, actions))[0]  # (T, C, P)
    for t, p in itertools.product(range(3), range(P)):
        of_latents, of_actions = torch.autograd.grad(
            predicted[t, :, p].square().sum(), (latents, actions), retain_graph=True
        )
        seen = maps(of_latents)[0].abs().amin(dim=1)  # (T, P); every number of a seen patch counts
        assert (seen[: t + 1] > 0).all()
        assert not seen[t + 1 :].any()
        assert of_actions[0, : t + 1].abs().amin() > 0
        assert not of_actions[0, t + 1 :].any()


@torch.inference_mode()
def test_a_later_frame_changes_no_earlier_prediction(make_model):
    model = make_model(CHANGES | {"model.predictor": {**SECTION, "history": 3}})
    latents, actions = torch.randn(2, 3, D), torch.randn(2, 3, 10)
    before = model.predict(latents, actions)
    latents[:, 2], actions[:, 2] = 9, -9
    after = model.predict(latents, actions)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


@torch.inference_mode()
def test_without_positions_the_order_of_the_patches_is_of_no_matter(model):
    """Only positions tell where a patch is, provided that the latent is taken apart as it was flattened."""
    order = torch.tensor([2, 0, 3, 1])
    latents, actions = torch.randn(2, model.history, D), torch.randn(2, model.history, 10)
    other = maps(latents)[..., order].flatten(2)
    assert not torch.allclose(
        model.predict(other, actions), maps(model.predict(latents, actions))[..., order].flatten(2)
    )
    model.predictor.positions.zero_()
    moved = maps(model.predict(latents, actions))[..., order].flatten(2)
    torch.testing.assert_close(model.predict(other, actions), moved)


@pytest.mark.parametrize("L", [1, 2, 3, 5])
@torch.inference_mode()
def test_a_rollout_is_one_prediction_after_the_other(model, L):
    latents, candidates, history = inputs(model, L)
    together = model.rollout(latents, candidates, history)
    for s in range(candidates.shape[1]):
        trajectory, blocks = latents, torch.cat([history, candidates[:, s]], dim=1)
        for end in range(L, L + candidates.shape[2]):
            window = slice(max(0, end - model.history), end)
            following = model.predict(trajectory[:, window], blocks[:, window])[:, -1:]
            trajectory = torch.cat([trajectory, following], dim=1)
        torch.testing.assert_close(together[:, s], trajectory[:, L:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("L", [1, 3])
def test_a_rollout_has_the_gradients_of_one_prediction_after_the_other(model, L):
    latents, candidates, history = inputs(model, L)
    gradients = []
    for roll in (model.rollout, super(PatchTransformer, model.predictor).rollout):
        variable = candidates.clone().requires_grad_()
        embedded = (variable, history) if roll == model.rollout else map(model.action_embedder, (variable, history))
        roll(latents, *embedded)[:, :, -1].square().sum().backward()
        gradients.append(variable.grad)
    assert gradients[0][:, :, 1:].abs().amin() > 0
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_candidates_are_computed_in_parts_where_the_memory_is_small(model, monkeypatch):
    given = inputs(model, 1)
    rolled, parts = DifferentiableDynamics(model), []
    whole, roll = rolled(*given), rolled.model.roll_by_steps
    monkeypatch.setattr(rolled.model, "roll_by_steps", lambda *some: parts.append(some[1].shape[1]) or roll(*some))
    one = rolled._bytes(4, 1)
    assert one >= 4 * model.history * P * 2 * (3 * 15 + 16)  # at least queries, keys, values and the MLP, by token
    monkeypatch.setattr(dynamics_module, "physical_memory", lambda _: 2 * 2 * one * dynamics_module.MEMORY_SHARE)
    torch.testing.assert_close(rolled(*given), whole)
    assert parts == [2, 2, 1]


@pytest.mark.parametrize("kind", ["icem", "adam"])
@torch.inference_mode()
def test_a_plan_is_the_same_alone_and_among_others(model, tiny, kind):
    planner = (
        Icem(samples=12, elites=3, iterations=3) if kind == "icem" else {"kind": "adam", "samples": 3, "iterations": 2}
    )
    planning = resolve(tiny, None, {"planning.planner": dict(planner)}).planning
    controller = Controller(model, planning, seed=0)
    generator = torch.Generator().manual_seed(0)
    latents, goals = torch.randn(5, 1, D, generator=generator), torch.randn(5, D, generator=generator)
    episodes = np.arange(5)
    together = controller.plan(Context(latents), goals, episodes, 0)
    assert together.actions.std(dim=0).min() > 0
    for some in (slice(0, 1), slice(3, 5)):
        alone = controller.plan(Context(latents[some]), goals[some], episodes[some], 0)
        assert torch.equal(alone.actions, together.actions[some])
        assert torch.equal(alone.cost, together.cost[some])


def test_why_it_is_not_packed_is_said(model):
    assert not model.packs
    assert isinstance(dynamics_of(model), DifferentiableDynamics)
    with pytest.raises(LewmError, match='there is no kernel for the predictor "patches"') as caught:
        model.pack()
    assert "which predicts step by step" in str(caught.value)


@pytest.mark.parametrize("size", [{}, {"heads": 7, "mlp": 50, "patches": 2}])
def test_the_numbers_that_a_training_holds_are_no_more_than_it_holds(size):
    """Counted against what autograd keeps. Several layers, as the last keeps less: it is followed by no other."""
    section = PatchesPredictor(**(SECTION | {"depth": 5, "dropout": 0.0} | size))
    predictor = PatchTransformer(section, D).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*predictor.parameters(), predictor.mask)}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (tensor, storage.nbytes())  # held, so that no other gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        latents = torch.randn(4, 3, D)
        result = predictor(latents, torch.randn(4, 3, 2).requires_grad_())
    held = sum(count for _, count in kept.values()) / 4
    assert 0.6 * held < section.floats(4, D) <= held
    del result


def test_a_training_that_holds_too_much_is_refused(tiny, monkeypatch):
    config = resolve(tiny, None, CHANGES | {"training.batch_size": 4})
    section, batch = config.model.predictor, 4 * 4 * 3 * (16 * 16 + 4 * 16 * 16)
    needed = 4 * 4 * 1000 + batch + 4 * config.objective.floats(4, 4, D) + 4 * section.floats(4, D)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed)
    check_training(config, 1000, 0, (16, 16), CPU)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed - 1)
    with pytest.raises(LewmError, match="training needs at least"):
        check_training(config, 1000, 0, (16, 16), CPU)
    half = resolve(config, None, {"training.precision": "bf16"})
    check_training(half, 1000, 0, (16, 16), CPU)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.latent": 13}, "latent 13 is not a multiple of predictor.patches 4"),
        ({"model.action_embedder.bottleneck": 3}, "action_embedder.bottleneck 3, expected 2: it is the embedding"),
        ({"model.predictor.projector_hidden": 16}, "model.predictor.projector_hidden"),
        ({"model.predictor": {"kind": "patches"}}, "model.predictor.patches"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, changes, words):
    with pytest.raises(LewmError) as caught:
        resolve(tiny, None, CHANGES | changes)
    assert words in str(caught.value)


def test_the_action_embedder_can_be_one_map(model):
    embedder, blocks = model.action_embedder, torch.randn(2, 3, 10)
    assert {name for name, _ in embedder.named_parameters()} == {"bottleneck.weight", "bottleneck.bias"}
    torch.testing.assert_close(embedder(2 * blocks) - embedder(blocks), blocks @ embedder.bottleneck.weight.T)


def test_the_map_of_efficientnet_is_a_token_for_each_place(tiny):
    """The channels of a place are the numbers of one patch."""
    section = {"kind": "efficientnet"}
    changes = {"model.frame_size": 64, "model.encoder": section, "model.projector_hidden": None, "model.latent": 1792}
    predictor = {**SECTION, "patches": 16}
    model = build(resolve(tiny, None, CHANGES | changes | {"model.predictor": predictor}).model).eval()
    assert model.predictor.channels == 112
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        x = torch.nn.functional.relu6(model.encoder.stem(pixels))
        for block in model.encoder.blocks:
            x = block(x)  # (2, 112, 4, 4)
        token = model.predictor._tokens(model.encoder(pixels)[:, None], torch.zeros(2, 1, 2), 0)
        token = token - model.predictor.positions[:, :1]
    torch.testing.assert_close(token[:, 0, 6, :112], x[:, :, 1, 2], rtol=1e-4, atol=1e-4)


def test_the_recipe_of_dino_wm_asks_for_the_file_of_the_weights(tmp_path, monkeypatch):
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    config = recipes.dino_wm("two-room", 2)
    assert (config.model.latent, config.model.predictor.patches) == (196 * 384, 196)
    data = tmp_path / "data.h5"
    collect(world("two-room"), data, 8, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=8)
    few = resolve(config, None, {"training.epochs": None, "training.steps": 1, "training.compile": "off"})
    with pytest.raises(LewmError) as caught:
        train(few, data, tmp_path / "run", CPU)
    problem, remedy = str(caught.value).split("\n")
    assert problem == "dinov2_vits14_pretrain.pth: No such file or directory"
    assert "DINOv2's ViT-S/14" in remedy
    assert remedy.endswith("name where you have it with --set model.encoder.weights=FILE.")
    assert not (tmp_path / "run").exists()


def test_the_predictor_of_the_recipe_has_the_published_sizes():
    """Those of the released code, with tokens of 384 + 10 numbers."""
    model = without_values(recipes.dino_wm("two-room", 2).model)
    sizes = {name: tuple(tensor.shape) for name, tensor in model.predictor.named_parameters()}
    assert sizes["positions"] == (1, 3, 196, 394)
    assert sizes["layers.5.qkv.weight"] == (3 * 16 * 64, 394)
    assert sizes["layers.5.fc1.weight"] == (2048, 394)
    assert model.predictor.norm.eps == 1e-5


def test_the_map_of_efficientnet_can_be_normalised_place_by_place(tiny):
    def embedded(normalised):
        changes = {"model.frame_size": 64, "model.encoder": {"kind": "efficientnet", "normalised": normalised}}
        torch.manual_seed(0)
        encoder = build(resolve(tiny, None, changes).model).encoder.eval()
        return encoder(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))).unflatten(1, (112, 16))

    with torch.inference_mode():
        plain, normalised = embedded(False), embedded(True)
    centred = plain - plain.mean(dim=1, keepdim=True)
    torch.testing.assert_close(normalised, centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt())


def test_it_is_trained_on_latents_of_a_frozen_encoder_that_are_computed_once(tiny, tmp_path, monkeypatch):
    data = tmp_path / "data.h5"
    collect(world("two-room"), data, 12, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=12)
    train(tiny, data, tmp_path / "source", CPU)
    frozen = {"kind": "frozen", "weights": str(tmp_path / "source"), "output": "embedding"}
    changes = {
        "model.encoder": frozen,
        "model.projector_hidden": None,
        "model.latent": 16,
        "objective": {"kind": "prediction"},
        "training.steps": 60,
        "training.learning_rate": 1e-2,
        "training.evaluate_every": 60,
        "training.checkpoint_every": 60,
    }
    config = resolve(tiny, None, CHANGES | changes)
    encoded = []
    train(config, data, tmp_path / "run", CPU, on_encoded=encoded.append)
    assert encoded[-1] == 1
    errors = [line["terms"]["prediction"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert np.mean(errors[-5:]) < 0.7 * np.mean(errors[:5])
    model = lewm.load(tmp_path / "run")
    assert isinstance(model.predictor, PatchTransformer)
    assert not model.encoder.training
    again = build(model.config)
    take_frozen(again)
    for name, tensor in again.encoder.state_dict().items():
        assert torch.equal(tensor, model.encoder.state_dict()[name]), name

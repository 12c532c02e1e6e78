"""The model's contracts that hold for any weights."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from lewm import recipes
from lewm.config import VitEncoder, resolve
from lewm.errors import LewmError
from lewm.model import build
from lewm.model.frames import check_frames, warn_if_reshaped
from lewm_kernels.rollout import rollout


def frames(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def stepwise(model, latents, blocks, history):
    """The definition of a rollout: one public prediction after the other, nothing shared."""
    trajectory = latents
    actions = blocks if history is None else torch.cat([history, blocks], dim=1)
    for end in range(latents.shape[1], latents.shape[1] + blocks.shape[1]):
        begin = max(0, end - model.history)
        following = model.predict(trajectory[:, begin:end], actions[:, begin:end])[:, -1:]
        trajectory = torch.cat([trajectory, following], dim=1)
    return trajectory[:, latents.shape[1] :]


@pytest.mark.parametrize("context", [1, 2, 3, 5])
@torch.inference_mode()
def test_rollout_equals_one_prediction_after_the_other(model, context):
    B, S, H, A = 2, 5, 4, model.config.action_block
    generator = torch.Generator().manual_seed(context)
    latents = torch.randn(B, context, 8, generator=generator)
    candidates = torch.randn(B, S, H, A, generator=generator)
    history = torch.randn(B, context - 1, A, generator=generator) if context > 1 else None
    together = model.rollout(latents, candidates, history)
    for s in range(S):
        alone = stepwise(model, latents, candidates[:, s], history)
        torch.testing.assert_close(together[:, s], alone, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_prediction_sees_only_its_past(model):
    L, A = model.history, model.config.action_block
    latents, actions = torch.randn(2, L, 8), torch.randn(2, L, A)
    before = model.predict(latents, actions)
    latents[:, -1], actions[:, -1] = 9, -9
    after = model.predict(latents, actions)
    torch.testing.assert_close(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1])


@torch.inference_mode()
def test_rollout_depends_on_every_block(model):
    candidates = torch.randn(1, 1, 4, model.config.action_block).repeat(1, 5, 1, 1)
    for block in range(4):
        candidates[0, block + 1, block] += 1
    last = model.rollout(torch.randn(1, 1, 8), candidates)[0]
    for block in range(4):
        torch.testing.assert_close(last[0, :block], last[block + 1, :block])
        assert not torch.allclose(last[0, block], last[block + 1, block], atol=1e-4)


def test_a_rollout_has_a_gradient_where_one_is_asked_for(model):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 2, 8, generator=generator)
    candidates = torch.randn(1, 3, 4, 10, generator=generator).requires_grad_()
    history = torch.randn(1, 1, 10, generator=generator)
    reached = model.rollout(latents, candidates, history)
    with torch.inference_mode():
        torch.testing.assert_close(reached, model.rollout(latents, candidates, history), rtol=1e-5, atol=1e-5)
    reached[:, :, 1].sum().backward()
    weights = (parameter.grad for part in (model.predictor, model.action_embedder) for parameter in part.parameters())
    assert all(gradient is not None and gradient.norm() > 0 for gradient in weights)
    assert (candidates.grad[:, :, :2].norm(dim=-1) > 0).all()
    assert not candidates.grad[:, :, 2:].any()


@torch.inference_mode()
def test_a_packed_model_rolls_out_as_the_model_did_when_it_was_packed(model):
    packed, inputs = model.pack(), (torch.randn(2, 1, 8), torch.randn(2, 3, 4, 10))
    before = model.rollout(*inputs)
    assert torch.equal(rollout(packed, *inputs), before)
    model.predictor.norm.weight.mul_(2)
    assert torch.equal(rollout(packed, *inputs), before)
    assert not torch.allclose(model.rollout(*inputs), before)
    assert model.pack("bf16").precision == "bf16"


@torch.inference_mode()
def test_an_embedding_does_not_depend_on_its_batch(model):
    many = frames(70, 1, 16, 16)
    together = model.encode(many)
    for i in (0, 37, 69):
        assert torch.equal(model.encode(many[i : i + 1]), together[i : i + 1])


@torch.inference_mode()
def test_frames_of_another_size_are_resized_with_antialiasing(model):
    large = frames(1, 1, 48, 48)
    small = F.interpolate(large[0].permute(0, 3, 1, 2).float(), (16, 16), mode="bilinear", antialias=True)
    expected = model.encode(small.round().to(torch.uint8).permute(0, 2, 3, 1)[None])
    torch.testing.assert_close(model.encode(large), expected, rtol=0, atol=0.02)
    assert not torch.allclose(model.encode(large[:, :, ::3, ::3]), expected, atol=0.02)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(2, 1, 16, 16, 3), ["frames are float32 of shape (2, 1, 16, 16, 3)", "multiply by 255"]),
        (torch.zeros(2, 1, 16, 16, 3, dtype=torch.float64), ["float64", "convert to uint8"]),
        (torch.zeros(2, 1, 16, 16, 3, dtype=torch.int64), ["int64", "convert values of 0 to 255 to uint8"]),
        (torch.zeros(2, 1, 3, 16, 16, dtype=torch.uint8), ["(2, 1, 3, 16, 16)", "x.movedim(-3, -1)"]),
        (torch.zeros(2, 1, 3, 16, 16), ["multiply by 255", "x.movedim(-3, -1)"]),
        (torch.zeros(1, 16, 16, 3, dtype=torch.uint8), ["expected uint8 of shape (B, T, Y, X, 3)", "5 dimensions"]),
        (torch.zeros(2, 1, 16, 16, 1, dtype=torch.uint8), ["red, green and blue in the last dimension"]),
    ],
)
def test_frames_that_would_be_misread_are_refused_with_the_remedy(model, wrong, words):
    with pytest.raises(LewmError) as caught:
        model.encode(wrong)
    problem, remedy = str(caught.value).split("\n")
    assert all(word in problem + remedy for word in words)
    with pytest.raises(LewmError, match=r"expected uint8 of shape \(N, Y, X, 3\)"):
        model.embed(wrong[0])


def test_the_check_of_frames_reads_no_values(model):
    """Tensors without values pass it, so no device is waited for."""
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(frames(2, 3, 16, 16))
        check_frames(fake, "B T Y X 3")
        with pytest.raises(LewmError, match="float32"):
            check_frames(fake.float(), "B T Y X 3")
    check_frames(torch.empty(2, 3, 16, 16, 3, dtype=torch.uint8, device="meta"), "B T Y X 3")


def test_frames_that_are_cut_are_told_once(model, caplog):
    warn_if_reshaped.cache_clear()
    for _ in range(2):
        model.encode(frames(1, 1, 20, 30))
    model.encode(frames(1, 1, 32, 32))
    model.encode(frames(1, 1, 400, 401))
    assert caplog.messages == ["30 x 20 frames are cut to their middle, 20 x 20."]


@pytest.mark.parametrize("encoder", ["vit", "conv"])
@pytest.mark.parametrize("side", [16, 24], ids=["as they are", "resized"])
@torch.inference_mode()
def test_frames_reach_the_first_convolution_channels_last(tiny, encoder, side):
    """Keeps the order of the pixels in memory: there is no pass that only reorders them."""
    vit = VitEncoder(patch=4, width=24, depth=1, heads=3, mlp=32).model_dump()
    model = build(resolve(tiny, None, {"model.encoder": vit} if encoder == "vit" else {}).model)
    first = next(module for module in model.encoder.modules() if isinstance(module, torch.nn.Conv2d))
    layouts = []
    first.register_forward_pre_hook(
        lambda _, inputs: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    model.encode(frames(2, 1, side, side))
    assert layouts == [True]


def test_actions_return_from_their_normal_form(model):
    model.action_mean.copy_(torch.tensor([0.5, -2.0]))
    model.action_std.copy_(torch.tensor([2.0, 0.1]))
    blocks = torch.randn(3, 10)
    normal = model.normalize_actions(blocks)
    torch.testing.assert_close(normal[:, 0], (blocks[:, 0] - 0.5) / 2)
    torch.testing.assert_close(normal[:, 9], (blocks[:, 9] + 2) / 0.1)
    torch.testing.assert_close(model.denormalize_actions(normal), blocks)
    statistics = model.block_statistics()
    model.action_mean.add_(1)
    assert torch.equal(statistics.normalize(blocks), normal)
    torch.testing.assert_close(statistics.denormalize(normal), blocks)


def test_a_standard_deviation_of_zero_is_refused(model):
    model.action_std.copy_(torch.tensor([1.0, 0.0]))
    with pytest.raises(LewmError, match=r"deviations of the actions are \[1.0, 0.0\], expected above 0\nSet .* to 1"):
        model.normalize_actions(torch.zeros(10))


def test_wrong_contexts_are_refused(model):
    candidates = torch.zeros(1, 2, 2, 10)
    with pytest.raises(ValueError, match="needs 1 executed blocks, got none"):
        model.rollout(torch.zeros(1, 2, 8), candidates)
    with pytest.raises(ValueError, match="needs 1 executed blocks, got 2"):
        model.rollout(torch.zeros(1, 2, 8), candidates, torch.zeros(1, 2, 10))
    with pytest.raises(ValueError, match="at most"):
        model.predict(torch.zeros(1, 4, 8), torch.zeros(1, 4, 10))


def test_a_fresh_predictor_is_blind_to_actions(tiny):
    """AdaLN-zero: with every gate at zero the layers are the identity."""
    model = build(tiny.model).eval()
    latents = torch.randn(2, 1, 8)
    with torch.inference_mode():
        assert torch.equal(model.predict(latents, torch.zeros(2, 1, 10)), model.predict(latents, torch.ones(2, 1, 10)))


@torch.inference_mode()
def test_any_sizes_by_configuration():
    changes = {
        "model.encoder": VitEncoder(patch=8, width=24, depth=1, heads=3, mlp=32).model_dump(),
        "model.frame_size": 32,
        "model.latent": 12,
        "model.predictor.width": 20,
        "model.predictor.history": 2,
        "model.action_dim": 3,
        "model.frameskip": 4,
    }
    model = awaken_any(build(resolve(recipes.small("two-room", 2), None, changes).model))
    latents = model.encode(frames(2, 2, 32, 32))
    assert latents.shape == (2, 2, 12)
    reached = model.rollout(latents, torch.randn(2, 3, 4, 12), torch.randn(2, 1, 12))
    assert reached.shape == (2, 3, 4, 12)
    assert reached.std() > 0.01


def awaken_any(model):
    for block in model.predictor.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    return model.eval()

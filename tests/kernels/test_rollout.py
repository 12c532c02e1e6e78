"""The rollout: accuracy against float64, what must not change a result, packing, memory and errors.

Shapes: B environments, S candidates, L context length, H horizon in blocks, D latent width, W predictor width, A
action-block width.
"""

import dataclasses
import importlib

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lewm_kernels.rollout import pack, reference, rollout

# `lewm_kernels.rollout` is also the function's name in the package: modules are fetched by their full path.
fast = importlib.import_module("lewm_kernels.rollout.torch")

HEADS = 2
A = 6


def parameters(D=8, W=8, history=3, layers=2, head_dim=4, sharpness=1.0, seed=0, norm=True) -> dict[str, torch.Tensor]:
    """Names and shapes as in a world model, in float64; every part matters."""
    inner, hidden, mlp, projector = HEADS * head_dim, 12, 20, 24
    shapes = {
        "action_embedder.bottleneck": (5, A),
        "action_embedder.hidden": (hidden, 5),
        "action_embedder.out": (D, hidden),
        "predictor.norm": (W,),
        "prediction_projector.0": (projector, D),
        "prediction_projector.1": (projector,),
        "prediction_projector.3": (D, projector),
    }
    if W != D:
        shapes |= {"predictor.input": (W, D), "predictor.condition": (W, D), "predictor.output": (D, W)}
    for i in range(layers):
        of_layer = {"attention_norm": (W,), "qkv": (3 * inner, W), "out": (W, inner), "mlp_norm": (W,)}
        of_layer |= {"fc1": (mlp, W), "fc2": (W, mlp), "modulation": (6 * W, W)}
        shapes |= {f"predictor.blocks.{i}.{name}": shape for name, shape in of_layer.items()}

    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tensors = {"predictor.positions": noise(1, history, D), "encoder.weight": noise(3, 3)}
    for name, shape in shapes.items():
        scale = sharpness if name.endswith("qkv") else 1.0
        tensors[f"{name}.weight"] = (
            scale * noise(*shape) / shape[-1] ** 0.5 if len(shape) == 2 else 1 + 0.2 * noise(*shape)
        )
        if not name.endswith("qkv"):
            tensors[f"{name}.bias"] = 0.2 * noise(shape[0])
    tensors["prediction_projector.1.running_mean"] = 0.2 * noise(projector)
    tensors["prediction_projector.1.running_var"] = 0.5 + noise(projector).square()
    return {name: tensor for name, tensor in tensors.items() if norm or not name.startswith("prediction_projector.1.")}


def typed(tensors, dtype):
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def inputs(B, S, H, L, D=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((B, L, D), (B, S, H, A), (B, L - 1, A))]


SHAPES = [  # B, S, H, L, and the model
    (1, 1, 1, 1, {}),
    (2, 5, 4, 1, {"history": 1}),
    (1, 67, 5, 1, {}),
    (2, 3, 4, 2, {"W": 12, "head_dim": 3}),
    (3, 2, 3, 5, {"W": 7, "history": 2, "layers": 1}),
    (1, 4, 6, 2, {"history": 4, "layers": 3}),
    (2, 3, 4, 2, {"W": 12, "head_dim": 3, "norm": False}),
]

every_kind = pytest.mark.parametrize("residual", [False, True], ids=["adaln", "residual"])


@every_kind
@pytest.mark.parametrize(("B", "S", "H", "L", "sizes"), SHAPES)
def test_error_is_at_most_twice_that_of_the_definition(B, S, H, L, sizes, residual):
    model = {"heads": HEADS, "residual": residual}
    ours = definition = 0.0
    for seed in range(10):  # a single one of few numbers is often right by chance
        tensors, given = parameters(**sizes, seed=seed), inputs(B, S, H, L, seed=seed)
        exact = reference.rollout(tensors, *(x.double() for x in given), **model)
        single = typed(tensors, torch.float32)
        ours += (rollout(pack(single, **model), *given) - exact).square().sum().item()
        definition += (reference.rollout(single, *given, **model) - exact).square().sum().item()
    assert ours <= 4 * definition


@every_kind
@pytest.mark.parametrize(("B", "S", "H", "L", "sizes"), SHAPES)
def test_bfloat16_is_nearer_to_the_truth_than_the_definition_in_it(B, S, H, L, sizes, residual):
    model = {"heads": HEADS, "residual": residual}
    ours = definition = size = 0.0
    for seed in range(10):
        tensors, given = parameters(**sizes, seed=seed), inputs(B, S, H, L, seed=seed)
        exact = reference.rollout(tensors, *(x.double() for x in given), **model)
        half = typed(tensors, torch.bfloat16)
        plain = reference.rollout(half, *(x.bfloat16() for x in given), **model)
        packed = pack(typed(tensors, torch.float32), precision="bf16", **model)
        ours += (rollout(packed, *given) - exact).square().sum().item()
        definition += (plain - exact).square().sum().item()
        size += exact.square().sum().item()
    assert 1e-8 * size < ours < definition


@pytest.fixture(params=[("fp32", False), ("bf16", False), ("fp32", True)], ids=["fp32", "bf16", "residual"])
def packed(request):
    precision, residual = request.param
    weights = typed(parameters(W=12, head_dim=3), torch.float32)
    return pack(weights, heads=HEADS, precision=precision, residual=residual)


@pytest.fixture(params=[1, 3], ids=lambda threads: f"{threads}-threads")
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("L", [1, 2])
def test_a_candidate_is_the_same_alone_and_among_others(packed, L, monkeypatch):
    B, S = 3, 131
    latents, candidates, history = inputs(B, S, 4, L)
    together = rollout(packed, latents, candidates, history)
    for b, some in [(0, slice(0, 1)), (2, slice(130, 131)), (1, slice(7, 9)), (0, slice(1, 66)), (2, slice(0, 131))]:
        one = slice(b, b + 1)
        assert torch.equal(rollout(packed, latents[one], candidates[one, some], history[one]), together[one, some])
    order = torch.randperm(S, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rollout(packed, latents, candidates[:, order], history), together[:, order])
    for held in (1, 1 << 18, 1 << 19):  # seven chunks, and some of other sizes
        monkeypatch.setattr(fast, "_CPU_BYTES", held)
        assert torch.equal(rollout(packed, latents, candidates, history), together)


@settings(max_examples=25)
@given(
    window=st.integers(1, 4), L=st.integers(1, 5), H=st.integers(1, 6), later=st.integers(0, 5), seed=st.integers(0, 99)
)
@example(window=3, L=1, H=5, later=2, seed=0)
def test_a_block_changes_what_comes_after_it_and_nothing_before(window, L, H, later, seed):
    later %= H
    packed = pack(typed(parameters(history=window), torch.float32), heads=HEADS)
    latents, candidates, history = inputs(1, 1, H, L, seed=seed)
    changed = candidates.clone()
    changed[:, :, later] += 1
    before, after = (rollout(packed, latents, plans, history) for plans in (candidates, changed))
    assert torch.equal(before[:, :, :later], after[:, :, :later])
    assert not torch.isclose(before[:, :, later:], after[:, :, later:]).all(dim=-1).any()


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ("wide", "expected one of the designs split, whole, layerwise, got 'wide'"),
        ("split", "the design split cannot run here: it is one of the Triton kernels, and the backend is torch"),
    ],
)
def test_a_design_that_is_not_there_is_refused(design, message):
    packed = pack(typed(parameters(), torch.float32), heads=HEADS)
    with pytest.raises(ValueError, match=message):
        rollout(packed, *inputs(1, 2, 3, 1), backend="torch", design=design)


def test_only_the_last_latents_and_blocks_of_a_context_count():
    packed = pack(typed(parameters(history=2), torch.float32), heads=HEADS)
    latents, candidates, history = inputs(2, 3, 4, 5)
    expected = rollout(packed, latents, candidates, history)
    assert torch.equal(rollout(packed, latents[:, -2:], candidates, history[:, -1:]), expected)


def test_attention_as_sharp_as_it_gets_does_not_overflow():
    tensors, given = parameters(sharpness=1e3), inputs(2, 5, 4, 1)
    exact = reference.rollout(tensors, *(x.double() for x in given), heads=HEADS)
    got = rollout(pack(typed(tensors, torch.float32), heads=HEADS), *given)
    # scores of 1e5 are known to 1e-2, so that some rows attend elsewhere
    assert ((got - exact).norm(dim=-1) < 1e-4 * exact.norm(dim=-1)).float().mean() > 0.8
    assert got.isfinite().all()


def test_without_onednn_the_result_is_the_same(monkeypatch):
    tensors, given = typed(parameters(), torch.float32), inputs(2, 5, 4, 2)
    expected = rollout(pack(tensors, heads=HEADS), *given)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    torch.testing.assert_close(rollout(pack(tensors, heads=HEADS), *given), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("onednn", [True, False])
def test_autocast_and_inference_mode_do_not_change_the_result(onednn, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    packed, given = pack(typed(parameters(), torch.float32), heads=HEADS), inputs(2, 5, 4, 2)
    expected = rollout(packed, *given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rollout(packed, *given), expected)
    with torch.inference_mode():
        assert torch.equal(rollout(packed, *given), expected)


@pytest.mark.parametrize(("precision", "set_to"), [("fp32", "highest"), ("bf16", "highest"), ("tf32", "high")])
def test_the_precision_is_that_of_the_packed_model_while_it_runs(precision, set_to, monkeypatch):
    packed = pack(typed(parameters(), torch.float32), heads=HEADS, precision=precision.replace("tf32", "fp32"))
    seen, through = set(), fast.through
    monkeypatch.setattr(fast, "through", lambda *x: (seen.add(torch.get_float32_matmul_precision()), through(*x))[1])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        rollout(dataclasses.replace(packed, precision=precision), *inputs(1, 2, 3, 1))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == {set_to}


def test_strided_and_double_inputs_give_the_same_result(packed):
    given = inputs(2, 5, 4, 2)
    expected = rollout(packed, *given)
    strided = [x.transpose(0, -1).contiguous().transpose(0, -1).double() for x in given]
    assert not any(x.is_contiguous() for x in strided)
    assert torch.equal(rollout(packed, *strided), expected)


def test_a_packed_model_is_a_snapshot():
    tensors, given = typed(parameters(), torch.float32), inputs(1, 2, 3, 1)
    packed = pack(tensors, heads=HEADS)
    expected = rollout(packed, *given)
    fresh = pack(tensors, heads=HEADS)
    for tensor in tensors.values():
        tensor.zero_()
    assert torch.equal(rollout(packed, *given), expected)
    assert torch.equal(rollout(fresh, *given), expected)


def test_matrices_alone_are_in_bfloat16():
    packed = pack(typed(parameters(W=12), torch.float32), heads=HEADS, precision="bf16")
    tensors = [dataclasses.asdict(packed), *(dataclasses.asdict(layer) for layer in packed.layers)]
    dtypes = {name: x.dtype for part in tensors for name, x in part.items() if isinstance(x, torch.Tensor)}
    assert {name for name, dtype in dtypes.items() if dtype == torch.bfloat16} == {
        name for name in dtypes if name.endswith("_weight")
    }
    assert (packed.width, packed.latent, packed.inner, packed.history, packed.action_block) == (12, 8, 8, 3, A)


@every_kind
def test_the_definition_is_differentiable(residual):
    tensors, (latents, candidates, history) = parameters(layers=1), inputs(1, 2, 3, 2)
    weight = tensors["predictor.blocks.0.qkv.weight"].requires_grad_()

    def function(latents, candidates, weight):
        changed = tensors | {"predictor.blocks.0.qkv.weight": weight}
        given = latents, candidates, history.double()
        return reference.rollout(changed, *given, heads=HEADS, residual=residual)

    moving = (latents.double().requires_grad_(), candidates.double().requires_grad_(), weight)
    assert torch.autograd.gradcheck(function, moving, fast_mode=True)


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() * leaf.itemsize for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return out


def test_nothing_but_the_result_grows_with_the_candidates(monkeypatch):
    held = 1 << 18
    monkeypatch.setattr(fast, "_CPU_BYTES", held)
    packed = pack(typed(parameters(), torch.float32), heads=HEADS)
    given = inputs(1, 20_000, 2, 1)
    rollout(packed, *inputs(1, 1, 1, 1))  # makes the parts that are made once for a model
    with LargestTensor() as ours:
        result = fast.rollout(packed, *given[:2])
    assert result.nbytes > 4 * held
    assert ours.bytes <= max(held, result.nbytes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": torch.zeros(2, 2, 9)}, "latents of width 8 and action blocks of width 6, got 9 and 6"),
        ({"candidates": torch.zeros(2, 0, 4, 6)}, "at least one environment"),
        ({"candidates": torch.zeros(2, 5, 0, 6)}, "at least one environment"),
        ({"history": None}, "a context of 2 latents needs 1 executed blocks, got none"),
        ({"history": torch.zeros(2, 2, 6)}, "needs 1 executed blocks, got 2"),
        ({"latents": torch.zeros(2, 2, 8, requires_grad=True)}, "latents require a gradient, which only .*reference"),
        ({"candidates": torch.zeros(2, 5, 4, 6, device="meta")}, "candidates where the weights are, got meta and cpu"),
        ({"backend": "compiled"}, 'auto, torch, triton, got backend="compiled"'),
    ],
)
def test_wrong_inputs_are_named(change, message):
    packed = pack(typed(parameters(), torch.float32), heads=HEADS)
    latents, candidates, history = inputs(2, 5, 4, 2)
    good = {"latents": latents, "candidates": candidates, "history": history}
    with pytest.raises(ValueError, match=message):
        rollout(packed, **{**good, **change})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 8), (2, 5, 4, 6), None), r"latents \(B, L, 8\) and candidates \(B, S, H, 6\) of one B, got \(2, 8\)"),
        (((3, 1, 8), (2, 5, 4, 6), None), r"of one B, got \(3, 1, 8\) and \(2, 5, 4, 6\)"),
        (((2, 1, 8), (2, 5, 4, 7), None), "action blocks of width 6, got 8 and 7"),
        (((2, 2, 8), (2, 5, 4, 6), (1, 1, 6)), r"blocks of shape \(2, 1, 6\), got \(1, 1, 6\)"),
    ],
)
def test_wrong_shapes_are_named(shapes, message):
    packed = pack(typed(parameters(), torch.float32), heads=HEADS)
    # Past the annotations, which check the same thing only where tests switch them on.
    operator = importlib.import_module("lewm_kernels.rollout")
    with pytest.raises(ValueError, match=message):
        operator._check_shapes(packed, *(None if shape is None else torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("precision", "message"),
    [("fp16", "one of the precisions fp32, tf32, bf16, got 'fp16'"), ("tf32", "tf32 is .* CUDA .* on cpu")],
)
def test_wrong_precisions_are_refused(precision, message):
    with pytest.raises(ValueError, match=message):
        pack(typed(parameters(), torch.float32), heads=HEADS, precision=precision)


def test_matrices_for_tf32_are_rounded_to_the_nearest():
    from lewm_kernels.rollout.pack import _rounded_to_tf32

    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    rounded = _rounded_to_tf32(x)
    mantissa, _ = torch.frexp(rounded)
    assert torch.equal(mantissa * 2**11, (mantissa * 2**11).round())  # 1 bit before the point and 10 after it
    spacing = torch.ldexp(torch.ones_like(x), torch.frexp(x).exponent - 11)
    assert ((rounded - x).abs() <= spacing / 2).all()
    assert (rounded > x).any()
    assert (rounded < x).any()

"""The rollout's Triton kernels on a GPU, at the paper's sizes.

Shapes: B environments, S candidates, L context length.
"""

import pytest
import torch

from lewm import recipes
from lewm.model import build
from lewm_kernels.rollout import pack, reference, rollout
from lewm_kernels.rollout.tiles import DESIGNS

pytestmark = pytest.mark.gpu
HEADS = 16


@pytest.fixture(scope="module")
def paper():
    """The paper's model in float64, every tensor different from what it is at first."""
    torch.manual_seed(0)
    model = build(recipes.paper("two-room", 2).model).double().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.2 * torch.rand_like(tensor))
    return model.cuda().state_dict()


def inputs(B, S, L):
    generator = torch.Generator().manual_seed(0)
    shapes = (B, L, 192), (B, S, 5, 10), (B, L - 1, 10)
    return [torch.randn(shape, generator=generator).cuda() for shape in shapes]


def typed(tensors, dtype):
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


# Every design in every precision that it takes; None is what the tile table picks.
FORMS = [
    (design, precision)
    for design in (None, *DESIGNS)
    for precision in ("fp32", "tf32", "bf16")
    if design != "whole" or precision == "bf16"
]


# The kind differs in one kernel, so that its errors need no further shapes.
CASES = [
    *((*shape, False) for shape in ((1, 300, 1), (1, 300, 3), (3, 17, 2), (7, 300, 1), (50, 300, 1))),
    *((*shape, True) for shape in ((1, 300, 3), (50, 300, 1))),
]


@pytest.mark.parametrize(("B", "S", "L", "residual"), CASES)
@pytest.mark.parametrize(("design", "precision"), FORMS)
def test_on_a_gpu_the_error_is_at_most_twice_that_of_the_definition(
    paper, matmul_precision, design, precision, B, S, L, residual
):
    given, model = inputs(B, S, L), {"heads": HEADS, "residual": residual}
    environments = zip(*(x.double().split(1) for x in given), strict=True)  # all together would take gigabytes
    exact = torch.cat([reference.rollout(paper, *one, **model) for one in environments])
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matmul_precision("high" if precision == "tf32" else "highest")
    plain = reference.rollout(typed(paper, dtype), *(x.to(dtype) for x in given), **model)
    packed = pack(typed(paper, torch.float32), precision=precision, **model)
    got = rollout(packed, *given, backend="triton", design=design)
    assert (got - exact).norm() <= 2 * (plain - exact).norm()
    assert torch.equal(got, rollout(packed, *given, backend="triton", design=design))


@pytest.mark.parametrize("residual", [False, True], ids=["adaln", "residual"])
@pytest.mark.parametrize(("design", "precision"), FORMS)
def test_a_graph_records_it(paper, design, precision, residual):
    packed = pack(typed(paper, torch.float32), heads=HEADS, precision=precision, residual=residual)
    latents, candidates, _ = inputs(2, 100, 1)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # compiles, and gives cuBLAS a workspace
        first = rollout(packed, latents, candidates, backend="triton", design=design)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = rollout(packed, latents, candidates, backend="triton", design=design)
    graph.replay()
    assert torch.equal(recorded, first)
    candidates.neg_()
    graph.replay()
    assert torch.equal(recorded, rollout(packed, latents, candidates, backend="triton", design=design))
    assert not torch.equal(recorded, first)

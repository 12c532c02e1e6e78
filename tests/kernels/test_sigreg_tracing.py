"""SIGReg inside larger machinery: operator checks, torch.compile, gradient checkpointing.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import importlib
import subprocess
import sys

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from lewm_kernels import sigreg

operator = importlib.import_module("lewm_kernels.sigreg")


def random_inputs(T, N, D, M, K, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(T, N, D, generator=generator, dtype=torch.float64) + 0.3
    u = torch.nn.functional.normalize(torch.randn(D, M, generator=generator, dtype=torch.float64), dim=0)
    return z.to(dtype), u.to(dtype), torch.linspace(0, 3, K, dtype=torch.float64)


def value_and_gradient(function, z, directions, knots):
    z = z.detach().requires_grad_()
    value = function(z, directions, knots)
    value.sum().backward()
    return value.detach(), z.grad


def test_operator_is_registered_for_tracing():
    z, directions, knots = random_inputs(2, 5, 4, 3, 17, torch.float32)
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    given, drawn = (directions, None, 0, 0), (None, torch.tensor(5), -3, 7)
    for source in (given, drawn):
        for with_gradient in (False, True):
            arguments = (z, *source, knots, with_gradient, "torch", None)
            torch.library.opcheck(operator._sigreg, arguments, test_utils=tests)


# A process of its own: the tests' checks of annotations cannot be traced.
TRACED = """
import torch, lewm_kernels
knots = torch.linspace(0, 3, 17)
directions = lewm_kernels.directions(0, 0, 4, 3)

def loss(z):
    return lewm_kernels.sigreg(2 * z, directions, knots).square().sum()

for dynamic in (False, True):
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for N in (5, 9):
        z = torch.randn(2, N, 4, requires_grad=True)
        expected = loss(z)
        (slope,) = torch.autograd.grad(expected, z)
        got = compiled(z)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, z)[0], slope)
    with torch.no_grad():
        torch.testing.assert_close(compiled(z), expected.detach())
"""

# Programs compiled for five steps: of a tensor one, of a number one and a second for all others.
STEPS = """
import torch
from lewm_kernels import RandomDirections, directions, sigreg
knots, z = torch.linspace(0, 3, 17), torch.randn(2, 5, 4, requires_grad=True)

def loss(z, directions):
    return sigreg(2 * z, directions, knots).square().sum()

def count(graph, example):
    programs.append(graph)
    return graph

for kind, most in ((torch.tensor, 1), (int, 2)):
    torch.compiler.reset()
    programs = []
    compiled = torch.compile(loss, backend=count, fullgraph=True)
    for step in (7, 8, 9, 10, 1 << 40):
        expected = loss(z, directions(3, step, 4, 6))
        got = compiled(z, RandomDirections(3, kind(step), 6))
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
        slopes = [torch.autograd.grad(value, z)[0] for value in (got, expected)]
        torch.testing.assert_close(*slopes, rtol=0, atol=0)
    assert len(programs) == most, (kind, len(programs))
"""


@pytest.mark.parametrize("program", [TRACED, STEPS], ids=["shapes", "steps"])
def test_traced_without_a_break(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing(use_reentrant):
    inputs = random_inputs(2, 5, 4, 3, 17)

    def checkpointed(*args):
        return checkpoint(lambda z, *rest: sigreg(z.tanh(), *rest), *args, use_reentrant=use_reentrant)

    expected = value_and_gradient(lambda z, *rest: sigreg(z.tanh(), *rest), *inputs)
    torch.testing.assert_close(value_and_gradient(checkpointed, *inputs), expected, rtol=0, atol=0)

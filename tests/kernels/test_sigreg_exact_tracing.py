"""Exact SIGReg inside larger machinery: operator checks and torch.compile."""

import importlib
import subprocess
import sys

import torch

operator = importlib.import_module("lewm_kernels.sigreg_exact")


def test_operator_is_registered_for_tracing():
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    for with_gradient in (False, True):
        arguments = (torch.ones(2, 5, 4), torch.linspace(0, 3, 17), with_gradient, None, 0, 1)
        torch.library.opcheck(operator._sigreg_exact, arguments, test_utils=tests)


# A process of its own: the tests' checks of annotations cannot be traced.
TRACED = """
import torch, lewm_kernels
knots = torch.linspace(0, 3, 17)

def loss(z):
    return lewm_kernels.sigreg_exact(2 * z, knots).square().sum()

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


def test_traced_without_a_break():
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

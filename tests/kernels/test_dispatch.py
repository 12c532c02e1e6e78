"""Which backend is taken and why: with and without CUDA, Triton and its driver; by argument and by environment."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from lewm_kernels import dispatch, sigreg
from lewm_kernels.dispatch import BackendError, Choice, choose

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def forget():
    dispatch._no_triton.cache_clear()
    dispatch._no_driver.cache_clear()


@pytest.fixture(autouse=True)
def open_choice(monkeypatch):
    """Nothing is forced, and nothing is remembered from another test."""
    monkeypatch.delenv("LEWM_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    forget()
    yield
    forget()


def install_triton(monkeypatch, problem: Exception | None = None) -> None:
    """A Triton with a driver, or with one that fails."""

    def target() -> None:
        if problem:
            raise problem

    driver = SimpleNamespace(active=SimpleNamespace(get_current_target=target))
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(runtime=SimpleNamespace(driver=driver)))


def remove_triton(monkeypatch) -> None:
    class Nowhere:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "triton":
                raise ModuleNotFoundError("No module named 'triton'", name="triton")

    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])


def gpu(monkeypatch, capability: tuple[int, int] = (9, 0)) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def test_auto_takes_triton_on_a_cuda_device(monkeypatch):
    install_triton(monkeypatch)
    gpu(monkeypatch)
    assert choose("sigreg", CUDA) == Choice("triton", "CUDA device and Triton are there")
    assert choose("sigreg", CUDA, unsupported="they are too wide") == Choice("torch", "they are too wide")


def test_other_devices_get_torch_whatever_is_installed(monkeypatch):
    install_triton(monkeypatch)
    assert choose("sigreg", CPU) == Choice("torch", "the device is cpu, not cuda")
    assert choose("sigreg", torch.device("mps")) == Choice("torch", "the device is mps, not cuda")


def no_driver(monkeypatch):
    install_triton(monkeypatch, RuntimeError("0 active drivers ([]). There should only be one."))
    gpu(monkeypatch)


def old_device(monkeypatch):
    install_triton(monkeypatch)
    gpu(monkeypatch, (7, 5))


def no_cuda_in_torch(monkeypatch):
    def assertion(device):
        raise AssertionError("Torch not compiled with CUDA enabled")

    install_triton(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_capability", assertion)


def broken_triton(monkeypatch):
    remove_triton(monkeypatch)
    refuse = SimpleNamespace(find_spec=lambda name, *_: broken() if name == "triton" else None)

    def broken() -> None:
        raise ImportError("libtriton.so: undefined symbol")

    monkeypatch.setattr(sys, "meta_path", [refuse, *sys.meta_path])


OBSTACLES = [
    (remove_triton, "triton is not installed"),
    (broken_triton, "triton cannot be imported: libtriton.so"),
    (no_driver, "triton has no driver for it: 0 active drivers"),
    (no_cuda_in_torch, "triton has no driver for it: Torch not compiled with CUDA"),
    (old_device, "compute capability is 7.5, and Triton needs 8.0"),
]


@pytest.mark.parametrize(("situation", "reason"), OBSTACLES)
def test_a_cuda_device_without_a_working_triton_gets_torch(situation, reason, monkeypatch):
    situation(monkeypatch)
    choice = choose("sigreg", CUDA)
    assert choice.backend == "torch"
    assert reason in choice.reason


@pytest.mark.parametrize(("situation", "reason"), OBSTACLES)
def test_triton_by_name_is_refused_with_the_same_reason(situation, reason, monkeypatch):
    situation(monkeypatch)
    with pytest.raises(BackendError, match="sigreg: expected to run in Triton") as refusal:
        choose("sigreg", CUDA, "triton")
    assert choose("sigreg", CUDA).reason in str(refusal.value)


def test_the_variable_decides_what_the_argument_leaves_open(monkeypatch):
    install_triton(monkeypatch)
    gpu(monkeypatch)
    monkeypatch.setenv("LEWM_KERNELS", "torch")
    assert choose("sigreg", CUDA) == Choice("torch", "LEWM_KERNELS=torch asks for it")
    assert choose("sigreg", CUDA, "triton") == Choice("triton", 'backend="triton" asks for it')
    monkeypatch.setenv("LEWM_KERNELS", "triton")
    assert choose("sigreg", CUDA).backend == "triton"
    for backend in ("torch", "compiled"):
        assert choose("sigreg", CUDA, backend) == Choice(backend, f'backend="{backend}" asks for it')
    with pytest.raises(BackendError, match="LEWM_KERNELS=triton, but the device is cpu"):
        choose("sigreg", CPU)
    for nothing in ("auto", ""):
        monkeypatch.setenv("LEWM_KERNELS", nothing)
        assert choose("sigreg", CPU).backend == "torch"
        assert choose("sigreg", CUDA).backend == "triton"


def test_an_unknown_backend_is_named(monkeypatch):
    with pytest.raises(BackendError, match='auto, torch, compiled, triton, got backend="cuda"'):
        choose("sigreg", CPU, "cuda")
    monkeypatch.setenv("LEWM_KERNELS", "Triton")
    with pytest.raises(BackendError, match="got LEWM_KERNELS=Triton"):
        choose("sigreg", CPU)


def test_the_variable_does_not_concern_an_operator_without_that_backend(monkeypatch):
    monkeypatch.setenv("LEWM_KERNELS", "compiled")
    assert choose("candidates", CPU) == Choice("torch", "the device is cpu, not cuda")
    with pytest.raises(BackendError, match='auto, torch, triton, got backend="compiled"'):
        choose("candidates", CPU, "compiled")


def test_an_operator_with_one_version_is_not_forced(monkeypatch):
    monkeypatch.setenv("LEWM_KERNELS", "triton")
    assert choose("philox", CPU) == Choice("torch", "it has no other version")


def inputs(D: int = 4, K: int = 17, dtype: torch.dtype = torch.float32):
    directions = torch.nn.functional.normalize(torch.ones(D, 3), dim=0)
    return torch.linspace(-1, 1, 2 * 5 * D, dtype=dtype).view(2, 5, D), directions, torch.linspace(0, 3, K)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": torch.float64}, "embeddings are torch.float64, not one of torch.float32"),
        ({"D": 1025}, "width 1025 are wider than 1024"),
        ({"K": 65}, "65 knots are more than 64"),
        ({}, "the device is cpu"),
    ],
)
def test_sigreg_says_what_triton_does_not_take(change, reason):
    with pytest.raises(BackendError, match=reason):
        sigreg(*inputs(**change), backend="triton")
    assert sigreg(*inputs(**change)).isfinite().all()


def test_sigreg_obeys_the_variable(monkeypatch):
    expected = sigreg(*inputs())
    monkeypatch.setenv("LEWM_KERNELS", "torch")
    assert torch.equal(sigreg(*inputs()), expected)
    monkeypatch.setenv("LEWM_KERNELS", "triton")
    with pytest.raises(BackendError, match="LEWM_KERNELS=triton"):
        sigreg(*inputs())


IMPORT_WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None  # importing it fails
import torch, lewm_kernels
z = torch.randn(2, 8, 4, requires_grad=True)
lewm_kernels.sigreg(z, lewm_kernels.directions(0, 0, 4, 3), torch.linspace(0, 3, 17)).sum().backward()
assert z.grad.norm() > 0
"""

IN_THE_INTERPRETER = """
import torch, lewm_kernels
z = (torch.randn(2, 9, 5) + 0.3).requires_grad_()
directions, knots = lewm_kernels.directions(0, 0, 5, 7), torch.linspace(0, 3, 18)
results = []
for backend in ("torch", "triton"):
    z.grad = None
    value = lewm_kernels.sigreg(z, directions, knots, backend=backend)
    (value * torch.tensor([1.0, -2.0])).sum().backward()
    results.append((value.detach(), z.grad))
for ours, theirs in zip(*results, strict=True):
    assert ours.dtype == theirs.dtype == torch.float32
    assert (ours - theirs).norm() < 1e-5 * theirs.norm(), (ours, theirs)
"""


def run(program: str, **variables: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_library_works_without_triton():
    run(IMPORT_WITHOUT_TRITON)


@pytest.mark.usefixtures("interpreter")
def test_sigreg_runs_through_triton_when_asked():
    run(IN_THE_INTERPRETER, TRITON_INTERPRET="1")

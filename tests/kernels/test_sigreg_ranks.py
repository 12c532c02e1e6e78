"""SIGReg over several processes: the loss and every gradient of one process that has all embeddings.

Run as a program with RANK RANKS RENDEZVOUS FOLDER, this file is one of the processes.

Shapes: T time steps, N embeddings of all processes, D latent width, M directions, K knots, X inputs of an encoder.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lewm_kernels import RandomDirections, sigreg
from lewm_kernels import directions as draw

operator = importlib.import_module("lewm_kernels.sigreg")

T, N, D, M, K, X = 3, 13, 6, 11, 18, 4
PARTS = {1: [13], 2: [9, 4], 3: [1, 5, 7]}  # embeddings of every process
DTYPES = {"float64": (torch.float64, 1e-12), "float32": (torch.float32, 1e-6)}


def inputs(dtype):
    """Embeddings (T, N, D), directions (D, M) and knots (K,), the same in every process."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(T, N, D, generator=generator, dtype=torch.float64) + 0.3
    directions = torch.nn.functional.normalize(torch.randn(D, M, generator=generator, dtype=torch.float64), dim=0)
    return z.to(dtype), directions.to(dtype), torch.linspace(0, 3, K, dtype=torch.float64)


def encoder(dtype):
    torch.manual_seed(1)
    layers = torch.nn.Linear(X, 8), torch.nn.GELU(), torch.nn.Linear(8, D)
    return torch.nn.Sequential(*layers).to(dtype), torch.randn(T, N, X, dtype=torch.float64).to(dtype)


def with_gradient(function, z, weight=1.0):
    z = z.detach().clone().requires_grad_()
    value = function(z)
    (weight * value.sum()).backward()
    return {"value": value.detach(), "gradient": z.grad}


def parameter_gradients(model, x, function):
    loss = function(model, x).mean()
    loss.backward()
    return {"value": loss.detach(), **{name.removeprefix("module."): p.grad for name, p in model.named_parameters()}}


def process(rank: int, ranks: int, rendezvous: str, folder: str) -> None:
    """The result of one process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=ranks)
    group = dist.group.WORLD
    first = sum(PARTS[ranks][:rank])
    own = slice(first, first + PARTS[ranks][rank])
    sent = []
    add = operator.sum_over_ranks
    operator.sum_over_ranks = lambda x, name: sent.append(x.numel()) or add(x, name)
    results = {}
    for name, (dtype, _) in DTYPES.items():
        z, directions, knots = inputs(dtype)
        z = z[:, own]

        def ours(z, directions=directions, knots=knots):
            return sigreg(z, directions, knots, group=group)

        sent.clear()
        results[f"{name} plain"] = with_gradient(ours, z)
        results[f"{name} sent"] = list(sent)
        random = RandomDirections(3, 1 << 32, M)
        results[f"{name} random"] = with_gradient(lambda z, u=random: ours(z, u), z)
        results[f"{name} weighted"] = with_gradient(ours, z, rank + 1.0)
        results[f"{name} checkpointed"] = with_gradient(lambda z: checkpoint(ours, z, use_reentrant=False), z)
        model, x = encoder(dtype)
        model = DistributedDataParallel(model)
        results[f"{name} encoder"] = parameter_gradients(model, x[:, own], lambda model, x: ours(model(x)))
    results["half"] = with_gradient(ours, z.bfloat16())
    operator.sum_over_ranks = add
    results["compiled"] = with_gradient(torch.compile(ours, backend="aot_eager", fullgraph=True), z)
    if os.environ["TRITON_INTERPRET"] == "1":
        results["triton"] = with_gradient(lambda z: sigreg(z, directions, knots, group=group, backend="triton"), z)
    results["outside"] = None
    try:
        sigreg(z, directions, knots, group=dist.new_group([0]))
    except ValueError as error:
        results["outside"] = str(error)
    with torch.no_grad():
        results["no gradient"] = {"value": ours(z.requires_grad_())}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=PARTS, ids=lambda ranks: f"{ranks} processes")
def results(request, tmp_path_factory, interpreter_obstacle):
    """The results of all processes."""
    ranks = request.param
    folder = tmp_path_factory.mktemp("ranks")
    rendezvous = (folder / "rendezvous").as_uri()
    commands = [[sys.executable, __file__, str(rank), str(ranks), rendezvous, str(folder)] for rank in range(ranks)]
    running = [
        subprocess.Popen(
            command,
            env={**os.environ, "TRITON_INTERPRET": "0" if interpreter_obstacle else "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    try:
        said = [one.communicate()[0] for one in running]
    finally:
        for one in running:
            one.kill()
    assert all(one.returncode == 0 for one in running), "\n".join(said)
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks)]


def close(got, expected, tolerance):
    assert got.dtype == expected.dtype
    assert (got - expected).norm() <= tolerance * expected.norm()


def whole_gradient(results, key):
    """Gradients of all processes side by side."""
    return torch.cat([result[key]["gradient"] for result in results], dim=1)


@pytest.mark.parametrize("how", ["plain", "checkpointed"])
@pytest.mark.parametrize("name", DTYPES)
def test_value_and_gradient_are_those_of_one_process(results, name, how):
    dtype, tolerance = DTYPES[name]
    z, directions, knots = inputs(dtype)
    expected = with_gradient(lambda z: sigreg(z, directions, knots), z)
    key = f"{name} {how}"
    close(results[0][key]["value"], expected["value"], tolerance)
    # Every process has the value in its loss.
    close(whole_gradient(results, key), len(results) * expected["gradient"], tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_all_processes_draw_the_same_directions(results, name):
    dtype, tolerance = DTYPES[name]
    z, _, knots = inputs(dtype)
    expected = with_gradient(lambda z: sigreg(z, draw(3, 1 << 32, D, M), knots), z)
    close(results[0][f"{name} random"]["value"], expected["value"], tolerance)
    close(whole_gradient(results, f"{name} random"), len(results) * expected["gradient"], tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_upstream_gradients_of_all_processes_are_added(results, name):
    dtype, tolerance = DTYPES[name]
    z, directions, knots = inputs(dtype)
    expected = with_gradient(lambda z: sigreg(z, directions, knots), z, sum(range(1, len(results) + 1)))
    close(whole_gradient(results, f"{name} weighted"), expected["gradient"], tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_an_encoder_under_ddp_gets_the_gradients_of_one_process(results, name):
    dtype, tolerance = DTYPES[name]
    _, directions, knots = inputs(dtype)
    model, x = encoder(dtype)
    expected = parameter_gradients(model, x, lambda model, x: sigreg(model(x), directions, knots))
    for result in results:
        got = result[f"{name} encoder"]
        assert set(got) == set(expected)
        for key, value in expected.items():
            close(got[key], value, tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_all_processes_hold_the_same_bits(results, name):
    for result in results:
        assert torch.equal(result[f"{name} plain"]["value"], results[0][f"{name} plain"]["value"])


@pytest.mark.parametrize("name", DTYPES)
def test_one_all_reduce_forward_and_one_backward(results, name):
    for result in results:
        assert result[f"{name} sent"] == [T * M * (K - 1) * 2 + 1, T]


def test_compiled_and_without_gradient(results):
    plain = [result["float32 plain"] for result in results]
    for result, expected in zip(results, plain, strict=True):
        close(result["compiled"]["value"], expected["value"], 1e-6)
        close(result["compiled"]["gradient"], expected["gradient"], 1e-6)
        assert torch.equal(result["no gradient"]["value"], expected["value"])


def test_sixteen_bit_embeddings_are_summed_in_float32(results):
    z, directions, knots = inputs(torch.float32)
    expected = with_gradient(lambda z: sigreg(z, directions, knots), z.bfloat16())
    close(results[0]["half"]["value"], expected["value"], 1e-6)
    close(whole_gradient(results, "half"), (len(results) * expected["gradient"].float()).bfloat16(), 2**-8)


def test_a_process_outside_the_group_is_told(results):
    assert results[0]["outside"] is None
    for result in results[1:]:
        assert re.search(r"member of, got .*-100.*init_process_group", result["outside"])


@pytest.mark.usefixtures("interpreter")
def test_triton_kernels_are_summed_alike(results):
    z, directions, knots = inputs(torch.float32)
    expected = with_gradient(lambda z: sigreg(z, directions, knots), z)
    close(results[0]["triton"]["value"], expected["value"], 1e-6)
    close(whole_gradient(results, "triton"), len(results) * expected["gradient"], 1e-6)


if __name__ == "__main__":
    process(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])

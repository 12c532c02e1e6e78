"""Exact SIGReg over several processes: the value and every gradient of one process that has all embeddings.

Run as a program with RANK RANKS RENDEZVOUS FOLDER, this file is one of the processes.

Shapes: T time steps, N embeddings of all processes, D latent width, K knots, X inputs of an encoder.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lewm_kernels import sigreg_exact

T, N, D, K, X = 3, 13, 18, 9, 4
PARTS = {1: [13], 2: [9, 4], 3: [1, 5, 7]}  # embeddings of every process
DTYPES = {"float64": (torch.float64, 1e-12), "float32": (torch.float32, 1e-6)}
KNOTS = torch.linspace(0, 3, K)


def embeddings(dtype):
    """(T, N, D), the same in every process."""
    z = torch.randn(T, N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (z + 0.3).to(dtype)


def encoder(dtype):
    torch.manual_seed(1)
    layers = torch.nn.Linear(X, 8), torch.nn.GELU(), torch.nn.Linear(8, D)
    return torch.nn.Sequential(*layers).to(dtype), torch.randn(T, N, X, dtype=torch.float64).to(dtype)


def with_gradient(z, weight=1.0, function=sigreg_exact, **options):
    z = z.detach().clone().requires_grad_()
    value = function(z, KNOTS, **options)
    (weight * value.sum()).backward()
    return {"value": value.detach(), "gradient": z.grad}


def parameter_gradients(model, x, **options):
    loss = sigreg_exact(model(x), KNOTS, **options).mean()
    loss.backward()
    return {"value": loss.detach(), **{name.removeprefix("module."): p.grad for name, p in model.named_parameters()}}


def process(rank: int, ranks: int, rendezvous: str, folder: str) -> None:
    """The result of one process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=ranks)
    group = dist.group.WORLD
    first = sum(PARTS[ranks][:rank])
    own = slice(first, first + PARTS[ranks][rank])
    results = {}
    for name, (dtype, _) in DTYPES.items():
        z = embeddings(dtype)[:, own]
        results[f"{name} plain"] = with_gradient(z, group=group)
        results[f"{name} weighted"] = with_gradient(z, rank + 1.0, group=group)
        model, x = encoder(dtype)
        results[f"{name} encoder"] = parameter_gradients(DistributedDataParallel(model), x[:, own], group=group)
    results["half"] = with_gradient(z.bfloat16(), group=group)
    compiled = torch.compile(sigreg_exact, backend="aot_eager", fullgraph=True)
    results["compiled"] = with_gradient(z, function=compiled, group=group)
    results["outside"] = None
    try:
        sigreg_exact(z, KNOTS, group=dist.new_group([0]))
    except ValueError as error:
        results["outside"] = str(error)
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=PARTS, ids=lambda ranks: f"{ranks} processes")
def results(request, tmp_path_factory):
    """The results of all processes."""
    ranks = request.param
    folder = tmp_path_factory.mktemp("ranks")
    rendezvous = (folder / "rendezvous").as_uri()
    commands = [[sys.executable, __file__, str(rank), str(ranks), rendezvous, str(folder)] for rank in range(ranks)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands
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


@pytest.mark.parametrize("name", DTYPES)
def test_value_and_gradient_are_those_of_one_process(results, name):
    dtype, tolerance = DTYPES[name]
    expected = with_gradient(embeddings(dtype))
    for result in results:
        assert torch.equal(result[f"{name} plain"]["value"], results[0][f"{name} plain"]["value"])
    close(results[0][f"{name} plain"]["value"], expected["value"], tolerance)
    # Every process has the value in its loss.
    close(whole_gradient(results, f"{name} plain"), len(results) * expected["gradient"], tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_upstream_gradients_of_all_processes_are_added(results, name):
    dtype, tolerance = DTYPES[name]
    expected = with_gradient(embeddings(dtype), sum(range(1, len(results) + 1)))
    close(whole_gradient(results, f"{name} weighted"), expected["gradient"], tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_an_encoder_under_ddp_gets_the_gradients_of_one_process(results, name):
    dtype, tolerance = DTYPES[name]
    expected = parameter_gradients(*encoder(dtype))
    for result in results:
        got = result[f"{name} encoder"]
        assert set(got) == set(expected)
        for key, value in expected.items():
            close(got[key], value, 3 * tolerance)


def test_compiled(results):
    for result in results:
        for key, value in result["float32 plain"].items():
            close(result["compiled"][key], value, 1e-6)


def test_sixteen_bit_embeddings_are_computed_in_float32(results):
    expected = with_gradient(embeddings(torch.float32).bfloat16())
    close(results[0]["half"]["value"], expected["value"], 1e-6)
    close(whole_gradient(results, "half"), (len(results) * expected["gradient"].float()).bfloat16(), 2**-8)


def test_a_process_outside_the_group_is_told(results):
    assert results[0]["outside"] is None
    for result in results[1:]:
        assert re.search(r"sigreg_exact: .*member of, got .*-100.*init_process_group", result["outside"])


if __name__ == "__main__":
    process(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])

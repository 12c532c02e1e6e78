"""Readers of what lewm writes, of configurations, and of released checkpoints."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from _batch import Reader, command
from _mutate import mutate_bytes, mutate_text, mutate_tree, to_json, to_toml, with_literals
from _scenes import TINY
from _sealing import join_tensors, seal_json, seal_tasks, seal_tensors, split_tensors
from _seeds import Seeds

FOLDERS = 2  # bytes at the ends of a zip archive that say where everything is, in KiB


def readers(seeds: Seeds) -> list[Reader]:
    """All of them."""
    run = seeds.run
    return [
        Reader("configuration, file", 900, _configuration, read_configuration),
        Reader("run, config.json", 500, _run_with(run, "config.json", _sealed_json), load),
        Reader("run, config.json, go on", 150, _run_with(run, "config.json", _sealed_json), resume),
        Reader("run, config.json, plan", 150, _run_with(run, "config.json", _sealed_json), plan),
        Reader("run, model", 500, _run_with(run, "model.safetensors", _tensors), load),
        Reader("run, training", 150, _run_with(run, "training.safetensors", _tensors), resume),
        Reader("run, reference", 300, _run_with(run, "reference.safetensors", _tensors), read_reference),
        Reader("run, decoder", 300, _run_with(run, "decoder.safetensors", _tensors), read_decoder),
        Reader("run, head", 300, _run_with(run, "head.safetensors", _tensors), read_head),
        Reader("run, policy", 300, _run_with(run, "policy-idm.safetensors", _tensors), read_policy),
        Reader("report, embeddings", 150, _run_with(run, "embeddings.json", _sealed_json), write_page),
        Reader("report, metrics", 250, _run_with(run, "metrics.jsonl", _lines), write_page),
        *(
            Reader(f"report, {kind}", 150, _run_with(run, f"{kind}-*.json", _sealed_json), write_page)
            for kind in ("plan", "probe", "decode", "surprise")
        ),
        Reader("tasks", 700, _tasks(seeds.tasks), read_tasks),
        Reader("manifest of CLEAR-LeWM", 700, _manifest(seeds.manifest), read_manifest(seeds)),
        Reader("released, config.json", 300, _released(seeds.released, "config.json"), load),
        Reader("released, weights", 150, _released(seeds.released, "weights.pt"), load),
        Reader("released, config.json, import", 150, _released(seeds.released, "config.json"), import_into(seeds)),
        Reader("released, config.json, info", 150, _released(seeds.released, "config.json"), info),
        Reader("released, weights, info", 150, _released(seeds.released, "weights.pt"), info),
        Reader("imported run, config.json, info", 150, _run_with(seeds.imported, "config.json", _sealed_json), info),
    ]


def read_configuration(path: Path) -> None:
    """Reads a configuration like `--config`."""
    from lewm import recipes
    from lewm.config import resolve

    resolve(recipes.small("two-room", 2), path)


def load(directory: Path) -> None:
    """The model."""
    import lewm

    lewm.load(directory)


def resume(directory: Path) -> None:
    """The checkpoint that `--resume` goes on from."""
    command(["train", "--device", "cpu", "--resume", "--out", str(directory)])


def plan(directory: Path) -> None:
    """What a run that is read is for, with its own settings; in few steps."""
    command(
        ["plan", "--run", str(directory), *["--episodes", "1", "--samples", "8", "--elites", "2", "--iterations", "1"]]
    )


def info(directory: Path) -> None:
    """Says what a run or a released checkpoint holds."""
    command(["checkpoint", "info", str(directory)])


def import_into(seeds: Seeds) -> Callable[[Path], None]:
    """Makes runs of released checkpoints."""

    def make(directory: Path) -> None:
        out = directory.with_name("imported")
        command(["checkpoint", "import", str(directory), "--data", str(seeds.data), "--out", str(out)])

    return make


def read_reference(directory: Path) -> None:
    """What is normal for the run; its dataset is there, so that it may be made again."""
    from lewm.opened_run import open_run
    from lewm.surprise.reference import of_run

    of_run(open_run(directory)).episodes()


def read_decoder(directory: Path) -> None:
    """The run's decoder."""
    import torch

    from lewm.decoding.decoder_file import load_decoder

    load_decoder(directory, torch.device("cpu"))


def read_head(directory: Path) -> None:
    """The run's head, as the cost of plans."""
    from lewm.config import HeadCost
    from lewm.heads.files import with_own_head
    from lewm.opened_run import open_run

    run = open_run(directory)
    with_own_head(run, run.config.planning.model_copy(update={"cost": HeadCost()}))


def read_policy(directory: Path) -> None:
    """The run's policy."""
    from lewm.heads.files import own_policy
    from lewm.opened_run import open_run

    own_policy(open_run(directory), "idm")


def write_page(directory: Path) -> None:
    """The page of a run."""
    from lewm.page.command import write_page as write

    write(directory)


def read_tasks(path: Path) -> None:
    """Reads tasks like `--tasks`."""
    from lewm.evaluation.manifest import read_tasks as read
    from lewm_data.envs.registry import world

    read(path, world("two-room"))


def read_manifest(seeds: Seeds) -> Callable[[Path], None]:
    """Reads a manifest like `--tasks` with `--data`; other JSON is none, which is right, too."""
    data = seeds.data

    def read(path: Path) -> None:
        from lewm.evaluation.clear.manifest import read_if_manifest
        from lewm.evaluation.clear.pairs import tasks_of
        from lewm_data.envs.registry import world
        from lewm_data.store.dataset import Dataset

        manifest = read_if_manifest(path)
        if manifest is not None:
            with Dataset.open(data) as dataset:
                tasks_of(manifest, dataset, world("two-room"))

    return read


def _configuration(rng: Random, folder: Path) -> Path:
    path = folder / rng.choice(("a.toml", "a.json"))
    if rng.random() < 0.3:
        text = TINY if path.suffix == ".toml" else to_json(tomllib.loads(TINY))
        text = mutate_text(text, rng)
    else:
        tree = mutate_tree(tomllib.loads(TINY), rng)
        text = to_toml(tree) if path.suffix == ".toml" and isinstance(tree, dict) else to_json(tree)
    path.write_bytes(text.encode(errors="surrogatepass"))
    return path


def _run_with(run: Path, pattern: str, spoil: Callable[[bytes, Random], bytes]) -> Callable[[Random, Path], Path]:
    """Copies a run of which one file is spoilt."""

    def make(rng: Random, folder: Path) -> Path:
        copy = folder / "r"
        shutil.copytree(run, copy)
        (path,) = copy.glob(pattern)
        path.write_bytes(spoil(path.read_bytes(), rng))
        return copy

    return make


def _json(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.2:
        return mutate_bytes(data, rng)
    if rng.random() < 0.2:
        return mutate_text(data.decode(), rng).encode(errors="replace")
    return to_json(mutate_tree(json.loads(data), rng)).encode()


def _sealed_json(data: bytes, rng: Random) -> bytes:
    """JSON with a checksum, which half of the inputs have anew."""
    if rng.random() < 0.5:
        return _json(data, rng)
    return with_literals(seal_json(mutate_tree(json.loads(data), rng))).encode()


def _lines(data: bytes, rng: Random) -> bytes:
    """Lines of JSON of which one is spoilt."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = _json(lines[at], rng).replace(b"\n", b" " if rng.random() < 0.9 else b"\n")
    return b"\n".join(lines) + b"\n"


def _tensors(data: bytes, rng: Random) -> bytes:
    """A safetensors file: its bytes, or its header, which is JSON. Half of the inputs have their checksum anew."""
    header, tensors = split_tensors(data)
    if rng.random() < 0.4:
        spoilt = mutate_bytes(data, rng, (0, len(data) - len(tensors)))
    elif rng.random() < 0.5:  # shapes and places that agree with each other
        spoilt = join_tensors(to_json(_reshaped(header, rng)), tensors)
    elif rng.random() < 0.5:
        spoilt = join_tensors(to_json(mutate_tree(header, rng)), tensors)
    else:
        spoilt = join_tensors(to_json(header), mutate_bytes(tensors, rng))
    return seal_tensors(spoilt) if rng.random() < 0.5 else spoilt


def _reshaped(header: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Tensors of another shape or type over the same bytes, or of another name."""
    names = [name for name in header if name != "__metadata__"]
    for name in rng.sample(names, min(len(names), rng.choice((1, 2, 5)))):
        one = header[name]
        match rng.randrange(4):
            case 0:
                one["shape"] = one["shape"][::-1]
            case 1:
                one["shape"] = [1, *one["shape"]]
            case 2:
                one["dtype"] = {"F32": "I32", "I64": "F64", "U8": "I8"}.get(one["dtype"], "F32")
            case 3:
                header[rng.choice(("\x1b[31m", "a\nb", name * 20, f"{name}.x"))] = header.pop(name)
    return header


def _tasks(path: Path) -> Callable[[Random, Path], Path]:
    data = path.read_bytes()

    def make(rng: Random, folder: Path) -> Path:
        spoilt = folder / "tasks.json"
        spoilt.write_bytes(_json(data, rng))
        if rng.random() < 0.5:
            seal_tasks(spoilt)
        return spoilt

    return make


def _manifest(path: Path) -> Callable[[Random, Path], Path]:
    data = path.read_bytes()

    def make(rng: Random, folder: Path) -> Path:
        spoilt = folder / "manifest.json"
        spoilt.write_bytes(_json(data, rng))
        return spoilt

    return make


def _released(directory: Path, name: str) -> Callable[[Random, Path], Path]:
    def make(rng: Random, folder: Path) -> Path:
        copy = folder / "released"
        shutil.copytree(directory, copy)
        path = copy / name
        if name.endswith(".json"):
            path.write_bytes(_json(path.read_bytes(), rng))
        elif rng.random() < 0.4:
            _save_oddly(path, rng)
        else:
            data = path.read_bytes()
            ends = ((0, FOLDERS << 10), (len(data) - (FOLDERS << 13), len(data)))
            path.write_bytes(mutate_bytes(data, rng, rng.choice(ends)))
        return copy

    return make


def _save_oddly(path: Path, rng: Random) -> None:
    """Tensors that are no plain ones, or a file that holds other things than a dictionary of them."""
    import torch

    tensors: Any = torch.load(path, weights_only=True)
    name = rng.choice(list(tensors))
    match rng.randrange(9):
        case 0:
            tensors[name] = torch.zeros(1).expand(2**20, 2**12)
        case 1:
            tensors[name] = tensors[name].to(rng.choice((torch.float16, torch.complex64, torch.bool, torch.float64)))
        case 2:
            tensors[name] = tensors[name].to_sparse() if tensors[name].ndim else tensors[name]
        case 3:
            tensors[name] = torch.empty(2**20, 2**20, device="meta")
        case 4:
            tensors[rng.choice((3, None, ("a", 1), "\x1b[1m"))] = tensors.pop(name)
        case 5:
            tensors[name] = rng.choice(("text", 3, None, [tensors[name]], {"a": tensors[name]}))
        case 6:
            tensors = rng.choice(([], {}, {"state_dict": tensors}, "text", torch.zeros(3), 7))
        case 7:
            tensors[name] = torch.full_like(tensors[name], -1 if tensors[name].dtype == torch.int64 else float("nan"))
        case 8:
            tensors[name] = torch.nn.Parameter(tensors[name].double(), requires_grad=True)
    torch.save(tensors, path)

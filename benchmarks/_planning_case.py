"""A model to plan with, its inputs, and rows of measurements, for bench_planning.py.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width, Y and X the sides of a frame.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import _stable_worldmodel
import torch
from _measure import Call, can_capture, captured, in_turns, median_ratio, spread
from _planning_paths import SEED, Path, all_paths, family
from torch import Tensor

import lewm.model
from lewm import recipes
from lewm.config import Config, Planning, resolve
from lewm.model.world_model import WorldModel
from lewm_kernels import normal

BASELINES = ("reference", "reference-compiled", "stable-worldmodel", "dino-wm-sized", "dino-wm-sized-compiled")
TINY = {
    "model.frame_size": 16,
    "model.latent": 8,
    "model.projector_hidden": 16,
    "model.predictor.projector_hidden": 16,
    "model.encoder": {"kind": "conv", "channels": [4, 8], "width": 16},
    "model.predictor": {"history": 3, "width": 8, "depth": 2, "heads": 2, "head_dim": 4, "mlp": 16},
    "model.action_embedder.hidden": 16,
    "planning.planner": {"samples": 24, "elites": 4, "iterations": 3},
}
NOT_INSTALLED = "not installed"  # the reason why a package's path is not run
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model, the paths that plan with it (their names end in a precision), and how often to measure.

    `left_out` are paths that are not run, each with the reason.
    """

    name: str
    model: WorldModel
    planning: Planning
    paths: dict[str, Path]
    turns: int
    left_out: Mapping[str, str]

    @property
    def device(self) -> torch.device:
        """The device on which everything runs."""
        return self.model.device

    def inputs(self, B: int, S: int, H: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (B, D), goals (B, D), candidates (B, S, H, A): normal numbers."""
        D, A = self.model.config.latent, self.model.config.action_block
        streams = torch.arange(B, device=self.device)[:, None].expand(B, 3)
        drawn = normal(SEED, streams, 2 * D + S * H * A)
        return drawn[:, :D], drawn[:, D : 2 * D], drawn[:, 2 * D :].contiguous().view(B, S, H, A)

    def frames(self, B: int) -> Tensor:
        """Frames of B environments, (B, Y, X, 3): noise."""
        size = self.model.config.frame_size
        generator = torch.Generator().manual_seed(SEED)
        return torch.randint(256, (B, size, size, 3), generator=generator, dtype=torch.uint8)

    def as_graph(self, call: Call) -> Call:
        """The call, on a CUDA device under a graph."""
        return captured(call) if self.device.type == "cuda" else call

    def in_search(self, call: Call) -> Call:
        """The call as a search launches it: under a graph if one can still be captured."""
        return self.as_graph(call) if can_capture() else call

    def timed(self, calls: Mapping[str, Call]) -> dict[str, list[float]]:
        """Seconds of each call in each turn."""
        return in_turns(calls, self.device, self.turns, warm_up=1)

    def rows(
        self, times: dict[str, list[float]], about: Row, of_path: Callable[[str], Row] = lambda name: {}
    ) -> list[Row]:
        """A row for each path, with the times of the baselines among them as multiples of its own."""
        rows = []
        for name, own in times.items():
            path, (title, precision) = self.paths.get(name), name.split()
            row = {"model": self.name, **about, "path": title, "precision": precision}
            if path:
                row |= {"backend": path.backend, "graph": path.graph}
            row |= {"device": str(self.device), "threads": torch.get_num_threads(), **spread(own)}
            row["ratios"] = {
                other: median_ratio(theirs, own)
                for other, theirs in times.items()
                if family(other.split()[0]) in BASELINES
            }
            rows.append(row | of_path(name))
            print(describe(rows[-1]), flush=True)
        return rows

    def skipped(self, about: Row, faults: Mapping[str, str]) -> list[Row]:
        """A row for each path that was not timed, with the reason."""
        rows = []
        for name, reason in faults.items():
            title, _, precision = name.partition(" ")
            row = {"model": self.name, **about, "path": title, "precision": precision, "skipped": reason}
            rows.append(row | {"device": str(self.device), "threads": torch.get_num_threads(), "ratios": {}})
            print(f"{self.name} ({about['part']}) {name}: {reason}", flush=True)
        return rows


def build(
    name: str,
    device: torch.device,
    turns: int,
    families: Iterable[str],
    precisions: Iterable[str],
    left_out: Mapping[str, str],
) -> Case:
    """A case with random weights, on which time does not depend."""
    config = _config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = lewm.model.build(config.model).eval().requires_grad_(False)
        for block in model.predictor.blocks:
            torch.nn.init.normal_(block.modulation.weight, std=0.05)  # zero at first, every layer the identity
    model = model.to(device)
    paths = all_paths(model, families, precisions, device.type)
    faults = {}
    if "stable-worldmodel" in families and not _stable_worldmodel.installed():
        faults["stable-worldmodel fp32"] = NOT_INSTALLED
    for path in paths:
        title, precision = path.split()
        plain = f"{family(title)} {precision}"  # a path that is left out is left out under a graph too
        if plain in left_out:
            faults[path] = left_out[plain]
    return Case(name, model, config.planning, paths, turns, faults)


def describe(row: Row) -> str:
    """One line for a reader."""
    faster = ", ".join(f"{name} x{ratio:g}" for name, ratio in row["ratios"].items())
    share = row.get("share_of_matrix_rate")
    peak, B = row.get("peak_extra_bytes"), row["environments"]
    return (
        f"{row['threads']} threads {row['model']:6} ({row['part']}) {row['stage']:8} B {B:<3} "
        f"S {row['samples']:<5} H {row['horizon']:<3} {row['path']:25} {row['precision']}  {row['median_ms']:11.3f} ms "
        f"({row['p20_ms']:.3f} to {row['p80_ms']:.3f})"
        + (f"  {share:.0%} of the matrix rate" if share else "")
        + (f"  {peak / 2**20:.1f} MiB" if peak is not None else "")
        + (f"  error {row['error']:.1e}" if "error" in row else "")
        + (f"  {row['together']} at a time" if row.get("together", B) < B else "")
        + ("  does not repeat" if row.get("repeats") is False else "")
        + (f"  [{faster}]" if faster else "")
    )


def _config(name: str) -> Config:
    if name == "tiny":
        return resolve(recipes.small("two-room", 2), None, TINY)
    return recipes.recipe(name, "two-room", 2)

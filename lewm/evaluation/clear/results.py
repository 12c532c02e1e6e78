"""Outcomes of a manifest's pairs, in the form of CLEAR-LeWM's results.

N pairs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lewm.checkpoints.run import CONFIG, MODEL
from lewm.errors import LewmError
from lewm.evaluation.clear.manifest import Manifest, read_if_manifest
from lewm.evaluation.clear.pairs import placed_starts, wall_axes
from lewm.evaluation.clear.protocol import MODERATE, STRICT
from lewm.evaluation.clear.rules import succeeded
from lewm.evaluation.episodes import Played
from lewm.evaluation.report import EvalReport, agent_name
from lewm.evaluation.tasks import Tasks
from lewm.files import sha256, write_text
from lewm.json_values import finite
from lewm.measures.intervals import wilson_interval
from lewm.measures.several_runs import paired_difference

SCHEMA = "clear-lewm-result-v1"
CHOICE = {  # what of a protocol says how pairs are chosen, and not when they are solved
    "name",
    "description",
    "sampling",
    "split",
    "heldout_fraction",
    "exclude_initial_success",
    "goal_offset",
    "eval_budget",
    "min_difficulty",
    "reproduce_upstream_off_by_one",
    "tworoom_crossroom_only",
    "tworoom_source_window_clean",
}

Outcomes = dict[str, Bool[np.ndarray, " N"]]


def write_results(
    path: Path, manifest: Manifest, tasks: Tasks, run: Path, report: EvalReport, played: Played, floor: Played
) -> None:
    """Writes the outcome of every pair by the manifest's own protocol, by our rule, and by both rules of v0.8.

    A goal counts as reached where it was at any time in the budget, whatever came after it, so that one episode serves
    all rules. `episode_successes` and `metrics` are by the manifest's protocol. `pairs` has each pair's outcome by

    - `world`: the world's own rule, which `lewm plan` reports;
    - `moderate`, `strict`: CLEAR-LeWM's rules of these names, whatever the manifest's protocol is.

    Differs from CLEAR-LeWM's own files: the interval of the success rate is Wilson's; `metrics` compares with the
    random actions of this program, which are in the same file; `solver.batch_size` is the number of environments that
    ran together, on which no plan depends; its other numbers, and `inference.planning.planner`, are null unless the
    agent searches; `environment` names our own simulators. CLEAR-LeWM's check of submissions asks for fingerprints of
    its simulators, so it refuses this file: it is to be scored again, not to be submitted.

    Args:
        run: The directory of the run that planned.
        played, floor: What became of the tasks, with all states, by the plans and by random actions.
    """
    content = manifest.content
    planned, drawn = (_outcomes(manifest, tasks, one) for one in (played, floor))
    rule = content.protocol.rule(content.task)
    planner = report.planner
    search = planner["planner"] if planner["agent"] == "planner" else None
    numbers = search or {}
    result = {
        "schema_version": SCHEMA,
        "task": content.task,
        "protocol": manifest.protocol,
        "policy": agent_name(planner),
        "checkpoint": {
            "runtime_file": MODEL,
            "runtime_sha256": report.checkpoint_sha256,
            "config_sha256": sha256(run / CONFIG),
        },
        "policy_seed": planner["seed"],
        "dataset_name": Path(content.dataset.name).stem,
        "dataset_file": content.dataset.name,
        "dataset_fingerprint": content.dataset.fingerprint.model_dump(),
        "manifest": manifest.path.name,
        "manifest_sha256": manifest.sha256,
        "criterion": {
            **rule.model_dump(mode="json", exclude=CHOICE),
            "sustained_steps": rule.hold(content.task),
        },
        "solver": {
            "batch_size": planner["batch"],
            "num_samples": numbers.get("samples"),
            "n_steps": numbers.get("iterations"),
            "topk": numbers.get("elites"),
        },
        "inference": {"mode": planner["agent"], "planning": {**planner, "planner": search}},
        "metrics": _metrics(planned["protocol"], drawn["protocol"]),
        "episode_successes": planned["protocol"].tolist(),
        "random_episode_successes": drawn["protocol"].tolist(),
        "pairs": [
            {
                "pair_id": pair.pair_id,
                "policy": {name: bool(each[number]) for name, each in planned.items()},
                "random": {name: bool(each[number]) for name, each in drawn.items()},
            }
            for number, pair in enumerate(content.pairs)
        ],
        "tasks_sha256": report.tasks_sha256,
        "environment": {"simulator": f"lewm {tasks.env}"},
        "versions": report.versions,
    }
    write_text(path, json.dumps(finite(result), indent=2, sort_keys=True) + "\n")


def manifest_to_score(path: Path | None) -> Manifest:
    """The manifest whose pairs results are asked for.

    Raises:
        LewmError: There is none, or it cannot be read.
    """
    manifest = None if path is None else read_if_manifest(path)
    if manifest is None:
        raise LewmError(
            f"{path or 'the tasks'}: no manifest of CLEAR-LeWM, whose pairs --clear-results states the outcomes of",
            "Give --tasks a manifest, or --save-tasks FILE --tasks-form clear.",
        )
    return manifest


def _outcomes(manifest: Manifest, tasks: Tasks, played: Played) -> Outcomes:
    assert played.solved is not None, "CLEAR-LeWM has only worlds in which success is known"
    assert played.states is not None, "the rules look at all states"
    starts = placed_starts(tasks)
    goals, axes = np.stack([start.goal for start in starts]), wall_axes(starts)
    rules = {"protocol": manifest.content.protocol, "moderate": MODERATE, "strict": STRICT}
    task = manifest.content.task
    judged = {name: succeeded(task, rule, played.states, goals, axes) for name, rule in rules.items()}
    return {"world": played.solved, **judged}


def _metrics(planned: Bool[np.ndarray, " N"], drawn: Bool[np.ndarray, " N"]) -> dict[str, Any]:
    """CLEAR-LeWM's numbers, in percent and percentage points."""
    rate, chance = 100 * float(planned.mean()), 100 * float(drawn.mean())
    low, high = wilson_interval(int(planned.sum()), len(planned))
    gain = paired_difference(drawn[None], planned[None]).interval_95
    return {
        "episodes": len(planned),
        "success_rate_percent": rate,
        "success_rate_ci95_percent": [100 * low, 100 * high],
        "random_success_rate_percent": chance,
        "excess_over_random_pp": rate - chance,
        "normalized_success_percent": 100 * (rate - chance) / (100 - chance) if chance < 100 else None,
        "paired_gain_ci95_pp": [100 * one for one in gain],
    }

"""A comparison as one that was measured: 12 rows in three groups, of which one result failed, in two worlds."""

from dataclasses import replace

import numpy as np

from lewm.compare.result import Comparison, Group, Row, WorldResult
from lewm.compare.statistics import improvement, paired_test, time_ratio
from lewm.measures.embeddings import measure_embeddings
from lewm.measures.several_runs import paired_difference, success_over_runs
from lewm.measures.several_tests import holm

SEEDS, TASKS, STEPS = (0, 1, 2), 200, 800
FAILED = "failed: the loss is not finite at step 420 of 800"
LAMBDAS = (0.0, 0.01, 0.09, 0.5)

# Title, true success, settings, milliseconds a decision, spread of the latents at the end.
BASELINES = {
    "lewm": ("LeWM", 0.86, {}, 12.0, 1.0),
    "pldm": ("PLDM", 0.74, {"train.objective.kind": "pldm"}, 12.1, 0.8),
    "dino-wm": ("DINO-WM, EfficientNet-Lite0 patches", 0.81, {"train.recipe": "dino-wm-small"}, 431.0, 1.4),
    "gc-idm": ("GC-IDM on LeWM's latents", 0.68, {"plan.agent": "idm"}, 0.9, 1.0),
    "random": ("Random actions", 0.09, {"plan.agent": "random"}, 0.02, 1.0),
    "expert": ("The demonstrator", 0.985, {"plan.agent": "expert"}, 0.05, 1.0),
}
NOTES = {"pldm": "Its weights were not tuned.", "gc-idm": "It sees one latent."}
WIDTHS = {8: 0.61, 192: 0.87}


def comparison(worlds=("two-room", "push-t")):
    """The whole example."""
    return Comparison(
        name="baselines",
        title="LeWorldModel beside its baselines",
        made="2026-11-29 01:30 UTC",
        call=("compare", "baselines", "--jobs", "2"),
        seconds=5123.0,
        elapsed=2600.0,
        versions={"lewm": ("0.1.0",), "torch": ("2.13.0",), "numpy": ("2.4.0",), "python": ("3.11.7",)},
        timed_on=("cpu, threads: 2",),
        machine={"cpu": "AMD EPYC", "cores": 2},
        spec={"seeds": list(SEEDS), "reference": "lewm", "methods": {"lewm": {"title": "LeWM"}}},
        worlds=tuple(world(name, number) for number, name in enumerate(worlds)),
    )


def world(name, number):
    """One world."""
    generator = np.random.default_rng(number)
    reference = outcomes(0.86 - 0.2 * number, generator)
    rows = [
        row(key, title, rate - 0.2 * number * (key != "expert"), settings, ms, spread, reference, generator)
        for key, (title, rate, settings, ms, spread) in BASELINES.items()
    ]
    rows[1] = replace(
        without_seed(rows[1], 2, FAILED if number == 0 else "not done yet"),
        unpaired="seed 2: " + (FAILED if number == 0 else "not done yet"),
    )
    lambdas = [
        row(f"lambda-{x:g}", f"λ = {x:g}", rate, {"train.objective.lambda": x}, 12.0, x > 0, reference, generator, x)
        for x, rate in zip(LAMBDAS, (0.11, 0.79, 0.86, 0.70), strict=True)
    ]
    widths = [
        row(f"width-{x}", f"{x} numbers", rate, {"train.model.latent": x}, 11.0, 1.0, reference, generator, float(x))
        for x, rate in WIDTHS.items()
    ]
    return WorldResult(
        world=name,
        reference="lewm",
        reference_title="LeWM",
        tasks=TASKS,
        goal_offset=25,
        budget=50,
        data={"episodes": 1000, "frames": 48_210, "policy": "expert"},
        groups=(
            Group("Baselines", None, corrected(rows)),
            Group("Weight of SIGReg", "λ", corrected(lambdas)),
            Group("Width of the latent", "numbers a latent", corrected(widths)),
        ),
    )


def outcomes(rate, generator):
    """Which tasks are solved, for each seed."""
    of_seed = np.clip(rate + 0.02 * generator.standard_normal(len(SEEDS)), 0, 1)
    return generator.random((len(SEEDS), TASKS)) < of_seed[:, None]


def row(method, title, rate, settings, milliseconds, spread, reference, generator, x=None):
    """One row; the reference is the first."""
    is_reference = method == "lewm"
    solved = reference if is_reference else outcomes(rate, generator)
    times = milliseconds / 1000 * (1 + 0.05 * generator.random(30))
    theirs = 0.012 * (1 + 0.05 * generator.random(30))
    rates, others = solved.mean(axis=1).tolist(), reference.mean(axis=1).tolist()
    collapsed = not spread
    curves = tuple(curve(collapsed, generator) for _ in SEEDS)
    bound = settings.get("plan.agent") in ("random", "expert")
    return Row(
        method=method,
        title=title,
        x=x,
        note=NOTES.get(method, ""),
        settings=settings,
        seeds=SEEDS,
        solved=tuple((int(one.sum()), TASKS) for one in solved),
        tasks_sha256=tuple(f"{seed:064x}" for seed in SEEDS),
        success=success_over_runs([[(int(one.sum()), TASKS) for one in solved]]),
        difference=None if is_reference else paired_difference(reference, solved),
        paired_seeds=() if is_reference else SEEDS,
        unpaired="",
        p=None if is_reference else paired_test(reference, solved),
        p_holm=None,
        improvement=None if is_reference else improvement(rates, others),
        seconds_per_plan=milliseconds / 1000,
        ratio=None if is_reference else time_ratio(times, theirs),
        train_seconds=tuple(None if bound else float(t) for t in 45 + 5 * generator.random(3)),
        parameters=None if bound else 1_204_312 + 3_400_000 * (method == "dino-wm"),
        learnt_parameters=None if bound else 806_480 * (method == "gc-idm"),
        frozen_parameters=None if bound else 3_400_000 * (method == "dino-wm"),
        embeddings=tuple(None if bound else embedded(collapsed, spread, seed) for seed in SEEDS),
        collapsed_at=tuple(120 + 40 * seed if collapsed else None for seed in SEEDS),
        curve=((),) * 3 if bound else curves,
        runs=tuple(None if bound else f"runs/{'lewm' if 'plan.agent' in settings else method}/{s}" for s in SEEDS),
        plans=tuple(f"runs/{method}/seed-{seed}/plan.json" for seed in SEEDS),
        missing=("",) * 3,
    )


def embedded(collapsed, spread, seed):
    """Statistics of normal embeddings, or of those of a collapsed model."""
    latents = np.random.default_rng(seed).standard_normal((100, 16)).astype(np.float32)
    latents = 1e-3 * latents * 2.0 ** -np.arange(16) if collapsed else spread * latents
    return measure_embeddings(latents.astype(np.float32), np.arange(100), seed).as_dict()


def curve(collapsed, generator):
    """The spread of the latents over training."""
    steps = range(40, STEPS + 1, 40)
    noise = 1 + 0.05 * generator.random(len(steps))
    return tuple(
        (
            step,
            float(wobble * (0.6 * 10 ** (-step / 160) if collapsed else 1 - 0.6 * 2 ** (-step / 60))),
            float(wobble * (1 + 6 * 2 ** (-step / 80) if collapsed else 14 - 9 * 2 ** (-step / 120))),
        )
        for step, wobble in zip(steps, noise, strict=True)
    )


def without_seed(one, seed, why):
    """The row without what one seed would have given."""
    at = one.seeds.index(seed)

    def dropped(values, put=None):
        return (*values[:at], put, *values[at + 1 :])

    solved = dropped(one.solved)
    return replace(
        one,
        solved=solved,
        tasks_sha256=dropped(one.tasks_sha256),
        success=success_over_runs([[counts for counts in solved if counts is not None]]),
        paired_seeds=tuple(s for s in one.paired_seeds if s != seed),
        train_seconds=dropped(one.train_seconds),
        embeddings=dropped(one.embeddings),
        curve=dropped(one.curve, ()),
        runs=dropped(one.runs),
        plans=dropped(one.plans),
        missing=dropped(one.missing, why),
    )


def corrected(rows):
    """The rows with Holm's p-values."""
    tested = [one for one in rows if one.p is not None]
    after = dict(zip((one.method for one in tested), holm([one.p for one in tested]), strict=True))
    return tuple(replace(one, p_holm=after.get(one.method)) for one in rows)

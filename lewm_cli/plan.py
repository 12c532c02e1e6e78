"""`lewm plan`: run -> success rate with its interval, timings, videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, plan_options, plan_progress

SET = 'Set it with --set {key}=VALUE or its option; "lewm plan --help" lists them.'


def plan(
    run: options.Run = None,
    env: Annotated[
        str | None,
        typer.Option(
            help="Environment of the run, needed where it is package:Id-v0: imports that package and runs its code.",
            show_default="the run's",
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Blocks planned ahead; with --agent idm, in how many blocks the policy is to arrive.",
            show_default="the run's; with --agent idm as many as the goal is ahead",
        ),
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Tasks.", show_default="200")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="held-out: unseen episodes, unsolved starts. unsolved: any episode, unsolved starts. paper: any "
            "episode and start, as published.",
            show_default="held-out; of an imported run unsolved",
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="planner|idm|gcbc|gcivl|random|expert",
            help="Who acts. planner: a search. idm, gcbc, gcivl: the policy of 'lewm train-policy --kind', without a "
            "search. random: chance, the floor. expert: the world's demonstrator, the ceiling.",
            show_default="the run's",
        ),
    ] = None,
    planner: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="How to search for plans: cem, icem, mppi, adam.", show_default="the run's"),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Cost of a plan. last, min, mean: distance to the goal at the last imagined step, at the nearest, or "
            "averaged over all. head: the steps to the goal, by the head of 'lewm train-head'.",
            show_default="the run's",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="Candidates an iteration.", show_default="the run's")
    ] = None,
    elites: Annotated[
        int | None, typer.Option(min=2, help="Cheapest candidates kept.", show_default="the run's")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Iterations a plan.", show_default="the run's")] = None,
    execute: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Blocks executed before replanning.",
            show_default="the run's; with --protocol paper all of the plan",
        ),
    ] = None,
    horizon_end: Annotated[
        str | None,
        typer.Option(
            metavar="shrink|fixed",
            help="shrink: a plan has the blocks left until the planned arrival. fixed: it has the whole horizon.",
            show_default="the run's",
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=1, help="Latents that a plan begins from: the present and those before.", show_default="the run's"
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            metavar="on|idm|off",
            help="on: the search begins at the blocks left of the plan before. idm: at the plan of the policy of "
            "'lewm train-policy'.",
            show_default="the run's",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="auto|fp32|tf32|bf16",
            help="Rounding of the predictor's matrix products. auto: bf16 on CUDA devices that have it, else fp32.",
            show_default="the run's",
        ),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="on|off",
            help="on: plans stay within the action bounds stored with the run. off: they may leave them, as in the "
            "released code, and the environment clips actions.",
            show_default="the run's; with --protocol paper off",
        ),
    ] = None,
    goal_offset: Annotated[
        int | None, typer.Option(min=1, help="Environment steps to the goal in its episode.", show_default="the run's")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Environment steps allowed.", show_default="the run's")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=options.MAX_SEED,
            help="Seed of every random choice.",
            show_default="0; of a manifest of CLEAR-LeWM its policy_seed",
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Episodes that run together: auto (as memory allows) or a number.")
    ] = "auto",
    data: Annotated[Path | None, typer.Option(help="Dataset of the tasks.", show_default="the run's own")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|from-env",
            help="Tasks without a dataset: a file that --save-tasks wrote, or from-env for the environment's resets. "
            "Or pairs of the dataset: a manifest of CLEAR-LeWM.",
        ),
    ] = None,
    save_tasks: Annotated[
        Path | None, typer.Option(help="Write the tasks to this file, so that others can score the same ones.")
    ] = None,
    tasks_form: Annotated[
        str,
        typer.Option(metavar="lewm|clear", help="Form of --save-tasks: our own, or a manifest of CLEAR-LeWM."),
    ] = "lewm",
    clear_results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With a manifest of CLEAR-LeWM, given or written: write the outcome of each pair by its rules. Every "
            "episode goes on to the end of its budget.",
        ),
    ] = None,
    goal: Annotated[
        Path | None,
        typer.Option(help="PNG or JPEG picture to be reached in all tasks, from the environment's resets."),
    ] = None,
    device: options.Device = "auto",
    video: Annotated[str | None, typer.Option(metavar="mp4|gif", help="Film every episode, in this format.")] = None,
    imagine: Annotated[
        bool, typer.Option("--imagine", help='With --video: show what the plans expect. Needs "lewm decode" first.')
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of planning, such as planner.elites; repeatable."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Plan in latent space towards pictures of goals, and count how often they are reached."""
    together = options.auto_or_number(batch, 1, "--batch")
    plan_options.check_shown(video, imagine)
    plan_options.check_tasks(
        tasks,
        goal,
        tasks_form,
        save_tasks,
        of_dataset={"--protocol": protocol, "--data": data},
        of_any={"--episodes": episodes, "--goal-offset": goal_offset, "--budget": budget},
    )
    from lewm.config import Evaluation, Planning, override, validate
    from lewm.evaluation.clear.manifest import read_if_manifest
    from lewm.evaluation.command import PLANNING_NEEDS
    from lewm.evaluation.requests import FromDataset, FromEnv, FromFile, PlanRequest
    from lewm.opened_run import open_run
    from lewm.run_worlds import world_to_act_in
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    opened = open_run(run)
    config = opened.config
    flags = {
        "agent": agent,
        "planner.kind": planner,
        "planner.samples": samples,
        "planner.elites": elites,
        "planner.iterations": iterations,
        "cost.kind": cost,
        "horizon": horizon,
        "execute": execute,
        "horizon_end": horizon_end,
        "context": context,
        "warm_start": warm_start,
        "precision": precision,
        "bounds": bounds,
    }
    set_keys = options.assignments(set_ or [])
    assignments = set_keys | plan_options.given(flags)
    planning = config.planning.model_dump(mode="json", by_alias=True)
    override(planning, assignments)
    evaluation = config.evaluation.model_dump() | plan_options.given({"goal_offset": goal_offset, "budget": budget})
    remedy = 'Give the option another value; "lewm plan --help" lists them.'
    settings = validate(Evaluation, evaluation, "the options", remedy)
    source: FromDataset | FromEnv | FromFile
    manifest = None
    if tasks not in (None, plan_options.FROM_ENV):
        manifest = read_if_manifest(Path(tasks))
        if manifest is None:
            plan_options.refuse({"--data": data}, "the file that --tasks names settles it")
        source = FromFile(Path(tasks), data)
    elif tasks == plan_options.FROM_ENV or goal is not None:
        source = FromEnv(episodes or 200, settings, goal)
    else:
        source = FromDataset(data, protocol, episodes or 200, settings)
    chosen = validate(Planning, planning, "the options", SET)
    plan_options.refuse_unused(chosen, plan_options.given(flags), set_keys)
    if imagine and not chosen.plans:
        raise typer.BadParameter(f"shows plans, and the agent {chosen.agent} makes none", param_hint="--imagine")
    where = choose_device(device)
    place = world_to_act_in(opened, PLANNING_NEEDS, env)
    if tasks == plan_options.FROM_ENV and place.restorable:
        plan_options.refuse({"--goal-offset": goal_offset}, f"{config.env} has goals of its own")
    if place.action_groups is not None and "bounds" in assignments:
        plan_options.refuse({"--bounds": assignments["bounds"]}, f"the actions of {config.env} are choices")
    if seed is None:
        seed = 0 if manifest is None else manifest.content.policy_seed
    request = PlanRequest(
        run=run,
        tasks=source,
        planning=chosen,
        seed=seed,
        chosen=assignments,
        batch=together,
        video=video,
        imagine=imagine,
        save_tasks=save_tasks,
        clear_form=tasks_form == "clear",
        clear_results=clear_results,
    )
    plan_progress.evaluate_and_show(request, where, json)

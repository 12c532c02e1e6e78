"""What the page shows of each file that a run holds: one function for each part makes HTML from the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.checkpoints.origin import Origin
from lewm.config import POLICY_KINDS, Config
from lewm.evaluation.report import WITHOUT_PLANS, agent_name
from lewm.model.assembly import frozen_count, parameter_count
from lewm.page import elements, embeddings, findings, learning, tasks
from lewm.page.content import Content, other_weights
from lewm.page.course import success_beside
from lewm.page.document import KeyNumber
from lewm.page.shelf import Shelf
from lewm.planning.policy import NAMES
from lewm.reading import read_json
from lewm.report_files import read_report
from lewm.training.embeddings import FILE

# Where a search begins, by `planning.warm_start`.
BEGINS = {"off": "anew", "on": "at the rest of the plan before", "idm": "at the plan of the run's policy"}
LARGEST_TEXT = 2**28  # bytes of the configuration or the metrics


@dataclass(frozen=True)
class Part:
    """A kind of file in a run.

    Attributes:
        name: Its name in JSON and as an anchor.
        title: Its title on the page.
        pattern: Pattern of the file's name; the page shows the last by name, which is the newest.
        command: What makes it, for a {run} in a world {env}; {named} is its option where a package has to be imported.
        tells: What the page would show after that command.
        acts: Whether the command needs the world's simulator.
        has_data: Whether the file is kept with the page: it has the data of figures.
        further: Whether it stands beside a part that says enough where it is not there.
        content: Makes what is shown, from the file and the place for what is shown besides text.
    """

    name: str
    title: str
    pattern: str
    command: str
    tells: str
    content: Callable[[Path, Shelf], Content]
    acts: bool = False
    has_data: bool = True
    further: bool = False


def model(path: Path, shelf: Shelf) -> Content:
    """config.json: what was trained on what, by which code."""
    config, dataset = run.read_config(path.parent)
    origin = run.read_origin(path.parent)
    made = read_json(path, run.DAMAGED)
    side, (height, width) = config.model.frame_size, dataset.frame_size
    predictor = config.model.predictor
    seen = "" if (height, width) == (side, side) else f", seen at {side} × {side}"
    body = elements.facts(
        [
            ("World", config.env),
            ("Recipe", config.recipe),
            ("Frames", f"{width} × {height} pixels{seen}, every {config.model.frameskip}th"),
            ("Encoder", config.model.encoder.in_words),
            ("Latent", f"{config.model.latent} numbers"),
            ("Predictor", f"{predictor.in_words}, sees {_count(predictor.history, 'latent')}"),
            *(_trained(config) if origin is None else _imported(origin)),
            ("Dataset", f"{Path(dataset.path).name} ({dataset.fingerprint[:12]})"),
            ("Made by", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
            ("Commit", _short(made["commit"])),
        ]
    )
    learnt, frozen = parameter_count(config.model), frozen_count(config.model)
    numbers = [KeyNumber(f"{learnt:,}", "trained parameters", f"{config.model.latent} numbers a latent")]
    if frozen:
        numbers.append(KeyNumber(f"{frozen:,}", "frozen parameters", "of the encoder, trained before"))
    return Content(body, tuple(numbers))


def _trained(config: Config) -> list[tuple[str, str]]:
    training = config.training
    return [
        ("Loss", config.objective.formula()),
        ("Training", f"{_length(training)}, batches of {training.batch_size}"),
        ("Learning rate", f"{training.learning_rate:g}"),
        ("Seed", str(training.seed)),
    ]


def _imported(origin: Origin) -> list[tuple[str, str]]:
    return [
        ("Imported from", f"{origin} ({origin.weights_sha256[:12]})"),
        ("Training", "elsewhere; which episodes it saw is not known"),
    ]


def planning(path: Path, shelf: Shelf) -> Content:
    """plan-*.json: how often an agent reaches its goals, and which it does not."""
    report = read_report(path)
    agents = {agent_name(report["planner"]): report}
    if report["random"] is not None:
        agents["random actions"] = report["random"]
    warning = other_weights(path, report)
    body = warning
    if report["success_rate"] is None:
        rows = [
            (name, *(f"{one['latent_distance'][at]:.3g}" for at in ("start", "end"))) for name, one in agents.items()
        ]
        body += elements.table(("agent", "distance at the start", "at the end"), rows)
        body += elements.paragraph(
            f"Distances to the goal are in latent space, mean over {report['episodes']} tasks.",
            "quiet",
        )
    else:
        solved = [
            (name, f"{one['successes']} of {one['episodes']}", f"{one['success_rate']:.1%}", _interval(one))
            for name, one in agents.items()
        ]
        body += elements.table(("agent", "solved", "success", "95 % interval"), solved)
        if not warning:
            config, _ = run.read_config(path.parent)
            body += success_beside(config.env, learning.lines_of(path.parent), report, shelf)
    offset, unplanned = report["goal_offset"], report["planner"]["agent"] in WITHOUT_PLANS
    goals = "of the environment or in a picture" if offset is None else f"{offset} steps ahead"
    body += elements.facts(
        [
            ("Goals", f"{goals}, {report['budget']} allowed"),
            ("Tasks", f"{report['protocol']} ({report['tasks_sha256'][:12]})"),
            ("Success", report["success"]),
            ("Discarded", f"{report['discarded_solved']} starts, solved already"),
            *_how_planned(report["planner"]),
            ("Time", f"{report['seconds_per_plan']:.2g} s {'an action' if unplanned else 'a plan'}"),
        ]
    )
    body += tasks.failures(report, shelf) + tasks.films(path, report, shelf)
    return Content(body, tuple(_success(one, report, f"by {name}") for name, one in agents.items()))


def _how_planned(planning: dict[str, Any]) -> list[tuple[str, str]]:
    """The planner with its settings, the cost with its own, and how much of a plan is executed."""
    agent = planning["agent"]
    if agent in WITHOUT_PLANS:
        return [("Agent", f"{WITHOUT_PLANS[agent]}, no plans")]
    planner, cost, horizon = planning["planner"], planning["cost"], planning["horizon"]
    execute, next_plan = planning["execute"] or horizon, ""
    if execute < horizon:
        ends = {"shrink": "the blocks left until the arrival", "fixed": "as many blocks"}
        next_plan = f" before the next plan, which has {ends[planning['horizon_end']]}"
    searched = [
        ("Planner", ", ".join([planner["kind"].upper(), *_settings(planner)])),
        ("Cost", ", ".join([cost["kind"], *_settings(cost)])),
        ("Search begins", BEGINS[planning["warm_start"]]),
    ]
    return [
        *(searched if agent == "planner" else [("Policy", f"{NAMES[agent]}, learnt on the run's latents, no search")]),
        ("Horizon", f"{_count(horizon, 'block')}, {execute} executed{next_plan}"),
        ("Context", _count(planning["context"], "latent")),
    ]


def _settings(section: dict[str, Any]) -> list[str]:
    """Each key of a section with its value, except its kind; a file without its folders."""
    return [
        f"{key.replace('_', ' ')} {Path(value).name if key == 'path' and value else value}"
        for key, value in section.items()
        if key != "kind"
    ]


def _success(agent: dict[str, Any], report: dict[str, Any], label: str) -> KeyNumber:
    """The success of one agent of a report, or its distance where it cannot be told what is solved."""
    ahead = "" if report["goal_offset"] is None else f", goals {report['goal_offset']} steps ahead"
    tasks = f"{agent['episodes']} tasks{ahead}"
    if agent["success_rate"] is None:
        start, end = (f"{agent['latent_distance'][at]:.3g}" for at in ("start", "end"))
        return KeyNumber(
            f"{start} → {end}", f"towards the goal {label}", f"latent distance to the goal, before and after; {tasks}"
        )
    return KeyNumber(
        f"{agent['success_rate']:.1%}", f"of the goals reached {label}", f"95 %: {_interval(agent)}; {tasks}"
    )


PARTS = (
    Part("model", "Model", run.CONFIG, "lewm train", "what was trained", model, has_data=False),
    Part(
        "training", "Training", run.METRICS, "lewm train --resume --out {run}", "how training went", learning.training
    ),
    Part(
        "embeddings",
        "Embeddings",
        FILE,
        "lewm train --resume --out {run}",
        "how the embeddings of held-out frames are distributed",
        embeddings.embeddings,
    ),
    Part(
        "head",
        "Temporal head",
        "head-[0-9]*.json",
        "lewm train-head --run {run}",
        "how well the steps to a goal are told, for goals far away",
        learning.head,
    ),
    *(
        Part(
            f"policy-{kind}",
            f"Policy {NAMES[kind]}",
            f"policy-{kind}-[0-9]*.json",
            f"lewm train-policy --kind {kind} --run {{run}}",
            "how well a policy acts without a search",
            learning.policy,
            acts=True,
            further=kind != POLICY_KINDS[0],
        )
        for kind in POLICY_KINDS
    ),
    Part(
        "planning",
        "Planning",
        "plan-[0-9]*.json",
        "lewm plan --video mp4{named} --run {run}",
        "how often plans reach their goals",
        planning,
        acts=True,
    ),
    Part(
        "probing",
        "Probing",
        "probe-[0-9]*.json",
        "lewm probe --run {run}",
        "which quantities the latents hold",
        findings.probing,
    ),
    Part(
        "decoding",
        "Decoding",
        "decode-[0-9]*.json",
        "lewm decode --run {run}",
        "what the latents look like",
        findings.decoding,
    ),
    Part(
        "surprise",
        "Surprise",
        "surprise-[0-9]*.json",
        "lewm surprise VIDEO --run {run}",
        "what surprises the model",
        findings.surprise,
    ),
    Part(
        "suite",
        "Surprise at broken physics",
        "surprise-suite-[0-9]*.json",
        "lewm surprise --suite {env} --run {run}",
        "which events against physics surprise the model",
        findings.suite,
        acts=True,
    ),
)


def _interval(success: Mapping[str, Any]) -> str:
    low, high = success["interval_95"]
    return f"{low:.1%} to {high:.1%}"


def _short(commit: str | None) -> str:
    if commit is None:
        return "outside a checkout"
    head, dirty, _ = commit.partition("+dirty")
    return head[:12] + dirty


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _length(training: Any) -> str:  # noqa: ANN401
    return _count(training.steps, "step") if training.steps else _count(training.epochs, "epoch")

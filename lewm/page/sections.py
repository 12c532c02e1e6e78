"""What the page shows of each file that a run holds: one function for each part makes HTML from the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.checkpoints.origin import Origin
from lewm.config import POLICY_KINDS, Config
from lewm.model.assembly import frozen_count, parameter_count
from lewm.page import elements, embeddings, findings, learning, plans
from lewm.page.content import Content, count
from lewm.page.document import KeyNumber
from lewm.page.shelf import Shelf
from lewm.planning.policy import NAMES
from lewm.reading import read_json
from lewm.training.embeddings import FILE

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
        agent: Whose plans it shows, where it shows plans.
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
    agent: str | None = None


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
            ("Predictor", f"{predictor.in_words}, sees {count(predictor.history, 'latent')}"),
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
    *(
        Part(
            "planning" if agent == plans.SEARCH else f"planning-{agent}",
            title,
            plans.PATTERN,
            f"lewm plan{'' if agent == plans.SEARCH else f' --agent {agent}'} --video mp4{{named}} --run {{run}}",
            "how often plans reach their goals",
            plans.planning,
            acts=True,
            further=agent != plans.SEARCH,
            agent=agent,
        )
        for agent, title in plans.TITLES.items()
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


def _short(commit: str | None) -> str:
    if commit is None:
        return "outside a checkout"
    head, dirty, _ = commit.partition("+dirty")
    return head[:12] + dirty


def _length(training: Any) -> str:  # noqa: ANN401
    return count(training.steps, "step") if training.steps else count(training.epochs, "epoch")

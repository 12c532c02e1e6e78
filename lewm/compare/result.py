"""What a comparison found: the content of compare.json.

Where a row has one entry a seed, they are in the order of its `seeds`, and None for a seed of which the result is not
there; `missing` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lewm.errors import LewmError
from lewm.measures.intervals import Estimate
from lewm.report_files import read_report

JSON, INDEX, FILES = "compare.json", "index.html", "files"  # in the folder of a comparison

CurvePoint = tuple[int, float, float]  # step of the training, `std_mean` and `effective_rank` of its `Health`


OF_EACH_SEED = (
    "solved",
    "tasks_sha256",
    "train_seconds",
    "embeddings",
    "collapsed_at",
    "curve",
    "runs",
    "plans",
    "missing",
)  # of a row
REMEDY = 'Make it again with "lewm compare SPEC --show".'


@dataclass(frozen=True)
class Row:
    """One method in one world, over all its seeds.

    Attributes:
        method: Its key in the specification.
        title: What tables call it.
        x: Its place on the axis of its group, where that has one.
        note: What the specification says that a reader of its numbers has to know; may be empty.
        settings: What it has other than the reference, by dotted keys; those of training and of planning begin with
            "train." and "plan.". See `lewm.compare.settings`.
        seeds: The training seeds.
        solved: How many tasks each seed solved, and how many it had.
        tasks_sha256: The digest of each seed's tasks.
        success: Interquartile mean of the seeds' success rates, with its interval over seeds and tasks.
        difference: How much higher that mean is than the reference's, on the same tasks of the same seeds.
        paired_seeds: The seeds that the difference is of.
        unpaired: Why seeds were left out of it; empty where none was.
        p: The p-value of the paired test against the reference, see `lewm.compare.statistics.paired_test`.
        p_holm: The same, corrected for all rows of the group.
        improvement: Probability that a run of this row solves more than one of the reference.
        seconds_per_plan: Median time of a decision for one environment.
        ratio: That time divided by the reference's, measured in one process, in turns.
        train_seconds: What each seed's trainings took: stages, model, head and policies, with what serves in training
            alone, such as the values of GCIVL, and without the encoding of episodes for heads and policies. None for
            random actions and the demonstrator, which learn nothing; so are the numbers, statistics and curves below.
            None, too, where a run was there before and does not tell.
        parameters: How many numbers decide: those of the model in a search; those of its encoder and projector and of
            the policy where a policy decides alone.
        learnt_parameters: How many of them are learnt after the model, on its latents: those of a policy or a head.
        frozen_parameters: How many of them are never trained here.
        embeddings: The statistics of each seed's embeddings.
        collapsed_at: The first step from which on the latents of each seed stayed collapsed; None if they did not.
        curve: The spread of each seed's latents over the training.
        runs: The folder of each seed's run, from the folder of all comparisons.
        plans: The report of each seed's plans, from the same folder.
        missing: What of each seed is not done yet, or failed, be it the plans or their timing; empty where all is
            there.
    """

    method: str
    title: str
    x: float | None
    note: str
    settings: dict[str, Any]
    seeds: tuple[int, ...]
    solved: tuple[tuple[int, int] | None, ...]
    tasks_sha256: tuple[str | None, ...]
    success: Estimate | None
    difference: Estimate | None
    paired_seeds: tuple[int, ...]
    unpaired: str
    p: float | None
    p_holm: float | None
    improvement: Estimate | None
    seconds_per_plan: float | None
    ratio: Estimate | None
    train_seconds: tuple[float | None, ...]
    parameters: int | None
    learnt_parameters: int | None
    frozen_parameters: int | None
    embeddings: tuple[dict[str, Any] | None, ...]
    collapsed_at: tuple[int | None, ...]
    curve: tuple[tuple[CurvePoint, ...], ...]
    runs: tuple[str | None, ...]
    plans: tuple[str | None, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Rows that belong into one table.

    Attributes:
        title: What the table shows.
        axis: What `Row.x` is, for example "λ"; None where the rows have no such number.
        rows: The reference is among them where the specification says so.
    """

    title: str
    axis: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class WorldResult:
    """What was found in one world.

    Attributes:
        world: Its name.
        reference: Key of the method that the others are compared with.
        reference_title: What it is called where its row has another title, such as its place on an axis.
        tasks: How many each seed has.
        goal_offset: Environment steps from the start to the goal.
        budget: Environment steps allowed.
        data: The dataset: episodes, frames, policy, and what else is known of how it was collected.
        groups: The tables.
    """

    world: str
    reference: str
    reference_title: str
    tasks: int
    goal_offset: int
    budget: int
    data: dict[str, Any]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Comparison:
    """The whole result.

    Attributes:
        name: Name of the result: that of the specification, and which part of it was asked for.
        title: What the page is called.
        made: When this was put together, in UTC.
        call: What to type after "lewm" to repeat or to continue it; empty where a program made it.
        seconds: Seconds of processes, added up over all attempts at all that it shows, the interrupted ones and the
            timing of plans among them. What several rows use counts once; an attempt that was killed is not known.
        elapsed: Seconds in which at least one of these processes was at work.
        versions: The versions of what made the results, several of one part where it was not always the same program.
        timed_on: Device and threads of the times of decisions.
        machine: Where this was put together.
        spec: The specification, as plain values.
        worlds: One entry for each world.
    """

    name: str
    title: str
    made: str
    call: tuple[str, ...]
    seconds: float
    elapsed: float
    versions: dict[str, tuple[str, ...]]
    timed_on: tuple[str, ...]
    machine: dict[str, Any]
    spec: dict[str, Any]
    worlds: tuple[WorldResult, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str) -> Comparison:
        """The result that `as_dict` gave; errors name `source`.

        Raises:
            LewmError: It is another kind of content.
        """
        try:
            found = _COMPARISON.validate_python(content)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            raise LewmError(f"{source}: {key}: {fault['msg']}", REMEDY) from error
        for w, world in enumerate(found.worlds):
            for g, group in enumerate(world.groups):
                for r, row in enumerate(group.rows):
                    for key in OF_EACH_SEED:
                        if (count := len(getattr(row, key))) != len(row.seeds):
                            where = f"worlds.{w}.groups.{g}.rows.{r}.{key}"
                            raise LewmError(f"{source}: {where}: {count} entries for {len(row.seeds)} seeds", REMEDY)
        return found


_COMPARISON = TypeAdapter(Comparison)


def read_comparison(path: Path) -> Comparison:
    """The result that `lewm.report_files.write_report` wrote.

    Raises:
        LewmError: The file cannot be read, is damaged, or is none of these.
    """
    return Comparison.from_dict(read_report(path), str(path))

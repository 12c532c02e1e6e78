"""What `lewm probe` found, with everything needed to judge and repeat it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lewm.measures.intervals import Estimate
from lewm.probing.space import Space
from lewm.probing.statistics import Scores

TRAINED, RANDOM, PIXELS = "trained encoder", "random encoder", "pixel PCA"
FEATURES = (TRAINED, RANDOM, PIXELS)

Probe = Literal["linear", "mlp"]
PROBES: tuple[Probe, ...] = ("linear", "mlp")
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Probed:
    """One quantity read from one kind of features.

    Attributes:
        property: The quantity's name.
        expression: The columns that it is read from, such as "state[2:4]:angle".
        numbers: A name for each number that is predicted.
        features: What the probes read.
        linear, mlp: Scores on the test episodes.
        ridge_strength: Ridge strength of the linear probe, chosen on the validation episodes.
        mlp_step: The training step whose weights were best on the validation episodes.
    """

    property: str
    expression: str
    numbers: tuple[str, ...]
    features: str
    linear: Scores
    mlp: Scores
    ridge_strength: float
    mlp_step: int


@dataclass(frozen=True)
class Comparison:
    """Whether training beat a baseline at a quantity.

    Attributes:
        mse_difference: The trained encoder's mean squared error less the baseline's; the interval is paired, over the
            same test episodes.
        verdict: "better" or "worse" where the interval leaves out 0.
    """

    property: str
    probe: Probe
    baseline: str
    mse_difference: Estimate
    verdict: Verdict

    @classmethod
    def of(cls, name: str, probe: Probe, baseline: str, mse_difference: Estimate) -> Comparison:
        """The comparison, with the verdict that the interval allows."""
        low, high = mse_difference.interval_95
        verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "no difference shown"
        return cls(name, probe, baseline, mse_difference, verdict)


@dataclass(frozen=True)
class ProbeReport:
    """The result of `probe`.

    Attributes:
        probed: One entry for each quantity and kind of features.
        comparisons: The trained encoder against each baseline.
        spaces: The shape of the space of each kind of features.
        held_out: Whether the episodes are those that training held out; otherwise the data are not what the run was
            trained on, or the run was imported, and nothing is known of what its training saw of them.
        episodes: How many episodes were used to train, to validate and to test.
        frames: How many frames these episodes have.
        settings: How probes and baselines are made.
    """

    env: str
    probed: tuple[Probed, ...]
    comparisons: tuple[Comparison, ...]
    spaces: tuple[Space, ...]
    held_out: bool
    episodes: dict[str, int]
    frames: dict[str, int]
    seed: int
    settings: dict[str, Any]
    dataset: str
    dataset_fingerprint: str
    checkpoint_sha256: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

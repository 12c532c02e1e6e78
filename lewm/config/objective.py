"""What training minimises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from lewm.config.limits import MOST_WIDTH, Directions, Float, Int, Knots, Width
from lewm.config.model import Model
from lewm.config.section import Kind
from lewm.errors import LewmError

KnotMax = Annotated[Float, Field(gt=0)]
Weight = Annotated[Float, Field(ge=0)]


class Sigreg(Kind):
    """A statistic of how far embeddings are from a Gaussian; its kinds are the forms that it has.

    Knots are uniform on [0, knot_max]. The released code has 17 on [0, 3] (the paper says "[0.2, 4]").
    """

    knots: Knots = 17  # K
    knot_max: KnotMax = 3.0

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """How many numbers it holds in memory at least, for `steps` frames of `batch` clips."""
        return 0

    def sizes(self) -> tuple[str, ...]:
        """The keys of the section that can be lowered so that it holds fewer numbers."""
        return ()

    def check_latent(self, latent: int) -> None:
        """Raises where it cannot be computed for latents of that width.

        Raises:
            ValueError: says why.
        """


class Sketch(Sigreg):
    """The mean over random directions, drawn anew each step. The paper and the released code have 1024."""

    kind: Literal["sketch"] = "sketch"
    directions: Directions = 1024  # M

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """The directions, and sums of cosines and of sines."""
        return self.directions * (latent + 2 * steps * self.knots)

    def sizes(self) -> tuple[str, ...]:
        """The number of directions and of knots."""
        return "directions", "knots"


class Exact(Sigreg):
    """The mean over all directions, in closed form: without the noise of the sketch.

    Its time grows with the square of the clips, and the host waits for the device once a step.
    """

    kind: Literal["exact"] = "exact"

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """The gradient of the embeddings: distances between clips are held in parts."""
        return steps * batch * latent


class Subspaces(Sigreg):
    """The mean of the sketches in frozen random subspaces of the latent.

    Source: Sub-JEPA, arXiv 2605.09241, which has 32 subspaces, in Push-T 16.
    Differs: 32 directions in each subspace are our choice; 32 subspaces together then have as many as the sketch.
    """

    kind: Literal["subspaces"] = "subspaces"
    # M, the directions drawn in each subspace. With 1024 in each, training on the CPU takes several times as long.
    directions: Directions = 32
    subspaces: Annotated[Int, Field(gt=0, le=MOST_WIDTH)] = 32

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """The subspaces, the directions in one, and sums of cosines and of sines in each."""
        sums = 2 * steps * self.subspaces * self.knots
        return latent**2 + self.directions * (latent // self.subspaces + sums)

    def sizes(self) -> tuple[str, ...]:
        """The number of directions and of knots."""
        return "directions", "knots"

    def check_latent(self, latent: int) -> None:
        """Raises unless the latent divides into so many subspaces of equal width."""
        if latent % self.subspaces:
            raise ValueError(f"model.latent {latent} is not a multiple of objective.sigreg.subspaces {self.subspaces}")


class Objective(Kind):
    """A loss: the sum of terms, each with a weight."""

    def weights(self) -> dict[str, float]:
        """The weights of the loss's terms by name; each name is a Python identifier."""
        raise NotImplementedError

    def formula(self) -> str:
        """The loss in words, such as "prediction + 0.09 · sigreg"."""
        return " + ".join(name if weight == 1 else f"{weight:g} · {name}" for name, weight in self.weights().items())

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """How many numbers it holds in memory at least, for `steps` frames of `batch` clips."""
        return 0

    def sizes(self) -> tuple[str, ...]:
        """The keys of the section that can be lowered so that it holds fewer numbers."""
        return ()

    def spreads(self) -> bool:
        """Whether it has terms that keep the latents of different frames apart, which need latents that are trained."""
        return False

    def check_model(self, model: Model) -> None:
        """Raises where it cannot train such a model.

        Raises:
            ValueError: says why; a LewmError also says what to do.
        """

    def against_collapse(self, section: str) -> str:
        """What to change where the latents collapse: an imperative, without a full stop.

        Args:
            section: How the keys of the objective begin in the whole configuration: "objective", or that of a stage.
        """
        return "give the terms of the objective that spread the latents more weight"


class LewmObjective(Objective):
    """The two-term loss: prediction error plus `lambda` times SIGReg. A third term can straighten the latent paths."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    kind: Literal["lewm"] = "lewm"
    # Released config; the paper says 0.1 and finds every value in [0.01, 0.2] good.
    lambda_: Annotated[Float, Field(ge=0, alias="lambda")] = 0.09
    sigreg: Sigreg = Sketch()
    # arXiv 2603.12231 has 0.1 for models of its own; nothing of LeWorldModel has the term.
    straightening: Weight = 0.0

    def weights(self) -> dict[str, float]:
        """The weights of the terms. SIGReg is computed and logged even where its weight is 0; straightening is not."""
        straightening = {"straightening": self.straightening} if self.straightening else {}
        return {"prediction": 1.0, "sigreg": self.lambda_, **straightening}

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """How many numbers SIGReg holds."""
        return self.sigreg.floats(batch, steps, latent)

    def sizes(self) -> tuple[str, ...]:
        """Those of SIGReg."""
        return tuple(f"sigreg.{key}" for key in self.sigreg.sizes())

    def spreads(self) -> bool:
        """SIGReg does."""
        return True

    def check_model(self, model: Model) -> None:
        """Raises where SIGReg cannot be computed for latents of that width, or a clip shows no two steps."""
        self.sigreg.check_latent(model.latent)
        if self.straightening and model.predictor.history < 2:
            raise LewmError(
                f"objective.straightening {self.straightening:g} compares two steps, and with "
                f"model.predictor.history {model.predictor.history} a clip has one",
                "Add --set model.predictor.history=2, or more.",
            )

    def against_collapse(self, section: str) -> str:
        """Says to raise the weight of SIGReg."""
        return f"raise {section}.lambda (now {self.lambda_:g}) with --set"


class PldmObjective(Objective):
    """PLDM's loss: prediction error plus six weighted terms, without the terms of weight 0.

    Source: weights of stable-worldmodel 0.1.1, for LeWorldModel's architecture, optimiser and data.
    Differs: the paper (arXiv 2502.14819) chooses weights for each world, including one for `idm`.
    """

    kind: Literal["pldm"] = "pldm"
    std: Weight = 18.0
    cov: Weight = 12.0
    std_t: Weight = 0.7
    cov_t: Weight = 0.0
    align: Weight = 0.2
    idm: Weight = 0.0
    idm_hidden: Width = 512  # hidden width of the network that tells actions from latents

    def weights(self) -> dict[str, float]:
        """The terms that are computed."""
        chosen = {name: getattr(self, name) for name in ("std", "cov", "std_t", "cov_t", "align", "idm")}
        return {"prediction": 1.0} | {name: weight for name, weight in chosen.items() if weight}

    def floats(self, batch: int, steps: int, latent: int) -> int:
        """The covariances that are computed."""
        return latent**2 * ((steps if self.cov else 0) + (batch if self.cov_t else 0))

    def spreads(self) -> bool:
        """The standard deviations and the covariances do."""
        return True

    def check_model(self, model: Model) -> None:
        """Raises where there are no two dimensions to compare."""
        if model.latent < 2 and (self.cov or self.cov_t):
            raise ValueError(
                f"model.latent {model.latent} has no covariances, which objective.cov and objective.cov_t weigh"
            )

    def against_collapse(self, section: str) -> str:
        """Says to raise the weight of the standard deviation or of the covariance."""
        return f"raise {section}.std (now {self.std:g}) or {section}.cov (now {self.cov:g}) with --set"


class PredictionObjective(Objective):
    """The prediction error alone, for a predictor of latents that are not trained.

    Latents that are trained with it become equal for all frames: they are then the easiest to predict.
    """

    kind: Literal["prediction"] = "prediction"

    def weights(self) -> dict[str, float]:
        """The single term."""
        return {"prediction": 1.0}

    def check_model(self, model: Model) -> None:
        """Raises where anything that the latents depend on is trained."""
        if model.trains_latents:
            raise ValueError(
                "objective.kind prediction is for a frozen model.encoder without a projector after it "
                "(model.projector_hidden none): latents that are trained collapse, as no other term spreads them"
            )

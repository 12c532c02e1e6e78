"""What a world model is built of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lewm.config.encoder import Encoder, FrozenEncoder, JoinedEncoder, ProjectorNorm
from lewm.config.limits import (
    MOST_ACTIONS,
    MOST_FRAMESKIP,
    MOST_HISTORY,
    Fraction,
    Int,
    Latent,
    Layers,
    Pixels,
    Width,
)
from lewm.config.section import Kind, Section


class Predictor(Kind):
    """Turns latents and actions into the next latents."""

    history: Annotated[Int, Field(gt=0, le=MOST_HISTORY)]  # most latents it sees
    # Width of the middle layer of the projector after it. None: there is none, and it gives the next latents itself.
    projector_hidden: Width | None = None

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return self.kind

    def embedded_action(self, latent: int) -> int:
        """Width of the embedded actions that it takes: the latent's, where a kind says nothing else."""
        return latent

    def floats(self, batch: int, latent: int) -> int:
        """How many numbers it keeps in memory at least for the gradient of `batch` clips."""
        return 0

    def check_latent(self, latent: int) -> None:
        """Raises where it cannot predict latents of that width.

        Raises:
            ValueError: says why.
        """


class AdalnPredictor(Predictor):
    """Causal transformer over latents, modulated by actions (AdaLN-zero)."""

    kind: Literal["adaln"] = "adaln"
    width: Width
    depth: Layers
    heads: Layers
    head_dim: Width
    mlp: Width
    dropout: Fraction
    embedding_dropout: Fraction

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"{self.depth} blocks"


class ResidualPredictor(AdalnPredictor):
    """The same transformer, with a skip: it and its projector give the change from each latent to the next one."""

    kind: Literal["residual"] = "residual"  # type: ignore[assignment]  # another kind with the same sizes

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"{super().in_words}, which predict changes"


class PatchesPredictor(Predictor):
    """Transformer whose tokens are the patches of frames, each joined with the embedded action; causal over frames.

    The latent is a map, flattened channel after channel. Sizes are those of the released code of DINO-WM (arXiv
    2411.04983), which has no projector either.
    """

    kind: Literal["patches"] = "patches"
    history: Annotated[Int, Field(gt=0, le=MOST_HISTORY)] = 3
    projector_hidden: None = None
    patches: Width  # of a frame; the rest of the latent's width is the numbers of a patch
    action_width: Width = 10  # numbers of the embedded action, which every patch of the frame gets
    depth: Layers = 6
    heads: Layers = 16
    head_dim: Width = 64
    mlp: Width = 2048
    dropout: Fraction = 0.1
    embedding_dropout: Fraction = 0.0

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"{self.depth} blocks over {self.patches} patches"

    def embedded_action(self, latent: int) -> int:
        """Gives `action_width` for latents of every width."""
        return self.action_width

    def floats(self, batch: int, latent: int) -> int:
        """How many numbers its layers keep for the gradient.

        A layer keeps for every token two normalised copies, which are as wide as the token, queries, keys, values and
        their mix, and both sides of GELU.
        """
        token = 2 * (latent // self.patches + self.action_width) + 4 * self.heads * self.head_dim + 2 * self.mlp
        return batch * self.history * self.patches * self.depth * token

    def check_latent(self, latent: int) -> None:
        """Raises unless every patch has the same number of numbers."""
        if latent % self.patches:
            raise ValueError(f"latent {latent} is not a multiple of predictor.patches {self.patches}")


class ActionEmbedder(Section):
    """Action block -> `bottleneck` (linear) -> `hidden` (SiLU) -> the width that the predictor takes."""

    bottleneck: Width
    hidden: Width | None  # None: the bottleneck is the embedding itself, as in DINO-WM


class Model(Section):
    """The world model: what is stored in a checkpoint and rebuilt from it."""

    frame_size: Pixels
    fit: Literal["crop", "letterbox", "stretch"]  # how frames that are not square become so
    frameskip: Annotated[Int, Field(gt=0, le=MOST_FRAMESKIP)]  # environment steps a model step
    action_dim: Annotated[Int, Field(gt=0, le=MOST_ACTIONS)]  # numbers in the action of one environment step
    latent: Latent  # D
    # Width of the middle layer of the projector after the encoder. None: there is none, and the latent is the encoder's
    # embedding itself.
    projector_hidden: Width | None
    projector_norm: ProjectorNorm = "batch"  # of the projector after the encoder, and of the one after the predictor
    encoder: Encoder
    predictor: Predictor
    action_embedder: ActionEmbedder

    @property
    def action_block(self) -> int:
        """Width A of one action block: `frameskip` actions, flattened."""
        return self.frameskip * self.action_dim

    @property
    def trains_latents(self) -> bool:
        """Whether anything that the latents of frames depend on is trained."""
        return self.projector_hidden is not None or not all(isinstance(one, FrozenEncoder) for one in self.encoders())

    def encoders(self) -> list[Encoder]:
        """The encoders that are put side by side; the encoder alone where it has no parts."""
        return _leaves(self.encoder)

    @model_validator(mode="after")
    def _encoder_fits_frame(self) -> Model:
        self.encoder.check_frame(self.frame_size)
        return self

    @model_validator(mode="after")
    def _predictor_fits_latent(self) -> Model:
        self.predictor.check_latent(self.latent)
        wanted, embedder = self.predictor.embedded_action(self.latent), self.action_embedder
        if embedder.hidden is None and embedder.bottleneck != wanted:
            raise ValueError(
                f"action_embedder.bottleneck {embedder.bottleneck}, expected {wanted}: it is the embedding that the "
                "predictor takes, as action_embedder.hidden is none"
            )
        return self

    @model_validator(mode="after")
    def _latent_is_embedding_without_projector(self) -> Model:
        width = self.encoder.width_at(self.frame_size)
        if self.projector_hidden is None and width is not None and width != self.latent:
            raise ValueError(
                f"latent {self.latent}, expected {width}: the embedding's width, as projector_hidden is none"
            )
        return self


def _leaves(encoder: Encoder) -> list[Encoder]:
    if not isinstance(encoder, JoinedEncoder):
        return [encoder]
    return [leaf for part in encoder.parts for leaf in _leaves(part)]

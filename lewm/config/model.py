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


class ActionEmbedder(Section):
    """Action block -> `bottleneck` (linear) -> `hidden` (SiLU) -> latent width."""

    bottleneck: Width
    hidden: Width


class Model(Section):
    """The world model: what is stored in a checkpoint and rebuilt from it."""

    frame_size: Pixels
    fit: Literal["crop", "letterbox", "stretch"]  # how frames that are not square become so
    frameskip: Annotated[Int, Field(gt=0, le=MOST_FRAMESKIP)]  # environment steps a model step
    action_dim: Annotated[Int, Field(gt=0, le=MOST_ACTIONS)]  # numbers in the action of one environment step
    latent: Width  # D
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

"""What a world model is built of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lewm.config.limits import (
    MOST_ACTIONS,
    MOST_FRAMESKIP,
    MOST_HALVINGS,
    MOST_HISTORY,
    Fraction,
    Int,
    Layers,
    Pixels,
    Width,
)
from lewm.config.section import Kind, Section

TENSOR_FILES = (".safetensors", ".pt", ".pth")  # endings of the files of tensors that a frozen encoder can be of
MAP_STRIDE, MAP_CHANNELS = 16, 112  # the map that is taken of EfficientNet-Lite0: arXiv 1905.11946, table 1


class Encoder(Kind):
    """Turns each frame into one embedding."""

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return self.kind

    def width_at(self, frame_size: int) -> int | None:
        """Width of the embedding of frames of that many pixels a side; None where it is not known yet."""
        raise NotImplementedError

    def check_frame(self, frame_size: int) -> None:
        """Raises where it cannot encode frames of that many pixels a side.

        Raises:
            ValueError: says why.
        """


class VitEncoder(Encoder):
    """Vision transformer; its embedding is the CLS token of the last layer."""

    kind: Literal["vit"] = "vit"
    patch: Pixels
    width: Width
    depth: Layers
    heads: Layers
    mlp: Width

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return "vision transformer"

    def width_at(self, frame_size: int) -> int:
        """Gives `width` for frames of every size."""
        return self.width

    @model_validator(mode="after")
    def _heads_divide_width(self) -> VitEncoder:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    def check_frame(self, frame_size: int) -> None:
        """Raises unless patches fill the frame."""
        if frame_size % self.patch:
            raise ValueError(f"frame_size {frame_size} is not a multiple of patch {self.patch}")


class ConvEncoder(Encoder):
    """One strided convolution for each number in `channels`, which halves the frame; then a linear map to `width`."""

    kind: Literal["conv"] = "conv"
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_HALVINGS)]
    width: Width
    keypoints: Width | None = None  # the linear map takes the places of so many; None: the last feature map itself

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return "convolutions"

    def width_at(self, frame_size: int) -> int:
        """Gives `width` for frames of every size."""
        return self.width

    def check_frame(self, frame_size: int) -> None:
        """Raises unless the frame can be halved once a channel."""
        if frame_size % (2 ** len(self.channels)):
            raise ValueError(f"frame_size {frame_size} cannot be halved {len(self.channels)} times, once a channel")


class EfficientnetEncoder(Encoder):
    """EfficientNet-Lite0 up to its map of stride 16; the embedding is the map itself, flattened."""

    kind: Literal["efficientnet"] = "efficientnet"

    def width_at(self, frame_size: int) -> int:
        """Channels of the map times its places."""
        return MAP_CHANNELS * (frame_size // MAP_STRIDE) ** 2

    def check_frame(self, frame_size: int) -> None:
        """Raises unless the places of the map fill the frame."""
        if frame_size % MAP_STRIDE:
            raise ValueError(f"frame_size {frame_size} is not a multiple of {MAP_STRIDE}, the stride of the map")


class FrozenProjector(Section):
    """The projector that a frozen encoder was trained with."""

    hidden: Width
    latent: Width


class FrozenEncoder(Encoder):
    """An encoder that was trained elsewhere and is not trained here.

    `encoder` and `projector` say what it is built of: `lewm.checkpoints.frozen.settled` fills them in when a training
    begins. The run then stands alone: its weights are saved with all others, and `weights` is not read again.
    """

    kind: Literal["frozen"] = "frozen"
    # The directory of a run or of a released checkpoint; a file of tensors (.safetensors, .pt or .pth), which needs
    # `encoder` to say what it is built of; or the name of weights that a package brings: "efficientnet-lite0".
    weights: Annotated[str, Field(min_length=1)]
    # In a file of tensors, how the names of the encoder's tensors begin: "encoder." for encoder.norm.weight.
    module: str = ""
    # What the frozen encoder gives: that model's latent, or its embedding before the projector. Files of tensors and
    # packages hold no projector, so that theirs is always the embedding.
    output: Literal["latent", "embedding"] = "latent"
    encoder: Encoder | None = None
    projector: FrozenProjector | None = None

    @property
    def from_file(self) -> bool:
        """Whether `weights` is a file of tensors."""
        return self.weights.endswith(TENSOR_FILES)

    @model_validator(mode="after")
    def _file_needs_encoder(self) -> FrozenEncoder:
        if not self.from_file and self.module:
            endings = ", ".join(TENSOR_FILES)
            raise ValueError(f"module {self.module!r} is for a file of tensors ({endings}), got weights {self.weights}")
        if self.from_file and self.encoder is None:
            raise ValueError(f"weights {self.weights} is a file of tensors: encoder has to say what it is built of")
        if self.from_file and self.projector is not None:
            raise ValueError(f"weights {self.weights} is a file of tensors, of which no projector is read")
        return self

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"{'an encoder' if self.encoder is None else self.encoder.in_words}, frozen, from {self.weights}"

    def width_at(self, frame_size: int) -> int | None:
        """Width of the latent or of the embedding, whichever the frozen encoder gives."""
        if self.projector is not None:
            return self.projector.latent
        return None if self.encoder is None else self.encoder.width_at(frame_size)

    def check_frame(self, frame_size: int) -> None:
        """Raises where the encoder that is frozen does; nothing is checked before that is known."""
        if self.encoder is not None:
            self.encoder.check_frame(frame_size)


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
    frameskip: Annotated[Int, Field(gt=0, le=MOST_FRAMESKIP)]  # environment steps a model step
    action_dim: Annotated[Int, Field(gt=0, le=MOST_ACTIONS)]  # numbers in the action of one environment step
    latent: Width  # D
    # Width of the middle layer of the projector after the encoder. None: there is none, and the latent is the encoder's
    # embedding itself.
    projector_hidden: Width | None
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
    parts = [part for value in dict(encoder).values() if isinstance(value, tuple) for part in value]
    return [leaf for part in parts if isinstance(part, Encoder) for leaf in _leaves(part)] or [encoder]

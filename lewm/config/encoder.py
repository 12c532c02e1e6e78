"""The kinds of encoders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lewm.config.limits import MOST_HALVINGS, MOST_LAYERS, Int, Layers, Pixels, Width
from lewm.config.section import Kind, Section

TENSOR_FILES = (".safetensors", ".pt", ".pth")  # endings of the files of tensors that a frozen encoder can be of
MAP_STRIDE, MAP_CHANNELS = 16, 112  # the map that is taken of EfficientNet-Lite0: arXiv 1905.11946, table 1


def _in_words(value: Any) -> Any:  # noqa: ANN401
    """The word "none", which `lewm.config.parse_value` reads as None."""
    return "none" if value is None else value


# The normalisation in a projector. batch: BatchNorm, as published. none: there is none.
ProjectorNorm = Annotated[Literal["batch", "none"], BeforeValidator(_in_words)]


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
    def _heads_fit(self) -> VitEncoder:
        _check_heads(self.width, self.heads)
        return self

    def check_frame(self, frame_size: int) -> None:
        """Raises unless patches fill the frame."""
        _check_patches(frame_size, self.patch)


class ConvEncoder(Encoder):
    """Strided convolutions, then residual ones; a linear map to `width` of what is read from the last feature map.

    That is the whole map, flattened, or its `keypoints`, each by its mean place and the means of `features` there.
    """

    kind: Literal["conv"] = "conv"
    # One strided 3 x 3 convolution (the first: 5 x 5) for each number; each halves the sides.
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_HALVINGS)]
    width: Width
    # One residual 3 x 3 convolution for each number, at the last size; how far apart the pixels are that it sees.
    dilations: Annotated[tuple[Pixels, ...], Field(max_length=MOST_LAYERS)] = ()
    keypoints: Width | None = None  # softmax maps over the last feature map; None: it is read whole
    features: Width | None = None  # means that are read under each of these maps; None: its mean place alone

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        if self.keypoints is None:
            return "convolutions"
        return f"convolutions with {self.keypoints} keypoints{' and features there' if self.features else ''}"

    def width_at(self, frame_size: int) -> int:
        """Gives `width` for frames of every size."""
        return self.width

    @model_validator(mode="after")
    def _features_need_keypoints(self) -> ConvEncoder:
        if self.features is not None and self.keypoints is None:
            raise ValueError(f"features {self.features} are read at keypoints, and keypoints is none")
        return self

    def check_frame(self, frame_size: int) -> None:
        """Raises unless the frame can be halved once a channel."""
        _check_halvings(frame_size, len(self.channels))


class ImpalaEncoder(Encoder):
    """The convolutional network of IMPALA: stages, each of which halves the frame; then a linear map to `width`."""

    kind: Literal["impala"] = "impala"
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_HALVINGS)]  # of each stage
    blocks: Layers  # residual blocks of each stage
    width: Width

    def width_at(self, frame_size: int) -> int:
        """Gives `width` for frames of every size."""
        return self.width

    def check_frame(self, frame_size: int) -> None:
        """Raises unless the frame can be halved once a stage."""
        _check_halvings(frame_size, len(self.channels))


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")


def _check_patches(frame_size: int, patch: int) -> None:
    if frame_size % patch:
        raise ValueError(f"frame_size {frame_size} is not a multiple of patch {patch}")


def _check_halvings(frame_size: int, times: int) -> None:
    if frame_size % 2**times:
        raise ValueError(f"frame_size {frame_size} cannot be halved {times} times, once a number in channels")


class EfficientnetEncoder(Encoder):
    """EfficientNet-Lite0 up to its map of stride 16; the embedding is the map itself, flattened."""

    kind: Literal["efficientnet"] = "efficientnet"
    # Whether the channels of each place are normalised to mean 0 and variance 1, as those of DINOv2's patches are. What
    # the predictor over patches gives ends in such a normalisation.
    normalised: bool = False

    def width_at(self, frame_size: int) -> int:
        """Channels of the map times its places."""
        return MAP_CHANNELS * (frame_size // MAP_STRIDE) ** 2

    def check_frame(self, frame_size: int) -> None:
        """Raises unless the places of the map fill the frame."""
        if frame_size % MAP_STRIDE:
            raise ValueError(f"frame_size {frame_size} is not a multiple of {MAP_STRIDE}, the stride of the map")


class Dinov2Encoder(Encoder):
    """Vision transformer of DINOv2; the embedding is the map of its patch tokens after the last LayerNorm.

    Sizes are those of ViT-S/14. Its weights come from a file that you have: see `FrozenEncoder`.
    """

    kind: Literal["dinov2"] = "dinov2"
    patch: Pixels = 14
    width: Width = 384
    depth: Layers = 12
    heads: Layers = 6
    mlp: Width = 1536
    registers: Annotated[Int, Field(ge=0, le=MOST_LAYERS)] = 0  # 4 in the released models that have them
    grid: Pixels = 37  # patches a side that the stored positions are of: the released models saw 518 pixels last

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"DINOv2 with patches of {self.patch} pixels, width {self.width}"

    def width_at(self, frame_size: int) -> int:
        """Numbers of a patch times the patches."""
        return self.width * (frame_size // self.patch) ** 2

    @model_validator(mode="after")
    def _heads_fit(self) -> Dinov2Encoder:
        _check_heads(self.width, self.heads)
        return self

    def check_frame(self, frame_size: int) -> None:
        """Raises unless patches fill the frame."""
        _check_patches(frame_size, self.patch)


class FrozenProjector(Section):
    """The projector that a frozen encoder was trained with."""

    hidden: Width
    latent: Width
    norm: ProjectorNorm = "batch"


class FrozenEncoder(Encoder):
    """An encoder that was trained elsewhere and is not trained here.

    `encoder` and `projector` say what it is built of: `lewm.checkpoints.frozen.settled` fills them in when a training
    begins. The run then stands alone: its weights are saved with all others, and `weights` is not read again.
    """

    kind: Literal["frozen"] = "frozen"
    # The directory of a run or of a released checkpoint, or hf:USER/REPOSITORY; a file of tensors (.safetensors, .pt or
    # .pth), which needs `encoder` to say what it is built of; "stage:NAME", a stage of the same run; or the name of
    # weights that a package brings: "efficientnet-lite0".
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


class JoinedEncoder(Encoder):
    """Several encoders, whose embeddings are put side by side."""

    kind: Literal["joined"] = "joined"
    parts: Annotated[tuple[Encoder, ...], Field(min_length=1, max_length=MOST_LAYERS)]

    @property
    def in_words(self) -> str:
        """What a report calls it."""
        return f"side by side: {'; '.join(part.in_words for part in self.parts)}"

    def width_at(self, frame_size: int) -> int | None:
        """The sum of the parts' widths; None where one of them is not known yet."""
        widths = [part.width_at(frame_size) for part in self.parts]
        known = [width for width in widths if width is not None]
        return sum(known) if len(known) == len(widths) else None

    def check_frame(self, frame_size: int) -> None:
        """Raises where one of the parts does."""
        for i, part in enumerate(self.parts):
            try:
                part.check_frame(frame_size)
            except ValueError as error:
                raise ValueError(f"parts.{i}: {error}") from error

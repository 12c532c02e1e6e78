"""The one rule by which a picture gets the shape of a frame. Whoever resizes pictures, in whatever way, asks it.

Letters: Y and X the sides of a picture, V and U those of the frame.
"""

from typing import NamedTuple

from lewm_data.errors import unknown

CROP, LETTERBOX, STRETCH = "crop", "letterbox", "stretch"
FITS = (CROP, LETTERBOX, STRETCH)

LARGEST_SIDE = 224  # pixels: the frames of the published model. Larger recordings become so small if no size is given

Sides = tuple[int, int]  # rows and columns


class Placing(NamedTuple):
    """How a picture becomes a frame. It is a tuple, because torch.compile traces whoever asks for it.

    Attributes:
        kept: The rows and the columns of the picture that are kept.
        filled: The rows and the columns of the frame that they fill. The rest is black.
    """

    kept: tuple[slice, slice]
    filled: tuple[slice, slice]

    @property
    def inner(self) -> Sides:
        """The sides to which what is kept is resized."""
        rows, columns = self.filled
        return rows.stop - rows.start, columns.stop - columns.start


def place(shown: Sides, size: Sides, fit: str) -> Placing:
    """How a picture of `shown` (Y, X) becomes a frame of `size` (V, U).

    Args:
        shown: Y and X.
        size: V and U.
        fit: "crop" cuts the longer sides off evenly, "letterbox" adds black bars, "stretch" distorts.

    Raises:
        DataError: There is no such fit.
    """
    check_fit(fit)
    kept = _of_shape(size, shown) if fit == CROP else shown
    inner = _of_shape(shown, size) if fit == LETTERBOX else size
    return Placing(middle(shown, kept), middle(size, inner))


def covering(shown: Sides, size: Sides) -> Sides:
    """The smallest sides of the shape `shown` that cover `size`: a whole picture of which the middle is then kept.

    Decoders resize while they convert colours, and do that to whole pictures alone.
    """
    return _of_shape(shown, size, covers=True)


def middle(sides: Sides, inner: Sides) -> tuple[slice, slice]:
    """The rows and the columns of the middle of `sides`. What cannot be halved is one more at the end."""
    rows, columns = (slice((of - part) // 2, (of - part) // 2 + part) for of, part in zip(sides, inner, strict=True))
    return rows, columns


def check_fit(fit: str) -> None:
    """Raises unless there is such a fit.

    Raises:
        DataError: There is none.
    """
    if fit not in FITS:
        raise unknown("fit", fit, FITS)


def _of_shape(shape: Sides, to: Sides, covers: bool = False) -> Sides:
    """The largest sides of a shape within `to`, or the smallest that cover it.

    All is reckoned in whole numbers: 330 * (224 / 640) would be a little less than the half that it is, and Python's
    `round` takes halves to the even neighbour.
    """
    by_rows = (shape[0] * to[1] >= to[0] * shape[1]) != covers
    if by_rows:
        return to[0], _quotient(to[0] * shape[1], shape[0])
    return _quotient(to[1] * shape[0], shape[1]), to[1]


def _quotient(product: int, divisor: int) -> int:
    """A side: the nearest whole number, upwards from a half, and at least one."""
    return max(1, (2 * product + divisor) // (2 * divisor))

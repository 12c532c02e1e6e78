"""The range of seeds."""

from lewm_data.errors import DataError

SEEDS = 2**64  # a seed is below this number: the key of a random stream has 64 bits


def check_seed(seed: int) -> None:
    """Raises unless the seed has 64 bits.

    Raises:
        DataError: It is negative or too large.
    """
    if not 0 <= seed < SEEDS:
        raise DataError(f"the seed is {seed}, expected at least 0 and below 2^64", "Give another --seed.")

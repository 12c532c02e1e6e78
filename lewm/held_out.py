"""What reports call frames and episodes that nothing was trained on here, which another training may have seen."""

from __future__ import annotations


def held_out(noun: str, known: bool) -> str:
    """Names what a run holds out, without saying more than is known.

    Args:
        noun: "frames" or "episodes".
        known: Whether the model's training held them out. This is not known where the run was imported: only what
            was learnt here on its latents, such as a decoder, did not see them.
    """
    return f"held-out {noun}" if known else f"{noun} that the model's training may have seen"

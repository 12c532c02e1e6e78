"""The kinds of policies that are learnt on the frozen latents of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lewm.config import PolicyKind
from lewm.heads.policies.gcbc import GcbcSettings, learn_gcbc
from lewm.heads.policies.gcivl import GcivlSettings, learn_gcivl
from lewm.heads.policies.idm import IdmSettings, learn_idm
from lewm.heads.policies.learning import Learnt, Material, OnShare, PolicySettings


@dataclass(frozen=True)
class Line:
    """A kind of policy.

    Attributes:
        settings: The settings of its training, whose defaults are those of `lewm train-policy`.
        learn: Trains and measures a policy.
    """

    settings: Callable[..., PolicySettings]
    learn: Callable[[Material, Any, OnShare], Learnt]  # Any: what `settings` makes


POLICIES: dict[PolicyKind, Line] = {
    "idm": Line(IdmSettings, learn_idm),
    "gcbc": Line(GcbcSettings, learn_gcbc),
    "gcivl": Line(GcivlSettings, learn_gcivl),
}

"""The head and the policies of a run: head.safetensors and policy-KIND.safetensors, which fit its weights only."""

from __future__ import annotations

import shlex
from pathlib import Path

from lewm.checkpoints.run import MODEL
from lewm.config import HeadCost, Planning, PolicyKind
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.opened_run import Run
from lewm.planning.costs.head import load_head
from lewm.planning.policy import Policy, load_policy

HEAD = "head.safetensors"


def policy_file(kind: PolicyKind) -> str:
    """The name of the file of a policy in its run."""
    return f"policy-{kind}.safetensors"


def with_own_head(run: Run, planning: Planning) -> Planning:
    """The settings of planning; where a search uses a head without a path, its path is that of the run's own.

    Raises:
        LewmError: the run has no head, the head was trained on other weights, or its file is damaged.
    """
    cost = _head_cost(planning)
    if cost is None:
        return planning
    path = own_head(run) if cost.path is None else _checked_head(run, Path(cost.path))
    return planning.model_copy(update={"cost": cost.model_copy(update={"path": str(path)})})


def own_head(run: Run) -> Path:
    """The file of the run's head.

    Raises:
        LewmError: the run has none, it was trained on other weights, or its file is damaged.
    """
    path = run.path / HEAD
    if not path.is_file():
        raise LewmError(f"{run.path}: no {HEAD}, so nothing that tells the steps to a goal", _train_head(run))
    return _checked_head(run, path)


def head_digest(planning: Planning) -> str | None:
    """Digest of the file of the head that these settings of `with_own_head` use; None where they use none."""
    cost = _head_cost(planning)
    return None if cost is None or cost.path is None else sha256(Path(cost.path))


def own_policy(run: Run, kind: PolicyKind) -> Policy:
    """The policy of a run.

    Raises:
        LewmError: the run has none of this kind, it was trained on other weights, or its file is damaged.
    """
    path = run.path / policy_file(kind)
    remedy = f'Train one with "lewm train-policy --kind {kind} --run {_quoted(run)}".'
    if not path.is_file():
        raise LewmError(f"{run.path}: no {path.name}, so no policy", remedy)
    policy, checkpoint = load_policy(path, run.device)
    _check_weights(run, path, checkpoint, remedy)
    return policy


def holds_policy(run: Run, kind: PolicyKind) -> bool:
    """Whether the run has a policy of this kind that fits the weights that it has now."""
    try:
        return own_policy(run, kind).kind == kind
    except LewmError:
        return False


def _head_cost(planning: Planning) -> HeadCost | None:
    """The cost of a search, if it is a head; other agents use no cost."""
    return planning.cost if planning.agent == "planner" and isinstance(planning.cost, HeadCost) else None


def _checked_head(run: Run, path: Path) -> Path:
    _check_weights(run, path, load_head(path, run.device)[1], _train_head(run))
    return path


def _train_head(run: Run) -> str:
    return f'Train one with "lewm train-head --run {_quoted(run)}".'


def _check_weights(run: Run, path: Path, checkpoint: str | None, remedy: str) -> None:
    if checkpoint not in (None, run.checkpoint_sha256):
        raise LewmError(f"{path}: trained on other weights than {MODEL} of the run has now", remedy)


def _quoted(run: Run) -> str:
    return shlex.quote(str(run.path))

"""A policy from the user: its answers are checked, so that errors name the policy.

Letters: N environments, K of them that begin an episode, A action dimension.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.errors import DataError
from lewm_data.policies.policy import Policy, VectorEnvironment


class GivenPolicy:
    """Acts as `policy` does, and checks its answers.

    Args:
        name: The name that the user wrote, "package.module:function".
        policy: The user's policy.
        env: The environment in which it acts.
    """

    def __init__(self, name: str, policy: Policy, env: VectorEnvironment) -> None:
        self._name, self._policy = name, policy
        self._shape = (env.num_envs, *(env.single_action_space.shape or ()))

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        self._policy.reset(slots, rngs)

    def act(self, observation: Mapping[str, np.ndarray]) -> Shaped[np.ndarray, "N A"]:
        """The next action of every environment.

        Raises:
            DataError: The answer is no array of finite numbers, or has a wrong shape.
        """
        actions: object = self._policy.act(observation)
        if isinstance(actions, np.ndarray):
            found = f"{actions.dtype} {actions.shape}"
            if actions.shape == self._shape and actions.dtype.kind in "biuf":
                if np.isfinite(actions).all():
                    return actions
                found += " that are not all finite"
        else:
            found = type(actions).__name__
        raise DataError(
            f"policy {self._name}: act(observation) gave {found}, expected an array of finite numbers {self._shape}",
            "It gives the next action of every environment, one a row.",
        )

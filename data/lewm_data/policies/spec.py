"""Policies as users write them:

    expert                       a policy of the world
    random   smooth              policies of every world
    my_package.my_module:make    the user's own: make(env, noise) gives a Policy
    expert:0.7,random:0.3        one of these in each episode, with these shares

Spaces are ignored.
"""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from lewm_data.errors import DataError, unknown
from lewm_data.modules import import_module
from lewm_data.policies.combine import Mixture, RepeatedActions
from lewm_data.policies.given import GivenPolicy
from lewm_data.policies.policy import Policy, VectorEnvironment
from lewm_data.policies.random import RandomPolicy, SmoothPolicy

# Makes a policy from (environment, noise).
PolicyFactory = Callable[[Any, float], Policy]

GENERAL: Mapping[str, PolicyFactory] = {
    "random": lambda env, noise: RandomPolicy(env),
    "smooth": lambda env, noise: SmoothPolicy(env),
}

_SHARE = re.compile(r"(?P<name>.+):(?P<share>[0-9.]+([eE][-+]?[0-9]+)?)")


def read_spec(spec: str, known: Mapping[str, PolicyFactory], kind: str) -> tuple[tuple[PolicyFactory, float], ...]:
    """The policies that a specification names, each with its share of the episodes.

    Args:
        spec: A specification as above; policies without a share have the share 1.
        known: The known policies by name.
        kind: Description of the known policies, for messages.

        Raises:
            DataError: A name is unknown, a module or function does not exist, or a share is not positive.
    """
    found = []
    for part in spec.split(","):
        match = _SHARE.fullmatch(part.strip())
        name, share = (match["name"], match["share"]) if match else (part.strip(), "1")
        if not _is_positive(share):
            raise DataError(f"policy {part.strip()}: the share is {share}", "Shares are positive, as in expert:0.7.")
        if name not in known and ":" not in name:
            raise unknown(kind, name, known)
        found.append((known[name] if name in known else _imported(name), float(share)))
    return tuple(found)


def make_policy(
    parts: tuple[tuple[PolicyFactory, float], ...], env: VectorEnvironment, noise: float, repeat: float
) -> Policy:
    """The policy of a specification; a `Mixture` where it names several.

    Args:
        parts: The result of `read_spec`.
        env: The environment in which the policy acts.
        noise: Strength of the noise, for policies that have noise.
        repeat: Probability, from 0 to 1, that an episode's previous action is taken again.

    Raises:
        DataError: `repeat` is no probability, or a user's function did not make a policy.
    """
    if not 0 <= repeat <= 1:
        raise DataError(f"repeat is {repeat}, expected a probability from 0 to 1", "The paper's Two-Room has 0.05.")
    policies = []
    for factory, _ in parts:
        policy = factory(env, noise)
        if not isinstance(policy, Policy):
            raise DataError(
                f"{getattr(factory, '__name__', factory)}(env, noise) gave {type(policy).__name__}, expected a Policy",
                "A policy has reset(slots, rngs) and act(observation); see lewm_data/policies/policy.py.",
            )
        policies.append(RepeatedActions(policy, env, repeat) if repeat > 0 else policy)
    return policies[0] if len(policies) == 1 else Mixture(policies, [share for _, share in parts], env)


def _is_positive(share: str) -> bool:
    try:
        return 0 < float(share) < math.inf
    except ValueError:
        return False


def _imported(name: str) -> PolicyFactory:
    """The function that "package.module:function" names."""
    module_name, _, attribute = name.partition(":")
    remedy = "Write it as package.module:function, and run where Python finds the module."
    module = import_module(module_name, f"policy {name}", remedy)
    found = getattr(module, attribute, None)
    if found is None:
        raise unknown(f"function of {module_name}", attribute, [one for one in vars(module) if not one.startswith("_")])
    if not callable(found):
        raise DataError(f"policy {name}: is no function", "It is called with (env, noise) and gives a Policy.")
    try:
        inspect.signature(found).bind(None, 0.0)
    except TypeError as error:
        raise DataError(
            f"policy {name}: cannot be called with (env, noise): {error}", "Give it these two arguments."
        ) from error
    except ValueError:  # not written in Python, so its parameters are not known
        pass

    @functools.wraps(found)
    def factory(env: VectorEnvironment, noise: float) -> Any:  # noqa: ANN401  # `make_policy` checks what it is
        policy = found(env, noise)
        return GivenPolicy(name, policy, env) if isinstance(policy, Policy) else policy

    return factory

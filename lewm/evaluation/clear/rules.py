"""CLEAR-LeWM's rules of success, on the states that an episode went through.

N tasks, T states of an episode, S state width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lewm.evaluation.clear.protocol import Protocol

States = Float64[np.ndarray, "*N S"]
Goals = Float64[np.ndarray, "*#N S"]
Numbers = Float64[np.ndarray, "*N"]

ROOM_PIXELS = 224  # of the frame in which CLEAR-LeWM measures Two-Room; our states are fractions of it
# Parts of states: of Push-T, its agent, its block and the block's angle; of Cube, the cube's centre and rotation.
BLOCK, AGENT_AND_BLOCK, ANGLE = slice(2, 4), slice(0, 4), 4
CENTRE, ROTATION = slice(14, 17), slice(17, 21)
LINK = 0.12  # m, both links of Reacher's arm, to its wrist and to its finger. Source: dm_control


def succeeded(
    task: str,
    protocol: Protocol,
    states: Float64[np.ndarray, "N T S"],
    goals: Float64[np.ndarray, "N S"],
    wall_axis: Int64[np.ndarray, " N"],
) -> Bool[np.ndarray, " N"]:
    """Whether each goal was reached for as many steps in a row as the protocol asks.

    Args:
        task: CLEAR-LeWM's name of the world, see `TASKS`.
        states: The states after the first, second, ... step. The start is not among them: there, no step was taken.
        goals: The goal of each task.
        wall_axis: In Two-Room, the coordinate that the wall of each task divides.
    """
    near = reached(task, protocol, states, goals[:, None], wall_axis[:, None])
    held = np.zeros(len(near), dtype=np.int64)
    longest = held.copy()
    for here in near.T:
        held = np.where(here, held + 1, 0)
        longest = np.maximum(longest, held)
    enough: np.ndarray = longest >= protocol.rule(task).hold(task)
    return enough


def reached(
    task: str, protocol: Protocol, states: States, goals: Goals, wall_axis: Int64[np.ndarray, "*#N"]
) -> Bool[np.ndarray, "*N"]:
    """Whether each state counts as its goal, if it were held long enough.

    In Two-Room a protocol may ask for a valid route and a crossing of the wall. Our simulator sweeps the whole disc, so
    every route is valid, and an agent that is on its goal's side of the wall, but began on the other, has crossed it
    through the door.
    """
    rule = protocol.rule(task)
    apart = difficulty(task, protocol, states, goals)
    if task == "pusht":
        turn = np.degrees(_periodic(goals[..., ANGLE] - states[..., ANGLE]))
        return np.asarray((apart < rule.pusht_position_threshold) & (turn < rule.pusht_angle_threshold_deg))
    if task == "cube":
        near = apart <= rule.cube_position_threshold_m
        if rule.cube_orientation_threshold_deg is None:
            return np.asarray(near)
        turn = cube_turn(states[..., ROTATION], goals[..., ROTATION], rule.cube_symmetry_aware)
        return np.asarray(near & (turn <= rule.cube_orientation_threshold_deg))
    if task == "reacher":
        if rule.reacher_success_mode == "endpoint":
            return np.asarray(apart <= rule.reacher_endpoint_threshold_m)
        return np.asarray(apart < rule.reacher_joint_threshold_rad)
    near = apart < rule.tworoom_distance_threshold
    if rule.tworoom_route_required or rule.tworoom_goal_side_required:
        here, there = (np.sign(_across(each, wall_axis) - 0.5) for each in (states, goals))
        near = near & (here == there)
    return np.asarray(near)


def difficulty(task: str, protocol: Protocol, states: States, goals: Goals) -> Numbers:
    """The distance of states from goals that a protocol looks at, in CLEAR-LeWM's units.

    Push-T: root of the squared distances, in its pixels, of agent and block, or of the block alone. Cube: the cube's
    distance in m. Reacher: the largest angle between joints in radians, or the finger's distance in m. Two-Room: the
    straight distance in pixels of 224.

    Differs: CLEAR-LeWM states the length of the way through the door where a route is required.
    """
    rule = protocol.rule(task)
    if task == "pusht":
        part = BLOCK if rule.pusht_block_only else AGENT_AND_BLOCK
        return _length(goals[..., part] - states[..., part])
    if task == "cube":
        return _length(goals[..., CENTRE] - states[..., CENTRE])
    if task == "tworoom":
        return _length(goals - states) * ROOM_PIXELS
    if rule.reacher_success_mode == "endpoint":
        return _length(fingertip(goals) - fingertip(states))
    away = goals[..., :2] - states[..., :2]
    mode = rule.reacher_angle_mode or ("all-periodic" if rule.reacher_wrap_angles else "raw")
    turns: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
        "raw": (np.abs, np.abs),
        "shoulder-periodic": (_periodic, np.abs),
        "all-periodic": (_periodic, _periodic),
    }
    shoulder, wrist = turns[mode]
    return np.asarray(np.maximum(shoulder(away[..., 0]), wrist(away[..., 1])))


def fingertip(states: States) -> Float64[np.ndarray, "*N 2"]:
    """Where the finger of Reacher's arm is, in m."""
    shoulder, wrist = states[..., 0], states[..., 0] + states[..., 1]
    return LINK * np.stack([np.cos(shoulder) + np.cos(wrist), np.sin(shoulder) + np.sin(wrist)], axis=-1)


def cube_turn(rotations: Float64[np.ndarray, "*N 4"], others: Float64[np.ndarray, "*#N 4"], symmetric: bool) -> Numbers:
    """The angle between two rotations in degrees; with `symmetric` the least one that a cube's symmetries leave.

    The angle of a rotation is 2 arccos of the real part of its quaternion q. Multiplied with one of the 24 rotations
    of a cube, which are quaternions with components ±1, or twice ±1/√2, or four times ±1/2, the real part becomes up to
    a sign one of |q_i|, (|q_i| ± |q_j|)/√2 or half a sum of all: the largest real part is the largest of these.
    """
    a, b = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (rotations, others))
    real = (a * b).sum(axis=-1)
    vector = a[..., :1] * b[..., 1:] - b[..., :1] * a[..., 1:] - np.cross(a[..., 1:], b[..., 1:])
    parts = np.abs(np.concatenate([real[..., None], vector], axis=-1))  # of the rotation from the first to the second
    largest = parts[..., 0]
    if symmetric:
        ordered = np.sort(parts, axis=-1)[..., ::-1]
        pair = (ordered[..., 0] + ordered[..., 1]) / np.sqrt(2)
        largest = np.maximum(np.maximum(ordered[..., 0], pair), ordered.sum(axis=-1) / 2)
    return np.asarray(np.degrees(2 * np.arccos(np.minimum(largest, 1.0))))


def _across(states: States, wall_axis: Int64[np.ndarray, "*#N"]) -> Numbers:
    return np.where(wall_axis == 0, states[..., 0], states[..., 1])


def _length(vectors: Float64[np.ndarray, "*N K"]) -> Numbers:
    return np.asarray(np.sqrt(np.square(vectors).sum(axis=-1)))


def _periodic(angles: Numbers) -> Numbers:
    """The shorter way round of each angle, 0 to π."""
    turn = np.abs(angles) % (2 * np.pi)
    return np.asarray(np.minimum(turn, 2 * np.pi - turn))

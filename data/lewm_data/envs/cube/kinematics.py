"""The pose of the UR5e arm's gripper, from the angles of the joints alone.

Letters: N states.
"""

import numpy as np
from jaxtyping import Float, Float64

# Lengths in m, from the arm's description in OGBench, which comes from MuJoCo Menagerie.
SHOULDER_HEIGHT = 0.163
SIDEWAYS = 0.138 - 0.131 + 0.127
UPPER_ARM, FOREARM = 0.425, 0.392
WRIST, FLANGE = 0.1, 0.1
FINGERTIPS = 0.007 + 0.0038 + 0.145  # from the flange
GRIPPER = FLANGE + FINGERTIPS


def effector_position(angles: Float[np.ndarray, "*N 6"]) -> Float64[np.ndarray, "*N 3"]:
    """The point between the fingertips, in m, from the angles of the six joints in radians."""
    pan, upper, fore, wrist, turn = _directions(angles)
    aside = GRIPPER * np.sin(turn)
    along = UPPER_ARM * np.sin(upper) + FOREARM * np.sin(fore) + WRIST * np.sin(wrist) - aside * np.cos(wrist)
    height = UPPER_ARM * np.cos(upper) + FOREARM * np.cos(fore) + WRIST * np.cos(wrist) + aside * np.sin(wrist)
    across = SIDEWAYS + GRIPPER * np.cos(turn)
    x, y = np.cos(pan) * along - np.sin(pan) * across, np.sin(pan) * along + np.cos(pan) * across
    return np.stack([x, y, SHOULDER_HEIGHT + height], axis=-1)


def effector_yaw(angles: Float[np.ndarray, "*N 6"]) -> Float64[np.ndarray, "*N"]:
    """How far the gripper is turned about the vertical, in radians, -π to π."""
    pan, _, _, wrist, turn = _directions(angles)
    last = np.asarray(angles, np.float64)[..., 5]
    along = np.cos(wrist) * np.cos(turn) * np.sin(last) + np.sin(wrist) * np.cos(last)
    across = np.sin(turn) * np.sin(last)
    x, y = np.cos(pan) * along - np.sin(pan) * across, np.sin(pan) * along + np.cos(pan) * across
    return np.asarray(np.arctan2(y, x))


def _directions(angles: Float[np.ndarray, "*N 6"]) -> Float64[np.ndarray, "5 *N"]:
    """Angles of the arm's plane about the vertical, of upper arm, forearm and wrist from upright, and of the wrist."""
    pan, lift, elbow, first, second, _ = np.moveaxis(np.asarray(angles, np.float64), -1, 0)
    upper = lift + np.pi / 2
    fore = upper + elbow
    return np.stack([pan + np.pi / 2, upper, fore, fore + first + np.pi / 2, second])

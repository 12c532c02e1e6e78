"""The factors of variation of Cube."""

import numpy as np

from lewm_data.envs.mujoco.camera import MjModel, import_mujoco
from lewm_data.envs.mujoco.factors import Knob, factors_of, light_up, move_camera, recolor_floor, recolor_material

CAMERA = "front_pixels"
BODY = GEOM = "object_0"
PADS = tuple(f"ur5e/robotiq/{side}_pad{part}" for side in ("left", "right") for part in (1, 2))
GRIPPER_MATERIALS = ("ur5e/robotiq/black", "ur5e/robotiq/pad_gray")
FLOOR_COLOR = (38, 46, 64)


def _color_cube(model: MjModel, color: tuple[int, int, int]) -> None:
    model.geom(GEOM).rgba[:3] = np.array(color) / 255


def _scale_cube(model: MjModel, scale: float) -> None:
    body, geom = model.body(BODY), model.geom(GEOM)
    geom.size[:] *= scale
    geom.rbound[:] *= scale  # MuJoCo looks for contacts by the radius and the box around a geom
    model.geom_aabb[geom.id] *= scale
    model.bvh_aabb[model.body_bvhadr[body.id]] *= scale
    body.mass[:] *= scale**3
    body.inertia[:] *= scale**5
    _follow_masses(model)


def _weigh_cube(model: MjModel, density: float) -> None:
    model.body(BODY).mass[:] *= density
    model.body(BODY).inertia[:] *= density
    _follow_masses(model)


def _follow_masses(model: MjModel) -> None:
    mujoco = import_mujoco()
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _rub_gripper(model: MjModel, friction: float) -> None:
    for pad in PADS:  # where they touch the cube, their friction alone counts
        model.geom(pad).friction[0] *= friction


# The defaults are those of published data. Cube and gripper are drawn lighter than the floor, to remain visible.
KNOBS = {
    "agent.color": Knob(
        (156, 71, 209),
        90,
        255,
        "RGB of the gripper, drawn from 90 to 255 a channel",
        recolor_material(*GRIPPER_MATERIALS),
    ),
    "agent.friction": Knob(
        1.0, 0.7, 2.0, "sliding friction of the fingertips over the usual one, 0.7 to 2", _rub_gripper
    ),
    "cube.color": Knob((245, 66, 84), 90, 255, "RGB of the cube, drawn from 90 to 255 a channel", _color_cube),
    "cube.scale": Knob(1.0, 0.75, 1.25, "the cube's size over the usual one of 4 cm, 0.75 to 1.25", _scale_cube),
    "cube.density": Knob(1.0, 0.5, 2.0, "the cube's density over the usual one, 0.5 to 2", _weigh_cube),
    "floor.color": Knob(
        FLOOR_COLOR,
        0,
        70,
        "RGB of the floor's lighter squares, drawn from 0 to 70 a channel",
        recolor_floor(FLOOR_COLOR),
    ),
    "light.intensity": Knob(0.7, 0.3, 1.0, "brightness of the light from above, 0.3 to 1", light_up("global")),
    "camera.offset": Knob(
        (0.0, 0.0, 0.0), -0.03, 0.03, "x, y, z in m from where the camera is, each -0.03 to 0.03", move_camera(CAMERA)
    ),
}
FACTORS = factors_of(KNOBS)

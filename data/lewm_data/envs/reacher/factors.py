"""The factors of variation of Reacher."""

from lewm_data.envs.mujoco.camera import MjModel, import_mujoco
from lewm_data.envs.mujoco.factors import Knob, factors_of, light_up, move_camera, recolor_floor, recolor_material

ARM = ("arm", "hand", "finger")  # the bodies that move
CAMERA = "fixed"
FLOOR_COLOR = (51, 76, 102)


def _set_density(model: MjModel, density: float) -> None:
    mujoco = import_mujoco()
    for name in ARM:
        model.body(name).mass[:] *= density
        model.body(name).inertia[:] *= density
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _set_damping(model: MjModel, damping: float) -> None:
    model.dof_damping[:] *= damping


# The defaults are those of dm_control. The arm is drawn lighter than the floor, to remain visible.
KNOBS = {
    "agent.color": Knob(
        (178, 128, 76), 110, 255, "RGB of the arm, drawn from 110 to 255 a channel", recolor_material("self")
    ),
    "agent.density": Knob(1.0, 0.5, 2.0, "the arm's density over the usual one, 0.5 to 2", _set_density),
    "agent.damping": Knob(1.0, 0.5, 2.0, "the joints' damping over the usual one, 0.5 to 2", _set_damping),
    "floor.color": Knob(
        FLOOR_COLOR,
        0,
        90,
        "RGB of the floor's lighter squares, drawn from 0 to 90 a channel",
        recolor_floor(FLOOR_COLOR),
    ),
    "light.intensity": Knob(0.7, 0.3, 1.0, "brightness of the light, 0.3 to 1", light_up("light")),
    "camera.offset": Knob(
        (0.0, 0.0, 0.0), -0.03, 0.03, "x, y, z in m from where the camera is, each -0.03 to 0.03", move_camera(CAMERA)
    ),
}
FACTORS = factors_of(KNOBS)

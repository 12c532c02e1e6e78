"""Frames of MuJoCo models: one drawing context for all simulators of a world and frame size in a process.

Making a context takes a tenth of a second or more, and up to a hundred megabytes: one for each simulator would be too
much.

Letters: Y and X the sides of a frame.
"""

import atexit
import copy
import os
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lewm_data.envs.mujoco.headless import VARIABLE, choose_renderer
from lewm_data.errors import DataError, missing

# Types of MuJoCo, which is imported only where one of its worlds is used.
MjModel = Any
MjData = Any

FLOOR = "grid"  # the floor's texture in MuJoCo worlds

# Without a GPU, shadows and vertices take most of the time of a frame. These limits leave out what frames of the size
# hardly show; a model's own numbers hold where they are lower.
SHADOW_TEXELS = 4  # side of the shadow map for each pixel of a frame's side
PIXELS_A_SLICE, LEAST_SLICES = 8, 12  # facets around a sphere or capsule by the frame's side; half as many along it
PLANE_GRID = 0.05  # m, least distance between the vertices of a plane, from which its light is interpolated


def import_mujoco() -> ModuleType:
    """The module `mujoco`, ready to draw without a screen.

    Raises:
        DataError: MuJoCo is not installed, or there is no renderer.
    """
    choose_renderer()  # MuJoCo chooses its OpenGL when it is imported
    try:
        import mujoco
    except ImportError as error:
        raise missing("this world needs MuJoCo", "mujoco") from error
    return mujoco


class Camera:
    """A camera of a model. Its frames show the meshes of that model, and its textures except for the floor's.

    Args:
        model: A MuJoCo model.
        name: One of its cameras.
        frame_size: Pixels a side.
        simplify: Leaves detail out of the meshes of a copy of the model, which is only for drawing.

        Raises:
            DataError: There is no renderer.
    """

    def __init__(
        self, model: MjModel, name: str, frame_size: int, simplify: Callable[[MjModel], None] = lambda model: None
    ) -> None:
        mujoco = self._mujoco = import_mujoco()
        drawn = copy.copy(model)
        drawn.vis.global_.offwidth = drawn.vis.global_.offheight = frame_size
        _lighten(drawn, frame_size, int(mujoco.mjtGeom.mjGEOM_PLANE))
        simplify(drawn)
        try:
            self._opengl = mujoco.GLContext(frame_size, frame_size)
            self._opengl.make_current()
            self._context = mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_100)
        except (AttributeError, ImportError, RuntimeError, mujoco.FatalError) as error:
            raise DataError(
                f'MuJoCo cannot draw: {error}; {VARIABLE} is "{os.environ.get(VARIABLE, "")}"',
                f"Set {VARIABLE} to egl or osmesa, or to nothing, and let lewm be the first to import mujoco.",
            ) from error
        free = weakref.finalize(self, _free, self._opengl, self._context)
        atexit.register(free)  # registered now, so that it runs before the handler that OpenGL has just registered
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2 * model.ngeom)
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = model.camera(name).id
        self._frame = mujoco.MjrRect(0, 0, frame_size, frame_size)
        self._floor_of = model

    def render(self, model: MjModel, data: MjData) -> UInt8[np.ndarray, "Y X 3"]:
        """The frame of `model` in the state `data`, whose positions must be up to date."""
        mujoco = self._mujoco
        self._opengl.make_current()
        if model is not self._floor_of:
            mujoco.mjr_uploadTexture(model, self._context, model.texture(FLOOR).id)
            self._floor_of = model
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._frame, self._scene, self._context)
        pixels = np.empty((self._frame.height, self._frame.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._frame, self._context)
        return np.ascontiguousarray(pixels[::-1])  # OpenGL counts rows from the bottom


def _lighten(model: MjModel, frame_size: int, plane: int) -> None:
    """Leaves out of a model, which is only for drawing, what frames of this size hardly show."""
    quality, planes = model.vis.quality, model.geom_type == plane
    texels = 1 << (SHADOW_TEXELS * frame_size - 1).bit_length()  # a power of two
    slices = max(LEAST_SLICES, frame_size // PIXELS_A_SLICE)
    quality.shadowsize = min(quality.shadowsize, texels)
    quality.numslices, quality.numstacks = min(quality.numslices, slices), min(quality.numstacks, slices // 2)
    model.geom_size[planes, 2] = np.maximum(model.geom_size[planes, 2], PLANE_GRID)


def _free(opengl: Any, context: Any) -> None:  # noqa: ANN401  # MuJoCo's own classes
    opengl.make_current()  # freeing concerns the objects of the current context
    context.free()
    opengl.free()


_cameras: weakref.WeakValueDictionary[tuple[str, int], Camera] = weakref.WeakValueDictionary()


def shared_camera(look: str, frame_size: int, make: Callable[[], Camera]) -> Camera:
    """The camera for a frame size and a look: a world, at one of its details where it has several.

    Every simulator that draws holds it; the last one that ends frees it.
    """
    camera = _cameras.get((look, frame_size))
    if camera is None:
        camera = _cameras[look, frame_size] = make()
    return camera

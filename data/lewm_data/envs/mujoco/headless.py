"""The choice of the renderer with which MuJoCo draws without a screen."""

import contextlib
import ctypes
import ctypes.util
import importlib.util
import os
import sys
from pathlib import Path

from lewm_data.errors import DataError

VARIABLE = "MUJOCO_GL"  # read by mujoco and dm_control when they are imported

# Source: the EGL 1.5 specification, and EGL_EXT_device_enumeration, EGL_EXT_platform_device, EGL_EXT_device_query and
# EGL_MESA_device_software of the Khronos registry.
_PLATFORM_DEVICE, _EXTENSIONS, _MOST_DEVICES = 0x313F, 0x3055, 32
_SOFTWARE = b"EGL_MESA_device_software"


def choose_renderer() -> str:
    """Makes MuJoCo draw with EGL on a GPU, else with OSMesa; call it before mujoco or dm_control is imported.

    A value that the user has set in MUJOCO_GL stays. On other systems than Linux, MuJoCo chooses by itself.

    Triton and Mesa, which may provide EGL and OSMesa, each contain LLVM, with the same symbols. A process that loads
    Mesa's LLVM first crashes when PyTorch loads Triton, so Triton's library is loaded here.

    Returns:
        MuJoCo's name of the renderer, "egl" or "osmesa", or the user's value; "" where MuJoCo chooses.

    Raises:
        DataError: Neither EGL on a GPU nor OSMesa is there.
    """
    if sys.platform != "linux":
        return os.environ.get(VARIABLE, "")
    _load_triton()
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    if _egl_draws(on_gpu=True):
        chosen = "egl"
    elif ctypes.util.find_library("OSMesa"):
        chosen = "osmesa"
    elif _egl_draws(on_gpu=False):
        chosen = "egl"
    else:
        raise DataError(
            "nothing to draw MuJoCo with: neither EGL nor OSMesa was found",
            "On Debian or Ubuntu: apt-get install libosmesa6, or libegl1 where the driver of a GPU is installed.",
        )
    os.environ[VARIABLE] = chosen
    return chosen


def prepare_renderer() -> None:
    """Chooses MuJoCo's renderer, if that is installed: call it before a package is imported that may use MuJoCo.

    Nothing happens where there is nothing to draw with: the package may do without MuJoCo.
    """
    if importlib.util.find_spec("mujoco"):
        with contextlib.suppress(DataError):
            choose_renderer()


def _load_triton() -> None:
    """Loads Triton's library, if it is installed; PyTorch then finds it loaded."""
    found = importlib.util.find_spec("triton")
    for folder in (found.submodule_search_locations if found else None) or []:
        with contextlib.suppress(OSError):  # it is missing or for another machine, so PyTorch cannot load it either
            ctypes.CDLL(str(Path(folder) / "_C" / "libtriton.so"))


def _egl_draws(on_gpu: bool) -> bool:
    """Whether EGL can draw without a screen: on a GPU, or on a renderer in software that looks like one."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    pointer = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes, egl.eglGetProcAddress.restype = [ctypes.c_char_p], pointer
    egl.eglInitialize.argtypes, egl.eglInitialize.restype = [pointer, pointer, pointer], ctypes.c_uint
    names = (b"eglQueryDevicesEXT", b"eglQueryDeviceStringEXT", b"eglGetPlatformDisplayEXT")
    addresses = [egl.eglGetProcAddress(name) for name in names]
    if not all(addresses):
        return False
    query_devices = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, pointer, pointer)(addresses[0])
    string_of = ctypes.CFUNCTYPE(ctypes.c_char_p, pointer, ctypes.c_int)(addresses[1])
    display_of = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(addresses[2])

    devices, count = (pointer * _MOST_DEVICES)(), ctypes.c_int()
    if not query_devices(_MOST_DEVICES, devices, ctypes.byref(count)):
        return False
    for device in devices[: count.value]:
        is_gpu = _SOFTWARE not in (string_of(device, _EXTENSIONS) or b"")
        if is_gpu == on_gpu:
            display = display_of(_PLATFORM_DEVICE, device, None)
            if display and egl.eglInitialize(display, None, None):
                return True
    return False

"""Environments as a user's package might register them, with whatever Gymnasium allows."""

import gymnasium
import numpy as np
from gymnasium import spaces

DRAWN = (24, 36)  # the drawn picture is no square


class Lane(gymnasium.Env):
    """A square that is pushed about, with noise, and is lost when it leaves to the right."""

    metadata = {"render_modes": ["rgb_array", "human"]}  # noqa: RUF012

    def __init__(self, render_mode=None, kind="", actions=None):
        self.render_mode, self.kind = render_mode, kind
        self.action_space = actions or spaces.MultiDiscrete([3, 2], start=[-1, 0])
        parts = {"speed": spaces.Discrete(2), "pic": spaces.Box(0, 255, (4, 6, 3), np.uint8), "name": spaces.Text(9)}
        parts["in/here"] = spaces.Tuple([spaces.Box(-np.inf, np.inf, (2,), np.float32)])
        parts["width"] = spaces.Box(0, 1, (1,), np.float32)
        self.observation_space = parts["pic"] if kind == "pictures" else spaces.Dict(parts)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(2, 10, 2), 0
        return self._seen(), self._told(np.zeros(2))

    def step(self, action):
        assert self.action_space.contains(action), action
        assert self.place[0] <= 30, "a finished episode was stepped"
        drifting = self.kind == "drifting" or (self.kind == "drifting late" and self.place[0] > 20)
        noise = np.random.normal(0, 0.1, 2) if drifting else self.np_random.normal(0, 0.1, 2)
        sideways, self.speed = np.ravel(action)[:2]
        self.place = np.clip(self.place + noise + [1 + 2 * self.speed, sideways], 0, [40, 18])
        told = self._told(noise)
        if self.place[1] > 9:
            told["drift"] = noise[:1]  # once in a while in another shape
        return self._seen(), -1.0, bool(self.place[0] > 30), False, told

    def render(self):
        if self.kind == "listing":
            return [np.zeros((*DRAWN, 3), np.uint8)]
        frame = np.full((*DRAWN, 3), 255, np.uint8)
        x, y = self.place.astype(int)
        frame[y : y + 6, x : x + 6] = 0, 100, 50 * int(self.speed)
        return frame

    def _seen(self):
        picture = np.full((4, 6, 3), int(self.place[0]), np.uint8)
        if self.kind == "pictures":
            return picture
        here = (self.place.astype(np.float32),)
        width = np.full(1, 0.1, np.float32)
        return {"speed": int(self.speed), "pic": picture, "name": "lane", "in/here": here, "width": width}

    def _told(self, noise):
        told = {"drift": noise, "far": bool(self.place[0] > 20), "lane/width": 20, "who": "me"}
        told |= {"view": np.zeros((*DRAWN, 3), np.uint8), "heat": np.zeros((50, 50))}
        return told | ({"is_success": self.place[1] < 5} if self.kind == "telling" else {})


class Worn(Lane):
    """A lane that begins elsewhere from the third episode of an instance on."""

    times = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.times += 1
        self.place += 0.25 * (self.times > 2)
        return self._seen(), self._told(np.zeros(2))


class Sparkling(Lane):
    """A lane whose sparks fade whenever they are drawn."""

    def reset(self, *, seed=None, options=None):
        self.spark = 255
        return super().reset(seed=seed)

    def render(self):
        frame = super().render()
        frame[:4, :4] = self.spark
        self.spark = max(0, self.spark - 20)
        return frame


class Observing(Lane):
    """A lane that observes only some numbers: a direction, its step, nothing that changes, or how far to the right."""

    seen = property(
        lambda self: {
            "direction": spaces.Discrete(3),
            "counter": spaces.Box(0, np.inf, (1,)),
            "constant": spaces.Box(0, 1, (2,)),
            "sideways": spaces.Box(0, 40, (1,)),
        }
    )

    def __init__(self, render_mode=None, kind="", actions=None):
        super().__init__(render_mode, actions=actions)
        self.kind, self.observation_space, self.steps, self.turn = kind, self.seen[kind], 0, 0

    def reset(self, *, seed=None, options=None):
        self.steps = self.turn = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.steps, self.turn = self.steps + 1, int(np.ravel(action)[0]) + 1
        return super().step(action)

    def _seen(self):
        return {
            "direction": self.turn,
            "counter": np.full(1, self.steps, np.float32),
            "constant": np.full(2, 0.5, np.float32),
            "sideways": self.place[:1].astype(np.float32),
        }[self.kind]


class DMControlLane(Lane):
    """A lane whose name says what draws it."""


class Silent(Lane):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012


class Modeless(Lane):
    def __init__(self):
        super().__init__()


def _register(name, entry_point=Lane, **kwargs):
    gymnasium.register(id=name, entry_point=entry_point, max_episode_steps=25, kwargs=kwargs)


BOX = spaces.Box(np.array([[-1.0, 0]]), np.array([[1.0, 2]]), dtype=np.float64)

if "Lane-v0" not in gymnasium.registry:
    _register("Lane-v0")
    _register("LaneBox-v0", actions=BOX)
    _register("LaneBoundless-v0", actions=spaces.Box(-np.inf, np.inf, (2,)))
    _register("LanePictures-v0", kind="pictures")
    _register("LaneTelling-v0", kind="telling")
    _register("LaneDrifting-v0", kind="drifting")
    _register("LaneDriftingLate-v0", kind="drifting late")
    _register("LaneListing-v0", kind="listing")
    _register("LaneWorn-v0", Worn)
    _register("LaneSparkling-v0", Sparkling)
    _register("LaneDirection-v0", Observing, kind="direction")
    _register("LaneCounter-v0", Observing, kind="counter")
    _register("LaneConstant-v0", Observing, kind="constant")
    _register("LaneSideways-v0", Observing, kind="sideways", actions=BOX)
    _register("LaneDMControl-v0", DMControlLane)
    _register("LaneSilent-v0", Silent)
    _register("LaneModeless-v0", Modeless)

"""Runs with reports of a known content, and the page that shows them, as a browser reads it."""

import os
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np

from lewm.measures.embeddings import measure_embeddings
from lewm.report_files import write_report
from lewm.training.embeddings import KeptEmbeddings

VOID = {"meta", "link", "img", "br"}
HOSTILE = '<script>alert("1")&amp;\'%41 #{run}?'


class Page(HTMLParser):
    """Elements by tag, the text, and whether every element is closed."""

    def __init__(self, path):
        super().__init__()
        self.path, self.elements, self.text, self._open = Path(path), {}, [], []
        self.raw = self.path.read_text()
        self.feed(self.raw)
        self.close()
        assert not self._open
        self.said = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.elements.setdefault(tag, []).append(dict(attributes))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)

    def shown(self):
        """The files that pictures and videos point to; each is there."""
        return self._there([one["src"] for one in self.elements.get("img", []) + self.elements.get("video", [])])

    def linked(self):
        """The files that links lead to; each is there, and is kept under its own name."""
        links = [one for one in self.elements.get("a", []) if not one["href"].startswith("#")]
        files = self._there([one["href"] for one in links])
        assert all(one.get("download", file.name) == file.name for one, file in zip(links, files, strict=True))
        return files

    def _there(self, urls):
        files = [self.path.parent / os.fsdecode(unquote_to_bytes(url.partition("#")[0])) for url in urls]
        assert all(file.is_file() for file in files)
        return files


@dataclass(frozen=True)
class Content:
    """A report of this content."""

    content: dict

    def as_dict(self):
        return self.content


def success(successes, episodes):
    return {
        "success_rate": successes / episodes,
        "successes": successes,
        "episodes": episodes,
        "interval_95": [0.25, 0.75],
    }


def tasks(solved, random=(), apart=None):
    """What became of tasks: solved in ascending order of their numbers, as the list says."""

    def outcome(solved, apart):
        return {"solved": solved, "steps": 50 - 20 * bool(solved), "latent_distance": apart}

    return [
        {
            "number": number,
            "episode": 100 + number,
            "step": 10 * number,
            "seed": None,
            "planner": outcome(one, None if apart is None else {"start": 16.1, "end": apart[number]}),
            "random": outcome(None if one is None else number in random, apart and {"start": 16.1, "end": 14.3}),
        }
        for number, one in enumerate(solved)
    ]


def plan_report(successes):
    return {
        **success(successes, 8),
        "tasks": tasks([number < successes for number in range(8)], random=(7,)),
        "latent_distance": None,
        "random": {**success(1, 8), "latent_distance": None},
        "success": "judged by states",
        "protocol": "held-out",
        "goal_offset": 25,
        "budget": 50,
        "discarded_solved": 3,
        "tasks_sha256": "ab" * 32,
        "seconds_per_plan": 0.123,
        "planner": {
            "method": "LeWM",
            "agent": "planner",
            "warm_start": "off",
            "planner": {"kind": "cem", "samples": 300, "elites": 30, "iterations": 9},
            "cost": {"kind": "last"},
            "horizon": 5,
            "execute": 2,
            "horizon_end": "shrink",
            "context": 3,
        },
        "checkpoint_sha256": "cd" * 32,
    }


def embeddings_report(spread=1.0, dimensions=8, frames=64):
    """The statistics of normal embeddings, one of them constant."""
    latents = spread * np.random.default_rng(0).standard_normal((frames, dimensions)).astype(np.float32)
    latents[:, -1] = 2
    return KeptEmbeddings(measure_embeddings(latents, np.arange(frames), 0), "cd" * 32).as_dict()


def head_report():
    return {
        "errors": [
            {"least": 1, "most": 25, "real": 3.44, "imagined": 4.55},
            {"least": 26, "most": 50, "real": 6.66, "imagined": None},
        ],
        "real": {"head": 0.91, "distance": 0.52},
        "imagined": None,
        "head": {"steps": 2000, "longest": 50, "frames": 100000},
        "held_out": True,
        "checkpoint_sha256": "cd" * 32,
    }


def policy_report(kind="idm"):
    return {
        "kind": kind,
        "error": 0.4321,
        "mean_action": 0.998,
        "value_correlation": 0.789 if kind == "gcivl" else None,
        "policy": {"steps": 1000, "frames": 90000} | ({"longest": 50} if kind == "idm" else {}),
        "held_out": True,
        "checkpoint_sha256": "cd" * 32,
    }


def probe_report(checkpoint="cd" * 32):
    def score(value):
        return {"value": value, "interval_95": [value - 0.01, value + 0.01]}

    def probed(features, r):
        scores = {"mse": score(1 - r), "r": score(r)}
        return {"property": "agent", "features": features, "linear": scores, "mlp": scores}

    return {
        "probed": [probed("trained encoder", 0.987), probed("pixel PCA", 0.654)],
        "episodes": {"train": 60, "validation": 20, "test": 21},
        "checkpoint_sha256": checkpoint,
    }


def surprise_report(source="/data/falls.mp4", out_video=None):
    event = {"begin_time": 1.5, "peak_time": 1.75, "end_time": 2.25, "p_value": 0.0002}
    return {
        "source": source,
        "actions": "unknown: the least surprise",
        "frames": 305,
        "scored": 300,
        "flagged": 7,
        "alpha": 0.01,
        "calibration": {
            "clean_frames": 900,
            "clean_episodes": 20,
            "episodes_needed": 99,
            "false_alarms_at_most": 0.0571,
        },
        "events": [event],
        "out_video": out_video,
    }


def suite_report():
    def outcome(actions, **values):
        one = {"perturbation": "agent teleported", "actions": actions, "surprise": 2.5, "untouched": 0.02}
        return {**one, "p_value": 4e-26, "effect_size": 2.34, "auroc": 0.999, "detected": 0.98, "delay": 0.0, **values}

    unknown = outcome("unknown", p_value=None, effect_size=None, auroc=0.5, delay=None)
    alarms = {"flagged": 5, "frames": 400, "rate": 0.0125, "interval_95": [0.001, 0.03]}
    return {
        "alpha": 0.01,
        "outcomes": [outcome("known"), unknown],
        "false_alarms": [{"actions": actions, **alarms} for actions in ("known", "unknown")],
    }


def fill(run, name, media, report=None):
    """A report of this name and its pictures, whose content is their own name."""
    write_report(run / f"{name}.json", Content(report or {}))
    (run / name).mkdir()
    for one in media:
        (run / name / one).write_bytes(os.fsencode(one))

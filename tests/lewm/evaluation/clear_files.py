"""A dataset made by hand, and a manifest of CLEAR-LeWM for it, written out as that project writes its own."""

import json

import numpy as np

from lewm_data.store.metadata import metadata_sha256
from lewm_data.store.writer import Writer

LENGTHS = (5, 8)  # rows of the two episodes, whose numbers are 0 and 1


def push_t_data(path):
    """Two episodes in which the block moves by 8 pixels to the right and turns by 5 degrees at each step."""
    with Writer.create(path) as writer:
        for number, (first, length) in enumerate(zip((100.0, 300.0), LENGTHS, strict=True)):
            step = np.arange(length)
            state = np.zeros((length, 7))
            state[:, :2] = 50.0
            state[:, 2], state[:, 3] = first + 8 * step, 200.0
            state[:, 4] = np.radians(355 + 5 * step) % (2 * np.pi)
            frames = np.zeros((length, 16, 16, 3), np.uint8)
            columns = {"pixels": frames, "action": np.zeros((length, 2), np.float32), "state": state}
            numbers = {"episode_idx": np.full(length, number, np.int32), "step_idx": step.astype(np.int32)}
            writer.write_episode(columns | numbers)
    return path


def manifest_of(data):
    """Two pairs, four rows apart, of the dataset of `push_t_data`; with the keys of a published manifest."""
    return {
        "created_utc": "2026-07-23T04:42:20.689906+00:00",
        "dataset": {
            "episode_column": "episode_idx",
            "fingerprint": {"kind": "metadata-sha256", "value": metadata_sha256(data)},
            "name": data.name,
        },
        "pairs": [
            {
                "angle_distance_deg": 20.0,
                "block_position_distance": 32.0,
                "difficulty": 32.0,
                "episode_id": 1,
                "goal_row": 11,
                "goal_step": 6,
                "initial_success": False,
                "pair_id": 0,
                "position_distance": 32.0,
                "start_row": 7,
                "start_step": 2,
                "upstream_initial_success": False,
            },
            {
                "angle_distance_deg": 20.0,
                "block_position_distance": 32.0,
                "difficulty": 32.0,
                "episode_id": 0,
                "goal_row": 4,
                "goal_step": 4,
                "initial_success": False,
                "pair_id": 7,
                "position_distance": 32.0,
                "start_row": 0,
                "start_step": 0,
                "upstream_initial_success": False,
            },
        ],
        "policy_seed": 42,
        "protocol": {
            "cube_orientation_threshold_deg": 15,
            "cube_position_threshold_m": 0.03,
            "cube_sustained_steps": 3,
            "cube_symmetry_aware": True,
            "description": "Task-semantic completion.",
            "eval_budget": 50,
            "exclude_initial_success": True,
            "goal_offset": 4,
            "heldout_fraction": 0,
            "min_difficulty": {},
            "name": "strict",
            "pusht_angle_threshold_deg": 10,
            "pusht_block_only": True,
            "pusht_position_threshold": 10,
            "pusht_sustained_steps": 3,
            "reacher_angle_mode": None,
            "reacher_endpoint_threshold_m": 0.01,
            "reacher_joint_threshold_rad": 0.05,
            "reacher_success_mode": "endpoint",
            "reacher_sustained_steps": 2,
            "reacher_wrap_angles": False,
            "reproduce_upstream_off_by_one": False,
            "sampling": "episode-balanced",
            "split": "all",
            "success_mode": "task-sustained",
            "sustained_steps": 1,
            "tworoom_collision_mode": "swept",
            "tworoom_crossroom_only": True,
            "tworoom_distance_threshold": 8,
            "tworoom_goal_side_required": True,
            "tworoom_route_required": True,
            "tworoom_source_window_clean": True,
            "tworoom_sustained_steps": None,
        },
        "schema_version": "clear-lewm-manifest-v1",
        "seed": 42,
        "split": "all",
        "statistics": {"num_eval": 2, "unique_episodes": 2, "valid_pairs_all_splits": 5},
        "task": "pusht",
    }


def written(path, content):
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return path

"""Environments; importing this package registers them with Gymnasium."""

from lewm_data.envs.registry import register

register()

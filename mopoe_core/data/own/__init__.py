"""Datasets of the user's own: what their files import."""

from mopoe_core.data.own.user_data import OwnDataset, OwnModality

__all__ = ["OwnDataset", "OwnModality"]

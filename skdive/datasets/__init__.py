"""Data that ships with skdive, with its provenance."""

from ._load import load_motionsense, load_pjm

__all__ = ["load_motionsense", "load_pjm"]

"""Embeddings of windows in classifiers; `python -m embeddings` runs and tabulates it."""

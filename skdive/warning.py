"""Warnings that point at the line of the user, however deep they arise."""

import sys
import warnings

OURS = ("skdive", "sklearn")  # packages whose lines mean nothing to the user


def warn(message: str) -> None:
    """Warn as if from the innermost frame that is not of these packages."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)

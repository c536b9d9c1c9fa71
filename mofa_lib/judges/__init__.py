"""Judges from outside: open face recognisers that nobody here trained, as a meter.

The book's cards say where they come from, and what they must not be used for.
"""

from mofa_lib.judges.judge import Judge, load_judge

__all__ = ["Judge", "load_judge"]

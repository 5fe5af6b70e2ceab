"""Each claim of the theory as an experiment: a figure, its numbers, and verdicts.

An experiment is a module with ``TITLE``, ``CLAIMS`` and ``run(lab) -> Outcome``. The claims stand
in the code before anything runs: a number that will be measured, and the bound that it is held
against. Bounds are theorems, for finite sizes, so that no seed and no slow machine can break them;
what only longer training would show is drawn and not judged. `homfast.experiments.runner` runs
them, ``homfast experiment NAME`` from the command line.
"""

from homfast.experiments.registry import EXPERIMENTS
from homfast.experiments.runner import Report, run

__all__ = ["EXPERIMENTS", "Report", "run"]

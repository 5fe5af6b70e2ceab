"""What ``homfast selftest`` runs: promises of the contract, checked on this machine.

An idea is a module of this package, named in `ideas.IDEAS`, with

- TITLE: what holds, for people;
- KEEPS_BITS: whether it binds only engines that promise bits (`Engine.keeps_bits`);
- CHOICES: what parameters that are names may be, where the corners do not have them all;
- CORNERS: parameters that come first in every run, whatever its time;
- ``draw(rng, largest)``: further parameters, values that JSON has, with sizes up to `largest`; or
  None where the corners are all;
- ``check(engine, dtype, rng, **parameters)``: AssertionError, `oracles.NothingToCheck`, or the
  largest error over its bound, None where there is no such figure.

A case is an idea, an engine, a dtype, a seed and parameters, and so one line of JSON; `cases` makes
and runs them. It needs NumPy alone. The suite in ``tests/`` has the same oracles and checks.
"""

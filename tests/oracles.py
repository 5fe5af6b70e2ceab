"""What results are compared with: that of ``homfast selftest``, by a shorter name."""

from homfast.selftesting.oracles import *  # noqa: F403

"""homfast's thread pool as one of those that threadpoolctl limits."""

from __future__ import annotations

import os

_VARIABLE = "KMP_DUPLICATE_LIB_OK"


def register() -> bool:
    """Make ``threadpoolctl.threadpool_limits`` govern the native kernels; False without it."""
    had = _VARIABLE in os.environ
    try:
        import threadpoolctl
    except ImportError:
        return False
    # threadpoolctl sets it as it is imported; our import leaves the environment as it was.
    if not had:
        os.environ.pop(_VARIABLE, None)

    class HomfastController(threadpoolctl.LibController):
        user_api = "homfast"
        internal_api = "homfast"
        filename_prefixes = ("_native",)
        check_symbols = ("homfast_get_num_threads", "homfast_set_num_threads")

        def get_num_threads(self):
            return self.dynlib.homfast_get_num_threads()

        def set_num_threads(self, num_threads):
            self.dynlib.homfast_set_num_threads(num_threads)

        def get_version(self):
            from homfast import __version__

            return __version__

    threadpoolctl.register(HomfastController)
    return True

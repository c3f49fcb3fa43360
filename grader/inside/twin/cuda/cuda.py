"""What cuda-python 12 still has beside `cuda.bindings.driver`, and 13 no longer."""

import warnings

from cuda.bindings.driver import *  # noqa: F403 (all of it)

warnings.warn(
    "The cuda.cuda module is deprecated and will be removed in a future release, "
    "please switch to use the cuda.bindings.driver module instead.",
    FutureWarning,
    stacklevel=2,
)

"""What cuda-python 12 still has beside `cuda.bindings.runtime`, and 13 no longer."""

import warnings

from cuda.bindings.runtime import *  # noqa: F403 (all of it)

warnings.warn(
    "The cuda.cudart module is deprecated and will be removed in a future release, "
    "please switch to use the cuda.bindings.runtime module instead.",
    FutureWarning,
    stacklevel=2,
)

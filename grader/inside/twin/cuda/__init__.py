"""``import cuda`` on a machine without a GPU: `cuda.bindings.runtime` over the twin, the rest as installed."""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)  # `cuda.pathfinder` and others are packages of their own

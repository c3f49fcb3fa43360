"""Arguments that are PyTorch's objects, made here from a source file and arrays: nothing is unpickled."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

MODULE = "given_network"


def given(value: dict[str, Any], scratch: Path) -> Any:
    """A tensor, or a module in training mode, as PyTorch makes it. See `grader.processes.candidate.GivenModule`."""
    if value["@"] == "torch.Tensor":
        return _tensor(value["array"])
    path = scratch / f"{MODULE}.py"  # a file, since PyTorch may want to read the source again
    path.write_text(value["source"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None
    source = sys.modules[MODULE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    module = getattr(source, value["name"])(**value["options"])
    module.load_state_dict({name: _tensor(array) for name, array in value["weights"].items()})
    return module.train()


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))

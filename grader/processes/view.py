"""Turns a policy into what a process sees: bwrap's mounts and Landlock's rules.

Paths are resolved here once. A virtual environment's python, for one, is a link that may pass through
several folders before it reaches the interpreter, and each link on the way must exist inside too.
"""

from __future__ import annotations

import glob
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from grader.processes.sandbox import MIB, Policy

SCRATCH = Path("/trtprep-scratch")  # where the scratch folder lies for a process with its own mounts
SHARED_MEMORY_BYTES = 64 * MIB

_SYSTEM_PREFIXES = (Path("/"), Path("/usr"), Path("/usr/local"))
_SYSTEM_PREFIX_PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "share")
_SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/alternatives",  # where Debian's libblas.so.3 points to
    "/nix/store",
    "/sys/devices/system/cpu",  # read by thread pools to choose their size
)
_GPU_FILES = ("/sys", "/usr/local/cuda*", "/usr/local/nvidia", "/opt/cuda")
_GPU_DEVICES = ("/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg", "/dev/dri")
_PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")


@dataclass(frozen=True)
class View:
    """Resolved paths, parents before what lies in them.

    Attributes:
        marks: (path, shown) pairs: from this path on downwards, files are shown or hidden.
        links: (path, target) of symbolic links outside every shown folder.
        devices: device files to be used.
        policy: what it was made from.
    """

    marks: tuple[tuple[Path, bool], ...]
    links: tuple[tuple[Path, str], ...]
    devices: tuple[Path, ...]
    policy: Policy

    @property
    def hidden(self) -> list[Path]:
        """The paths at which something shown is hidden again."""
        return [path for path, shown in self.marks if not shown]


def view_of(policy: Policy, extra: tuple[Path, ...] = ()) -> View:
    """Resolve a policy, with the interpreter's needs and `extra` readable paths added.

    Raises:
        FileNotFoundError: a readable path of the policy does not exist.
    """
    for path in policy.readable:
        if not path.exists():
            raise FileNotFoundError(f"the sandbox cannot show {path}: it does not exist")
    needed = [*_interpreter(), *(_globbed(_GPU_FILES) if policy.devices else [])]
    links: dict[Path, str] = {}
    shown = {_resolve(path, links) for path in (*policy.readable, *extra, *needed) if path.exists()}
    hidden = {path.resolve() for path in policy.hidden if path.exists()}

    marks: dict[Path, bool] = {}
    for path in sorted(shown | hidden, key=lambda path: len(path.parts)):
        visible = path not in hidden
        if visible != _shown_by(marks, path):
            marks[path] = visible
    outside = {path: target for path, target in links.items() if not _shown_by(marks, path.parent)}
    devices = _globbed(_GPU_DEVICES) if policy.devices else []
    return View(tuple(marks.items()), tuple(outside.items()), tuple(devices), policy)


def mount_options(view: View, *, own_proc: bool) -> list[str]:
    """Return bwrap's options for a root folder in which only the view exists.

    Args:
        view: what to show.
        own_proc: true if the process has its own PID namespace, and so its own /proc.
    """
    options: list[str] = []
    for link, target in view.links:
        options += ["--symlink", target, str(link)]
    for path, shown in view.marks:
        if shown:
            options += ["--ro-bind", str(path), str(path)]
        elif path.is_dir():
            options += ["--size", "65536", "--tmpfs", str(path)]
        else:
            options += ["--ro-bind", "/dev/null", str(path)]
    options += ["--proc", "/proc"] if own_proc else ["--ro-bind", "/proc", "/proc"]
    options += ["--ro-bind", "/proc/sys", "/proc/sys"]  # root's files: a grader that is root could write to them
    options += ["--dev", "/dev"]
    for device in view.devices:
        options += ["--dev-bind", str(device), str(device)]
    options += ["--perms", "1777", "--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]
    options += ["--perms", "0700", "--size", str(view.policy.scratch_bytes), "--tmpfs", str(SCRATCH)]
    # The folders that bwrap made up on the way are a tmpfs without a limit: close it.
    for closed in ("/dev", "/", *(str(path) for path in view.hidden if path.is_dir())):
        options += ["--remount-ro", closed]
    return options


def landlock_rules(view: View, scratch: Path, *, own_mounts: bool) -> list[tuple[str, str]]:
    """Return (path, right) pairs, where a right is "read", "list", "write" or "device".

    Landlock can only allow, and what it allows of a folder holds for all that lies in it. A folder that
    holds something hidden may therefore only be listed, and its other entries are allowed one by one;
    the names below the hidden one can still be listed, but nothing there can be opened.
    """
    hidden = set(view.hidden)
    rules: list[tuple[str, str]] = []

    def allow(path: Path) -> None:
        if path in hidden:
            return
        if not any(path in inner.parents for inner in hidden):
            rules.append((str(path), "read"))
            return
        rules.append((str(path), "list"))
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if not entry.is_symlink():  # what it points to is allowed, or not, at its own path
                allow(Path(entry.path))

    for path, shown in view.marks:
        if shown:
            allow(path)
    rules += [(str(path.resolve()), "list") for path in view.policy.listed]
    rules += [("/proc", "read"), (str(scratch), "write")]
    if own_mounts:  # the host's shared memory holds other programs' files
        rules += [("/dev", "list"), ("/dev/shm", "write")]
    rules += [(device, "device") for device in (*_PLAIN_DEVICES, *map(str, view.devices)) if os.path.exists(device)]
    if view.devices:  # CUDA does not start if it cannot write its threads' names, in /proc/self/task/N/comm
        rules.append(("/proc/self/task", "device"))
    return rules


def _interpreter() -> list[Path]:
    """What this Python needs in order to start and to import its packages: never a repository around it."""
    paths = [Path(sys.executable)]
    paths += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        if Path(prefix) not in _SYSTEM_PREFIXES:
            paths.append(Path(prefix))
    # In parts: a repository is sometimes kept at /usr/src/app.
    paths += [folder / part for folder in _SYSTEM_PREFIXES for part in _SYSTEM_PREFIX_PARTS]
    return [*paths, *map(Path, _SYSTEM_FILES)]


def _globbed(patterns: tuple[str, ...]) -> list[Path]:
    return [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern))]


def _shown_by(marks: dict[Path, bool], path: Path) -> bool:
    for ancestor in (path, *path.parents):
        if ancestor in marks:
            return marks[ancestor]
    return False


def _resolve(path: Path, links: dict[Path, str]) -> Path:
    """Follow every link in a path, noting each in `links`, and return where it ends."""
    done = Path("/")
    todo = list(Path(os.path.abspath(path)).parts[1:])
    while todo:
        part = todo.pop(0)
        if part == "..":
            done = done.parent
            continue
        here = done / part
        if not here.is_symlink() or str(here).startswith("/proc/"):
            done = here
            continue
        target = os.readlink(here)
        links[here] = target
        parts = Path(target).parts
        if os.path.isabs(target):
            done, parts = Path("/"), parts[1:]
        todo = [*parts, *todo]
    return done

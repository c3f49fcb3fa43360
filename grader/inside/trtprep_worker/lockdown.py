"""What a started process does to itself before it meets any untrusted code or data.

A start script calls `start()` first of all, while the process has one thread, and goes on with the socket
that it returns:

    from trtprep_worker.lockdown import start
    channel = start()

The grader sends the instructions over that socket and gets back a report of what the kernel then says about
this process; it ends a process whose report lacks a protection. After that the socket is free for use.
Every message of this exchange is four bytes of length (big-endian) and that much JSON.
"""

import base64
import ctypes
import json
import os
import resource
import socket

CHANNEL_VARIABLE = "TRTPREP_CHANNEL_FD"
SCRATCH_VARIABLE = "TRTPREP_SCRATCH"
MOST_BYTES = 16 * 1024 * 1024

PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522


class LockdownError(RuntimeError):
    """The process could not be locked down as told, and must not go on."""


def start() -> socket.socket:
    """Lock this process down as the grader says, report to it, and return the socket to it.

    Raises:
        LockdownError: a protection could not be applied. Let it end the process.
    """
    channel = socket.socket(fileno=int(os.environ.pop(CHANNEL_VARIABLE)))
    channel.set_inheritable(False)
    lock_down(receive(channel))
    send(channel, facts())
    return channel


def lock_down(instructions: dict) -> None:
    """Give up, for good, everything that the instructions name.

    Args:
        instructions: "limits" (name of an RLIMIT to its value), "privileges" (true: drop capabilities),
            "landlock" ([path, right] pairs, or null) and "seccomp" (base64 of a filter, or null).

    Raises:
        LockdownError: the process has several threads (only the calling one would be bound), or the
            kernel refused something.
    """
    if len(os.listdir("/proc/self/task")) != 1:
        raise LockdownError("lock_down was called after a thread was started")
    for name, value in instructions["limits"].items():
        _limit(getattr(resource, name), value)
    if instructions["privileges"]:
        _drop_capabilities()
    # Landlock and seccomp ask for this first: nothing that is executed later gains a privilege.
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if instructions["landlock"] is not None:
        _landlock(instructions["landlock"])
    if instructions["seccomp"] is not None:
        _seccomp(base64.b64decode(instructions["seccomp"]))


def facts() -> dict:
    """Return what can be seen from inside of the protections: the grader compares it with what it asked for."""
    status = {}
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            status[name] = value.strip()
    try:
        os.listdir("/")
        root_listed = True
    except PermissionError:
        root_listed = False
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        internet = True
    except PermissionError:
        internet = False
    return {
        "namespaces": {name: os.stat(f"/proc/self/ns/{name}").st_ino for name in ("mnt", "pid", "net", "ipc", "user")},
        "capabilities": int(status["CapPrm"], 16) | int(status["CapEff"], 16) | int(status["CapInh"], 16),
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "uid": os.getuid(),
        "root_listed": root_listed,
        "internet_sockets": internet,
        "limits": {
            name: resource.getrlimit(getattr(resource, name))[0] for name in dir(resource) if name.startswith("RLIMIT_")
        },
        "environment": sorted(os.environ),
    }


def send(channel: socket.socket, message: dict) -> None:
    """Send one message of the exchange."""
    data = json.dumps(message).encode()
    channel.sendall(len(data).to_bytes(4, "big") + data)


def receive(channel: socket.socket) -> dict:
    """Receive one message of the exchange.

    Raises:
        LockdownError: the other side has gone, or the message is too long.
    """
    size = int.from_bytes(_receive_exactly(channel, 4), "big")
    if size > MOST_BYTES:
        raise LockdownError(f"a message of {size} bytes is too long")
    return json.loads(_receive_exactly(channel, size))


def _receive_exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise LockdownError("the channel was closed during the hand-over")
        data += more
    return bytes(data)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    # One second more until the hard limit: SIGXCPU first, which can be told from other deaths.
    ceiling = value + 1 if which == resource.RLIMIT_CPU and hard in (resource.RLIM_INFINITY, -1) else value
    resource.setrlimit(which, (value, ceiling))


def _prctl(option: int, value: int, address: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = (ctypes.c_ulong(word) for word in (value, address, 0, 0))
    if libc.prctl(option, *words) != 0:
        raise LockdownError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


def _drop_capabilities() -> None:
    """Empty all capability sets."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    try:
        for capability in range(last + 1):
            _prctl(PR_CAPBSET_DROP, capability)
    except LockdownError:
        pass  # It takes a capability to do this. Without it, no_new_privs alone keeps an exec from giving any.
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise LockdownError(f"capset failed: {os.strerror(ctypes.get_errno())}")


def _landlock(rules: list) -> None:
    import landlock
    from landlock import plumbing

    class Attributes(plumbing.RulesetAttr):
        """The kernel's newer form of the ruleset, which the package does not know yet."""

        _fields_ = [("handled_access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]

    class Ruleset(landlock.Ruleset):
        """Also handles TCP (ABI 4), abstract sockets and signals to the outside (ABI 6), and allows none."""

        def __post_init__(self) -> None:
            version = landlock.landlock_abi_version()
            attributes = Attributes(self.restrict_rules, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
            size = 24 if version >= 6 else 16 if version >= 4 else 8
            handle = plumbing.get_create_ruleset()(ctypes.byref(attributes), size, 0)
            object.__setattr__(self, "_fd", handle)

    ctypes.set_errno(0)  # the package takes any errno left behind by an earlier call for its own failure
    access = landlock.FSAccess
    everything = access.all()
    read = access.READ_FILE | access.READ_DIR | access.EXECUTE
    rights = {
        "list": access.READ_DIR,
        "read": read,
        "write": everything & ~(access.MAKE_CHAR | access.MAKE_BLOCK),
        "device": (read | access.WRITE_FILE | access.TRUNCATE | access.IOCTL_DEV) & everything,
    }
    try:
        ruleset = Ruleset()
        for path, right in rules:
            if path.startswith("/proc/"):
                os.open(path, os.O_PATH)  # never closed: /proc would make up a new folder, which the rule does not know
            allowed = rights[right]
            if not os.path.isdir(path):
                allowed &= access.all_file()
            try:
                ruleset.allow(path, rules=allowed)
            except (FileNotFoundError, PermissionError):
                continue  # it went away, or this user may not enter it: nothing to allow
        ruleset.apply()
        os.close(ruleset._fd)
    except landlock.LandlockError as error:
        raise LockdownError(f"landlock: {error}") from error


def _seccomp(program: bytes) -> None:
    class Program(ctypes.Structure):
        """struct sock_fprog: the number of 8-byte instructions, and where they are."""

        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    argument = Program(len(program) // 8, program)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(argument))

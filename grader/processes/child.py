"""A Python process that runs in the sandbox, and the one way to start any."""

from __future__ import annotations

import base64
import os
import platform
import resource
import socket
import sys
import tempfile
import weakref
from pathlib import Path

from grader.inside.trtprep_worker import lockdown
from grader.processes import sandbox, syscalls, view
from grader.processes.keeper import START_S, Ended, Forked, Keeper, Program
from grader.processes.sandbox import NOBODY, Limits, Policy, SandboxError
from grader.processes.templates import Template

__all__ = ["Child", "Ended"]

OPEN_FILES = 1024
REAPER = Path(lockdown.__file__).with_name("reaper.py")


class Child:
    """A sandboxed Python process; as a context manager, it is gone at the end of the block.

    The started script must call `trtprep_worker.lockdown.start()` before anything else.

    Attributes:
        channel: the grader's end of a socket pair, for any protocol once the constructor has returned. It reads as
            closed when the process has ended.
        protections: for each of `sandbox.PROTECTIONS`, whether it is on: seen from inside, not presumed.
    """

    def __init__(
        self,
        code_argv: list[str],
        *,
        policy: Policy,
        limits: Limits,
        env: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        off: frozenset[str] = frozenset(),
        template: Template | None = None,
    ) -> None:
        """Start the process and wait until it has locked itself down.

        Args:
            code_argv: what follows the interpreter, which runs isolated (-I): ["-X", "utf8", "/path/start.py"].
            policy: which files it sees.
            limits: how much it may use.
            env: variables added to the few that every child gets (PATH, HOME, TMPDIR, LANG and
                TRTPREP_SCRATCH, the folder that it may write to and starts in).
            pass_fds: file descriptors that it inherits, by the same numbers.
            off: names of protections to leave out. For tests only.
            template: fork the process from it, where that leaves no protection out; `code_argv`'s options are then
                the template's own.

        Raises:
            SandboxError: it did not start, or a protection that this machine has is not on.
            ValueError: `off` names an unknown protection.
        """
        if not off <= sandbox.NAMES:
            raise ValueError(f"unknown protections: {', '.join(sorted(off - sandbox.NAMES))}")
        wanted = frozenset(name for name, status in sandbox.probe().items() if status.active) - off
        namespaces = sandbox.namespaces() & wanted
        own_mounts, own_pids = "mounts" in namespaces, "pid" in namespaces

        visible = view.view_of(policy, () if own_pids else (REAPER,))
        host_scratch = None if own_mounts else Path(tempfile.mkdtemp(prefix="trtprep-")).resolve()
        scratch = host_scratch or view.SCRATCH
        self.channel, inner = socket.socketpair()
        environment = _environment(scratch, inner.fileno(), env or {})
        pass_fds = (inner.fileno(), *pass_fds)
        env_of_it = environment if "environment" in wanted else {**os.environ, **environment}
        options = _memory_file(_bwrap_options(namespaces, visible, scratch)) if namespaces else None
        bwrap = [] if options is None else [str(sandbox.bubblewrap()), "--args", str(options), "--"]
        inherited = () if options is None else (options,)
        if template is not None and own_pids:
            script = code_argv[next(i for i, word in enumerate(code_argv) if word.endswith(".py")) :]
            program = Program(
                argv=bwrap, env=env_of_it, pass_fds=inherited, scratch=host_scratch, scratch_bytes=policy.scratch_bytes,
                helpers=4,  # bwrap, its init, the shell that holds the place, and the parent of the process
                spared=1, watched="watchdog" in wanted, forked=Forked(template, script, str(scratch), pass_fds),
            )  # fmt: skip
        else:
            argv = [sys.executable, "-I", *code_argv]
            if not own_pids:
                argv = [sys.executable, "-I", "-S", str(REAPER), *argv]
            program = Program(
                argv=[*bwrap, *argv], env=env_of_it, pass_fds=(*pass_fds, *inherited), scratch=host_scratch,
                scratch_bytes=policy.scratch_bytes,
                helpers=1 if options is None else 2,  # bwrap, and its init or our reaper
                spared=2 if options is not None and not own_pids else 1, watched="watchdog" in wanted,
            )  # fmt: skip
        self._keeper = Keeper(program, limits)
        # Neither holds a reference to self: a forgotten child is ended when it is collected, or at exit.
        self._finalizer = weakref.finalize(self, _end, self._keeper, self.channel)
        self._keeper.start()
        self._keeper.started.wait()
        inner.close()
        if options is not None:
            os.close(options)
        rlimits = _rlimits(limits, namespaces) if "limits" in wanted else {}
        instructions = {
            "limits": rlimits,
            "privileges": "user" in wanted,
            "landlock": (
                view.landlock_rules(visible, scratch, own_mounts=own_mounts) if "landlock" in wanted else None
            ),
            "seccomp": (
                base64.b64encode(syscalls.compiled(devices=policy.devices)).decode() if "seccomp" in wanted else None
            ),
        }
        facts = self._hand_over(instructions)
        self.protections = _verified(facts, wanted, namespaces, environment, rlimits)
        missing = sorted(name for name in wanted if not self.protections[name])
        if missing:
            self.close()
            raise SandboxError(f"these protections could not be confirmed from inside: {', '.join(missing)}")
        self.deadline(limits.wall_s)  # its own time: until here it did what we told it to

    @property
    def pid(self) -> int:
        """The id of the process that was started, which is bwrap's or the reaper's."""
        return self._keeper.pid

    def ended(self) -> Ended | None:
        """Return how the process ended, or None while it runs (noticed within 20 ms)."""
        return self._keeper.ended

    def wait(self, timeout: float | None = None) -> Ended:
        """Wait until the process has ended.

        Args:
            timeout: in seconds; None waits for ever.

        Raises:
            TimeoutError: it still runs.
        """
        if not self._keeper.finished.wait(timeout) or self._keeper.ended is None:
            raise TimeoutError(f"the process still runs after {timeout} s")
        return self._keeper.ended

    def deadline(self, seconds: float | None) -> None:
        """Give the process so many seconds from now, whatever it was given before; None: no end."""
        self._keeper.deadline(seconds)

    def take_output(self) -> str:
        """Return what it printed since the last call, at most `Limits.kept_output_bytes` of it."""
        self._keeper.catch_up()
        return self._keeper.output.take()

    def kill(self) -> None:
        """End the process and everything that it started. No error if it has ended."""
        self._keeper.stop()

    def close(self) -> None:
        """End the process, and close the channel. What was printed can still be taken."""
        self._finalizer()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hand_over(self, instructions: dict) -> dict:
        """Send the instructions and return the facts that come back."""
        if self._keeper.failure is not None:
            self.close()
            raise SandboxError(f"the process could not be started: {self._keeper.failure}")
        self.channel.settimeout(START_S)
        try:
            lockdown.send(self.channel, instructions)
            facts = lockdown.receive(self.channel)
        except (OSError, lockdown.LockdownError) as error:
            if not isinstance(error, TimeoutError):
                self._keeper.finished.wait(1.0)  # so that its own end is named, not ours
            self.close()
            printed = self.take_output().strip()
            end = f"; it {self._keeper.ended.detail}" if self._keeper.ended else ""
            raise SandboxError(f"the process did not start ({error}){end}\n{printed}".strip()) from error
        self.channel.settimeout(None)
        return facts


def _end(keeper: Keeper, channel: socket.socket) -> None:
    keeper.stop()
    channel.close()


def _environment(scratch: Path, channel_fd: int, added: dict[str, str]) -> dict[str, str]:
    # Some interpreters (GitHub's, for one) find their own libpython only with this variable's help.
    libraries = [
        entry
        for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
        if Path(entry).is_absolute() and Path(sys.base_prefix).resolve() in Path(entry).resolve().parents
    ]
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        **({"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        lockdown.SCRATCH_VARIABLE: str(scratch),
        lockdown.CHANNEL_VARIABLE: str(channel_fd),
        **added,
    }


def _bwrap_options(namespaces: frozenset[str], visible: view.View, scratch: Path) -> list[str]:
    own_pids = "pid" in namespaces
    options = sandbox.namespace_options(namespaces)
    if "mounts" in namespaces:
        options += view.mount_options(visible, own_proc=own_pids)
    else:
        options += ["--dev-bind", "/", "/", *(["--proc", "/proc"] if own_pids else [])]
    return [*options, "--chdir", str(scratch)]


def _memory_file(words: list[str]) -> int:
    """Put words into a file without a name, for `bwrap --args`: a command line can be read by anyone."""
    handle = os.memfd_create("options")
    with os.fdopen(handle, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(word) + b"\0" for word in words))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _rlimits(limits: Limits, namespaces: frozenset[str]) -> dict[str, int]:
    values = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": max(1, int(limits.cpu_s)),
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": OPEN_FILES,
    }
    # Root is exempt. Without a user namespace (or before Linux 5.14) all of the user's other programs count too.
    kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if "user" in namespaces and os.getuid() != 0 and kernel >= (5, 14):
        values["RLIMIT_NPROC"] = 2 * limits.processes + 16  # a backstop: the watchdog shall be first, and name it
    for name, value in values.items():  # a process may not raise a limit that it was given
        _, hard = resource.getrlimit(getattr(resource, name))
        values[name] = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return values


def _verified(
    facts: dict,
    wanted: frozenset[str],
    namespaces: frozenset[str],
    environment: dict[str, str],
    rlimits: dict[str, int],
) -> dict[str, bool]:
    """Compare what the process saw of itself with what was asked for."""

    def apart(*names: str) -> bool:
        return all(facts["namespaces"][name] != os.stat(f"/proc/self/ns/{name}").st_ino for name in names)

    unprivileged = facts["capabilities"] == 0 and facts["no_new_privileges"]
    seen = {
        "mounts": apart("mnt"),
        "pid": apart("pid"),
        "network": apart("net", "ipc"),
        "user": unprivileged and ("user" not in namespaces or facts["uid"] == NOBODY),
        # bwrap sets PWD, and Python LC_CTYPE where the C locale is all there is
        "environment": set(facts["environment"]) <= {*environment, "PWD", "LC_CTYPE"},
        "landlock": not facts["root_listed"],
        "seccomp": not facts["internet_sockets"],
        "limits": all(facts["limits"][name] == value for name, value in rlimits.items()),
        "watchdog": True,
    }
    return {protection.name: protection.name in wanted and seen[protection.name] for protection in sandbox.PROTECTIONS}

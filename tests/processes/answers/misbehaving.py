"""An answer whose functions do what no answer should."""

import ctypes
import os
import signal
import sys
import threading
import time
import uuid

import numpy as np

TOKEN = uuid.uuid4().hex
KEPT = []


class NarrowError(ValueError):
    pass


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class Odd(dict):
    def items(self):
        raise RuntimeError("not to be looked into")


def token():
    return TOKEN


def echo(value=None, *, named=None):
    print("echo was called")
    return value if named is None else (value, named)


def contents(files):
    if isinstance(files, str):
        with open(files, "rb") as file:
            return os.path.basename(files), file.read()
    return type(files)(contents(file) for file in files)


def kind_of(path):
    return os.path.exists(path), os.path.basename(path), os.path.isdir(os.path.dirname(path))


def reads(path):
    try:
        with open(path, "rb") as file:
            return len(file.read())
    except OSError as error:
        return type(error).__name__


def names(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        return type(error).__name__


def remember(value):
    KEPT.append(value)
    with open("kept.txt", "a") as file:
        file.write(value)
    return KEPT


def recall():
    return KEPT, os.path.exists("kept.txt")


def narrow():
    deeper()


def deeper():
    raise NarrowError("7 is not 8")  # <narrow>


def mute():
    raise MuteError


def half_a_pair():
    print("\x1b[2J")
    raise ValueError("half \ud800 a pair")


def hang():
    print("going to sleep")
    sys.stdout.flush()
    time.sleep(1000)


def hang_hard():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=hang).start()
    while True:
        pass


def touch_memory():
    print("one last word", flush=True)
    ctypes.string_at(0)


def leave(status):
    os._exit(status)


def leave_politely():
    sys.exit()


def interrupt():
    raise KeyboardInterrupt


def recurse():
    return recurse()


def swallow():
    hoard = []
    while True:
        hoard.append(np.ones(8 << 20, np.uint8))


def shout():
    line = "x" * 65536
    while True:
        print(line)


def multiply():
    while True:
        try:
            if os.fork() == 0:
                time.sleep(1000)
        except OSError:
            time.sleep(0.01)


def unsendable(kind):
    if kind == "itself":
        endless = []
        endless.append(endless)
        return endless
    return {
        "object": object(),
        "set": {1},
        "keys": {1: 2},
        "strings": np.array(["a"]),
        "objects": np.array([None]),
        "complex": 1j,
        "odd": Odd(a=1),
    }[kind]


def too_much(kind):
    if kind == "bytes":
        return np.zeros(513 << 20, np.uint8)
    return [np.zeros(1)] * 2000 if kind == "arrays" else "x" * (5 << 20)


def not_a_number():
    return float("nan"), np.array([1.0, np.nan, np.inf], np.float32)


def channel():
    mine = os.environ["TRTPREP_DEVICE_FD"]
    opened = [n for n in os.listdir("/proc/self/fd") if n != mine and os.path.exists(f"/proc/self/fd/{n}")]
    return next(int(n) for n in opened if os.readlink(f"/proc/self/fd/{n}").startswith("socket:"))


def write(data):
    os.write(channel(), data)
    time.sleep(1000)


def close_the_channel():
    os.close(channel())
    time.sleep(1000)


def garbage_for_the_device():
    os.write(int(os.environ["TRTPREP_DEVICE_FD"]), b"\xff" * 64)
    return "written"


def leave_a_thread():
    def run():
        while True:
            KEPT.append(None)
            time.sleep(0.001)

    threading.Thread(target=run, daemon=False).start()
    return len(KEPT)


def leave_a_process():
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    return "left"

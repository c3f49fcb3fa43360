"""Where the twin's device memory lies: where a process on Linux has no memory of its own.

Below are a program without position independence and its heap; far above are everything else's.
"""

DEVICE_START = 0x3_0200_0000
DEVICE_STOP = 1 << 45


def on_device(address: int) -> bool:
    return DEVICE_START <= address < DEVICE_STOP

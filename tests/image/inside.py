"""Runs a command of an unpacked image as a strict runtime does: `unshare --mount --pid --fork python3 inside.py ROOT UID SHM
DATA|- VALUES -- COMMAND…`. The root is read-only, the user a stranger to the image, without any capability and any way to get one."""

import ctypes
import json
import os
import pathlib
import subprocess
import sys

NO_NEW_PRIVS, CAPBSET_DROP = 38, 24


def mount(*args) -> None:
    subprocess.run(["mount", *map(str, args)], check=True)


def main() -> None:
    root, user, shm, data, values = sys.argv[1:6]
    command, root, user = sys.argv[7:], pathlib.Path(root), int(user)
    mount("--make-rprivate", "/")
    mount("--bind", root, root)
    if data != "-":
        mount("--bind", data, root / "data")
    # What every runtime brings: /proc, and a /dev with its shared memory.
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
    (root / "dev/null").touch()
    mount("--bind", "/dev/null", root / "dev/null")
    (root / "dev/shm").mkdir()
    mount("--bind", shm, root / "dev/shm")
    mount("-o", "remount,ro,bind", root)
    os.chroot(root)
    os.chdir("/data")
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execve(command[0], command, dict(value.split("=", 1) for value in json.loads(values)))


if __name__ == "__main__":
    main()

"""Verifiers that run: programs that answer lines, and oauth2-proxy, which answers requests."""

import math
import os
import pathlib
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).parent


class Program:
    """A program that answers a line with a line."""

    # Whether its time can be moved: one in Go has the system's.
    moves = True
    # For how long its cool-downs last at least, in the system's time: None for as long as a max-age lasts.
    soon = math.inf
    # How many seconds before and behind a time it is asked.
    slack = 1

    def __init__(self, command: list, env: dict | None = None, home: pathlib.Path | None = None):
        self.name = command[-1]
        self.log = open(home / f"verifier-{time.monotonic_ns()}.log", "w+") if home else None
        self.process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(env or {})}, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def ready(self) -> str:
        """Waits until it runs; gives its module and version."""
        line = self.process.stdout.readline().strip()
        if not line.startswith("ready "):
            raise RuntimeError(f"{self.process.args} says {line!r}; {self.said()}")
        self.version = line[len("ready "):]
        return self.version

    def ask(self, line: str) -> str:
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        while any(f"\t{level}\t" in answer for level in ("error", "warn", "info")):
            # istiod's libraries log to the standard output.
            answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"{self.process.args} has ended; {self.said()}")
        return answer

    def said(self) -> str:
        if not self.log:
            return ""
        self.log.seek(0)
        return self.log.read()[-2000:]

    def verify(self, token: str) -> str:
        return self.ask("verify " + token)

    def now(self) -> float:
        return float(self.ask("now")) if self.moves else time.time()

    def advance(self, seconds: float) -> None:
        assert self.ask(f"advance {seconds}") == "ok"

    def stop(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(20)


class Go(Program):
    moves, soon = False, None


class Standing(Program):
    """A program of any language whose time stands still until it is moved: clock.c reads it from a file."""

    def __init__(self, command: list, home: pathlib.Path, env: dict | None = None):
        self.file = home / f"clock-{time.monotonic_ns()}"
        self.nanoseconds = time.time_ns()
        self.file.write_bytes(struct.pack("=q", self.nanoseconds))
        super().__init__(command, {**(env or {}), "LD_PRELOAD": os.environ["TOKENSMITH_CLOCK"], "STANDING_CLOCK": str(self.file)}, home)

    def now(self) -> float:
        return self.nanoseconds / 1e9

    def advance(self, seconds: float) -> None:
        self.nanoseconds += int(seconds * 1_000_000_000)
        # In place: the program has the file mapped.
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=q", self.nanoseconds))


class Proxy(Go):
    """oauth2-proxy, as docs/recipes.md sets it up."""

    def __init__(self, issuer, binary: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.binary = binary
        super().__init__([binary, "--provider=oidc", f"--oidc-issuer-url={issuer.name}", f"--provider-ca-file={issuer.ca}", f"--client-id={issuer.audience}",
                          "--login-url=https://unused.example", "--client-secret=unused", "--cookie-secret=0123456789abcdef0123456789abcdef",
                          "--skip-jwt-bearer-tokens=true", "--email-domain=*", f"--http-address=127.0.0.1:{self.port}", "--upstream=static://200"],
                         home=issuer.home)

    def ready(self) -> str:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", self.port)) != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.said())
            time.sleep(0.05)
        said = subprocess.run(["go", "version", "-m", self.binary], capture_output=True, text=True, check=True).stdout
        self.version = next(" ".join(line.split()[1:3]) for line in said.split("\n") if line.startswith("\tmod\t"))
        return self.version

    def verify(self, token: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers={"Authorization": "Bearer " + token})
        try:
            with urllib.request.urlopen(request, timeout=20):
                return "taken"
        except urllib.error.HTTPError as refused:
            return f"refused: {refused.code}"

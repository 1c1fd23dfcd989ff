"""What an unmodified kubectl says, whole: `sessions/NAME.txt` has commands, as they are typed, and what they print.

A line that begins with `$ ` is a command for bash, with the lines of its here-document and the `done` of a loop around it; a `#` before it is a remark. What
follows is its output, standard error included, and `[CODE]` where it fails. Each file has a namespace of its name, into which
commands go that name none. What differs each time stands as a word: AGE, TIME, UID, VERSION, IP and PORT of a service, TOKEN, SERVER.

`WRITE_SESSIONS=1 tests/run -k sessions` writes down what is said now: judge each line of the difference by what Kubernetes says.
"""

import os
import pathlib
import re
import subprocess

import pytest

SESSIONS = pathlib.Path(__file__).parent / "sessions"
HERE = re.compile(r"<<-?'?(\w+)'?")
# Words of columns keep their width.
VARIABLE = [
    (re.compile(r"https://127\.0\.0\.1:\d+"), "https://SERVER"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UID"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), "TOKEN"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC"), "TIME"),
    (re.compile(r'(resourceVersion"?: ?"|Resource Version: +)\d+'), r"\1VERSION"),
    (re.compile(r"(?<=kube-api-access-)\w{5}\b"), "NAME"),
    (re.compile(r"\+tokensmith\.[\w.+-]+"), "+tokensmith"),
    (re.compile(r"\b10\.0\.0\.(?!1\b|0/)\d+\b( *)"), "IP"),
    (re.compile(r"(?<=[: ])3[0-2]\d{3}(?=/|$| *\n)"), "NPORT"),
    (re.compile(r"(?<![\w.:,=/-])\d+s(?=[\s)]|$)( *)"), "AGE"),
]


def told(text: str) -> str:
    """The text with what differs each time as words."""
    for pattern, word in VARIABLE:
        padded = word in ("IP", "AGE")
        text = pattern.sub(lambda m: word.ljust(len(m[0])) if padded and m[1] else m.expand(word), text)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def commands(text: str):
    """The commands of a session: what stands before each, itself, and what it is to print."""
    lines, before, at = text.splitlines(keepends=True), "", 0
    while at < len(lines):
        if not lines[at].startswith("$ "):
            before += lines[at]
            at += 1
            continue
        command = lines[at][2:]
        end = HERE.search(command)
        at += 1
        while end and not command.endswith(f"\n{end[1]}\n"):
            command += lines[at]
            at += 1
        if lines[at:at + 1] == ["done\n"]:
            command += lines[at]
            at += 1
        printed = ""
        while at < len(lines) and not lines[at].startswith(("$ ", "# ")):
            printed += lines[at]
            at += 1
        yield before, command, printed
        before = ""


@pytest.mark.parametrize("path", sorted(SESSIONS.glob("*.txt")), ids=lambda path: path.stem)
def test_session(server, tmp_path, path):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(server.kubeconfig.read_bytes())
    env = {**server.env(kubeconfig), "TERM": "dumb"}
    server.kubectl("create", "namespace", path.stem)
    server.kubectl("config", "set-context", "--current", f"--namespace={path.stem}", kubeconfig=kubeconfig)
    want = found = ""
    for before, command, printed in commands(path.read_text()):
        done = subprocess.run(["bash", "-c", command], env=env, cwd=tmp_path, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=60)
        code = f"[{done.returncode}]\n" if done.returncode else ""
        want += f"{before}$ {command}{printed}"
        found += f"{before}$ {command}{told(done.stdout)}{code}"
    if os.environ.get("WRITE_SESSIONS"):
        path.write_text(found)
    assert found == want

"""client-go and controller-runtime: each test of go/kube runs against a real server, over its kubeconfig."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import Server

PROGRAM = os.environ["TOKENSMITH_GO"] + "/kube.test"
OUTLIVES = "TestOutlivesTheData"
TESTS = subprocess.run([PROGRAM, "-test.list", "."], check=True, capture_output=True, text=True).stdout.split()


def command(server: Server, name: str) -> dict:
    args = [PROGRAM, "-test.v", "-test.timeout=2m", "-test.run", f"^{name}$"]
    return {"args": args, "env": {**os.environ, "KUBECONFIG": str(server.kubeconfig)}, "text": True}


@pytest.mark.parametrize("name", [name for name in TESTS if name != OUTLIVES])
def test_client_go(server, name):
    done = subprocess.run(**command(server, name), capture_output=True)
    assert done.returncode == 0 and f"--- PASS: {name}" in done.stdout, done.stdout + done.stderr


def test_informers_outlive_a_servers_data(tmp_path):
    """The new server is at the same address, with the same CA and the same administrator, and knows nothing else."""
    lost = Server(tmp_path)
    with subprocess.Popen(**command(lost, OUTLIVES), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as informers:
        told = []
        for line in informers.stdout:
            told.append(line)
            if line == "ready\n":
                break
        assert told[-1] == "ready\n", told
        lost.stop()
        shutil.rmtree(tmp_path / "data" / "store")
        found = Server(tmp_path, "--force", port=int(lost.url.rpartition(":")[2]))
        told.append(informers.communicate("go on\n", timeout=90)[0])
        found.stop()
    assert informers.returncode == 0, "".join(told)

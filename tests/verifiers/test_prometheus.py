"""Prometheus: /metrics is as its tools want it, and an alert that a guide gives fires in a real one, with shorter times."""

import json
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
from conftest import Server

RULES = pathlib.Path(__file__).parent / "prometheus" / "rules.yaml"
needed = pytest.mark.skipif(not shutil.which("promtool"), reason="Debian's prometheus is not installed")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A server that has been asked for tokens, good ones and bad ones."""
    started = Server(tmp_path_factory.mktemp("asked"), "--ephemeral")
    started.kubectl("create", "token", "default")
    started.kubectl("create", "token", "nobody", code=1)
    yield started
    started.stop()


def promtool(*args: str, stdin: str | None = None) -> str:
    done = subprocess.run(["promtool", *args], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needed
def test_verifiers_promtool_takes_the_metrics(asked):
    assert promtool("check", "metrics", stdin=asked.kubectl("get", "--raw", "/metrics")) == ""


@needed
def test_verifiers_promtool_takes_the_rules():
    assert "1 rules found" in promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.parent / "rules.test.yaml"))


@needed
def test_verifiers_the_alert_fires_in_prometheus(asked, tmp_path):
    rules = RULES.read_text().replace("[5m]", "[10s]").replace("for: 10m", "for: 1s")
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "token").write_text(asked.kubectl("config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"))
    (tmp_path / "prometheus.yaml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(tmp_path / "rules.yaml")],
        "scrape_configs": [{"job_name": "tokensmith", "scheme": "https", "authorization": {"credentials_file": str(tmp_path / "token")},
                            "tls_config": {"ca_file": str(asked.ca_file())},
                            "static_configs": [{"targets": [asked.url.removeprefix("https://")]}]}]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    with open(tmp_path / "log", "w") as log:
        prometheus = subprocess.Popen(["prometheus", f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/tsdb",
                                       f"--web.listen-address={address}"], stdout=log, stderr=log)
    done = threading.Event()

    def ask():
        import kubernetes

        with kubernetes.config.new_client_from_config(str(asked.kubeconfig)) as api:
            core = kubernetes.client.CoreV1Api(api)
            while not done.is_set():
                core.create_namespaced_service_account_token("default", "default", {"spec": {}})
                # Some thirty a second.
                done.wait(0.03)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        deadline, states = time.monotonic() + 60, []
        while "firing" not in states:
            assert time.monotonic() < deadline and prometheus.poll() is None, f"{states}\n{(tmp_path / 'log').read_text()}"
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/alerts", timeout=5) as reply:
                    alerts = json.load(reply)["data"]["alerts"]
            except OSError:
                continue
            states = [alert["state"] for alert in alerts if alert["labels"]["alertname"] == "HighTokenRequestRate"]
    finally:
        done.set()
        asking.join()
        prometheus.terminate()
        prometheus.wait(20)

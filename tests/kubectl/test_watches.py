"""What kubectl prints while it watches."""

import subprocess
import time

from test_sessions import told


class Watching:
    """A kubectl that runs on, and the lines that it has printed."""

    def __init__(self, server, path, *args: str):
        self.path, self.file = path, open(path, "w")
        self.process = subprocess.Popen(["kubectl", *args], stdout=self.file, stderr=subprocess.STDOUT,
                                        env={**server.env(), "TERM": "dumb"})

    def lines(self, count: int) -> list[list[str]]:
        """So many lines, in words, when they are there."""
        deadline = time.monotonic() + 30
        while len(found := told(self.path.read_text()).splitlines()) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, found
            time.sleep(0.02)
        return [line.split() for line in found]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.file.close()


def test_get_watch(server, tmp_path):
    server.kubectl("create", "ns", "watch")
    server.kubectl("create", "cm", "before", "-n", "watch")
    args = ["get", "cm", "-n", "watch", "-w", "--output-watch-events", "--field-selector=metadata.name!=kube-root-ca.crt"]
    with Watching(server, tmp_path / "out", *args) as watching:
        assert watching.lines(2) == [["EVENT", "NAME", "DATA", "AGE"], ["ADDED", "before", "0", "AGE"]]
        server.kubectl("create", "cm", "after", "--from-literal=a=b", "-n", "watch")
        watching.lines(3)
        server.kubectl("label", "cm", "after", "a=b", "-n", "watch")
        watching.lines(4)
        server.kubectl("delete", "cm", "before", "-n", "watch")
        assert watching.lines(5)[2:] == [
            ["ADDED", "after", "1", "AGE"], ["MODIFIED", "after", "1", "AGE"], ["DELETED", "before", "0", "AGE"],
        ]


def test_watch_only_what_is_selected(server, tmp_path):
    server.kubectl("create", "sa", "selected")
    args = ["get", "sa", "--watch-only", "-l", "watch=me", "-o", "name"]
    with Watching(server, tmp_path / "out", *args) as watching:
        for attempt in range(100):
            # Until the watch has begun: what it does not see is told by nobody.
            server.kubectl("label", "sa", "selected", f"watch={'me' if attempt % 2 == 0 else 'not'}", "--overwrite")
            if told(watching.path.read_text()):
                break
        assert watching.lines(1)[0] == ["serviceaccount/selected"]


EVENT = """
apiVersion: v1
kind: Event
metadata: {{name: {name}}}
involvedObject: {{apiVersion: v1, kind: ConfigMap, namespace: {namespace}, name: kube-root-ca.crt}}
type: Normal
reason: {reason}
message: m
source: {{component: tests}}
"""


def test_events_watch(server, tmp_path):
    server.kubectl("create", "ns", "told")
    write = ["create", "-n", "told", "-f", "-"]
    server.kubectl(*write, stdin=EVENT.format(name="one", namespace="told", reason="Begun"))
    with (Watching(server, tmp_path / "events", "events", "--watch", "-n", "told") as events,
          Watching(server, tmp_path / "get", "get", "events", "--watch", "-n", "told") as get):
        events.lines(2), get.lines(2)
        server.kubectl(*write, stdin=EVENT.format(name="two", namespace="told", reason="Done"))
        assert events.lines(3) == [
            ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
            ["<unknown>", "Normal", "Begun", "ConfigMap/kube-root-ca.crt", "m"],
            ["<unknown>", "Normal", "Done", "ConfigMap/kube-root-ca.crt", "m"],
        ]
        assert get.lines(3) == [
            ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
            ["<unknown>", "Normal", "Begun", "configmap/kube-root-ca.crt", "m"],
            ["<unknown>", "Normal", "Done", "configmap/kube-root-ca.crt", "m"],
        ]

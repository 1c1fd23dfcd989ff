"""Whether two answers are equal but for what no two servers share: both are walked at once, and ids, times and versions are paired."""
import base64, calendar, json, re, time, urllib.parse

import wire, yamlish

UUID = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
TIME = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
JWT = r"\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]*"
VERSION = r"(?<=resource version: )\d+|(?<=current: )\d+|(?<=resourceVersion: \")\d+|(?<=resourceVersion\\\":\\\")\d+"
ACCESS = r"(?<=kube-api-access-)[a-z0-9]{5}\b"
GENERATED = r"(?<=-)[bcdfghjklmnpqrstvwxz2456789]{5}\b"
SOURCE = r"(?:[\w@.-]+/)*[\w.-]+\.go:\d+"  # where Go's source lies depends on how it was built
PARTS = re.compile(f"({JWT}|{UUID}|{TIME}|{VERSION}|{ACCESS}|{GENERATED}|{SOURCE})")
HEADERS = ["warning", "allow", "retry-after", "www-authenticate", "location"]
SECONDS = {"exp", "iat", "nbf", "warnafter"}
MANAGED = re.compile(r"^( *)managedFields:\n(?:\1[- ] .*\n)+", re.M)


class Pairs:
    """Which id of one server is which of the other's."""

    def __init__(self, tolerance=4):
        self.here, self.there, self.tolerance = {}, {}, tolerance

    def ids(self, a, b):
        return self.here.setdefault(a, b) == b and self.there.setdefault(b, a) == a

    def text(self, a, b):
        if a == b:
            return True
        left, right = PARTS.split(a), PARTS.split(b)
        return len(left) == len(right) and all(
            self.part(x, y) if i % 2 else x == y for i, (x, y) in enumerate(zip(left, right)))

    def part(self, a, b):
        for kind in (JWT, UUID, TIME, SOURCE, r"[a-z0-9]{5}", r"\d+"):
            if re.fullmatch(kind, a):
                if not re.fullmatch(kind, b):
                    return False
                if kind is UUID:
                    return self.ids(a, b)
                if kind is TIME:
                    return abs(seconds(a) - seconds(b)) <= self.tolerance
                if kind is JWT:
                    return not list(self.walk(claims(a), claims(b)))
                return True
        return False

    def walk(self, a, b, path=""):
        """Where two values differ: (path, one, other)."""
        if isinstance(a, dict) and isinstance(b, dict):
            for key in dict.fromkeys([*a, *b]):
                x, y, at = a.get(key, ABSENT), b.get(key, ABSENT), f"{path}.{key}"
                if key == "managedFields" or key == "resourceVersion" and str(x).isdigit() and str(y).isdigit():
                    continue
                if key in SECONDS and isinstance(x, int) and isinstance(y, int) and abs(x - y) <= self.tolerance:
                    continue
                if key == "name" and "generateName" in a and isinstance(x, str) and isinstance(y, str):
                    x, y = x[:-5], y[:-5]
                if key == "continue" and isinstance(x, str) and isinstance(y, str):
                    x, y = page(x), page(y)
                if key in ("clusterIP", "clusterIPs"):  # out of the same range, each server's own choice
                    x, y = allocated(x), allocated(y)
                if key == "cells" and isinstance(x, list) and isinstance(y, list):
                    x, y = [age(allocated(c)) for c in x], [age(allocated(c)) for c in y]
                yield from self.walk(x, y, at)
        elif isinstance(a, list) and isinstance(b, list):
            for i in range(max(len(a), len(b))):
                yield from self.walk(a[i] if i < len(a) else ABSENT, b[i] if i < len(b) else ABSENT, f"{path}[]")
        elif isinstance(a, str) and isinstance(b, str):
            if not self.text(a, b):
                yield path, a, b
        elif a != b or type(a) is not type(b):
            yield path, a, b


ABSENT = "<absent>"


def seconds(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def claims(token):
    try:
        return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]]
    except ValueError:
        return token


def page(token):
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return found.get("v"), found.get("start", "").lstrip("/")  # upstream's cache leaves a slash out that its store has
    except (ValueError, AttributeError):
        return token


def allocated(value):
    if isinstance(value, list):
        return [allocated(v) for v in value]
    return "<service's>" if isinstance(value, str) and re.fullmatch(r"10\.0\.0\.[1-9]\d*", value) else value


def age(cell):
    return "<age>" if isinstance(cell, str) and re.fullmatch(r"\d{1,3}s", cell) else cell


def served(real, ours):
    """Without the groups and resources that tokensmith does not serve: what is compared is what is served."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for field in ("resources", "groups", "items"):
            one, other = real.get(field), ours.get(field)
            if real.get("kind") in ("APIResourceList", "APIGroupList", "APIGroupDiscoveryList") and isinstance(one, list) and isinstance(other, list):
                name = lambda e: e.get("name") or e.get("metadata", {}).get("name", "")
                names = {name(e) for e in other}
                real = {**real, field: [e for e in one if name(e) in names]}
        if "paths" in real and "paths" in ours:  # what each serves besides
            real = {"paths": ours["paths"]}
        if "gitVersion" in real:
            real = {**real, "gitVersion": ours.get("gitVersion")}
    return real


def body(answer):
    """An answer's body as a value: JSON, lines of JSON, protobuf, or text."""
    if "protobuf" in answer.type:
        return wire.answer(answer.body, "watch" in answer.type)
    text = answer.body.decode(errors="replace")
    try:
        found = json.loads(text)
        return [found] if isinstance(found, dict) and "object" in found and "type" in found else found
    except ValueError:
        pass
    if "yaml" in answer.type:
        try:
            return yamlish.read(text)
        except (ValueError, IndexError):
            return MANAGED.sub("", text)
    try:
        events = [json.loads(line) for line in text.splitlines() if line]
        return sorted(events, key=event) if events else text
    except ValueError:
        return text


def unordered(value):
    """Rules of a user come in the order of a Go map."""
    if isinstance(value, dict) and value.get("kind") == "SelfSubjectRulesReview" and isinstance(value.get("status"), dict):
        key = lambda rule: json.dumps(rule, sort_keys=True)
        value["status"] = {k: sorted(v, key=key) if isinstance(v, list) else v for k, v in value["status"].items()}
    return value


def event(value):
    """Events that a watch begins with have no order; those of one object have."""
    try:
        return str(value["object"]["metadata"].get("name")) if value["type"] != "BOOKMARK" else "~"
    except (KeyError, TypeError, AttributeError):
        return "~"


def differences(real, ours, pairs, path):
    """All that differs of two answers: (path, kube-apiserver's, tokensmith's)."""
    out = []
    if real.status != ours.status:
        out.append(("status", real.status, ours.status))
    if real.type != ours.type:
        out.append(("type", real.type, ours.type))
    a, b = (unordered(body(answer)) for answer in (real, ours))
    if "verbose" not in path:  # what a server checks of itself is its own
        out += pairs.walk(served(a, b), b, "body")
    for name in HEADERS:
        x, y = real.headers.get(name, []), ours.headers.get(name, [])
        if len(x) != len(y) or not all(pairs.text(p, q) for p, q in zip(sorted(x), sorted(y))):
            out.append((f"header {name}", x, y))
    return out


def signature(step, found):
    """What differences of one kind have in common."""
    path, real, ours = found[0] if found[0][0] != "status" or len(found) < 2 else next(
        (f for f in found if f[0].endswith(".message")), found[0])
    plain = lambda v: re.sub(r"\d+", "N", re.sub(r'"[^"]{0,60}"', '"…"', PARTS.sub("…", str(v))))[:110]
    return f"{step.verb} {step.kind}: {path}: {plain(real)} | {plain(ours)}" if path != "status" else f"{step.verb} {step.kind}: status {real} | {ours}"


def shown(path):
    return urllib.parse.unquote(path)

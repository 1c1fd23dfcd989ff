"""The random requests: what a scenario asks, one step after the other, of what it knows to be there. Seed and mix are the whole of it."""
import copy, dataclasses, random

import bodies, garbage, wide

bodies.KINDS.update(wide.KINDS)

# The mix, in hundredths: verbs, then how they are asked.
VERBS = {"create": 24, "get": 8, "list": 11, "update": 11, "patch": 11, "delete": 7, "deletecollection": 2, "subresource": 6, "token": 5, "review": 9, "watch": 2, "path": 4}
GARBAGE, DRY, JANE, IMPERSONATED, YAML, OTHER_FORM = 0.45, 0.08, 0.05, 0.03, 0.05, 0.15
WEIGHTS = {"configmaps": 4, "secrets": 3, "serviceaccounts": 3, "pods": 9, "roles": 2, "rolebindings": 2, "namespaces": 2, "nodes": 3, "clusterroles": 2, "clusterrolebindings": 2}
NAMES = "abcdefgh"
FORMS = {"get": ["Table", "PartialObjectMetadata"], "list": ["Table", "PartialObjectMetadataList"], "watch": ["Table", "PartialObjectMetadata"]}
OWNERS = [[{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": True}], [{"apiVersion": "v1", "kind": "Pod", "name": "o"}]]


@dataclasses.dataclass
class Step:
    verb: str
    kind: str
    method: str
    path: str
    body: list | None = None  # one for each server
    headers: dict = dataclasses.field(default_factory=dict)
    user: str = "admin"
    spoilt: str = ""
    target: tuple | None = None  # the object that it writes
    forget: bool = False  # it is a controller's from here on: kube-apiserver has none


def yaml(value, indent=""):
    """Block YAML, strings quoted as JSON quotes them."""
    if isinstance(value, dict) and value:
        return "".join(f"{indent}{garbage.dump(k).decode()}:" + ("\n" + yaml(v, indent + "  ") if isinstance(v, (dict, list)) and v else " " + yaml(v)) for k, v in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{indent}-" + ("\n" + yaml(v, indent + "  ") if isinstance(v, (dict, list)) and v else " " + yaml(v)) for v in value)
    return garbage.dump(value).decode() + "\n"


class Scenario:
    """A namespace of its own, and what has been seen there: the last object of each name on either server."""

    def __init__(self, seed, number, is_wide=False):
        self.weights, self.is_wide = (wide.WEIGHTS, True) if is_wide else (WEIGHTS, False)
        which = "wide" if is_wide else ""
        self.r, self.ns = random.Random(f"{which}{seed}/{number}"), f"d{which}{seed}-{number}"
        self.seen, self.gone, self.version, self.pages = {}, set(), ["0", "0"], None

    def base(self, kind):
        version, _, namespaced, _ = bodies.KINDS[kind]
        root = "/api/v1" if version == "v1" else "/apis/" + version
        return f"{root}/namespaces/{self.ns}/{kind}" if namespaced else f"{root}/{kind}"

    def name(self, kind, there):
        """A name: mostly one that is there, or that is not."""
        r, cluster = self.r, "" if bodies.KINDS[kind][2] else self.ns + "-"
        known = sorted(n for k, n in self.seen if k == kind)
        if there and known and r.random() < 0.85:
            return r.choice(known)
        free = [cluster + n for n in NAMES if cluster + n not in known and (kind, cluster + n) not in self.gone]
        return r.choice(free) if free and r.random() < 0.95 else cluster + r.choice(NAMES)

    def fresh(self, kind, name):
        version, typed, _, inner = bodies.KINDS[kind]
        body = {"apiVersion": version, "kind": typed, "metadata": bodies.meta(self.r, name, self.ns), **inner(self.r)}
        if self.r.random() < 0.04:
            body["metadata"]["finalizers"] = ["example.com/f"]
        if self.r.random() < 0.05 and "rules" not in body:
            body["metadata"]["generateName"] = body["metadata"].pop("name") + "-"
        if self.r.random() < 0.1:
            del body["apiVersion"], body["kind"]
        return body

    def changed(self, kind, objects):
        """Both servers' copy of an object with the same change."""
        r = self.r
        seed, how = r.random(), r.choice(["labels", "labels", "annotations", "inner", "inner", "nothing", "part", "version", "uid", "noversion"])
        out = [copy.deepcopy(o) for o in objects]
        for o in out:
            own = random.Random(seed)
            o["metadata"].pop("managedFields", None)
            if how in ("labels", "annotations"):
                o["metadata"].setdefault(how, {})["changed"] = own.choice(bodies.VALUES)
            elif how in ("inner", "part"):
                new = bodies.KINDS[kind][3](own)
                part = own.choice(sorted(new)) if new and how == "part" else None
                o.update({part: new[part]} if part else new)
            elif how == "version":
                o["metadata"]["resourceVersion"] = "1"
            elif how == "uid":
                o["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
            elif how == "noversion":
                o["metadata"].pop("resourceVersion", None)
        return out

    def step(self):
        r = self.r
        verb = r.choices(list(VERBS), VERBS.values())[0]
        kind = r.choices(list(self.weights), self.weights.values())[0]
        step = getattr(self, verb)(kind)
        if verb != "path":
            self.dress(step)
        return step

    def dress(self, step):
        """Gives a step what any request may have, and spoils it now and then."""
        r = self.r
        writes = step.method in ("POST", "PUT", "PATCH", "DELETE") and step.kind in bodies.KINDS
        if writes and r.random() < DRY:
            step.path, step.forget = step.path + ("&" if "?" in step.path else "?") + "dryRun=All", False
        if step.method in ("POST", "PUT", "PATCH") and r.random() < 0.15:
            step.path += ("&" if "?" in step.path else "?") + r.choice(["fieldValidation=Strict", "fieldValidation=Warn", "fieldManager=differ", "pretty=true", "fieldValidation=Ignore"])
        if r.random() < OTHER_FORM:
            form = r.choice(FORMS.get(step.verb, ["Table", "PartialObjectMetadata"]))
            step.headers["Accept"] = r.choice([f"application/json;as={form};g=meta.k8s.io;v=v1", "application/vnd.kubernetes.protobuf", "application/yaml",
                                               f"application/json;as={form};g=meta.k8s.io;v=v1,application/json", "*/*", "application/vnd.kubernetes.protobuf,application/json"])
        if r.random() < JANE:
            step.user = r.choice(["jane", "jane", "nobody", "nonsense"])
        if r.random() < IMPERSONATED:
            step.headers.update(r.choice([{"Impersonate-User": "jane"}, {"Impersonate-User": "bob", "Impersonate-Group": "system:masters"}, {"Impersonate-Group": "devs"},
                                          {"Impersonate-User": f"system:serviceaccount:{self.ns}:builder"}, {"Impersonate-User": "x", "Impersonate-Extra-a": "b"},
                                          {"Impersonate-User": "system:node:n1", "Impersonate-Group": "system:nodes"}, {"Impersonate-User": "jane", "Impersonate-Uid": "u"}]))
        if r.random() < GARBAGE:
            step.spoilt = garbage.whole(r, step)
        if step.body is not None and step.method != "PATCH" and r.random() < YAML and all(isinstance(b, (dict, list)) for b in step.body):
            step.body = [yaml(b).encode() for b in step.body]
            step.headers.setdefault("Content-Type", "application/yaml")
        if step.body is not None:
            step.headers.setdefault("Content-Type", "application/json")

    def create(self, kind):
        name = self.name(kind, self.r.random() < 0.1)
        body = self.fresh(kind, name)
        step = Step("create", kind, "POST", self.base(kind), [body, copy.deepcopy(body)], target=(kind, name))
        if self.r.random() < 0.03:  # who owns what is a controller's business, so that nothing is written
            body["metadata"]["ownerReferences"] = self.r.choice(OWNERS)
            step.body, step.path = [body, copy.deepcopy(body)], step.path + "?dryRun=All"
        return step

    def get(self, kind):
        return Step("get", kind, "GET", f"{self.base(kind)}/{self.name(kind, True)}" + self.r.choice(["", "", "", "?resourceVersion=0", "?pretty=true"]))

    def list(self, kind):
        r = self.r
        path = f"{self.base(kind)}?labelSelector=differ%3D{self.ns}"
        path += r.choice(["", ",app", ",app%21%3Dx", ",tier+in+(x,y)", ",%21app", ",app+notin+(x)", ",example.com/team=y"])
        path += r.choice(["", "", "&limit=1", "&limit=2", "&limit=500", "&fieldSelector=metadata.name%3Da", "&fieldSelector=metadata.name%21%3Da", "&resourceVersion=0",
                          "&resourceVersion={rv}", "&resourceVersion={rv}&resourceVersionMatch=Exact", "&resourceVersion={rv}&resourceVersionMatch=NotOlderThan", "&limit=1&continue={page}",
                          "&pretty=true", "&timeoutSeconds=10"])
        if bodies.KINDS[kind][2] and r.random() < 0.15:
            path = path.replace(f"/namespaces/{self.ns}", "", 1)
        return Step("list", kind, "GET", path)

    def update(self, kind):
        name = self.name(kind, True)
        known = self.seen.get((kind, name))
        objects = self.changed(kind, known) if known else [self.fresh(kind, name)] * 2
        return Step("update", kind, "PUT", f"{self.base(kind)}/{name}", copy.deepcopy(objects), target=(kind, name))

    def patch(self, kind):
        r, name = self.r, self.name(kind, True)
        inner = bodies.KINDS[kind][3](r)
        part = r.choice(sorted(inner)) if inner else "metadata"
        if r.random() < 0.6:
            body, how = r.choice([{"metadata": {"labels": {"changed": r.choice(bodies.VALUES)}}}, {"metadata": {"annotations": {"a": None, "b": "c"}}}, {part: inner.get(part)},
                                  {"metadata": {"labels": None}}, {}, {"metadata": {"finalizers": []}}, {"metadata": {"resourceVersion": "1"}}, {"metadata": {"name": "other"}}]), "merge"
        else:
            body, how = [r.choice([{"op": "add", "path": "/metadata/labels/changed", "value": "x"}, {"op": "remove", "path": "/metadata/labels/changed"},
                                   {"op": "test", "path": "/metadata/name", "value": name}, {"op": "replace", "path": "/metadata/labels/differ", "value": self.ns},
                                   {"op": "add", "path": f"/{part}", "value": inner.get(part, {})}, {"op": "copy", "from": "/metadata/name", "path": "/metadata/labels/copied"},
                                   {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/b"}, {"op": "test", "path": "/nosuch", "value": 1}])
                         for _ in range(r.randint(1, 2))], "json"
        headers = {"Content-Type": f"application/{how}-patch+json"}
        return Step("patch", kind, "PATCH", f"{self.base(kind)}/{name}", [body, copy.deepcopy(body)], headers, target=(kind, name))

    def delete(self, kind):
        r, name = self.r, self.name(kind, True)
        step = Step("delete", kind, "DELETE", f"{self.base(kind)}/{name}", target=(kind, name))
        step.forget = kind == "namespaces"
        if r.random() < 0.3:
            step.path += r.choice(["?gracePeriodSeconds=0", "?gracePeriodSeconds=5", "?propagationPolicy=Background"])
        elif r.random() < 0.3:
            known = self.seen.get((kind, name)) or [{"metadata": {}}] * 2
            which = r.choice(["uid", "resourceVersion", "wrong", "grace", "policy"])
            wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
            options = [{"preconditions": {which: o["metadata"].get(which, "1")}} if which in ("uid", "resourceVersion") else
                       wrong if which == "wrong" else {"gracePeriodSeconds": 0} if which == "grace" else {"propagationPolicy": "Foreground"} for o in known]
            step.body, step.forget = [{"apiVersion": "v1", "kind": "DeleteOptions", **o} for o in options], step.forget or which == "policy"
        return step

    def deletecollection(self, kind):
        kind = kind if kind != "namespaces" else "configmaps"
        step = Step("deletecollection", kind, "DELETE", f"{self.base(kind)}?labelSelector=differ%3D{self.ns}" + self.r.choice([",app", ",app%3Dx", ",none", "&fieldSelector=metadata.name%3Da"]))
        step.target = (kind, "*")
        return step

    def subresource(self, kind):
        r = self.r
        if self.is_wide:
            return self.wide_status()
        kind = r.choice(["pods", "pods", "nodes", "namespaces"])
        name = self.name(kind, True)
        part = "finalize" if kind == "namespaces" and r.random() < 0.3 else "status"
        path, known = f"{self.base(kind)}/{name}/{part}", self.seen.get((kind, name))
        status = {"pods": {"phase": r.choice(["Running", "Pending", "Succeeded"]), "conditions": [{"type": "Ready", "status": r.choice(["True", "False"])}], "podIP": "10.2.3.4"},
                  "nodes": {"conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": bodies.quantity(r)}, "nodeInfo": {"kubeletVersion": "v1.36.0"}},
                  "namespaces": {"phase": "Active", "conditions": [{"type": "X", "status": "True"}]}}[kind]
        verb = r.choice(["get", "update", "update", "patch"]) if part == "status" else "update"
        if verb == "get":
            return Step("get", f"{kind}/{part}", "GET", path)
        if verb == "patch":
            return Step("patch", f"{kind}/{part}", "PATCH", path, [{"status": status}, {"status": status}], {"Content-Type": "application/merge-patch+json"}, target=(kind, name))
        objects = [copy.deepcopy(o) for o in known] if known else [self.fresh(kind, name)] * 2
        objects = [{**o, **({"status": status} if part == "status" else {"spec": {"finalizers": ["kubernetes"]}})} for o in objects]
        return Step("update", f"{kind}/{part}", "PUT", path, copy.deepcopy(objects), target=(kind, name))

    def wide_status(self):
        """The status of one of the other kinds."""
        r = self.r
        kind = r.choice(sorted(wide.STATUSES))
        name, status = self.name(kind, True), wide.STATUSES[kind](r)
        path, known = f"{self.base(kind)}/{name}/status", self.seen.get((kind, name))
        if r.random() < 0.2:
            return Step("get", f"{kind}/status", "GET", path)
        if r.random() < 0.3:
            return Step("patch", f"{kind}/status", "PATCH", path, [{"status": status}, {"status": status}], {"Content-Type": "application/merge-patch+json"}, target=(kind, name))
        objects = [{**copy.deepcopy(o), "status": status} for o in known or [self.fresh(kind, name)] * 2]
        return Step("update", f"{kind}/status", "PUT", path, copy.deepcopy(objects), target=(kind, name))

    def token(self, _):
        body = bodies.token_request(self.r)
        account = self.r.choice(["builder", "builder", "default", "nosuch"])
        return Step("token", "serviceaccounts/token", "POST", f"{self.base('serviceaccounts')}/{account}/token", [body, copy.deepcopy(body)])

    def review(self, _):
        path, version, kind, body = bodies.review(self.r)
        if self.r.random() < 0.8:
            body = {"apiVersion": version, "kind": kind, **body}
        return Step("review", kind, "POST", path, [body, copy.deepcopy(body)])

    def watch(self, kind):
        r = self.r
        path = f"{self.base(kind)}?watch=true&timeoutSeconds=1&labelSelector=differ%3D{self.ns}" + r.choice(["", "&resourceVersion=0", "&resourceVersion={rv}", "&allowWatchBookmarks=true",
                "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"])
        return Step("watch", kind, "GET", path)

    def path(self, _):
        r = self.r
        step = Step("path", "paths", r.choice(["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]), r.choice(garbage.PATHS), spoilt="path")
        step.user = r.choice(["admin", "admin", "admin", "jane", "nobody"])
        if r.random() < 0.2:
            step.headers["Accept"] = r.choice(garbage.ACCEPTS + ["application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "application/yaml", "application/vnd.kubernetes.protobuf"])
        return step

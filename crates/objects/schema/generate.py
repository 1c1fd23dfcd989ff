#!/usr/bin/env python3
"""Makes table.json and kinds.json from the files in kubernetes-1.36/ (Python's standard library only).

    generate.py           write them
    generate.py --check   exit 1 when what is there differs (CI)
    generate.py --trim DIR  copy from DIR, a whole description of the API, what the kinds below need

table.json: type -> [fields], each field [json name, protobuf number, shape, flags], in Go's field order (which
is protobuf.json's). A shape is a scalar (string, int32, int64, bool, bytes), a special (Time, MicroTime, Duration,
Quantity, IntOrString, Raw, Fields), a type's name, or list:SHAPE / map:SHAPE. Flags: `inline` (the message's
fields stand in the enclosing object), `always` (in replies even when empty), `enum`, `key` (patch merge key, or
the list's map keys), `list` (list type), `patch` (patch strategy).
kinds.json: the kinds that are served, in discovery's order, with their columns; `offByDefault` marks those that
are served only when asked for.
kubernetes-1.36/off-by-default.json: what the recorded description lacks, by hand; --trim leaves it alone.
kubernetes-1.36/registered.json: every "GROUP VERSION KIND" that a real server knows: error texts tell them apart.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
SOURCE = HERE / "kubernetes-1.36"

# Stored kinds, then kinds that are only answered. A new kind is a line here.
STORED = [("", "v1", k) for k in ("ConfigMap", "Namespace", "Node", "Pod", "Secret", "ServiceAccount")] + [
    ("rbac.authorization.k8s.io", "v1", k) for k in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")]
ANSWERED = [("authentication.k8s.io", "v1", k) for k in ("SelfSubjectReview", "TokenReview")] + [
    ("authorization.k8s.io", "v1", k) for k in (
        "LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview")]
# Subresources that are served; the rest of discovery's list is not there.
SUBRESOURCES = {"serviceaccounts/token", "pods/status", "namespaces/status", "namespaces/finalize", "nodes/status"}
# Further types that bodies are made of.
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
EXTRA = ["io.k8s.api.authentication.v1.TokenRequest", META + "DeleteOptions", META + "Status"]

SPECIAL = {
    META + "Time": "Time", META + "MicroTime": "MicroTime", META + "Duration": "Duration", META + "FieldsV1": "Fields",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "IntOrString",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Raw",
    "io.k8s.api.authentication.v1.ExtraValue": "Strings", "io.k8s.api.authorization.v1.ExtraValue": "Strings",
    META + "Verbs": "Strings",
}
# Go writes these without omitempty although the schema calls them optional.
ALWAYS = {
    "io.k8s.api.core.v1.ContainerStateRunning": {"startedAt"},
    "io.k8s.api.core.v1.ContainerStateTerminated": {"finishedAt", "startedAt"},
    "io.k8s.api.core.v1.NamespaceCondition": {"lastTransitionTime"},
    "io.k8s.api.core.v1.NodeCondition": {"lastHeartbeatTime", "lastTransitionTime"},
    "io.k8s.api.core.v1.PodCondition": {"lastProbeTime", "lastTransitionTime"},
    "io.k8s.api.authentication.v1.TokenRequestSpec": {"audiences", "expirationSeconds", "boundObjectRef"},
    "io.k8s.api.authentication.v1.TokenRequestStatus": {"token", "expirationTimestamp"},
    "io.k8s.api.rbac.v1.ClusterRole": {"rules"},
    "io.k8s.api.rbac.v1.Role": {"rules"},
}
# On the protobuf wire Go writes every field that is no pointer, zeros too; these zeros mean "not given".
PLAIN_INTS = set("hostPort initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold weight generation "
                 "observedGeneration restartCount".split())
# Of the booleans most are plain; a false in one of these was meant.
POINTER_BOOLS = set("automountServiceAccountToken enableServiceLinks optional allowPrivilegeEscalation privileged immutable "
                    "readOnlyRootFilesystem runAsNonRoot blockOwnerDeletion controller shareProcessNamespace hostUsers "
                    "setHostnameAsFQDN orphanDependents started ignoreStoreReadErrorWithClusterBreakingPotential".split())


def load(name, folder=SOURCE):
    return json.loads((folder / name).read_text())


def type_names(schemas):
    """(group, version, kind) -> type name."""
    found = {}
    for name, schema in schemas.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            found.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    return found


def shape(text):
    for prefix in ("list:", "map:"):
        if text.startswith(prefix):
            return prefix + shape(text[len(prefix):])
    return SPECIAL.get(text, text)


def parts(text):
    return text.removeprefix("list:").removeprefix("map:")


def reachable(protobuf, roots):
    seen, todo = [], list(roots)
    while todo:
        name = todo.pop(0)
        if name in seen or name in SPECIAL or name not in protobuf:
            continue
        seen.append(name)
        todo += [parts(field[1]) for field in protobuf[name].values() if "." in field[1]]
    return seen


def flags(name, field, spec, schemas):
    schema = schemas.get(name, {})
    prop = schema.get("properties", {}).get(field, {})
    out = {}
    if len(spec) > 2:
        out["inline"] = True
    required = field in schema.get("required", [])
    if required or "default" in prop or field in ALWAYS.get(name, ()):
        out["always"] = True
    if "default" not in prop and field in ALWAYS.get(name, ()):
        out["pointer"] = True
    if field in PLAIN_INTS or (spec[1] == "bool" and field not in POINTER_BOOLS):
        out["plain"] = True
    if "enum" in prop:
        out["enum"] = prop["enum"]
    key = prop.get("x-kubernetes-patch-merge-key")
    keys = prop.get("x-kubernetes-list-map-keys")
    if keys or key:
        out["key"] = keys or [key]
    if key and key != (keys or [key])[0]:
        out["mergeKey"] = key
    if "x-kubernetes-list-type" in prop:
        out["list"] = prop["x-kubernetes-list-type"]
    if "x-kubernetes-patch-strategy" in prop:
        out["patch"] = prop["x-kubernetes-patch-strategy"]
    return out


def table(schemas, protobuf, roots):
    out = {}
    for name in reachable(protobuf, roots):
        fields = []
        for field, spec in protobuf[name].items():
            row = [field, spec[0], shape(spec[1])]
            extra = flags(name, field, spec, schemas)
            fields.append(row + [extra] if extra else row)
        out[name] = fields
    return out


def complete():
    """The recorded description and what off-by-default.json adds to it, and the kinds that it adds."""
    schemas, protobuf = load("schemas.json"), load("protobuf.json")
    discovery, columns, off = load("discovery.json")["resources"], load("table-columns.json"), []
    for group_version, api in load("off-by-default.json")["apis"].items():
        schemas |= api["schemas"]
        protobuf |= api["protobuf"]
        columns |= {f"{group_version}/{plural}": c for plural, c in api["table-columns"].items()}
        at = list(discovery).index(api["before"])
        entries = list(discovery.items())
        discovery = dict(entries[:at] + [(group_version, {"resources": api["resources"]})] + entries[at:])
        off += [(*group_version.split("/"), r["kind"]) for r in api["resources"]]
    return schemas, protobuf, {"resources": discovery}, columns, off


def kinds(schemas, discovery, columns, off):
    names, out = type_names(schemas), []
    wanted = {gvk: True for gvk in STORED + off} | {gvk: False for gvk in ANSWERED}
    for group_version in discovery["resources"]:
        group, _, version = group_version.rpartition("/")
        resources = discovery["resources"][group_version]["resources"]
        for r in resources:
            gvk = (group, version, r["kind"])
            if "/" in r["name"] or gvk not in wanted:
                continue
            subs = [s for s in resources if s["name"].startswith(r["name"] + "/") and s["name"] in SUBRESOURCES]
            out.append({
                "group": group, "version": version, "kind": r["kind"], "plural": r["name"],
                "singular": r["singularName"], "namespaced": r["namespaced"], "stored": wanted[gvk],
                "verbs": r["verbs"], "shortNames": r.get("shortNames", []), "categories": r.get("categories", []),
                "storageVersionHash": r.get("storageVersionHash", ""), "type": names[gvk],
                "subresources": [{
                    "name": s["name"].split("/")[1], "kind": s["kind"], "group": s.get("group", ""),
                    "version": s.get("version", ""), "verbs": s["verbs"],
                } for s in subs],
                "columns": [[c["name"], c["type"], c["format"], c["priority"]]
                            for c in columns.get(group_version + "/" + r["name"], [])],
            } | ({"offByDefault": True} if gvk in off else {}))
    return out


def roots(schemas, off=()):
    names = type_names(schemas)
    return [names[gvk] for gvk in STORED + ANSWERED] + EXTRA + [names[gvk] for gvk in off]


def trim(whole):
    schemas, protobuf = load("schemas.json", whole), load("protobuf.json", whole)
    needed = reachable(protobuf, roots(schemas))
    keep = lambda data: {k: v for k, v in data.items() if k in needed or k in SPECIAL}
    discovery, columns = load("discovery.json", whole), load("table-columns.json", whole)
    groups = {g + "/" + v if g else v for g, v, _ in STORED + ANSWERED}
    discovery = {"resources": {gv: r for gv, r in discovery["resources"].items() if gv in groups}}
    columns = {k: c for k, c in columns.items() if k.rpartition("/")[0] in groups}
    registered = [" ".join(gvk) for gvk in sorted(type_names(schemas)) if not gvk[2].endswith("List")]
    SOURCE.mkdir(exist_ok=True)
    (SOURCE / "registered.json").write_text(json.dumps(registered, indent=0) + "\n")
    for name, data in (("schemas", keep(schemas)), ("protobuf", keep(protobuf)), ("discovery", discovery),
                       ("table-columns", columns), ("rbac-bootstrap", load("rbac-bootstrap.json", whole))):
        (SOURCE / f"{name}.json").write_text(json.dumps(data, indent=1, sort_keys=name == "schemas") + "\n")


def lines(data):
    """JSON with one entry a line, so that a change shows as one."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    dump = lambda v: json.dumps(v, separators=(",", ":"))
    rows = [(f"{json.dumps(k)}:" if isinstance(data, dict) else "") + dump(v) for k, v in entries]
    return ("{}" if isinstance(data, dict) else "[]")[0] + "\n" + ",\n".join(rows) + "\n" + ("}" if isinstance(data, dict) else "]") + "\n"


def main():
    if sys.argv[1:2] == ["--trim"]:
        trim(pathlib.Path(sys.argv[2]))
    schemas, protobuf, discovery, columns, off = complete()
    made = {
        "table.json": lines(table(schemas, protobuf, roots(schemas, off))),
        "kinds.json": lines(kinds(schemas, discovery, columns, off)),
    }
    stale = [name for name, text in made.items() if not (HERE / name).exists() or (HERE / name).read_text() != text]
    if sys.argv[1:] == ["--check"]:
        if stale:
            sys.exit(f"{', '.join(stale)}: not current, run crates/objects/schema/generate.py")
        return
    for name, text in made.items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()

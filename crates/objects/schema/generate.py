#!/usr/bin/env python3
"""Makes table.json and kinds.json from the files in kubernetes-1.36/ (Python's standard library only).

    generate.py           write them
    generate.py --check   exit 1 when what is there differs (CI)
    generate.py --trim DIR  copy from DIR, a whole description of the API, what is needed of it

table.json: `kinds`, "GROUP/VERSION KIND" -> type, and `types`, type -> fields in Go's order, one a line: the program
reads a line when it first needs it. All of it is what Go declares (kubernetes-1.36/go-types.json), with what only
the published schemas know. A field is [JSON name, Go type, protobuf number, flags, enum]:
  JSON name   "" where Go embeds the type: its fields stand in the enclosing object
  Go type     `*T` pointer, `[]T`, `map[K]T`, `bytes`, a scalar, `SCALAR:NAME` a scalar with a name, `NAME=T` another
              type with a name, or a type of the table
  number      0 where protobuf has not got it (`kind` and `apiVersion` stand in the frame)
  flags       `omitempty`, `omitzero`, `inline`, `patch=` (strategy), `key=` (patch merge key), all from Go; `list=`
              (list type), `keys=` (what tells a list's items apart), `map=` (map type), from the schemas
  enum        the values that the schemas list, of a list those of its items
A type that is merged as a whole has `map=atomic` before its fields. What is shown of an empty field follows from Go's
types alone (codec/encode.rs); nothing here is guessed.
kinds.json: the kinds that are served, in discovery's order, with their columns and FACTS; `offByDefault` marks those
that are served only when asked for.
kubernetes-1.36/off-by-default.json: what the recorded description lacks, by hand; --trim leaves it alone.
kubernetes-1.36/column-descriptions.json: what the columns of tables are, from upstream's printers; --trim leaves it alone.
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
# What no description says of a kind, and has to be known beside its room in src/kinds (Facts in src/schema/kind.rs).
NAMES = ["metadata.name", "metadata.namespace"]
RBAC = {"putCreates": True}
FACTS = {
    ("", "Namespace"): {"returnsDeleted": True, "selectable": NAMES + ["name", "status.phase"]},
    ("", "Node"): {"selectable": NAMES + ["spec.unschedulable"]},
    ("", "Pod"): {"generation": True, "returnsDeleted": True, "selectable": NAMES + [
        "spec.hostNetwork", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "status.nominatedNodeName", "status.phase", "status.podIP", "status.podIPs"]},
    ("", "Secret"): {"selectable": NAMES + ["type"]},
    ("", "ServiceAccount"): {"returnsDeleted": True},
    ("certificates.k8s.io", "ClusterTrustBundle"): {
        "selectable": ["metadata.name", "spec.signerName"], "versionRequired": True},
    ("rbac.authorization.k8s.io", "ClusterRole"): RBAC, ("rbac.authorization.k8s.io", "ClusterRoleBinding"): RBAC,
    ("rbac.authorization.k8s.io", "Role"): RBAC, ("rbac.authorization.k8s.io", "RoleBinding"): RBAC,
}
# Where the published schemas' names differ from Go's: "apis/meta/v1.Time" is "io.k8s.apimachinery.pkg.apis.meta.v1.Time".
PACKAGES = {
    "apiextensions/v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
    "api/resource": "io.k8s.apimachinery.pkg.api.resource", "apis/meta/v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "runtime": "io.k8s.apimachinery.pkg.runtime", "util/intstr": "io.k8s.apimachinery.pkg.util.intstr",
}


# Types whose JSON is made by methods of their own: in protobuf they are these messages (protobuf.json of the description).
OWN_FORM = {
    "api/resource.Quantity": [["string", "string", 1]],
    "apiextensions/v1.JSON": [["raw", "bytes", 1]],
    "apis/meta/v1.Duration": [["duration", "int64", 1]],
    "apis/meta/v1.FieldsV1": [["Raw", "bytes", 1]],
    "apis/meta/v1.MicroTime": [["seconds", "int64", 1], ["nanos", "int32", 2]],
    "apis/meta/v1.Time": [["seconds", "int64", 1], ["nanos", "int32", 2]],
    "runtime.RawExtension": [["raw", "bytes", 1]],
    "util/intstr.IntOrString": [["type", "int64", 1], ["intVal", "int32", 2], ["strVal", "string", 3]],
}


def load(name, folder=SOURCE):
    return json.loads((folder / name).read_text())


def schema_name(name):
    package, _, short = name.rpartition(".")
    return PACKAGES.get(package, "io.k8s.api." + package.replace("/", ".")) + "." + short


def published(prop):
    """What only the schemas know of a field."""
    list_type, keys = prop.get("x-kubernetes-list-type"), prop.get("x-kubernetes-list-map-keys")
    words = [f"list={list_type}"] if list_type else []
    words += ["keys=" + ",".join(keys)] if keys else []
    words += ["map=atomic"] if prop.get("x-kubernetes-map-type") == "atomic" else []
    return words


def properties(name, fields, types, schemas):
    """The schema's properties of a type; those of an embedded type stand among them."""
    own = schemas.get(schema_name(name), {}).get("properties")
    if own is None:  # a type that is only ever embedded: what the types that embed it have
        holders = [n for n, fs in types.items() if [f for f in fs if f[0] == "" and f[1] == name and "inline" in f[3:]]]
        own = {k: v for n in holders for k, v in schemas.get(schema_name(n), {}).get("properties", {}).items()}
    return own


def table(types, schemas):
    out = {}
    for name, fields in (types | OWN_FORM).items():
        props = properties(name, fields, types, schemas)
        whole = schemas.get(schema_name(name), {}).get("x-kubernetes-map-type") == "atomic"
        rows = ["map=atomic"] if whole else []
        for field, of, number, *said in fields:
            prop = props.get(field, {}) if field else {}
            row, words = [field, of, number], " ".join(said + published(prop))
            values = prop.get("enum") or prop.get("items", {}).get("enum")
            rows.append(row + ([words, values] if values else [words] if words else []))
        out[name] = rows
    return out


def complete():
    """The recorded description and what off-by-default.json adds to it, and the kinds that it adds."""
    schemas, go = load("schemas.json"), load("go-types.json")
    discovery, columns, off = load("discovery.json")["resources"], load("table-columns.json"), []
    for group_version, api in load("off-by-default.json")["apis"].items():
        schemas |= api["schemas"]
        go["types"] |= api["types"]
        go["kinds"] |= api["kinds"]
        columns |= {f"{group_version}/{plural}": c for plural, c in api["table-columns"].items()}
        at = list(discovery).index(api["before"])
        entries = list(discovery.items())
        discovery = dict(entries[:at] + [(group_version, {"resources": api["resources"]})] + entries[at:])
        off += [(*group_version.split("/"), r["kind"]) for r in api["resources"]]
    return schemas, go, {"resources": discovery}, columns, off


def kinds(types, discovery, columns, off):
    out, described = [], load("column-descriptions.json")
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
                "storageVersionHash": r.get("storageVersionHash", ""), "type": types[f"{group_version} {r['kind']}"],
                "subresources": [{
                    "name": s["name"].split("/")[1], "kind": s["kind"], "group": s.get("group", ""),
                    "version": s.get("version", ""), "verbs": s["verbs"],
                } for s in subs],
                "columns": [[c["name"], c["type"], c["format"], c["priority"], [],
                             described.get(group_version + "/" + r["name"], {}).get(c["name"], "")]
                            for c in columns.get(group_version + "/" + r["name"], [])],
            } | ({"offByDefault": True} if gvk in off else {}) | FACTS.get((group, r["kind"]), {}))
    return out


def trim(whole):
    schemas, go = load("schemas.json", whole), load("go-types.json", whole)
    registered = sorted((g["group"], g["version"], g["kind"]) for s in schemas.values()
                        for g in s.get("x-kubernetes-group-version-kind", []) if not g["kind"].endswith("List"))
    schemas = {k: v for k, v in schemas.items() if k in set(map(schema_name, go["types"]))}
    discovery, columns = load("discovery.json", whole), load("table-columns.json", whole)
    groups = {g + "/" + v if g else v for g, v, _ in STORED + ANSWERED}
    discovery = {"resources": {gv: r for gv, r in discovery["resources"].items() if gv in groups}}
    columns = {k: c for k, c in columns.items() if k.rpartition("/")[0] in groups}
    SOURCE.mkdir(exist_ok=True)
    (SOURCE / "registered.json").write_text(json.dumps([" ".join(r) for r in registered], indent=0) + "\n")
    (SOURCE / "go-types.json").write_bytes((whole / "go-types.json").read_bytes())
    for name, data in (("schemas", schemas), ("discovery", discovery),
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
    schemas, go, discovery, columns, off = complete()
    parts = {"kinds": go["kinds"], "types": table(go["types"], schemas)}
    made = {
        "table.json": "{" + ",\n".join(f'"{part}":{lines(data).rstrip()}' for part, data in parts.items()) + "}\n",
        "kinds.json": lines(kinds(go["kinds"], discovery, columns, off)),
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

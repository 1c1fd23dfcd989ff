#!/usr/bin/env python3
"""Makes kubernetes-1.36/internal.json from Kubernetes' Go sources: internal.py KUBERNETES API, the folders of the modules
k8s.io/kubernetes and k8s.io/api (`go mod download -json MODULE@VERSION` says where they are).

Upstream validates its internal types, and some of its messages show one as JSON: without names for JSON, in an order of its own, and
with every field. The file has, for each internal type of which there is one in v1, its fields in Go's order: [name in Go, name in the
published JSON, type]. The type is `*T`, `[]T`, `map[]T` (each null when nobody has set it), `string`, `bool`, `int`, `IntOrString`, `Quantity`, another
type of the file, or `json`: shown as the published type is. A field without a name in Go is embedded; one that stands elsewhere in the
published type has `^` before its name: it is the enclosing object's.
"""
import json, pathlib, re, sys

GROUPS = {"core": "core/v1", "apps": "apps/v1", "batch": "batch/v1", "rbac": "rbac/v1", "networking": "networking/v1", "storage": "storage/v1",
          "policy": "policy/v1", "discovery": "discovery/v1", "node": "node/v1", "scheduling": "scheduling/v1", "autoscaling": "autoscaling/v2",
          "coordination": "coordination/v1", "certificates": "certificates/v1", "resource": "resource/v1", "flowcontrol": "flowcontrol/v1",
          "admissionregistration": "admissionregistration/v1"}
STRUCT, FIELD = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S), re.compile(r"^\t(?:(\w+(?:, \w+)*)\s+)?([\w.*\[\]]+)(?:\s+`(.*?)`)?\s*(?://.*)?$")
NAMED, TAG = re.compile(r"^type (\w+) ([\w.\[\]*]+)$", re.M), re.compile(r'json:"([^",]*)')


def parse(path):
    """type -> [(Go names, type, JSON name)], and what other names stand for."""
    text = path.read_text()
    structs = {}
    for name, body in STRUCT.findall(text):
        rows = [m.groups() for line in body.splitlines() if (m := FIELD.match(line))]
        structs[name] = [(go, of, (TAG.search(tag or "") or [None, None])[1]) for names, of, tag in rows for go in (names or "").split(", ")]
    return structs, dict(NAMED.findall(text))


def main(kubernetes, api):
    parsed = {g: parse(pathlib.Path(kubernetes, "pkg/apis", g, "types.go")) for g in GROUPS}

    def kind(group, of):
        for prefix, shown in (("*", "*"), ("[]", "[]")):
            if of.startswith(prefix):
                return shown + kind(group, of.removeprefix(prefix))
        if of.startswith("map["):
            return "map[]" + kind(group, of.split("]", 1)[1])
        if of in ("string", "bool", "types.UID"):
            return {"types.UID": "string"}.get(of, of)
        if of in ("intstr.IntOrString", "resource.Quantity"):
            return of.split(".")[1]
        if re.fullmatch(r"u?int\d*|float\d\d", of):
            return "int"
        package, _, name = of.rpartition(".")
        group = {"": group, "api": "core"}.get(package, package)
        structs, named = parsed.get(group, ({}, {}))
        if name in structs:
            return f"{group}.{name}"
        if name in named:
            return kind(group, named[name])
        return "json"

    out = {}
    for group, (structs, _) in parsed.items():
        published, _ = parse(pathlib.Path(api, GROUPS[group], "types.go"))
        for name, rows in structs.items():
            if name not in published or any(tag for _, _, tag in rows) or any(of == "metav1.ListMeta" for _, of, _ in rows):
                continue
            names = {go: tag for go, _, tag in published[name]}
            outer = {go: tag for go, _, tag in published["PodSpec"]} if name == "PodSecurityContext" else {}
            fields = []
            for go, of, _ in rows:
                if go:
                    at = names.get(go) or ("^" + outer[go] if go in outer else None)
                    fields += [[go, at, kind(group, of)]] if at else []
                elif of != "metav1.TypeMeta":
                    fields.append(["", "metadata", "json"] if of == "metav1.ObjectMeta" else ["", "", kind(group, of)])
            out[f"{group}.{name}"] = fields
    path = pathlib.Path(__file__).parent / "kubernetes-1.36/internal.json"
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in sorted(out.items())) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

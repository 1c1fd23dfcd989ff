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
kubernetes-1.36/operations.json: what the published documents say of each path, "METHOD PATH" -> [action, "GROUP VERSION
KIND", parameters, responses, media types of its body]; the tests hold src/openapi against it.
kubernetes-1.36/registered.json: every "GROUP VERSION KIND" that a real server knows: error texts tell them apart.
"""
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
SOURCE = HERE / "kubernetes-1.36"

# Subresources that are served besides /status; the rest of discovery's list is not there.
SUBRESOURCES = {"serviceaccounts/token", "certificatesigningrequests/approval", "namespaces/finalize", "nodes/proxy", "services/proxy"} | {
    f"{of}/scale" for of in ("deployments", "replicasets", "replicationcontrollers", "statefulsets")} | {
    f"pods/{sub}" for sub in ("attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize")}
# What no description says of a kind, and has to be known beside its room in src/kinds (Facts in src/schema/kind.rs).
NAMES = ["metadata.name", "metadata.namespace"]
GONE, COUNTS = {"returnsDeleted": True}, {"generation": True}
CREATES, VERSION = {"putCreates": True}, {"versionRequired": True}
ADMISSION, RBAC, STORAGE = "admissionregistration.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io"
about = lambda of: [f"{of}.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")]
FACTS = {
    ("", "ComponentStatus"): {"deprecated": "v1 ComponentStatus is deprecated in v1.19+"},
    ("", "Endpoints"): CREATES | {
        "deprecated": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
    ("", "Event"): CREATES | {"selectable": NAMES + about("involvedObject") + ["reason", "reportingComponent", "source", "type"]},
    ("", "LimitRange"): CREATES,
    ("", "Namespace"): GONE | {"selectable": NAMES + ["name", "status.phase"]},
    ("", "Node"): {"selectable": NAMES + ["spec.unschedulable"]},
    ("", "PersistentVolume"): GONE,
    ("", "PersistentVolumeClaim"): GONE,
    ("", "Pod"): COUNTS | GONE | {"selectable": NAMES + [
        "spec.hostNetwork", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "status.nominatedNodeName", "status.phase", "status.podIP", "status.podIPs"]},
    ("", "PodTemplate"): COUNTS | GONE,
    ("", "ReplicationController"): COUNTS | {"selectable": NAMES + ["status.replicas"]},
    ("", "ResourceQuota"): GONE,
    ("", "Secret"): {"selectable": NAMES + ["type"]},
    ("", "Service"): CREATES | GONE | {"selectable": NAMES + ["spec.clusterIP", "spec.type"]},
    ("", "ServiceAccount"): GONE,
    (ADMISSION, "MutatingAdmissionPolicy"): COUNTS | VERSION,
    (ADMISSION, "MutatingAdmissionPolicyBinding"): COUNTS | VERSION,
    (ADMISSION, "MutatingWebhookConfiguration"): COUNTS | VERSION,
    (ADMISSION, "ValidatingAdmissionPolicy"): COUNTS | VERSION,
    (ADMISSION, "ValidatingAdmissionPolicyBinding"): COUNTS | VERSION,
    (ADMISSION, "ValidatingWebhookConfiguration"): COUNTS | VERSION,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): COUNTS,
    ("apps", "DaemonSet"): COUNTS,
    ("apps", "Deployment"): COUNTS,
    ("apps", "ReplicaSet"): COUNTS,
    ("apps", "StatefulSet"): COUNTS,
    ("batch", "CronJob"): COUNTS,
    ("batch", "Job"): COUNTS | {"selectable": NAMES + ["status.successful"]},
    ("certificates.k8s.io", "CertificateSigningRequest"): {"selectable": ["metadata.name", "spec.signerName"]},
    ("certificates.k8s.io", "ClusterTrustBundle"): VERSION | {"selectable": ["metadata.name", "spec.signerName"]},
    ("coordination.k8s.io", "Lease"): CREATES | VERSION,
    ("discovery.k8s.io", "EndpointSlice"): COUNTS,
    ("events.k8s.io", "Event"): CREATES | {"selectable": NAMES + about("regarding") + ["reason", "reportingController", "type"]},
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): COUNTS,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): COUNTS,
    ("networking.k8s.io", "Ingress"): COUNTS,
    ("networking.k8s.io", "IngressClass"): COUNTS,
    ("networking.k8s.io", "NetworkPolicy"): COUNTS,
    ("node.k8s.io", "RuntimeClass"): CREATES | VERSION,
    ("policy", "PodDisruptionBudget"): COUNTS | VERSION,
    (RBAC, "ClusterRole"): CREATES,
    (RBAC, "ClusterRoleBinding"): CREATES,
    (RBAC, "Role"): CREATES,
    (RBAC, "RoleBinding"): CREATES,
    ("resource.k8s.io", "DeviceClass"): COUNTS | GONE,
    ("resource.k8s.io", "ResourceClaim"): GONE,
    ("resource.k8s.io", "ResourceClaimTemplate"): GONE,
    ("resource.k8s.io", "ResourceSlice"): COUNTS | GONE | {"selectable": ["metadata.name", "spec.driver", "spec.nodeName"]},
    (STORAGE, "CSIDriver"): GONE | VERSION,
    (STORAGE, "CSINode"): GONE | VERSION,
    (STORAGE, "CSIStorageCapacity"): VERSION,
    (STORAGE, "StorageClass"): GONE,
    (STORAGE, "VolumeAttachment"): GONE | VERSION,
    (STORAGE, "VolumeAttributesClass"): GONE,
}
# As which kind the objects of another one are stored: they are the same objects.
STORED_AS = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("events.k8s.io", "v1", "Event"): "v1",
}
# Where the published schemas' names differ from Go's: "apis/meta/v1.Time" is "io.k8s.apimachinery.pkg.apis.meta.v1.Time".
PACKAGES = {
    "apiextensions/v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
    "api/resource": "io.k8s.apimachinery.pkg.api.resource", "apis/meta/v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "runtime": "io.k8s.apimachinery.pkg.runtime", "util/intstr": "io.k8s.apimachinery.pkg.util.intstr",
    "version": "io.k8s.apimachinery.pkg.version",
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
# What Go declares and go-types.json has not got, for no kind is made of it: discovery, watches and patches.
META = {
    "apis/meta/v1.APIGroup": [
        ["", "apis/meta/v1.TypeMeta", 0, "inline"], ["name", "string", 1],
        ["versions", "[]apis/meta/v1.GroupVersionForDiscovery", 2],
        ["preferredVersion", "apis/meta/v1.GroupVersionForDiscovery", 3, "omitempty"],
        ["serverAddressByClientCIDRs", "[]apis/meta/v1.ServerAddressByClientCIDR", 4, "omitempty"]],
    "apis/meta/v1.APIGroupList": [
        ["", "apis/meta/v1.TypeMeta", 0, "inline"], ["groups", "[]apis/meta/v1.APIGroup", 1, "list=atomic"]],
    "apis/meta/v1.APIResource": [
        ["name", "string", 1], ["singularName", "string", 6], ["namespaced", "bool", 2],
        ["group", "string", 8, "omitempty"], ["version", "string", 9, "omitempty"], ["kind", "string", 3],
        ["verbs", "[]string", 4], ["shortNames", "[]string", 5, "omitempty"], ["categories", "[]string", 7, "omitempty"],
        ["storageVersionHash", "string", 10, "omitempty"]],
    "apis/meta/v1.APIResourceList": [
        ["", "apis/meta/v1.TypeMeta", 0, "inline"], ["groupVersion", "string", 1],
        ["resources", "[]apis/meta/v1.APIResource", 2]],
    "apis/meta/v1.APIVersions": [
        ["", "apis/meta/v1.TypeMeta", 0, "inline"], ["versions", "[]string", 1, "list=atomic"],
        ["serverAddressByClientCIDRs", "[]apis/meta/v1.ServerAddressByClientCIDR", 2, "list=atomic"]],
    "apis/meta/v1.GroupVersionForDiscovery": [["groupVersion", "string", 1], ["version", "string", 2]],
    "apis/meta/v1.Patch": [],
    "apis/meta/v1.ServerAddressByClientCIDR": [["clientCIDR", "string", 1], ["serverAddress", "string", 2]],
    "apis/meta/v1.WatchEvent": [["type", "string", 1], ["object", "runtime.RawExtension", 2]],
    "version.Info": [[name, "string", 0] + words for name, words in (
        ("major", []), ("minor", []), ("emulationMajor", ["omitempty"]), ("emulationMinor", ["omitempty"]),
        ("minCompatibilityMajor", ["omitempty"]), ("minCompatibilityMinor", ["omitempty"]), ("gitVersion", []),
        ("gitCommit", []), ("gitTreeState", []), ("buildDate", []), ("goVersion", []), ("compiler", []), ("platform", []))],
}
ZERO = {"string": "", "bool": False, "int32": 0, "int64": 0, "float64": 0}


def load(name, folder=SOURCE):
    return json.loads((folder / name).read_text())


def schema_name(name):
    package, _, short = name.rpartition(".")
    return PACKAGES.get(package, "io.k8s.api." + package.replace("/", ".")) + "." + short


def published(prop, of, said, required):
    """What only the schemas know of a field, or say otherwise than Go."""
    # The last rule is src/openapi's: what is shown though it is empty has a default, a structure {}.
    shown = not {"omitempty", "omitzero"} & set(" ".join(said).split())
    scalar, struct = ZERO.get(of.split(":")[0]), of[0] not in "*[" and not of.startswith("map[")
    default = scalar if shown else None
    if scalar is None and struct and "=" not in of and ":" not in of and of != "bytes":
        default = None if of in OWN_FORM or ".JSONSchemaPropsOr" in of else {}
    other = prop.get("default") != default
    assert not other or "default" in prop, (prop, of)
    list_type, keys = prop.get("x-kubernetes-list-type"), prop.get("x-kubernetes-list-map-keys")
    words = [f"list={list_type}"] if list_type else []
    words += ["keys=" + ",".join(keys)] if keys else []
    words += ["map=" + prop["x-kubernetes-map-type"]] if "x-kubernetes-map-type" in prop else []
    words += [] if required == shown else ["required" if required else "optional"]
    words += ["default=" + json.dumps(prop["default"])] if other else []
    return words + (["bare"] if "$ref" in prop else [])


def properties(name, fields, types, schemas):
    """The schema's properties of a type, and which are required; those of an embedded type stand among them."""
    own = schemas.get(schema_name(name), {})
    if "properties" not in own:  # a type that is only ever embedded: what the types that embed it have
        holders = [n for n, fs in types.items() if [f for f in fs if f[0] == "" and f[1] == name and "inline" in f[3:]]]
        holders = [schemas[schema_name(n)] for n in holders if schema_name(n) in schemas]
        own = {"properties": {k: v for h in holders for k, v in h.get("properties", {}).items()},
               "required": [k for h in holders for k in h.get("required", [])]}
    return own.get("properties", {}), own.get("required", [])


def table(types, schemas):
    out = {}
    for name, fields in (types | OWN_FORM | META).items():
        props, required = properties(name, fields, types, schemas)
        schema = schemas.get(schema_name(name), {})
        rows = ["map=atomic"] if schema.get("x-kubernetes-map-type") == "atomic" else []
        for union in schema.get("x-kubernetes-unions", []):
            members = ",".join(union["fields-to-discriminateBy"])
            rows += [f"union={union.get('discriminator', '')}:{members}"]
        for field, of, number, *said in fields:
            prop = props.get(field, {})
            known = published(prop, of, said, field in required) if prop else []
            row, words = [field, of, number], " ".join(said + [w for w in known if w not in said])
            values = next((p["enum"] for p in (prop, prop.get("items", {}), prop.get("additionalProperties", {}))
                           if "enum" in p), None)
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
    for group_version in discovery["resources"]:
        group, _, version = group_version.rpartition("/")
        resources = discovery["resources"][group_version]["resources"]
        for r in resources:
            gvk = (group, version, r["kind"])
            if "/" in r["name"]:
                continue
            subs = [s for s in resources if s["name"].startswith(r["name"] + "/")
                    and (s["name"].endswith("/status") or s["name"] in SUBRESOURCES)]
            out.append({
                "group": group, "version": version, "kind": r["kind"], "plural": r["name"],
                "singular": r["singularName"], "namespaced": r["namespaced"], "stored": "watch" in r["verbs"],
                "verbs": r["verbs"], "shortNames": r.get("shortNames", []), "categories": r.get("categories", []),
                "storageVersionHash": r.get("storageVersionHash", ""), "type": types[f"{group_version} {r['kind']}"],
                "subresources": [{
                    "name": s["name"].split("/")[1], "kind": s["kind"], "group": s.get("group", ""),
                    "version": s.get("version", ""), "verbs": s["verbs"],
                } for s in subs],
                "columns": [[c["name"], c["type"], c["format"], c["priority"], [],
                             described.get(group_version + "/" + r["name"], {}).get(c["name"], "")]
                            for c in columns.get(group_version + "/" + r["name"], [])],
            } | ({"offByDefault": True} if gvk in off else {}) | FACTS.get((group, r["kind"]), {})
                | ({"storedAs": STORED_AS[gvk]} if gvk in STORED_AS else {}))
    return out


def trim(whole):
    schemas, go = load("schemas.json", whole), load("go-types.json", whole)
    registered = sorted((g["group"], g["version"], g["kind"]) for s in schemas.values()
                        for g in s.get("x-kubernetes-group-version-kind", []) if not g["kind"].endswith("List"))
    schemas = {k: v for k, v in schemas.items() if k in set(map(schema_name, go["types"] | META))}
    operations = {}
    for path, method, o in ((p, m, o) for ps in load("operations.json", whole).values()
                            for p, ms in ps.items() for m, o in ms.items()):
        gvk = " ".join(o["gvk"][part] for part in ("group", "version", "kind"))
        operations[f"{method} {path}"] = [o["action"], gvk, " ".join(o["parameters"]), " ".join(o["responses"]),
                                          " ".join(o["consumes"])]
    SOURCE.mkdir(exist_ok=True)
    (SOURCE / "registered.json").write_text(json.dumps([" ".join(r) for r in registered], indent=0) + "\n")
    (SOURCE / "operations.json").write_text(lines(operations))
    (SOURCE / "go-types.json").write_bytes((whole / "go-types.json").read_bytes())
    for name, data in (("schemas", schemas), *((n, load(f"{n}.json", whole)) for n in (
            "discovery", "table-columns", "rbac-bootstrap"))):
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

"""How a well-formed request is spoilt: its body, its query, its headers or its path."""
import copy, json

WRONG = [None, True, 7, -1, 1.5, "", "x", "UPPER_case!", [], {}, ["x"], {"x": "y"}, "a" * 70, "9" * 20, "\u00fc", [None], 2**40]
QUERIES = {
    "read": ["pretty=yes", "resourceVersion=x", "resourceVersion=-1", "resourceVersion=999999999999", "unknown=1", "resourceVersion="],
    "list": ["limit=x", "limit=-1", "limit=99999999999999999999", "continue=x", "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0",
             "labelSelector=a%3D%3D%3Db", "labelSelector=a%20in%20b", "labelSelector=%21", "labelSelector=-a", "labelSelector=a%3Eb", "fieldSelector=x",
             "fieldSelector=spec.x%3Dy", "fieldSelector=metadata.name%3Da,", "resourceVersionMatch=Exact", "resourceVersionMatch=Bad&resourceVersion=1",
             "resourceVersion=0&resourceVersionMatch=Exact", "sendInitialEvents=true", "allowWatchBookmarks=maybe", "timeoutSeconds=x", "timeoutSeconds=-5",
             "resourceVersion=x", "timeout=1", "timeout=x", "watch=x", "labelSelector=a&labelSelector=b", "limit=1&continue=%25",
             "resourceVersionMatch=NotOlderThan", "resourceVersionMatch=NotOlderThan&resourceVersion=0&limit=1", "fieldSelector=metadata.name>a"],
    "write": ["dryRun=", "dryRun=all", "dryRun=All&dryRun=All", "dryRun=true", "fieldManager=%01", "fieldManager=" + "m" * 129, "fieldValidation=strict",
              "fieldValidation=", "fieldValidation=Loud", "pretty=1", "timeout=x", "timeout=-1s", "force=true", "force=x", "fieldManager="],
    "delete": ["gracePeriodSeconds=x", "gracePeriodSeconds=-1", "propagationPolicy=Never", "propagationPolicy=", "orphanDependents=x",
               "orphanDependents=true&propagationPolicy=Background", "dryRun=None", "preconditions=x", "gracePeriodSeconds=1.5", "dryRun="],
    "watch": ["resourceVersion=x", "timeoutSeconds=x", "sendInitialEvents=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
              "resourceVersionMatch=Exact&resourceVersion=0", "allowWatchBookmarks=x", "limit=1", "continue=x", "fieldSelector=a", "labelSelector=%3D",
              "sendInitialEvents=false", "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1", "resourceVersion=999999999999"],
}
ACCEPTS = ["text/plain", "application/xml", "", "application/json;as=Table", "application/json;as=Table;v=v2;g=meta.k8s.io", "application/json;as=Table;g=x;v=v1",
           "application/json;as=Nothing;v=v1;g=meta.k8s.io", "*/*;q=0", "application/*", "x", "application/json;q=x", "text/html,application/json;q=0.5",
           "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1", "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
           "application/json;stream=watch", "application/cbor", "application/json; charset=utf-8", "application/json;pretty=1"]
CONTENT_TYPES = ["text/plain", "application/xml", "", "application/json; charset=latin1", "application/x-www-form-urlencoded", "json", "application/json;",
                 "application/apply-patch+yaml", "application/json-patch+json", "application/cbor", "multipart/form-data", "application/vnd.kubernetes.protobuf"]
RAW = [b"", b"{", b"[]", b"null", b'"x"', b"7", b"{}", b"{}{}", b'{"kind":"Nothing","apiVersion":"v1"}', b'{"apiVersion":"v9","kind":"Pod"}',
       b'{"kind":"ConfigMap"}', b"\xff\xfe", b'{"metadata":{"name":"a","name":"b"}}', b"a: b: c", b"- x", b"metadata: [", b"k8s\x00", b"k8s\x00\x0a\x02",
       b'{"metadata":null}', b'{"metadata":[]}', b'{"apiVersion":1}', b"\t{}", b'{"a":1e999}', b'{"a":"\\ud800"}', b"apiVersion: v1\nkind: Pod\n---\nkind: x\n"]
PATHS = ["/", "/api", "/apis", "/version", "/livez", "/readyz", "/healthz", "/api/", "/apis/", "/version/", "/api/v1/", "/apis/rbac.authorization.k8s.io",
         "/apis/rbac.authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1", "/api/v1", "/api/v2", "/apis/nosuch.io", "/apis/nosuch.io/v1/x",
         "/apis/rbac.authorization.k8s.io/v2/roles", "/api/v1/nosuch", "/api/v1/namespaces/{ns}/nosuch", "/api/v1/namespaces/{ns}/nosuch/a", "/api/v1/pods/a",
         "/api/v1/namespaces/{ns}/nodes/a", "/api/v1/namespaces/{ns}/pods/a/nosuch", "/api/v1/namespaces/{ns}/configmaps/a/status", "/api/v1/namespaces//pods",
         "/api//v1/pods", "//api/v1", "/api/v1/namespaces/{ns}/configmaps/", "/api/v1/namespaces/{ns}/configmaps/%2e%2e", "/api/v1/namespaces/{ns}/configmaps/a%2fb",
         "/%zz", "/api%2Fv1", "/livez/ping", "/readyz/ping", "/livez/nosuch", "/healthz/ping", "/livez?verbose", "/livez?exclude=nosuch", "/x/y", "/index.html", "/robots.txt",
         "/api/v1/proxy/x", "/api/v1/watch", "/api/v1/watch/nosuch", "/api/v1/watch/namespaces/{ns}/nosuch", "/.well-known/openid-configuration", "/openid/v1/jwks",
         "/.well-known/", "/openid/v1/", "/api/v1/namespaces/{ns}/configmaps/UPPER", "/api/v1/namespaces/{ns}/configmaps/a/b/c/d", "/api/v1/namespaces/{ns}/configmaps/;x",
         "/api/v1/nodes/nosuch/status", "/version?x=%", "/api?x=%zz", "/api/v1/configmaps?limit=1;continue=x&fieldSelector=metadata.namespace%3D{ns}"]


def places(value, path=()):
    """Every place in a body, itself excepted."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield path + (key,)
        yield from places(child, path + (key,))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def body(r, value):
    """The body with one thing wrong (now and then two), or a text that is none."""
    if r.random() < 0.12:
        return r.choice(RAW)
    value = copy.deepcopy(value)
    for _ in range(r.choice([1, 1, 1, 2])):
        found = [p for p in places(value) if p not in (("metadata", "name"), ("metadata", "labels", "differ")) or r.random() < 0.2]
        if not found:
            return r.choice(RAW)
        path = r.choice(sorted(found, key=str))
        holder, key = at(value, path[:-1]), path[-1]
        how = r.choice(["wrong", "wrong", "wrong", "remove", "unknown", "case", "twice", "other"])
        if how == "wrong" or how == "other" and not isinstance(holder[key], (str, int)):
            holder[key] = r.choice(WRONG)
        elif how == "remove":
            del holder[key]
        elif how == "unknown" and isinstance(holder, dict):
            holder[r.choice(["unknown", "Name", "specs"])] = r.choice(WRONG)
        elif how == "case" and isinstance(holder, dict):
            holder[str(key).swapcase()] = holder.pop(key)
        elif how == "twice" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif isinstance(holder[key], str):
            holder[key] += r.choice(["!", "/", "a" * 60, ".", "-", " ", "\n"])
        elif isinstance(holder[key], int):
            holder[key] = r.choice([-1, 0, 65536, 2**31, 2**63])
    return value


def whole(r, step):
    """Spoils a step, each way now and then; gives what was spoilt."""
    ways = ["query", "accept"] + (["body"] * 5 + ["type"] if step.body is not None else [])
    how = r.choice(ways)
    if how == "query":
        known = {"get": "read", "list": "list", "watch": "watch", "delete": "delete", "deletecollection": "delete"}.get(step.verb, "write")
        step.path += ("&" if "?" in step.path else "?") + r.choice(QUERIES[known])
    elif how == "accept":
        step.headers["Accept"] = r.choice(ACCEPTS)
    elif how == "type":
        step.headers["Content-Type"] = r.choice(CONTENT_TYPES)
    else:
        seed = r.random()
        step.body = [body(type(r)(seed), b) for b in step.body]  # the same on both sides
    return how


def dump(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()

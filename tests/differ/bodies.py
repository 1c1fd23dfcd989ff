"""Well-formed bodies of each kind that is served, at random: every field is there now and then."""
import base64

LABELS = ["app", "tier", "example.com/team", "kubernetes.io/os", "a.b.c/d"]
VALUES = ["x", "y", "front-end", "1", "", "A_b.c"]
IMAGES = ["nginx:1.27", "busybox", "registry.example:5000/a/b@sha256:" + "0" * 64, "app:latest"]


def some(r, chance, value):
    """The value, or nothing."""
    return value() if r.random() < chance else None


def full(**fields):
    """An object without the fields that are nothing."""
    return {k.rstrip("_"): v for k, v in fields.items() if v is not None}


def labels(r):
    return {r.choice(LABELS): r.choice(VALUES) for _ in range(r.randint(1, 3))}


def meta(r, name, scenario):
    return full(name=name, labels={"differ": scenario, **(labels(r) if r.random() < 0.4 else {})},
                annotations=some(r, 0.2, lambda: {"note": r.choice(VALUES), "example.com/a": "b"}))


def quantity(r):
    return r.choice(["1", "100m", "0.5", "64Mi", "1Gi", "1500m", "2G", 1, "1e3", "0"])


def selector(r):
    return full(matchLabels=some(r, 0.7, lambda: labels(r)), matchExpressions=some(r, 0.3, lambda: [r.choice([
        {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "tier", "operator": "NotIn", "values": ["a"]},
        {"key": "app", "operator": "Exists"}, {"key": "app", "operator": "DoesNotExist"}])]))


def probe(r):
    how = r.choice([{"httpGet": {"path": "/live", "port": 8080}}, {"tcpSocket": {"port": "web"}},
                    {"exec": {"command": ["true"]}}, {"grpc": {"port": 9000}}])
    return {**how, **full(periodSeconds=some(r, 0.3, lambda: r.randint(1, 20)), timeoutSeconds=some(r, 0.3, lambda: 3))}


def container(r, name, volumes):
    limits = some(r, 0.3, lambda: {"cpu": "2", "memory": "1Gi"})
    return full(
        name=name, image=r.choice(IMAGES), command=some(r, 0.3, lambda: ["sh", "-c", "sleep 1"]), args=some(r, 0.2, lambda: ["$(A)"]),
        workingDir=some(r, 0.1, lambda: "/srv"), imagePullPolicy=some(r, 0.2, lambda: r.choice(["Always", "Never", "IfNotPresent"])),
        ports=some(r, 0.3, lambda: [full(name="web", containerPort=8080, protocol=some(r, 0.5, lambda: r.choice(["TCP", "UDP"])))]),
        env=some(r, 0.3, lambda: [{"name": "A", "value": "1"}, r.choice([
            {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}, {"name": "E"}])]),
        envFrom=some(r, 0.1, lambda: [{"prefix": "P_", "configMapRef": {"name": "cm"}}]),
        resources=some(r, 0.4, lambda: full(limits=limits, requests=some(r, 0.5, lambda: {"cpu": "0.5", "memory": "64Mi"}))),
        livenessProbe=some(r, 0.15, lambda: probe(r)), readinessProbe=some(r, 0.15, lambda: probe(r)),
        lifecycle=some(r, 0.1, lambda: {"preStop": {"exec": {"command": ["true"]}}}),
        securityContext=some(r, 0.2, lambda: full(runAsUser=1000, runAsNonRoot=True, allowPrivilegeEscalation=some(r, 0.5, lambda: False),
                                                  capabilities=some(r, 0.5, lambda: {"drop": ["ALL"]}))),
        volumeMounts=[full(name=v["name"], mountPath="/mnt/" + v["name"], readOnly=some(r, 0.3, lambda: True)) for v in volumes] or None,
        terminationMessagePolicy=some(r, 0.05, lambda: "FallbackToLogsOnError"), stdin=some(r, 0.05, lambda: True))


def volume(r, name):
    return {"name": name, **r.choice([
        {"emptyDir": {}}, {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}, {"secret": {"secretName": "s", "optional": True}},
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "b"}], "defaultMode": 0o400}}, {"hostPath": {"path": "/var/log"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 3600}}]}},
        {"projected": {"sources": [{"configMap": {"name": "cm"}}, {"secret": {"name": "s"}}]}},
        {"persistentVolumeClaim": {"claimName": "data"}}, {"nfs": {"server": "nfs.example", "path": "/x"}}, {},
        {"ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}])}


def affinity(r):
    term = {"topologyKey": "zone", "labelSelector": selector(r)}
    expression = {"matchExpressions": [r.choice([{"key": "a", "operator": "In", "values": ["b"]}, {"key": "a", "operator": "Gt", "values": ["1"]}])]}
    return r.choice([
        {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": term}]}},
        {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [expression]}}},
        {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": expression}]}}])


def pod_spec(r):
    volumes = [volume(r, f"v{i}") for i in range(r.choice([0, 0, 1, 2]))]
    return full(
        containers=[container(r, n, volumes) for n in ["web", "side"][:r.choice([1, 1, 1, 2])]],
        initContainers=some(r, 0.1, lambda: [container(r, "init", [])]), volumes=volumes or None,
        restartPolicy=some(r, 0.2, lambda: r.choice(["Always", "OnFailure", "Never"])), serviceAccountName=some(r, 0.4, lambda: "builder"),
        automountServiceAccountToken=some(r, 0.4, lambda: r.random() < 0.3), terminationGracePeriodSeconds=some(r, 0.2, lambda: r.randint(0, 60)),
        activeDeadlineSeconds=some(r, 0.1, lambda: 600), dnsPolicy=some(r, 0.15, lambda: r.choice(["ClusterFirst", "Default"])),
        nodeSelector=some(r, 0.1, lambda: {"disk": "ssd"}), hostNetwork=some(r, 0.05, lambda: False), hostname=some(r, 0.1, lambda: "host-1"),
        tolerations=some(r, 0.15, lambda: [r.choice([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
                                                     {"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 30}])]),
        affinity=some(r, 0.1, lambda: affinity(r)), priorityClassName=some(r, 0.05, lambda: "system-node-critical"),
        schedulingGates=some(r, 0.1, lambda: [{"name": "example.com/wait"}]), hostAliases=some(r, 0.05, lambda: [{"ip": "10.1.2.3", "hostnames": ["a.example"]}]),
        securityContext=some(r, 0.15, lambda: full(fsGroup=some(r, 0.5, lambda: 2000), runAsUser=some(r, 0.5, lambda: 1000),
                                                   seccompProfile=some(r, 0.3, lambda: {"type": "RuntimeDefault"}))),
        topologySpreadConstraints=some(r, 0.05, lambda: [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector(r)}]),
        readinessGates=some(r, 0.05, lambda: [{"conditionType": "example.com/ready"}]), shareProcessNamespace=some(r, 0.05, lambda: True),
        imagePullSecrets=some(r, 0.1, lambda: [{"name": "pull"}]), dnsConfig=some(r, 0.05, lambda: {"options": [{"name": "ndots", "value": "2"}]}))


def rule(r):
    return r.choice([{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list"]},
                     {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]},
                     {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get"]},
                     {"apiGroups": ["", "batch"], "resources": ["jobs", "pods/log"], "verbs": ["create", "delete"]}])


def subject(r):
    return r.choice([{"kind": "User", "name": "jane"}, {"kind": "Group", "name": "devs", "apiGroup": "rbac.authorization.k8s.io"},
                     {"kind": "ServiceAccount", "name": "builder", "namespace": "{ns}"}, {"kind": "ServiceAccount", "name": "b", "namespace": "x"}])


def data(r):
    return {r.choice(["a", "b", "config.yaml", "K_1"]): r.choice(["1", "", "line\nline\n", "\u00fc", "<&>"]) for _ in range(r.randint(1, 3))}


def secret(r):
    coded = lambda text: base64.b64encode(text.encode()).decode()
    return r.choice([
        {"data": {"k": coded("v")}}, {"stringData": {"k": "v"}, "type": "Opaque"}, {"type": "example.com/x", "data": {"k": coded("v")}},
        {"type": "kubernetes.io/basic-auth", "stringData": {"username": "u", "password": "p"}}, {"data": {"k": coded("v")}, "immutable": True},
        {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}},
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}}, {"type": "kubernetes.io/ssh-auth", "stringData": {"ssh-privatekey": "x"}}])


def node(r):
    return full(
        spec=full(podCIDR=some(r, 0.4, lambda: "10.244.0.0/24"), podCIDRs=some(r, 0.2, lambda: ["10.244.0.0/24"]), unschedulable=some(r, 0.2, lambda: True),
                  providerID=some(r, 0.2, lambda: "x://1"), taints=some(r, 0.4, lambda: [full(key="k", effect=r.choice(["NoSchedule", "NoExecute"]), value=some(r, 0.5, lambda: "v"))])),
        status=some(r, 0.4, lambda: {"capacity": {"cpu": "4", "memory": "8Gi"}, "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                                     "conditions": [{"type": "Ready", "status": "True"}]}))


def role_ref(r, kinds):
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": r.choice(kinds), "name": r.choice(["reader", "system:discovery"])}  # not one that a controller gathers


RBAC = "rbac.authorization.k8s.io/v1"
# plural -> (API version, kind, whether it is in a namespace, what is in it beside its metadata)
KINDS = {
    "configmaps": ("v1", "ConfigMap", True, lambda r: full(data=data(r), binaryData=some(r, 0.2, lambda: {"bin": "AAEC"}), immutable=some(r, 0.1, lambda: r.random() < 0.5))),
    "secrets": ("v1", "Secret", True, secret),
    "serviceaccounts": ("v1", "ServiceAccount", True, lambda r: full(
        imagePullSecrets=some(r, 0.3, lambda: [{"name": "pull"}]), secrets=some(r, 0.3, lambda: [{"name": "s"}]),
        automountServiceAccountToken=some(r, 0.3, lambda: r.random() < 0.5))),
    "pods": ("v1", "Pod", True, lambda r: {"spec": pod_spec(r)}),
    "roles": (RBAC, "Role", True, lambda r: {"rules": [rule(r) for _ in range(r.randint(0, 2))]}),
    "rolebindings": (RBAC, "RoleBinding", True, lambda r: full(roleRef=role_ref(r, ["Role", "ClusterRole"]), subjects=some(r, 0.9, lambda: [subject(r) for _ in range(r.randint(1, 2))]))),
    "namespaces": ("v1", "Namespace", False, lambda r: full(spec=some(r, 0.3, lambda: {"finalizers": ["kubernetes"]}))),
    "nodes": ("v1", "Node", False, node),
    "clusterroles": (RBAC, "ClusterRole", False, lambda r: full(
        rules=[rule(r) for _ in range(r.randint(0, 2))] + ([{"nonResourceURLs": ["/metrics", "/x/*"], "verbs": ["get"]}] if r.random() < 0.3 else []),
        aggregationRule=some(r, 0.1, lambda: {"clusterRoleSelectors": [{"matchLabels": {"differ": "none"}}]}))),
    "clusterrolebindings": (RBAC, "ClusterRoleBinding", False, lambda r: full(roleRef=role_ref(r, ["ClusterRole"]), subjects=some(r, 0.9, lambda: [subject(r)]))),
}


def review(r):
    """A path and a body of a kind that is only answered."""
    resource = lambda: full(verb=r.choice(["get", "list", "create", "*", "impersonate"]), resource=r.choice(["pods", "secrets", "nodes", "*"]),
                            namespace=some(r, 0.6, lambda: r.choice(["{ns}", "default"])), group=some(r, 0.3, lambda: r.choice(["apps", "*", ""])),
                            name=some(r, 0.3, lambda: "s"), subresource=some(r, 0.2, lambda: "log"), version=some(r, 0.2, lambda: "v1"),
                            fieldSelector=some(r, 0.1, lambda: {"rawSelector": "metadata.name=a"}),
                            labelSelector=some(r, 0.1, lambda: {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}))
    what = lambda: {"resourceAttributes": resource()} if r.random() < 0.7 else {"nonResourceAttributes": {"path": r.choice(["/metrics", "/version", "/x"]), "verb": "get"}}
    who = lambda: full(user=r.choice(["jane", "admin", "system:serviceaccount:{ns}:builder"]), groups=some(r, 0.4, lambda: [r.choice(["devs", "system:masters"])]),
                       extra=some(r, 0.1, lambda: {"a": ["b"]}), uid=some(r, 0.1, lambda: "u"))
    access, authn = "authorization.k8s.io/v1", "authentication.k8s.io/v1"
    return r.choice([
        lambda: (f"/apis/{access}/selfsubjectaccessreviews", access, "SelfSubjectAccessReview", {"spec": what()}),
        lambda: (f"/apis/{access}/subjectaccessreviews", access, "SubjectAccessReview", {"spec": {**what(), **who()}}),
        lambda: (f"/apis/{access}/namespaces/{{ns}}/localsubjectaccessreviews", access, "LocalSubjectAccessReview",
                 {"metadata": {"namespace": "{ns}"}, "spec": {"resourceAttributes": {**resource(), "namespace": "{ns}"}, **who()}}),
        lambda: (f"/apis/{access}/selfsubjectrulesreviews", access, "SelfSubjectRulesReview", {"spec": {"namespace": r.choice(["{ns}", "default"])}}),
        lambda: (f"/apis/{authn}/selfsubjectreviews", authn, "SelfSubjectReview", {}),
        lambda: (f"/apis/{authn}/tokenreviews", authn, "TokenReview", {"spec": full(
            token=r.choice(["{token}", "{token}", "differ-jane", "nonsense", "a.b.c"]), audiences=some(r, 0.4, lambda: [r.choice(["api", "vault", "x"])]))}),
    ])()


def token_request(r):
    return {"spec": full(audiences=some(r, 0.5, lambda: [r.choice(["api", "vault", "x"]) for _ in range(r.randint(1, 2))]),
                         expirationSeconds=some(r, 0.5, lambda: r.choice([600, 3600, 86400, 3607])),
                         boundObjectRef=some(r, 0.2, lambda: {"kind": r.choice(["Pod", "Secret", "Node"]), "apiVersion": "v1", "name": r.choice(["a", "b"])}))}

"""Well-formed bodies of the kinds beside those that tokens are about, their weights, and what their statuses say: a mix of its own, so that
the seeds of the first one make what they always made."""
from bodies import RBAC, full, labels, pod_spec, quantity, selector, some

APPS, BATCH, NET, STORAGE = "apps/v1", "batch/v1", "networking.k8s.io/v1", "storage.k8s.io/v1"
MODES = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]


def template(r, policy=None):
    spec = pod_spec(r)
    spec.pop("activeDeadlineSeconds", None)
    if policy or r.random() < 0.9:
        spec["restartPolicy"] = policy or "Always"
    return {"metadata": {"labels": {"app": "x", **(labels(r) if r.random() < 0.2 else {})}}, "spec": spec}


def selected(r, chance=0.95):
    return {"matchLabels": {"app": "x" if r.random() < chance else "y"}}


def workload(r, **more):
    return {"spec": full(selector=some(r, 0.97, lambda: selected(r)), template=template(r), minReadySeconds=some(r, 0.2, lambda: r.randint(0, 9)),
                         revisionHistoryLimit=some(r, 0.2, lambda: r.choice([0, 3, -1])), **more)}


def replicas(r):
    return some(r, 0.6, lambda: r.choice([0, 1, 3, -1]))


def deployment(r):
    rolling = lambda: full(maxSurge=some(r, 0.5, lambda: r.choice([1, "25%", "x"])), maxUnavailable=some(r, 0.5, lambda: r.choice([0, "10%", "101%"])))
    return workload(r, replicas=replicas(r), paused=some(r, 0.1, lambda: True), progressDeadlineSeconds=some(r, 0.2, lambda: r.choice([600, 5])),
                    strategy=some(r, 0.4, lambda: full(type=some(r, 0.8, lambda: r.choice(["Recreate", "RollingUpdate"])), rollingUpdate=some(r, 0.5, rolling))))


def stateful_set(r):
    return workload(r, replicas=replicas(r), serviceName=some(r, 0.7, lambda: "web"), podManagementPolicy=some(r, 0.2, lambda: r.choice(["Parallel", "OrderedReady"])),
                    updateStrategy=some(r, 0.3, lambda: r.choice([{"type": "OnDelete"}, {"rollingUpdate": {"partition": 1}}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}])),
                    volumeClaimTemplates=some(r, 0.3, lambda: [{"metadata": {"name": "data"}, **claim(r)}]))


def daemon_set(r):
    return workload(r, updateStrategy=some(r, 0.3, lambda: r.choice([{"type": "OnDelete"}, {"rollingUpdate": {"maxUnavailable": 1}}, {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}])))


def job_spec(r):
    return full(template={k: v for k, v in template(r, r.choice(["Never", "OnFailure", "Always"] if r.random() < 0.1 else ["Never", "OnFailure"])).items() if k == "spec"},
                parallelism=some(r, 0.3, lambda: r.choice([1, 3])), completions=some(r, 0.3, lambda: r.choice([1, 3])), backoffLimit=some(r, 0.3, lambda: r.choice([0, 6, -1])),
                completionMode=some(r, 0.2, lambda: r.choice(["Indexed", "NonIndexed"])), suspend=some(r, 0.2, lambda: True), ttlSecondsAfterFinished=some(r, 0.2, lambda: 60),
                activeDeadlineSeconds=some(r, 0.2, lambda: 100))


def cron_job(r):
    return {"spec": full(schedule=r.choice(["*/5 * * * *", "@daily", "0 0 1 1 *", "61 * * * *", "CRON_TZ=UTC 0 0 * * *"]), jobTemplate={"spec": job_spec(r)},
                         concurrencyPolicy=some(r, 0.3, lambda: r.choice(["Forbid", "Replace", "Allow"])), suspend=some(r, 0.2, lambda: True),
                         timeZone=some(r, 0.2, lambda: r.choice(["UTC", "Mars/Base"])), startingDeadlineSeconds=some(r, 0.2, lambda: 30))}


def service(r):
    port = lambda name: full(name=name, port=r.choice([80, 443]), targetPort=some(r, 0.5, lambda: r.choice([8080, "web"])), protocol=some(r, 0.3, lambda: r.choice(["TCP", "UDP"])))
    kind = r.choice([None, "ClusterIP", "ExternalName"])
    return {"spec": full(type=kind, ports=None if kind == "ExternalName" else [port(some(r, 0.5, lambda: "web"))], selector=some(r, 0.7, lambda: {"app": "x"}),
                         externalName=some(r, 1.0 if kind == "ExternalName" else 0.0, lambda: "db.example"), clusterIP="None" if kind == "ClusterIP" else None,
                         sessionAffinity=some(r, 0.2, lambda: r.choice(["ClientIP", "None"])), publishNotReadyAddresses=some(r, 0.1, lambda: True))}


def ingress(r):
    backend = {"service": {"name": "web", "port": r.choice([{"number": 80}, {"name": "http"}])}}
    path = lambda: full(path=r.choice(["/", "/a"]), pathType=r.choice(["Prefix", "Exact", "ImplementationSpecific"]), backend=backend)
    return {"spec": full(ingressClassName=some(r, 0.5, lambda: "nginx"), defaultBackend=some(r, 0.3, lambda: backend), tls=some(r, 0.3, lambda: [{"hosts": ["a.example"], "secretName": "s"}]),
                         rules=some(r, 0.9, lambda: [full(host=some(r, 0.7, lambda: r.choice(["a.example", "*.example", "A.example"])), http={"paths": [path()]})]))}


def policy(r):
    peer = lambda: r.choice([{"podSelector": selector(r)}, {"namespaceSelector": {}}, {"ipBlock": full(cidr="10.0.0.0/8", **{"except": some(r, 0.5, lambda: ["10.1.0.0/16"])})}])
    return {"spec": full(podSelector=selector(r), policyTypes=some(r, 0.5, lambda: [r.choice(["Ingress", "Egress"])]),
                         ingress=some(r, 0.6, lambda: [full(**{"from": some(r, 0.7, lambda: [peer()]), "ports": some(r, 0.5, lambda: [{"port": r.choice([80, "web"])}])})]),
                         egress=some(r, 0.3, lambda: [{"to": [peer()]}]))}


def claim(r):
    return {"spec": full(accessModes=some(r, 0.95, lambda: [r.choice(MODES)]), resources=some(r, 0.95, lambda: {"requests": {"storage": quantity(r)}}),
                         storageClassName=some(r, 0.4, lambda: r.choice(["", "fast"])), volumeMode=some(r, 0.2, lambda: r.choice(["Block", "Filesystem"])),
                         selector=some(r, 0.1, lambda: selector(r)), dataSource=some(r, 0.1, lambda: {"kind": "PersistentVolumeClaim", "name": "old"}))}


def persistent_volume(r):
    return {"spec": full(accessModes=[r.choice(MODES)], capacity={"storage": quantity(r)}, storageClassName=some(r, 0.4, lambda: "fast"),
                         persistentVolumeReclaimPolicy=some(r, 0.4, lambda: r.choice(["Retain", "Delete", "Recycle"])),
                         **r.choice([{"hostPath": {"path": "/data"}}, {"nfs": {"server": "n", "path": "/x"}}, {"csi": {"driver": "d.example", "volumeHandle": "h"}}, {}]))}


def autoscaler(r):
    target = {"apiVersion": APPS, "kind": "Deployment", "name": "web"}
    metric = lambda: {"type": "Resource", "resource": {"name": r.choice(["cpu", "memory"]), "target": r.choice([{"type": "Utilization", "averageUtilization": 70}, {"type": "AverageValue", "averageValue": "1Gi"}])}}
    return {"spec": full(scaleTargetRef=target, minReplicas=some(r, 0.5, lambda: r.choice([1, 2, 0])), maxReplicas=r.choice([1, 5, 0]), metrics=some(r, 0.5, lambda: [metric()]),
                         behavior=some(r, 0.2, lambda: {"scaleDown": {"stabilizationWindowSeconds": 60}}))}


def limit_range(r):
    return {"spec": {"limits": [full(type=r.choice(["Container", "Pod", "PersistentVolumeClaim"]), max=some(r, 0.5, lambda: {"cpu": "2"}), min=some(r, 0.5, lambda: {"cpu": r.choice(["100m", "3"])}),
                                     default=some(r, 0.3, lambda: {"cpu": "1"}), defaultRequest=some(r, 0.3, lambda: {"cpu": "500m"}))]}}


def slices(r):
    return full(addressType=r.choice(["IPv4", "IPv6", "FQDN"]), endpoints=[full(addresses=[r.choice(["10.1.1.1", "fd00::1", "a.example"])], conditions=some(r, 0.5, lambda: {"ready": True}))],
                ports=some(r, 0.7, lambda: [full(name=some(r, 0.5, lambda: "web"), port=80, protocol=some(r, 0.3, lambda: "TCP"))]))


def webhook(r, kind):
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": [r.choice(["CREATE", "*", "SING"])]}
    hook = lambda name: full(name=name, clientConfig=r.choice([{"url": "https://h.example/x"}, {"service": {"namespace": "{ns}", "name": "h"}}, {}]), sideEffects=r.choice(["None", "NoneOnDryRun", "Some"]),
                             admissionReviewVersions=["v1"], rules=[rule], failurePolicy=some(r, 0.4, lambda: r.choice(["Ignore", "Fail"])),
                             namespaceSelector={"matchLabels": {"differ": "none"}}, timeoutSeconds=some(r, 0.3, lambda: r.choice([1, 30, 31])))
    return {"webhooks": [hook("a.example.com")]}


def attachment(r):
    return {"spec": {"attacher": "d.example", "nodeName": "n1", "source": {"persistentVolumeName": "v"}}}


KINDS = {
    "deployments": (APPS, "Deployment", True, deployment),
    "replicasets": (APPS, "ReplicaSet", True, lambda r: {"spec": {k: v for k, v in workload(r, replicas=replicas(r))["spec"].items() if k != "revisionHistoryLimit"}}),
    "statefulsets": (APPS, "StatefulSet", True, stateful_set),
    "daemonsets": (APPS, "DaemonSet", True, daemon_set),
    "jobs": (BATCH, "Job", True, lambda r: {"spec": job_spec(r)}),
    "cronjobs": (BATCH, "CronJob", True, cron_job),
    "replicationcontrollers": ("v1", "ReplicationController", True, lambda r: {"spec": full(selector=some(r, 0.6, lambda: {"app": "x"}), template=template(r), replicas=replicas(r))}),
    "podtemplates": ("v1", "PodTemplate", True, lambda r: {"template": template(r)}),
    "services": ("v1", "Service", True, service),
    "endpoints": ("v1", "Endpoints", True, lambda r: full(subsets=some(r, 0.8, lambda: [{"addresses": [{"ip": r.choice(["10.1.1.1", "127.0.0.1"])}], "ports": [{"port": 80}]}]))),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice", True, slices),
    "ingresses": (NET, "Ingress", True, ingress),
    "ingressclasses": (NET, "IngressClass", False, lambda r: {"spec": full(controller=r.choice(["example.com/c", "c"]), parameters=some(r, 0.2, lambda: {"kind": "P", "name": "p"}))}),
    "networkpolicies": (NET, "NetworkPolicy", True, policy),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim", True, claim),
    "persistentvolumes": ("v1", "PersistentVolume", False, persistent_volume),
    "storageclasses": (STORAGE, "StorageClass", False, lambda r: full(provisioner=r.choice(["d.example", "a b"]), parameters=some(r, 0.3, lambda: {"type": "ssd"}), volumeBindingMode=some(r, 0.3, lambda: "WaitForFirstConsumer"))),
    "csidrivers": (STORAGE, "CSIDriver", False, lambda r: {"spec": full(attachRequired=some(r, 0.5, lambda: False), fsGroupPolicy=some(r, 0.3, lambda: r.choice(["File", "None"])))}),
    "volumeattachments": (STORAGE, "VolumeAttachment", False, attachment),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler", True, autoscaler),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget", True, lambda r: {"spec": full(selector=selector(r), **r.choice([{"minAvailable": 1}, {"maxUnavailable": "50%"}, {"minAvailable": 1, "maxUnavailable": 1}]))}),
    "leases": ("coordination.k8s.io/v1", "Lease", True, lambda r: {"spec": full(holderIdentity=some(r, 0.7, lambda: "me"), leaseDurationSeconds=some(r, 0.7, lambda: r.choice([15, 0])), leaseTransitions=some(r, 0.3, lambda: 1))}),
    "limitranges": ("v1", "LimitRange", True, limit_range),
    "resourcequotas": ("v1", "ResourceQuota", True, lambda r: {"spec": full(hard={"pods": r.choice(["1000", "x"]), "requests.cpu": "1000"}, scopes=some(r, 0.1, lambda: ["Terminating"]))}),
    "priorityclasses": ("scheduling.k8s.io/v1", "PriorityClass", False, lambda r: full(value=r.choice([1, 1000, 2_000_000_000]), preemptionPolicy=some(r, 0.3, lambda: "Never"), description=some(r, 0.3, lambda: "d"))),
    "runtimeclasses": ("node.k8s.io/v1", "RuntimeClass", False, lambda r: full(handler=r.choice(["runc", "A"]), overhead=some(r, 0.3, lambda: {"podFixed": {"cpu": "10m"}}))),
    "controllerrevisions": (APPS, "ControllerRevision", True, lambda r: full(revision=r.choice([1, 2, -1]), data=some(r, 0.8, lambda: {"a": 1}))),
    "validatingwebhookconfigurations": ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", False, lambda r: webhook(r, "Validating")),
    "events": ("v1", "Event", True, lambda r: full(involvedObject={"kind": "Pod", "namespace": "{ns}", "name": "a"}, reason=some(r, 0.8, lambda: "Started"), type=some(r, 0.8, lambda: r.choice(["Normal", "Odd"])), message=some(r, 0.5, lambda: "m"))),
}
WEIGHTS = {"deployments": 4, "statefulsets": 3, "jobs": 3, "cronjobs": 3, "services": 3, "ingresses": 2, "persistentvolumeclaims": 3, "pods": 3,
           **{kind: 1 for kind in KINDS if kind not in ("deployments", "statefulsets", "jobs", "cronjobs", "services", "ingresses", "persistentvolumeclaims")}}
CONDITION = {"conditions": [{"type": "Available", "status": "True"}]}
# Parts that are replaced alone, and what they say.
STATUSES = {
    "deployments": lambda r: {"replicas": r.choice([1, 2]), "readyReplicas": r.choice([1, 3]), **CONDITION},
    "replicasets": lambda r: {"replicas": 2, "availableReplicas": r.choice([1, 3])},
    "statefulsets": lambda r: {"replicas": 2, "currentRevision": "a", "collisionCount": r.choice([0, 1])},
    "daemonsets": lambda r: {"currentNumberScheduled": 1, "numberMisscheduled": 0, "desiredNumberScheduled": 1, "numberReady": r.choice([0, -1])},
    "jobs": lambda r: {"active": 1, "startTime": "2026-01-01T00:00:00Z"},
    "cronjobs": lambda r: {"lastScheduleTime": "2026-01-01T00:00:00Z"},
    "ingresses": lambda r: {"loadBalancer": {"ingress": [{"ip": r.choice(["10.0.0.1", "x"])}]}},
    "persistentvolumeclaims": lambda r: {"phase": r.choice(["Bound", "Pending"]), "capacity": {"storage": "1Gi"}},
    "persistentvolumes": lambda r: {"phase": r.choice(["Available", "Bound"])},
    "poddisruptionbudgets": lambda r: {"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": r.choice([0, -1]), "expectedPods": 1},
    "pods": lambda r: {"phase": r.choice(["Running", "Failed"]), "hostIP": "10.0.0.1", "hostIPs": [{"ip": r.choice(["10.0.0.1", "10.0.0.2"])}], "podIPs": [{"ip": r.choice(["10.2.3.4", "x"])}],
                       "containerStatuses": [{"name": "web", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": r.choice([{"running": {}}, {"terminated": {"exitCode": r.choice([0, 1])}}])}]},
}

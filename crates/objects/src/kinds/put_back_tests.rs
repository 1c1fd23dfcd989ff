//! What upstream's strategies say that they put back (`GetResetFields` and `GetResetFieldsFilter` in `pkg/registry/*/*/strategy.go`,
//! kube-aggregator's and apiextensions-apiserver's), of every kind and each of its parts.

use std::collections::BTreeMap;

use super::*;
use crate::schema::{Facts, Schema, types};

/// A kind that is not named here has no part that is written, and puts nothing back.
///
/// Of `servicecidrs` upstream names `networking/v1`, which is no version of anything, so nothing is left out there; here it is as
/// its status strategy does (`ResetObjectMetaForStatus`).
const EXPECTED: &str = "
apps/v1 daemonsets/status: spec
apps/v1 deployments/status: metadata.labels spec
apps/v1 replicasets/status: spec
apps/v1 statefulsets/status: spec
autoscaling/v1 horizontalpodautoscalers/status: spec
autoscaling/v2 horizontalpodautoscalers/status: spec
admissionregistration.k8s.io/v1 validatingadmissionpolicies/status: metadata spec
apiextensions.k8s.io/v1 customresourcedefinitions/status: metadata spec
apiregistration.k8s.io/v1 apiservices/status: metadata spec
batch/v1 cronjobs/status: spec
batch/v1 jobs/status: spec
certificates.k8s.io/v1 certificatesigningrequests: spec status
certificates.k8s.io/v1 certificatesigningrequests/approval: spec status.certificate
certificates.k8s.io/v1 certificatesigningrequests/status: spec status.conditions
flowcontrol.apiserver.k8s.io/v1 flowschemas/status: metadata spec
flowcontrol.apiserver.k8s.io/v1 prioritylevelconfigurations/status: metadata spec
networking.k8s.io/v1 ingresses/status: spec
networking.k8s.io/v1 servicecidrs/status: metadata spec
policy/v1 poddisruptionbudgets/status: spec
resource.k8s.io/v1 resourceclaims/status: metadata spec
storage.k8s.io/v1 volumeattachments/status: metadata spec
v1 namespaces/finalize: status
v1 namespaces/status: spec
v1 nodes/status: spec
v1 persistentvolumeclaims/status: spec
v1 persistentvolumes/status: spec
v1 pods/ephemeralcontainers: only spec.ephemeralContainers
v1 pods/resize: only spec.containers.*.resources spec.containers.*.resizePolicy spec.initContainers.*.resources spec.initContainers.*.resizePolicy
v1 pods/status: metadata.deletionTimestamp metadata.ownerReferences spec
v1 replicationcontrollers/status: spec
v1 resourcequotas/status: spec
v1 services/status: spec
";

fn told(kind: &Kind, part: &str) -> Option<(String, String)> {
    let paths = |all: &[&[&str]]| all.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" ");
    let said = match kind.rules().counted(part) {
        Some(only) => format!("only {}", paths(only)),
        None => paths(kind.rules().put_back(part)),
    };
    let slash = if part.is_empty() { "" } else { "/" };
    (!said.is_empty()).then(|| (format!("{} {}{slash}{part}", kind.api_version(), kind.plural), said))
}

#[test]
fn what_is_put_back_is_what_upstream_puts_back() {
    let mut found = BTreeMap::new();
    for kind in Schema::builtin().kinds().filter(|kind| kind.stored || kind.is_view()) {
        let writes = |verbs: &[String]| verbs.iter().any(|verb| verb == "update");
        let parts = kind.subresources.iter().filter(|part| writes(&part.verbs)).map(|part| &*part.name);
        found.extend(parts.chain([""]).filter_map(|part| told(kind, part)));
    }
    let expected: BTreeMap<_, _> = EXPECTED
        .trim()
        .lines()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(part, fields)| (part.to_owned(), fields.to_owned()))
        .collect();
    assert_eq!(found, expected);
}

/// A kind that comes at run time goes by its fields alone (apiextensions-apiserver, `registry/customresource/status_strategy.go`).
#[test]
fn the_status_of_a_kind_without_a_room_is_written_alone() {
    let facts = Facts { group: "example.com".into(), ..(**crate::schema::kind("", "pods").unwrap()).clone() };
    let kind = Kind::new(facts, types().clone()).unwrap();
    assert_eq!(kind.rules().put_back("status"), [&["metadata"][..], &["spec"]]);
    assert!(kind.rules().put_back("").is_empty());
}

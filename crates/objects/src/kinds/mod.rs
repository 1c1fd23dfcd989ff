//! What Kubernetes does with a kind beyond its type: one room a kind.
//!
//! A [`Kind`] has its [`Rules`] from the moment when it is made, so no request looks for them by a name. A room says what is
//! particular to its kind; the rest follows from the kind's [`Facts`](crate::schema::Facts), as it does for every kind that has
//! no room. Rooms are those of the built-in kinds alone: a kind that comes at run time and is called like one of them, or
//! whose group is another, is not that kind. It may bring rules of its own ([`Kind::with_rules`]).

mod admission;
mod api_service;
mod autoscaler;
pub mod certificate_signing_request;
mod cluster_trust_bundle;
mod component_status;
mod config_map;
mod custom_resource_definition;
mod devices;
mod disruption_budget;
mod event;
mod flow_schema;
mod internal;
mod key_pair;
mod lease;
mod limit_range;
mod look;
mod namespace;
mod networking;
mod node;
mod pem;
pub mod pod;
pub mod priority_class;
mod priority_level;
mod resource_quota;
mod role;
mod role_binding;
mod runtime_class;
pub mod scale;
mod secret;
pub mod service;
mod service_account;
pub mod storage;
mod volume;
mod workload;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use crate::field::Findings;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names, strategy};

/// What a column shows of one object.
pub type Cells<'a> = Box<dyn Fn(&str) -> Option<Value> + 'a>;

/// What is particular to a kind. Whatever a room does not say goes as it does for most kinds.
pub trait Rules: fmt::Debug + Send + Sync {
    /// Whether the generation counts a change beyond those that it counts of every kind.
    fn also_counts(&self, new: &Object, old: &Object) -> bool {
        let _ = (new, old);
        false
    }

    /// Whether its objects get addresses and ports from the server's ranges.
    fn allocates(&self) -> bool {
        false
    }

    /// What a column of `kubectl get` shows, if the kind has a way of its own to show it.
    fn cell(&self, object: &Object, column: &str, now: OffsetDateTime) -> Option<Value> {
        let _ = (object, column, now);
        None
    }

    /// The same for all columns of a row, for a kind that looks through an object for several of them.
    fn cells<'a>(&'a self, object: &'a Object, now: OffsetDateTime) -> Cells<'a> {
        Box::new(move |column| self.cell(object, column, now))
    }

    /// What the store's keys of the kind begin with where that is not its plural.
    fn key(&self) -> Option<&'static str> {
        None
    }

    /// What is said of an object's row in a table, beside its cells.
    fn row_conditions(&self, object: &Object) -> Option<Value> {
        let _ = object;
        None
    }

    /// Shows in an object that it is being deleted, and stays until nothing is left in it; for kinds that
    /// [hold others](Rules::holds_others).
    fn close(&self, object: &mut Object) {
        let _ = object;
    }

    /// Dates what the server itself dates in an object that is made or changed.
    fn dated(&self, object: &mut Object, old: Option<&Object>, now: &str) {
        let _ = (object, old, now);
    }

    /// Fills in what a decoded object leaves open.
    fn defaults(&self, object: &mut Object) {
        let _ = object;
    }

    /// Which field a field selector means by a label: the one of that path.
    fn field<'a>(&self, label: &'a str) -> &'a str {
        label
    }

    /// What is said of a field that objects are not selected by, where a kind has words of its own for that.
    fn unselectable(&self, kind: &Kind, label: &str) -> Option<String> {
        let _ = (kind, label);
        None
    }

    /// Whether upstream answers reads from a cache, which may come to what it has not yet; else from its store, which has all.
    fn cached(&self) -> bool {
        true
    }

    /// How many seconds an object may take to stop when it is deleted and `asked` is what the request says; `None` for a kind
    /// whose objects need no time.
    fn grace(&self, object: &Object, asked: Option<i64>) -> Option<i64> {
        let _ = (object, asked);
        None
    }

    /// Whether what is wrong with metadata is said beside what is wrong with the rest; else only where that is good.
    fn judges_metadata(&self) -> bool {
        true
    }

    /// Whether objects of the kind give rights: writing one is weighed against all rights of who writes it.
    fn grants(&self) -> bool {
        false
    }

    /// Whether objects of other kinds live in those of this one: one that is made is furnished at once, and one that is deleted
    /// stays until it is empty.
    fn holds_others(&self) -> bool {
        false
    }

    /// What an object of the kind shows that has nothing in it, as upstream's own form of it has no field unset there.
    fn nothing(&self, object: &mut Object) {
        let _ = object;
    }

    /// What is wrong with a name.
    fn name(&self, object: &Object, name: &str) -> Vec<String> {
        let _ = object;
        names::subdomain(name)
    }

    /// Whether what an object owns stays when it is deleted and nobody has said what becomes of that.
    fn orphans(&self) -> bool {
        false
    }

    /// What is said to who deletes an object whose dependents then stay.
    fn orphans_silently(&self) -> Option<&'static str> {
        None
    }

    /// Gives an object what was sent of a part of it (`ephemeralcontainers`).
    fn prepare_part(&self, part: &str, object: &mut Object, sent: &Object) {
        let _ = (part, object, sent);
    }

    /// What a client may send but not set on a create. Without a rule of its own: the status, where `/status` changes it.
    fn prepare_create(&self, kind: &Kind, object: &mut Object) {
        if kind.subresource("status").is_some() {
            object.remove(&["status"]);
        }
    }

    /// Whether a write of the status leaves everything else as it was; the oldest kinds take the metadata that comes beside it.
    fn status_alone(&self) -> bool {
        true
    }

    /// What stays as it was when the status is replaced.
    fn prepare_status(&self, object: &mut Object, old: &Object) {
        match self.status_alone() {
            true => strategy::status_alone(object, old),
            false => strategy::status_and_metadata(object, old),
        }
    }

    /// What a client may send but not change on an update, beyond what a subresource changes.
    fn prepare_update(&self, object: &mut Object, old: &Object) {
        let _ = (object, old);
    }

    /// What upstream's own form of an object makes of one that is sent: it shows in who manages what.
    fn converted(&self, object: &mut Object) {
        let _ = object;
    }

    /// The fields of a write of a part that count, with `*` for any step: nobody comes to manage others by it. `None` where all do
    /// but those that are [put back](Rules::put_back).
    fn counted(&self, part: &str) -> Option<&'static [&'static [&'static str]]> {
        let _ = part;
        None
    }

    /// The fields that stay as they were when a part is written (`GetResetFields` of upstream's strategies): nobody comes to
    /// manage them by it. Where there is a `/status`, a write of the whole puts back the status, too.
    fn put_back(&self, part: &str) -> &'static [&'static [&'static str]] {
        match part {
            "status" if self.status_alone() => &[&["metadata"], &["spec"]],
            "status" => &[&["spec"]],
            "finalize" => &[&["status"]],
            _ => &[],
        }
    }

    /// A stored object as a kind that [views](Kind::viewing) it shows it; `kind` and `apiVersion` are written by the kind.
    fn of_stored(&self, object: &mut Object) {
        let _ = object;
    }

    /// The way back; also what is to be forgotten of an object that is sent as it is stored.
    fn to_stored(&self, object: &mut Object) {
        let _ = object;
    }

    /// What is wrong with a new object beyond its metadata.
    fn validate(&self, errors: &mut Findings, kind: &Kind, object: &Object, limits: &Limits) {
        let _ = (errors, kind, object, limits);
    }

    /// What is wrong with an object, as it is stored, that was sent as this kind, beyond what is wrong with it whatever it was
    /// sent as; `old`: what it replaces. For kinds that are [views](Kind::is_view).
    fn validate_sent(&self, errors: &mut Findings, new: &Object, old: Option<&Object>) {
        let _ = (errors, new, old);
    }

    /// What is wrong with a change of a part beyond that of the metadata.
    fn validate_part(&self, part: &str, errors: &mut Findings, new: &Object, old: &Object, limits: &Limits) {
        let _ = (part, errors, new, old, limits);
    }

    /// What is wrong with a change of the status beyond that of the metadata.
    fn validate_status(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let _ = (errors, new, old);
    }

    /// What may not change, beyond what is wrong with the new object by itself.
    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        let _ = (errors, new, old);
    }

    /// What is wrong with a change beyond that of the metadata. Without a rule of its own: what is wrong with the new object,
    /// then with [what has changed](Rules::validate_change).
    fn validate_update(
        &self,
        errors: &mut Findings,
        kind: &Kind,
        new: &Object,
        old: &Object,
        limits: &Limits,
    ) {
        self.validate(errors, kind, new, limits);
        self.validate_change(errors, new, old);
    }

    /// What is told of a status that is put in the place of another one, although it is valid.
    fn status_warnings(&self, object: &Object) -> Vec<String> {
        let _ = object;
        Vec::new()
    }

    /// What is told of an object that is made, or put in the place of another one, although it is valid.
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Vec<String> {
        let _ = (object, old);
        Vec::new()
    }
}

/// The rules of a kind without a room.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl Rules for NoRoom {}

/// The room of a built-in kind: the one place where rooms are looked for by name.
pub(crate) fn room(group: &str, version: &str, kind: &str) -> Arc<dyn Rules> {
    match (group, kind) {
        ("", "ComponentStatus") => Arc::new(component_status::ComponentStatus),
        ("", "ConfigMap") => Arc::new(config_map::ConfigMap),
        ("", "Endpoints") => Arc::new(networking::Endpoints),
        ("", "Event") => Arc::new(event::Event),
        ("", "LimitRange") => Arc::new(limit_range::LimitRange),
        ("", "Namespace") => Arc::new(namespace::Namespace),
        ("", "Node") => Arc::new(node::Node),
        ("", "PersistentVolume") => Arc::new(volume::PersistentVolume),
        ("", "PersistentVolumeClaim") => Arc::new(volume::PersistentVolumeClaim),
        ("", "Pod") => Arc::new(pod::Pod),
        ("", "ResourceQuota") => Arc::new(resource_quota::ResourceQuota),
        ("", "Secret") => Arc::new(secret::Secret),
        ("", "Service") => Arc::new(service::Service),
        ("", "ServiceAccount") => Arc::new(service_account::ServiceAccount),
        ("", "PodTemplate") => Arc::new(workload::PodTemplate),
        ("", "ReplicationController") => Arc::new(workload::ReplicationController),
        ("apps", "ControllerRevision") => Arc::new(workload::ControllerRevision),
        ("apps", "DaemonSet") => Arc::new(workload::DaemonSet),
        ("apps", "Deployment") => Arc::new(workload::Deployment),
        ("apps", "ReplicaSet") => Arc::new(workload::ReplicaSet),
        ("apps", "StatefulSet") => Arc::new(workload::StatefulSet),
        ("autoscaling", "HorizontalPodAutoscaler") if version == "v1" => Arc::new(autoscaler::V1),
        ("autoscaling", "HorizontalPodAutoscaler") => Arc::new(autoscaler::HorizontalPodAutoscaler),
        ("batch", "CronJob") => Arc::new(workload::CronJob),
        ("batch", "Job") => Arc::new(workload::Job),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            Arc::new(certificate_signing_request::CertificateSigningRequest)
        }
        ("certificates.k8s.io", "ClusterTrustBundle") => Arc::new(cluster_trust_bundle::ClusterTrustBundle),
        ("coordination.k8s.io", "Lease") => Arc::new(lease::Lease),
        ("events.k8s.io", "Event") => Arc::new(event::V1),
        ("discovery.k8s.io", "EndpointSlice") => Arc::new(networking::EndpointSlice),
        (NETWORKING, "IPAddress") => Arc::new(networking::IpAddress),
        (NETWORKING, "Ingress") => Arc::new(networking::Ingress),
        (NETWORKING, "IngressClass") => Arc::new(networking::IngressClass),
        (NETWORKING, "NetworkPolicy") => Arc::new(networking::NetworkPolicy),
        (NETWORKING, "ServiceCIDR") => Arc::new(networking::ServiceCidr),
        ("node.k8s.io", "RuntimeClass") => Arc::new(runtime_class::RuntimeClass),
        ("scheduling.k8s.io", "PriorityClass") => Arc::new(priority_class::PriorityClass),
        (STORAGE, "CSIDriver") => Arc::new(storage::CsiDriver),
        (STORAGE, "CSINode") => Arc::new(storage::CsiNode),
        (STORAGE, "CSIStorageCapacity") => Arc::new(storage::CsiStorageCapacity),
        (STORAGE, "StorageClass") => Arc::new(storage::StorageClass),
        (STORAGE, "VolumeAttachment") => Arc::new(storage::VolumeAttachment),
        (STORAGE, "VolumeAttributesClass") => Arc::new(storage::VolumeAttributesClass),
        ("policy", "PodDisruptionBudget") => Arc::new(disruption_budget::PodDisruptionBudget),
        (RBAC, "ClusterRole" | "Role") => Arc::new(role::Role),
        (RBAC, "ClusterRoleBinding" | "RoleBinding") => Arc::new(role_binding::RoleBinding),
        (ADMISSION, "MutatingAdmissionPolicy") => Arc::new(admission::MutatingPolicy),
        (ADMISSION, "MutatingAdmissionPolicyBinding") => Arc::new(admission::Binding { validating: false }),
        (ADMISSION, "MutatingWebhookConfiguration") => Arc::new(admission::Webhooks { mutating: true }),
        (ADMISSION, "ValidatingAdmissionPolicy") => Arc::new(admission::ValidatingPolicy),
        (ADMISSION, "ValidatingAdmissionPolicyBinding") => Arc::new(admission::Binding { validating: true }),
        (ADMISSION, "ValidatingWebhookConfiguration") => Arc::new(admission::Webhooks { mutating: false }),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            Arc::new(custom_resource_definition::CustomResourceDefinition)
        }
        ("apiregistration.k8s.io", "APIService") => Arc::new(api_service::ApiService),
        (FLOW, "FlowSchema") => Arc::new(flow_schema::FlowSchema),
        (FLOW, "PriorityLevelConfiguration") => Arc::new(priority_level::PriorityLevel),
        (DEVICES, "DeviceClass") => Arc::new(devices::Class),
        (DEVICES, "ResourceClaim") => Arc::new(devices::Claim),
        (DEVICES, "ResourceClaimTemplate") => Arc::new(devices::ClaimTemplate),
        (DEVICES, "ResourceSlice") => Arc::new(devices::Slice),
        _ => Arc::new(NoRoom),
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod put_back_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! The protocol, made from `proto/`. Both versions have the same messages and differ in the service's name only.
#![expect(clippy::allow_attributes_without_reason, reason = "what is generated gives none")]

/// `v1.ExternalJWTSigner`: Kubernetes 1.34 and later.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/v1.rs"));
}

/// `v1alpha1.ExternalJWTSigner`: Kubernetes 1.32 and 1.33.
pub mod v1alpha1 {
    include!(concat!(env!("OUT_DIR"), "/v1alpha1.rs"));
}

//! Trust anchors of several ClusterTrustBundles as one file (`pkg/kubelet/clustertrustbundle`).

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokensmith_objects::Object;

use super::error::SourceError;

/// Every certificate once, in the order of their bytes: the same anchors are the same file, whoever writes it and in
/// whatever order they were listed. (The kubelet shuffles them at each start, so that nobody counts on an order.)
pub(super) fn merge(bundles: &[Arc<Object>]) -> Result<Vec<u8>, SourceError> {
    let mut anchors = BTreeSet::new();
    for bundle in bundles {
        let text = bundle.str_at(&["spec", "trustBundle"]);
        for anchor in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let anchor = anchor.map_err(|cause| SourceError::TrustAnchors {
                name: bundle.name().into(),
                cause: cause.to_string(),
            })?;
            anchors.insert(anchor.to_vec());
        }
    }
    Ok(anchors.iter().flat_map(|anchor| pem(anchor)).collect())
}

/// As Go's `encoding/pem` writes it.
fn pem(der: &[u8]) -> Vec<u8> {
    let mut out = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
        out.extend(line);
        out.push(b'\n');
    }
    out.extend(b"-----END CERTIFICATE-----\n");
    out
}

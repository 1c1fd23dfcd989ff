//! ClusterTrustBundles (`pkg/apis/certificates/validation`, `pkg/apis/core/validation/names.go`).

use serde_json::Value;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Rules;
use super::pem::{Block, blocks};
use crate::field::{Findings, go_quote};
use crate::schema::Kind;
use crate::table::or_none;
use crate::validate::{Limits, unchanged};
use crate::{FieldError, Object, names};

/// Bytes of a whole bundle.
const MAX_BUNDLE: usize = 1 << 20;
/// Bytes of a domain, a slash, a namespace, a dot and a name.
const MAX_SIGNER: usize = 253 + 1 + 63 + 1 + 253;

const SIGNER: &str = "spec.signerName";
const BUNDLE: &str = "spec.trustBundle";

/// Certificates that a signer vouches for.
#[derive(Debug)]
pub(super) struct ClusterTrustBundle;

impl Rules for ClusterTrustBundle {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "SignerName").then(|| or_none(object.str_at(&["spec", "signerName"])))
    }

    fn name(&self, object: &Object, name: &str) -> Vec<String> {
        self::name(object, name)
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        create(errors, object);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        update(errors, new, old);
    }
}

fn create(errors: &mut Findings, bundle: &Object) {
    signer_of(errors, bundle);
    anchors(errors, bundle.str_at(&["spec", "trustBundle"]));
}

/// What was stored stays valid: the anchors are read again only when they change.
fn update(errors: &mut Findings, new: &Object, old: &Object) {
    signer_of(errors, new);
    let (text, before) = (new.str_at(&["spec", "trustBundle"]), old.str_at(&["spec", "trustBundle"]));
    if text != before {
        anchors(errors, text);
    }
    unchanged(errors, &["spec", "signerName"], new, old);
}

/// What is wrong with a bundle's name: it begins with its signer's, so that nobody takes another signer's names.
fn name(bundle: &Object, name: &str) -> Vec<String> {
    let signer = bundle.str_at(&["spec", "signerName"]);
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".into()],
            false => names::subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => names::subdomain(rest),
        None => {
            vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")]
        }
    }
}

fn signer_of(errors: &mut Findings, bundle: &Object) {
    match bundle.str_at(&["spec", "signerName"]) {
        "" => {}
        signer => signer_name(errors, SIGNER, signer),
    }
}

/// What is wrong with the name of a signer: `DOMAIN/PATH`.
pub(super) fn signer_name(errors: &mut Findings, field: &str, signer: &str) {
    let mut parts = signer.split('/');
    let (Some(domain), Some(path), None) = (parts.next(), parts.next(), parts.next()) else {
        let text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(|| FieldError::invalid(field, &signer.into(), text));
    };
    if domain.len() > 253 {
        errors.push(|| FieldError::too_long(field, 253));
    }
    labels(errors, field, domain, names::label);
    if !domain.contains('.') {
        let text = "should be a domain with at least two segments separated by dots";
        errors.push(|| FieldError::invalid(field, &domain.into(), text));
    }
    labels(errors, field, path, names::subdomain);
    if signer.len() > MAX_SIGNER {
        errors.push(|| FieldError::too_long(field, MAX_SIGNER));
    }
}

/// The first wrong label speaks for all.
fn labels(errors: &mut Findings, field: &str, part: &str, findings: fn(&str) -> Vec<String>) {
    let all = part.split('.').map(|label| (label, findings(label)));
    let Some((label, wrong)) = all.into_iter().find(|(_, wrong)| !wrong.is_empty()) else {
        return;
    };
    let text = |finding| format!("validating label {}: {finding}", go_quote(label));
    for finding in wrong {
        errors.push(|| FieldError::invalid(field, &part.into(), text(finding)));
    }
}

/// What is wrong with the certificates: verifiers trust each of them, so each must be one of a CA. The text itself is
/// in no message: it may be long.
fn anchors(errors: &mut Findings, text: &str) {
    if text.len() > MAX_BUNDLE {
        return errors.push(|| FieldError::too_long(BUNDLE, MAX_BUNDLE));
    }
    let omitted = |detail: String| FieldError::invalid(BUNDLE, &"<value omitted>".into(), detail);
    let blocks = blocks(text);
    let before = errors.len();
    for (at, block) in blocks.iter().enumerate() {
        if let Some(problem) = block.problem() {
            errors.push(|| omitted(format!("entry {at} {problem}")));
        }
    }
    if errors.len() > before {
        return;
    }
    if blocks.is_empty() {
        return errors.push(|| omitted("at least one trust anchor must be provided".into()));
    }
    let mut places = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (at, block) in blocks.iter().enumerate() {
        places.entry(&block.der).or_default().push(at);
    }
    let mut twice: Vec<_> = places.into_values().filter(|at| at.len() > 1).collect();
    twice.sort();
    let list = |at: Vec<usize>| at.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let text = |at| format!("duplicate trust anchor (indices [{}])", list(at));
    for at in twice {
        errors.push(|| omitted(text(at)));
    }
}

impl Block<'_> {
    fn problem(&self) -> Option<String> {
        if self.label != "CERTIFICATE" {
            return Some(format!("has bad block type: {}", self.label));
        }
        if self.headers {
            return Some("has PEM block headers".into());
        }
        let constraints = match X509Certificate::from_der(&self.der) {
            Ok(([], ref certificate)) => certificate.basic_constraints().map(|c| c.map(|c| c.value.ca)),
            _ => return Some("does not parse as X.509".into()),
        };
        match constraints {
            Ok(Some(true)) => None,
            Ok(_) => Some("does not have the CA bit set".into()),
            Err(_) => Some("does not parse as X.509".into()),
        }
    }
}

#[cfg(test)]
mod tests;

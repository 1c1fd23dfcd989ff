//! One line, and how long it may be.

use serde::Serialize;

use super::text::{cut, cut_list};

/// The longest line, bytes: what one `write` puts into a pipe is then never torn for long, and nobody fills a disk with
/// one request.
pub const LONGEST: usize = 8 << 10;

/// A line. Empty fields are left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// RFC 3339.
    pub time: String,
    /// As in the reply's `Audit-Id`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `mint`, `exchange`, `introspect`, `review`, `revoke`, `why`, `backup`, `sign` for a token that an API server had signed over the signer's
    /// socket,
    /// `authenticate` for a credential that was refused on any other request, or `keys.…` for what operators do to the
    /// key ring.
    pub action: &'static str,
    /// Who asked; left out when that is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The real user, when the request impersonated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub impersonated_by: String,
    /// As whom `user` wanted to act, when that was refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub impersonated_user: String,
    /// The address that the connection came from. Headers are not believed: anyone can write `X-Forwarded-For`.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// Of a refused credential: what the request wanted to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// Of a refused credential: where, without the query, which may hold a token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// For whom: the account, or whose token it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What the token is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// `Pod/web`; of a revocation `Pod/NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bound_object: String,
    /// `jti`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// The key that signed, or is revoked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kid: String,
    /// The rule of the exchange policy that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// Why not; of a revocation also why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The HTTP status; 499 when the caller went away before there was one.
    pub code: u16,
    /// From the request's arrival to the decision.
    pub latency_micros: u64,
}

/// As JSON, a name may take so many bytes.
const NAME: usize = 448;
/// An identifier.
const ID: usize = 256;
/// What clients do not choose.
const OWN: usize = 64;
/// An explanation.
const REASON: usize = 1280;
/// No text shows more of itself.
pub(super) const LONGEST_TEXT: usize = REASON;
/// All audiences together, and each.
const AUDIENCES: (usize, usize) = (1280, 256);

impl Line {
    /// Changes each text that a client can have a say in, but for what it calls itself. Of audiences those that can be
    /// shown.
    pub(super) fn each_text(&mut self, mut change: impl FnMut(&mut String)) {
        let Line {
            user,
            impersonated_by,
            impersonated_user,
            verb,
            path,
            subject,
            bound_object,
            jti,
            kid,
            reason,
            ..
        } = self;
        let texts =
            [user, impersonated_by, impersonated_user, verb, path, subject, bound_object, jti, kid, reason];
        texts.into_iter().for_each(&mut change);
        let mut shown = 0;
        for audience in &mut self.audiences {
            if shown > AUDIENCES.0 {
                break;
            }
            change(audience);
            shown += audience.len().min(AUDIENCES.1) + r#""","#.len();
        }
    }

    /// The line as it is written: what is longer than its share is cut, with a mark and the count of what is missing; what
    /// looks like a token is hidden, wherever it was put.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let bounded = Line {
            user: cut(&self.user, NAME),
            impersonated_by: cut(&self.impersonated_by, NAME),
            impersonated_user: cut(&self.impersonated_user, NAME),
            source_ips: cut_list(&self.source_ips, (OWN, OWN)),
            user_agent: cut(&self.user_agent, NAME),
            path: cut(&self.path, NAME),
            subject: cut(&self.subject, NAME),
            audiences: cut_list(&self.audiences, AUDIENCES),
            bound_object: cut(&self.bound_object, NAME),
            jti: cut(&self.jti, ID),
            kid: cut(&self.kid, ID),
            reason: cut(&self.reason, REASON),
            rule: cut(&self.rule, ID),
            verb: cut(&self.verb, OWN),
            time: cut(&self.time, OWN),
            audit_id: cut(&self.audit_id, OWN),
            ..*self
        };
        let mut bytes = serde_json::to_vec(&bounded).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Everything that a client chooses, as long as it can be.
    fn stuffed(with: &str) -> Line {
        let text = with.repeat(400_000);
        Line {
            action: "keys.export-private",
            user: text.clone(),
            impersonated_by: text.clone(),
            impersonated_user: text.clone(),
            source_ips: vec![text.clone()],
            user_agent: text.clone(),
            verb: text.clone(),
            path: text.clone(),
            subject: text.clone(),
            audiences: vec![text.clone(); 3].into_iter().chain((0..100_000).map(|n| n.to_string())).collect(),
            bound_object: text.clone(),
            jti: text.clone(),
            kid: text.clone(),
            rule: text.clone(),
            time: text.clone(),
            audit_id: text.clone(),
            reason: text,
            decision: "deny",
            code: u16::MAX,
            latency_micros: u64::MAX,
        }
    }

    #[test]
    fn a_line_is_bounded_whatever_a_client_sends() {
        for with in ["a", "\"", "\u{1}", "\u{9b}", "é", "𝄞", "\\", "\n", "e30.x ", "\u{202e}"] {
            let bytes = stuffed(with).to_bytes();
            assert!(bytes.len() <= LONGEST, "{with:?}: {}", bytes.len());
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "{with:?}");
            let line: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(line["user"].as_str().unwrap().ends_with(" bytes)"), "{line}");
            let audiences = line["audiences"].as_array().unwrap();
            assert!(audiences.last().unwrap().as_str().unwrap().ends_with(" more)"), "{line}");
        }
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let line = Line {
            user: "jane".into(),
            audiences: vec!["https://vault.example".into()],
            reason: "why \"not\"".into(),
            ..Line::default()
        };
        let shown: Value = serde_json::from_slice(&line.to_bytes()).unwrap();
        assert_eq!(
            (&shown["user"], &shown["audiences"][0], &shown["reason"]),
            (&"jane".into(), &"https://vault.example".into(), &"why \"not\"".into())
        );
        assert!(shown.get("userAgent").is_none() && shown.get("sourceIPs").is_none(), "{shown}");
    }
}

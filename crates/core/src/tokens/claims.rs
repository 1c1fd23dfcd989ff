//! The claim set of a bound token (`pkg/serviceaccount/claims.go`): pure data, the same bytes for the same input.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokensmith_api::json::{Members, list, write_int, write_str};

use super::ExtraClaim;

/// An object that a token names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reference {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its UID; empty for a pod's node that was not there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Reference {
    /// A name and a UID.
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Reference { name: name.into(), uid: uid.into() }
    }
}

/// The object that a token lives and dies with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A node.
    Node(Reference),
    /// A pod; its node, if it has one, is told but binds nothing.
    Pod {
        /// The pod.
        pod: Reference,
        /// Where it runs.
        node: Option<Reference>,
    },
    /// A secret.
    Secret(Reference),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// `iss`
    pub issuer: &'a str,
    /// `aud`, in the order asked for, repeats kept.
    pub audiences: &'a [String],
    /// `iat` and `nbf`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// `jti`
    pub id: &'a str,
    /// The account's namespace.
    pub namespace: &'a str,
    /// The account.
    pub account: &'a Reference,
    /// What it is bound to besides the account.
    pub bound: Option<&'a Bound>,
    /// When a client that reloads its file would have a newer one, Unix seconds.
    pub warn_after: Option<i64>,
    /// What else it says, sorted by name.
    pub extra: &'a [ExtraClaim],
}

impl Claims<'_> {
    /// The JWT's payload: compact, keys in alphabetical order at every level, strings as Go writes them.
    pub fn to_json(&self) -> Vec<u8> {
        let extra: usize = self.extra.iter().map(|claim| claim.json().len() + 1).sum();
        let mut out = Vec::with_capacity(640 + extra);
        let (mut payload, mut extra) = (Members::begin(&mut out), self.extra);
        if !self.audiences.is_empty() {
            let out = member(&mut payload, &mut extra, "aud");
            list(out, self.audiences, |out, audience| write_str(out, audience));
        }
        write_int(member(&mut payload, &mut extra, "exp"), self.expires_at);
        write_int(member(&mut payload, &mut extra, "iat"), self.issued_at);
        write_str(member(&mut payload, &mut extra, "iss"), self.issuer);
        write_str(member(&mut payload, &mut extra, "jti"), self.id);
        self.private(member(&mut payload, &mut extra, "kubernetes.io"));
        write_int(member(&mut payload, &mut extra, "nbf"), self.issued_at);
        let subject = super::username(self.namespace, &self.account.name);
        write_str(member(&mut payload, &mut extra, "sub"), &subject);
        extra.iter().for_each(|claim| payload.written(claim.json()));
        payload.end();
        out
    }

    /// The object under `kubernetes.io`.
    fn private(&self, out: &mut Vec<u8>) {
        let mut claims = Members::begin(out);
        write_str(claims.member("namespace"), self.namespace);
        match self.bound {
            None => {}
            Some(Bound::Node(node)) => reference(claims.member("node"), node),
            Some(Bound::Pod { pod, node }) => {
                if let Some(node) = node {
                    reference(claims.member("node"), node);
                }
                reference(claims.member("pod"), pod);
            }
            Some(Bound::Secret(secret)) => reference(claims.member("secret"), secret),
        }
        reference(claims.member("serviceaccount"), self.account);
        if let Some(warn_after) = self.warn_after {
            write_int(claims.member("warnafter"), warn_after);
        }
        claims.end();
    }
}

/// Begins a claim of our own, after the extra ones that come before it.
fn member<'a>(payload: &'a mut Members<'_>, extra: &mut &[ExtraClaim], name: &str) -> &'a mut Vec<u8> {
    let before = extra.iter().take_while(|claim| claim.name() < name).count();
    let (now, later) = extra.split_at(before);
    *extra = later;
    now.iter().for_each(|claim| payload.written(claim.json()));
    payload.member(name)
}

fn reference(out: &mut Vec<u8>, to: &Reference) {
    let mut object = Members::begin(out);
    write_str(object.member("name"), &to.name);
    if !to.uid.is_empty() {
        write_str(object.member("uid"), &to.uid);
    }
    object.end();
}

/// A payload as it was read. Nothing in it is to be believed before the signature has been checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Payload {
    /// `iss`
    #[serde(rename = "iss", deserialize_with = "lenient")]
    pub issuer: String,
    /// `sub`
    #[serde(rename = "sub", deserialize_with = "lenient")]
    pub subject: String,
    /// `jti`
    #[serde(rename = "jti", deserialize_with = "lenient")]
    pub id: String,
    /// `aud`: one string or a list.
    #[serde(rename = "aud", deserialize_with = "audiences")]
    pub audiences: Vec<String>,
    /// `exp`
    #[serde(rename = "exp", deserialize_with = "date")]
    pub expires_at: Option<i64>,
    /// `iat`
    #[serde(rename = "iat", deserialize_with = "date")]
    pub issued_at: Option<i64>,
    /// `nbf`
    #[serde(rename = "nbf", deserialize_with = "date")]
    pub not_before: Option<i64>,
    /// What Kubernetes adds.
    #[serde(rename = "kubernetes.io", deserialize_with = "or_default")]
    pub kubernetes: Private,
    /// A legacy token's namespace.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace", deserialize_with = "lenient")]
    pub legacy_namespace: String,
    /// A legacy token's Secret.
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name", deserialize_with = "lenient")]
    pub legacy_secret: String,
    /// A legacy token's account.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name", deserialize_with = "lenient")]
    pub legacy_account: String,
    /// A legacy token's account's UID.
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid", deserialize_with = "lenient")]
    pub legacy_account_uid: String,
}

/// The object under `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Private {
    /// The account's namespace.
    pub namespace: String,
    /// The node it is bound to, or its pod's.
    pub node: Option<Reference>,
    /// The pod it is bound to.
    pub pod: Option<Reference>,
    /// The secret it is bound to.
    pub secret: Option<Reference>,
    /// The account.
    #[serde(rename = "serviceaccount")]
    pub account: Reference,
    /// Unix seconds.
    #[serde(rename = "warnafter", deserialize_with = "date")]
    pub warn_after: Option<i64>,
}

/// The wanted audiences that a token is for, in the order wanted.
pub fn granted(has: &[String], wanted: &[String]) -> Vec<String> {
    // Both lists are of a client's making.
    let has: HashSet<&str> = has.iter().map(String::as_str).collect();
    wanted.iter().filter(|audience| has.contains(audience.as_str())).cloned().collect()
}

fn lenient<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(d).map(Option::unwrap_or_default)
}

fn or_default<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Private, D::Error> {
    Option::<Private>::deserialize(d).map(Option::unwrap_or_default)
}

fn audiences<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Many(Vec<String>),
        One(String),
        None(()),
    }
    Ok(match Either::deserialize(d)? {
        Either::Many(many) => many,
        Either::One(one) => vec![one],
        Either::None(()) => Vec::new(),
    })
}

/// A NumericDate (RFC 7519 §2): fractions are cut off.
fn date<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        Value::Number(n) => Ok(n.as_i64().or_else(|| n.as_f64().map(|f| f as i64))),
        _ => Err(serde::de::Error::custom("expected number value to unmarshal NumericDate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extended() -> (Vec<String>, Reference, Bound) {
        let bound = Bound::Pod {
            pod: Reference::new("api-7c9d8f6b5-x2k4q", "2f7f0f5b-3a77-4d0f-8a52-9d4c1f1f0b22"),
            node: Some(Reference::new("worker-1", "6a5f2c0e-50f1-4a7c-9d2a-0a4f5b1f6a11")),
        };
        (
            vec!["https://kubernetes.default.svc.cluster.local".into()],
            Reference::new("api", "c1c3d9be-0f7a-4b1e-8a54-7b3f0a9d5e33"),
            bound,
        )
    }

    #[test]
    fn the_bytes_of_a_known_token() {
        let (audiences, account, bound) = extended();
        let claims = Claims {
            issuer: "https://kubernetes.default.svc.cluster.local",
            audiences: &audiences,
            issued_at: 1767261607,
            expires_at: 1798797607,
            id: "9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e",
            namespace: "payments",
            account: &account,
            bound: Some(&bound),
            warn_after: Some(1767265214),
            extra: &[],
        };
        let want = r#"{"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1798797607,"iat":1767261607,"iss":"https://kubernetes.default.svc.cluster.local","jti":"9b0a6c9e-6a4f-4b63-9d0d-1f0f8a1f1c7e","kubernetes.io":{"namespace":"payments","node":{"name":"worker-1","uid":"6a5f2c0e-50f1-4a7c-9d2a-0a4f5b1f6a11"},"pod":{"name":"api-7c9d8f6b5-x2k4q","uid":"2f7f0f5b-3a77-4d0f-8a52-9d4c1f1f0b22"},"serviceaccount":{"name":"api","uid":"c1c3d9be-0f7a-4b1e-8a54-7b3f0a9d5e33"},"warnafter":1767265214},"nbf":1767261607,"sub":"system:serviceaccount:payments:api"}"#;
        assert_eq!(String::from_utf8(claims.to_json()).unwrap(), want);
        let read: Payload = serde_json::from_slice(&claims.to_json()).unwrap();
        assert_eq!((read.expires_at, read.kubernetes.warn_after), (Some(1798797607), Some(1767265214)));
        assert_eq!(
            read.kubernetes.node,
            Some(Reference::new("worker-1", "6a5f2c0e-50f1-4a7c-9d2a-0a4f5b1f6a11"))
        );
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let account = Reference::new("a", "u");
        let audiences = ["https://x/?a&b".to_owned(), String::new(), String::new()];
        let mut claims = Claims {
            issuer: "<i>",
            audiences: &audiences,
            issued_at: 1,
            expires_at: 2,
            id: "j",
            namespace: "n",
            account: &account,
            bound: None,
            warn_after: None,
            extra: &[],
        };
        let text = |c: &Claims| String::from_utf8(c.to_json()).unwrap();
        assert_eq!(
            text(&claims),
            r#"{"aud":["https://x/?a\u0026b","",""],"exp":2,"iat":1,"iss":"\u003ci\u003e","jti":"j","kubernetes.io":{"namespace":"n","serviceaccount":{"name":"a","uid":"u"}},"nbf":1,"sub":"system:serviceaccount:n:a"}"#
        );
        claims.audiences = &[];
        let gone = Bound::Pod { pod: Reference::new("p", "pu"), node: Some(Reference::new("gone", "")) };
        claims.bound = Some(&gone);
        assert!(text(&claims).starts_with(r#"{"exp":2,"#));
        assert!(text(&claims).contains(r#""node":{"name":"gone"},"pod":{"name":"p","uid":"pu"}"#));
        let secret = Bound::Secret(Reference::new("s", "su"));
        claims.bound = Some(&secret);
        assert!(text(&claims).contains(r#""secret":{"name":"s","uid":"su"},"serviceaccount""#));
    }

    #[test]
    fn extra_claims_stand_in_their_places() {
        let account = Reference::new("a", "u");
        let every = r#"{"~":1,"aaa":2,"azp":3,"hd":4,"isr":5,"kid":6,"nbg":7,"team":8,"A":9,"expx":10}"#;
        let extra = crate::tokens::ExtraClaims::parse(every).unwrap();
        let claims = Claims {
            issuer: "i",
            audiences: &["x".to_owned()],
            issued_at: 1,
            expires_at: 2,
            id: "j",
            namespace: "n",
            account: &account,
            bound: None,
            warn_after: None,
            extra: extra.as_slice(),
        };
        let text = String::from_utf8(claims.to_json()).unwrap();
        assert_eq!(
            text,
            r#"{"A":9,"aaa":2,"aud":["x"],"azp":3,"exp":2,"expx":10,"hd":4,"iat":1,"isr":5,"iss":"i","jti":"j","kid":6,"kubernetes.io":{"namespace":"n","serviceaccount":{"name":"a","uid":"u"}},"nbf":1,"nbg":7,"sub":"system:serviceaccount:n:a","team":8,"~":1}"#
        );
        let bare = Claims { audiences: &[], ..claims };
        assert!(String::from_utf8(bare.to_json()).unwrap().starts_with(r#"{"A":9,"aaa":2,"azp":3,"exp":2,"#));
    }

    #[test]
    fn payloads_of_others() {
        let read = |text: &str| serde_json::from_str::<Payload>(text);
        assert_eq!(read(r#"{"aud":"one","exp":12.9}"#).unwrap().audiences, ["one"]);
        assert_eq!(read(r#"{"aud":null,"exp":12.9}"#).unwrap().expires_at, Some(12));
        assert!(read(r#"{"exp":"soon"}"#).is_err());
    }
}

//! Which requests are about tokens or keys, by what the path says alone: a refusal leaves a line before anything is read.

use http::Method;
use tokensmith_core::access::RequestInfo;
use tokensmith_core::tokens::username;

use super::Line;

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    action: &'static str,
    /// Whose token.
    subject: String,
    /// Which key.
    kid: String,
}

impl About {
    /// A line that says so.
    pub(super) fn line(self) -> Line {
        Line { action: self.action, subject: self.subject, kid: self.kid, ..Line::default() }
    }
}

/// `None` for a request that decides nothing about tokens or keys.
pub(super) fn about(method: &Method, info: &RequestInfo) -> Option<About> {
    let a = &info.attributes;
    let action = |action| Some(About { action, ..About::default() });
    if a.resource_request {
        return match (a.group.as_str(), a.resource.as_str(), a.subresource.as_str()) {
            ("", "serviceaccounts", "token") => {
                Some(About { subject: username(&a.namespace, &a.name), action: "mint", ..About::default() })
            }
            ("authentication.k8s.io", "tokenreviews", _) => action("review"),
            _ => None,
        };
    }
    // Reading is no decision.
    if !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return None;
    }
    match a.path.as_str() {
        "/oauth2/introspect" => return action("introspect"),
        "/oauth2/revoke" => return action("revoke"),
        "/oauth2/token" => return action("exchange"),
        _ => {}
    }
    let path: Vec<&str> = a.path.strip_prefix("/admin/v1/")?.trim_end_matches('/').split('/').collect();
    let key = |action, kid: &str| Some(About { action, kid: kid.into(), ..About::default() });
    match path.as_slice() {
        ["backup"] => action("backup"),
        ["keys", "import"] => action("keys.import"),
        ["keys", "poke"] => action("keys.poke"),
        ["keys", "prepare"] => action("keys.prepare"),
        ["keys", "reseal"] => action("keys.reseal"),
        ["keys", "rotate"] => action("keys.rotate"),
        ["keys", id, "activate"] => key("keys.activate", id),
        ["keys", id, "revoke"] => key("keys.revoke", id),
        ["private-keys", id] => key("keys.export-private", id),
        ["tokens", "revoke"] => action("revoke"),
        ["why"] => action("why"),
        // Whatever comes: rather a line too many.
        _ => action("admin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_tokens_and_keys() {
        for (method, path, want) in [
            ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", Some("mint system:serviceaccount:a:b ")),
            ("GET", "/api/v1/namespaces/a/serviceaccounts/b/token", Some("mint system:serviceaccount:a:b ")),
            ("POST", "/api/v1/namespaces/a/serviceaccounts/b", None),
            ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", Some("review  ")),
            ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", None),
            ("GET", "/admin/v1/keys", None),
            ("POST", "/admin/v1/keys/k/revoke", Some("keys.revoke  k")),
            ("POST", "/admin/v1/private-keys/k", Some("keys.export-private  k")),
            ("POST", "/admin/v1/backup", Some("backup  ")),
            ("POST", "/admin/v1/tokens/revoke", Some("revoke  ")),
            ("POST", "/admin/v1/tokens/revoke/", Some("revoke  ")),
            ("POST", "/admin/v1/why", Some("why  ")),
            ("POST", "/admin/v1/keys/k/x/y", Some("admin  ")),
            ("POST", "/oauth2/token", Some("exchange  ")),
            ("GET", "/oauth2/token", None),
            ("POST", "/oauth2/introspect", Some("introspect  ")),
            ("POST", "/oauth2/revoke", Some("revoke  ")),
            ("POST", "/testing/v1/clock", None),
        ] {
            let info = RequestInfo::parse(method, path, "");
            let found = about(&Method::from_bytes(method.as_bytes()).unwrap(), &info);
            let found = found.map(|a| format!("{} {} {}", a.action, a.subject, a.kid));
            assert_eq!(found.as_deref(), want, "{method} {path}");
        }
    }
}

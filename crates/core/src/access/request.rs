//! What a request is about, from its method and path alone (apiserver `endpoints/request/requestinfo.go`).
//! Authorization works on this, so the body has not been read yet.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokensmith_objects::names;
use tokensmith_objects::selector::FieldRequirement;

use super::Attributes;

/// A parsed request line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// What is asked for.
    pub attributes: Attributes,
    /// The path's parts after the resource's own: `[NAME, SUBRESOURCE, …]`.
    pub parts: Vec<String>,
    /// The verb stands in the path (`/api/v1/watch/…`, `/api/v1/proxy/…`), whatever the method.
    pub verb_in_path: bool,
}

impl RequestInfo {
    /// Parses a method, a path (percent-decoded) and a query.
    pub fn parse(method: &str, path: &str, query: &str) -> RequestInfo {
        let verb = method.to_ascii_lowercase();
        let mut info = RequestInfo {
            attributes: Attributes { verb, path: path.to_owned(), ..Attributes::default() },
            ..RequestInfo::default()
        };
        // What is empty in the middle is a part, as for Go: `/api/v1//pods` names no resource.
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return info,
        };
        let a = &mut info.attributes;
        a.resource_request = true;
        (a.group, a.version) = (group.into(), version.into());
        let (verb, rest) = match rest {
            [verb @ ("watch" | "proxy"), rest @ ..] => {
                info.verb_in_path = true;
                (*verb, rest)
            }
            rest => {
                let verb = match method {
                    "POST" => "create",
                    "GET" | "HEAD" => "get",
                    "PUT" => "update",
                    "PATCH" => "patch",
                    "DELETE" => "delete",
                    _ => "",
                };
                (verb, rest)
            }
        };
        a.verb = verb.into();
        // `/namespaces/NS/…` scopes what follows; `/namespaces/NS` and its own subresources are the namespace.
        let rest = match rest {
            ["namespaces", namespace, tail @ ..] => {
                a.namespace = (*namespace).into();
                match tail {
                    [] | ["status" | "finalize", ..] => rest,
                    tail => tail,
                }
            }
            rest => rest,
        };
        info.parts = rest.iter().skip(1).map(|p| (*p).into()).collect();
        a.resource = rest.first().copied().unwrap_or("").into();
        a.name = info.parts.first().cloned().unwrap_or_default();
        a.subresource = info.parts.get(1).filter(|_| verb != "proxy").cloned().unwrap_or_default();
        if a.resource == "namespaces" && !a.name.is_empty() {
            a.namespace = a.name.clone();
        }
        if a.name.is_empty() && a.verb == "get" {
            let watch = parameter(query, "watch").is_some_and(|v| flag(&v));
            a.verb = if watch { "watch" } else { "list" }.into();
            a.field_selector = selected(query);
            // A list of exactly one name is a question about that name.
            let named = a.field_selector.iter().find(|r| r.field == "metadata.name" && r.equal);
            let name = named.map(|r| r.value.clone()).filter(|name| names::path_segment(name).is_empty());
            a.name = name.unwrap_or_default();
        } else if a.verb == "watch" {
            a.field_selector = selected(query);
        }
        if a.name.is_empty() && a.verb == "delete" {
            a.verb = "deletecollection".into();
            a.field_selector = selected(query);
        }
        info
    }
}

/// What a query selects by fields. Requirements are joined by "and": to know none of a selector that cannot be read asks
/// for more rights, never for fewer.
fn selected(query: &str) -> Vec<FieldRequirement> {
    FieldRequirement::parse(&parameter(query, "fieldSelector").unwrap_or_default()).unwrap_or_default()
}

/// The first value of a query parameter, decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// All parameters of a query, decoded. Pairs that Go's `url.ParseQuery` cannot read are left out, as there: the library, as
/// browsers, would take a `;` and a bad escape for what they are not.
pub fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    let read = |pair: &&str| !pair.contains(';') && escapes_are_whole(pair);
    let pairs = query.split('&').filter(read).flat_map(|pair| form_urlencoded::parse(pair.as_bytes()));
    pairs.map(|(key, value)| (key.into_owned(), value.into_owned()))
}

/// A flag's value as apimachinery reads it: everything is true that is not plainly false, nothing included.
pub fn flag(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// Whether each `%` is followed by two hexadecimal digits. The library leaves one that is not as it stands, and does not
/// tell; Go makes it an error.
pub fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

/// Whether each `%` of a path begins an escape.
pub fn is_escaped(path: &str) -> bool {
    path.split('%').skip(1).all(|part| {
        let mut digits = part.bytes().take(2);
        [digits.next(), digits.next()].iter().all(|d| d.is_some_and(|d| d.is_ascii_hexdigit()))
    })
}

/// A path as a request line has it: what would end it, or be taken for an escape, is escaped.
pub fn encode(path: &str) -> String {
    const APART: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'`')
        .add(b'{')
        .add(b'}');
    utf8_percent_encode(path, APART).to_string()
}

/// A value as a query has it.
pub fn encode_value(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A percent-decoded path.
pub fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_has_two_digits() {
        for (path, want) in [
            ("/a", true),
            ("/%2F%7e", true),
            ("/%zz", false),
            ("/%2", false),
            ("/%", false),
            ("/%%20", false),
        ] {
            assert_eq!(is_escaped(path), want, "{path}");
        }
    }

    #[test]
    fn field_selectors_are_part_of_the_question() {
        for (method, path, query, name, want) in [
            ("GET", "/api/v1/pods", "fieldSelector=spec.nodeName%3Dw", "", "spec.nodeName=w"),
            ("GET", "/api/v1/pods", "watch=1&fieldSelector=spec.nodeName%3D%3Dw", "", "spec.nodeName=w"),
            ("DELETE", "/api/v1/namespaces/n/pods", "fieldSelector=a!%3Db", "", "a!=b"),
            ("GET", "/api/v1/pods", "fieldSelector=b%3Dc,metadata.name%3Da", "a", "b=c metadata.name=a"),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name!%3Da", "", "metadata.name!=a"),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name%3Da%5C,b", "a,b", "metadata.name=a,b"),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name%3Da/b", "", "metadata.name=a/b"),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name%3D..", "", "metadata.name=.."),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name%3Da,junk", "", ""),
            ("GET", "/api/v1/pods", "fieldSelector=a%3Db&fieldSelector=c%3Dd", "", "a=b"),
            ("GET", "/api/v1/namespaces/n/pods/p", "fieldSelector=a%3Db", "p", ""),
            ("POST", "/api/v1/namespaces/n/pods", "fieldSelector=a%3Db", "", ""),
            ("DELETE", "/api/v1/namespaces/n/pods/p", "fieldSelector=a%3Db", "p", ""),
        ] {
            let a = RequestInfo::parse(method, path, query).attributes;
            let shown = a
                .field_selector
                .iter()
                .map(|r| format!("{}{}{}", r.field, if r.equal { "=" } else { "!=" }, r.value));
            let found = (a.name.as_str(), shown.collect::<Vec<_>>().join(" "));
            assert_eq!(found, (name, want.to_owned()), "{method} {path}?{query}");
        }
    }

    /// What Go 1.17 and later make of a query (`net/url`, `parseQuery`), errors left out as `Values` is.
    #[test]
    fn queries_are_read_as_go_reads_them() {
        for (query, want) in [
            ("", ""),
            ("&&=&", "="),
            ("a", "a="),
            ("a=b=c&a==", "a=b=c a=="),
            ("a+b=c+d%2Be", "a b=c d+e"),
            ("%61=%c3%a4%00", "a=ä\0"),
            ("a=%ff", "a=\u{fffd}"),
            ("a=1;b=2&c=3", "c=3"),
            ("a%3Bb=%3b", "a;b=;"),
            ("a=%&b=%1&c=%zz&d=%%61&%x=1&e=%41", "e=A"),
            ("a=%+1&b=%-1&c=%61%", ""),
            ("a=ä&b=%E4", "a=ä b=\u{fffd}"),
            ("a=1&a=2", "a=1 a=2"),
        ] {
            let found: Vec<_> = parameters(query).map(|(k, v)| format!("{k}={v}")).collect();
            assert_eq!(found.join(" "), want, "{query}");
        }
        assert_eq!(parameter("a=1&a=2", "a").as_deref(), Some("1"));
    }

    #[test]
    fn paths_keep_what_is_no_escape() {
        for (path, want) in
            [("/a+b/%41%2f", "/a+b/A/"), ("/%zz/%4/%", "/%zz/%4/%"), ("/%c3%a4/%ff", "/ä/\u{fffd}")]
        {
            assert_eq!(decode(path), want);
        }
    }

    #[test]
    fn request_lines() {
        for (method, path, query, want) in [
            ("GET", "/api/v1/namespaces/n/pods", "", ("list", "pods", "", "n", "")),
            ("GET", "/api/v1/pods", "watch=true", ("watch", "pods", "", "", "")),
            ("GET", "/api/v1/pods", "watch=false", ("list", "pods", "", "", "")),
            (
                "GET",
                "/api/v1/namespaces/n/pods",
                "fieldSelector=metadata.name%3Da",
                ("list", "pods", "", "n", "a"),
            ),
            (
                "POST",
                "/api/v1/namespaces/n/serviceaccounts/s/token",
                "",
                ("create", "serviceaccounts", "token", "n", "s"),
            ),
            ("GET", "/api/v1/namespaces/n", "", ("get", "namespaces", "", "n", "n")),
            ("PUT", "/api/v1/namespaces/n/finalize", "", ("update", "namespaces", "finalize", "n", "n")),
            ("GET", "/api/v1/namespaces", "", ("list", "namespaces", "", "", "")),
            ("DELETE", "/api/v1/namespaces/n/secrets", "", ("deletecollection", "secrets", "", "n", "")),
            (
                "DELETE",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/x",
                "",
                ("delete", "clusterroles", "", "", "x"),
            ),
        ] {
            let a = RequestInfo::parse(method, path, query).attributes;
            let found = (
                a.verb.as_str(),
                a.resource.as_str(),
                a.subresource.as_str(),
                a.namespace.as_str(),
                a.name.as_str(),
            );
            assert_eq!(found, want, "{method} {path}?{query}");
            assert!(a.resource_request);
        }
        for path in ["/", "/api", "/api/v1/", "/apis/authentication.k8s.io/v1", "/healthz", "/openid/v1/jwks"]
        {
            let a = RequestInfo::parse("GET", path, "").attributes;
            assert!(!a.resource_request && a.verb == "get" && a.path == path, "{path}");
        }
    }

    #[test]
    fn a_verb_in_the_path_goes_before_the_method() {
        for (method, path, want) in [
            ("GET", "/api/v1/watch/pods", ("watch", "pods", "", "", "")),
            ("POST", "/api/v1/watch/namespaces/n/pods", ("watch", "pods", "", "n", "")),
            ("GET", "/api/v1/watch/namespaces/n/pods/p", ("watch", "pods", "", "n", "p")),
            ("GET", "/api/v1/watch/namespaces/n", ("watch", "namespaces", "", "n", "n")),
            ("GET", "/api/v1/watch/namespaces/n/pods/p/status", ("watch", "pods", "status", "n", "p")),
            ("GET", "/apis/g/v1/watch/namespaces/n/roles", ("watch", "roles", "", "n", "")),
            ("GET", "/api/v1/watch", ("watch", "", "", "", "")),
            ("GET", "/api/v1/proxy/nodes/a/b", ("proxy", "nodes", "", "", "a")),
        ] {
            let info = RequestInfo::parse(method, path, "");
            let a = &info.attributes;
            let found = [&a.verb, &a.resource, &a.subresource, &a.namespace, &a.name].map(String::as_str);
            assert_eq!(found, <[&str; 5]>::from(want), "{method} {path}");
            assert!(info.verb_in_path && a.resource_request);
        }
        assert!(!RequestInfo::parse("GET", "/api/v1/pods", "watch=1").verb_in_path);
    }

    /// Upstream trims slashes at both ends and splits at each of the others.
    #[test]
    fn slashes_in_the_middle_are_parts() {
        for (path, resource, name) in [
            ("/api/v1/pods/", "pods", ""),
            ("//api/v1/pods//", "pods", ""),
            ("/api/v1//pods", "", "pods"),
            ("/api/v1/namespaces//pods", "pods", ""),
        ] {
            let a = RequestInfo::parse("GET", path, "").attributes;
            assert_eq!((a.resource.as_str(), a.name.as_str()), (resource, name), "{path}");
        }
    }
}

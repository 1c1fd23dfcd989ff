//! Names: what Kubernetes accepts, and what it says about the rest (apimachinery `util/validation`).

/// No subdomain is longer, characters.
pub const MAX_SUBDOMAIN: usize = 253;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// What is wrong with an RFC 1123 label (namespaces); nothing when it is one.
pub fn label(name: &str) -> Vec<String> {
    let mut findings = too_many(name, 63);
    if !is_label(name) && name.split('.').all(is_label) {
        findings.push("must not contain dots".into());
    } else if !is_label(name) {
        findings.push(format!("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"));
    }
    findings
}

/// What is wrong with an RFC 1035 label (versions, names of resources).
pub fn label_1035(name: &str) -> Vec<String> {
    let mut findings = too_many(name, 63);
    if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        findings.push("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".into());
    }
    findings
}

/// What is wrong with an RFC 1123 subdomain (most names).
pub fn subdomain(name: &str) -> Vec<String> {
    let mut findings = too_many(name, MAX_SUBDOMAIN);
    if !name.split('.').all(is_label) {
        findings.push(format!("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{LABEL}(\\.{LABEL})*')"));
    }
    findings
}

/// What is wrong with a name that is only a path segment (RBAC objects, bound references).
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    ['/', '%'].into_iter().filter(|c| name.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// What is wrong with a qualified name: `[PREFIX/]NAME`, as label and annotation keys have.
pub fn qualified(name: &str) -> Vec<String> {
    const NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let explain = |text: &str| {
        format!(
            "{text} must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{NAME}')"
        )
    };
    let mut findings = Vec::new();
    let mut parts = name.split('/');
    let last = match (parts.next(), parts.next(), parts.next()) {
        (Some(only), None, _) => only,
        (Some(prefix), Some(last), None) => {
            if prefix.is_empty() {
                findings.push("prefix part must be non-empty".into());
            } else {
                // Upstream counts bytes here, and characters where it judges a name.
                let found = subdomain(prefix).into_iter().map(|f| f.replace("253 characters", "253 bytes"));
                findings.extend(found.map(|f| format!("prefix part {f}")));
            }
            last
        }
        _ => {
            let text = explain("a valid label key");
            let text = text.trim_end_matches(')');
            return vec![format!(
                "{text}) with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if last.is_empty() {
        findings.push("name part must be non-empty".into());
    } else {
        findings.extend(too_long(last, 63).into_iter().map(|f| format!("name part {f}")));
    }
    if !is_word(last) {
        findings.push(explain("name part"));
    }
    findings
}

/// What is wrong with a label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut findings = too_long(value, 63);
    if !value.is_empty() && !is_word(value) {
        findings.push("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".into());
    }
    findings
}

/// What is wrong with a key of a ConfigMap's or Secret's data.
pub fn config_key(key: &str) -> Vec<String> {
    let mut findings = too_many(key, 253);
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        findings.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".into());
    }
    match key {
        "." => findings.push("must not be '.'".into()),
        ".." => findings.push("must not be '..'".into()),
        key if key.starts_with("..") => findings.push("must not start with '..'".into()),
        _ => {}
    }
    findings
}

/// What is wrong with a port's name.
pub fn port(name: &str) -> Vec<String> {
    let mut findings = too_many(name, 15);
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || !name.bytes().all(inner) {
        findings.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|c| c.is_ascii_lowercase()) {
        findings.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        findings.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        findings.push("must not begin or end with a hyphen".into());
    }
    findings
}

/// What is wrong with the name of a variable of the environment.
pub fn variable(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["environment variable name must be non-empty".into()];
    }
    match name.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=') {
        true => Vec::new(),
        false => vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()],
    }
}

/// What is wrong with the name of a header of HTTP.
pub fn header(name: &str) -> Vec<String> {
    match !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        true => Vec::new(),
        false => vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".into()],
    }
}

/// What is wrong with a domain in which names are looked up: a subdomain that may have underscores.
pub fn search_path(name: &str) -> Vec<String> {
    const PART: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut findings = too_many(name, 253);
    let part = |part: &str| is_label(&part.strip_prefix('_').unwrap_or(part).replace('_', "-"));
    if !name.split('.').all(part) {
        findings.push(format!("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{PART}(\\.{PART})*')"));
    }
    findings
}

/// A name to which something is added: where it ends with a dash, a letter stands for what follows.
pub fn with_end(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut rest = rest.to_owned();
            rest.pop();
            rest + "a"
        }
        _ => prefix.to_owned(),
    }
}

/// The same of names, for which upstream says characters.
fn too_many(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} characters")] } else { Vec::new() }
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} bytes")] } else { Vec::new() }
}

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, ok) in
            [("a", true), ("a.b-c", true), ("Bad_Name", false), ("a..b", false), ("-a", false), ("", false)]
        {
            assert_eq!(subdomain(name).is_empty(), ok, "{name}");
        }
        assert!(!label("a.b").is_empty() && label("kube-system").is_empty());
        assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert!(path_segment("system:node").is_empty());
        assert!(!subdomain(&"a".repeat(254)).is_empty());
    }

    #[test]
    fn what_is_too_long_is_told_in_characters_of_names_and_in_bytes_of_labels() {
        let long = |count: usize| "a".repeat(count);
        assert_eq!(label(&long(64)), ["must be no more than 63 characters"]);
        assert_eq!(subdomain(&long(254))[0], "must be no more than 253 characters");
        assert_eq!(config_key(&long(254)), ["must be no more than 253 characters"]);
        assert_eq!(port(&long(16)), ["must be no more than 15 characters"]);
        assert_eq!(label_value(&long(64)), ["must be no more than 63 bytes"]);
        assert_eq!(qualified(&long(64)), ["name part must be no more than 63 bytes"]);
        assert_eq!(qualified(&format!("{}/a", long(254))), ["prefix part must be no more than 253 bytes"]);
    }

    #[test]
    fn a_label_has_no_dots_and_a_prefix_any_end() {
        assert_eq!(label("a.b"), ["must not contain dots"]);
        assert_eq!(label("A.b").len(), 1);
        assert_eq!(["web-", "a-", "-", "web", "we--"].map(with_end), ["wea", "a", "-", "web", "wea"]);
        assert!(!subdomain(&with_end("x.")).is_empty(), "nothing stands for what follows a dot");
    }

    #[test]
    fn names_of_ports_variables_and_headers() {
        assert!(port("http-2").is_empty() && port("8080").len() == 1 && port("").len() == 2);
        assert_eq!(
            port("a--b-"),
            ["must not contain consecutive hyphens", "must not begin or end with a hyphen"]
        );
        assert!(variable("my var!").is_empty() && variable("a=b").len() == 1 && variable("ä").len() == 1);
        assert!(header("X-A").is_empty() && header("X_A").len() == 1);
        assert!(search_path("_tcp.a_b.example").is_empty() && search_path("a..b").len() == 1);
    }

    #[test]
    fn keys_and_values() {
        for (key, ok) in [
            ("a", true),
            ("kubernetes.io/x", true),
            ("a/b/c", false),
            ("/a", false),
            ("a/", false),
            ("-a", false),
        ] {
            assert_eq!(qualified(key).is_empty(), ok, "{key}");
        }
        assert!(
            label_value("").is_empty() && label_value("a_b").is_empty() && !label_value("a b").is_empty()
        );
        assert!(
            config_key("ca.crt").is_empty() && !config_key("a/b").is_empty() && !config_key("..x").is_empty()
        );
    }
}

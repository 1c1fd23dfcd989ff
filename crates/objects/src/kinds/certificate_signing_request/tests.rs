use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{cells, created};
use crate::schema::kind;
use crate::validate::{part_update, status_update};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

fn request(status: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": "r"}, "spec": {}, "status": status})).unwrap()
}

fn texts(found: Findings) -> Vec<String> {
    found.told().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_refused_of_a_request() {
    let told = created(
        GROUP,
        REQUESTS,
        json!({"spec": {"request": "AAAA", "usages": ["flying"], "signerName": "a.example/b", "expirationSeconds": 599}}),
    );
    assert_eq!(told[0], "spec.request: Invalid value: \"AAAA\": PEM block type must be CERTIFICATE REQUEST");
    assert!(told[1].starts_with("spec.usages[0]: Unsupported value: \"flying\": supported values: \"any\","));
    assert_eq!(
        told[2],
        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"
    );
    let known: HashSet<_> = USAGES.iter().collect();
    assert_eq!(known.len(), USAGES.len());
}

#[test]
fn who_approves_does_not_sign_and_who_signs_does_not_approve() {
    let requests = kind(GROUP, REQUESTS).unwrap();
    let approved = || json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let (bare, ok) = (request(json!({})), request(approved()));
    let limits = Limits::default();
    assert!(texts(part_update(requests, "approval", &ok, &bare, &limits)).is_empty());
    assert_eq!(
        texts(status_update(requests, &ok, &bare)),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    assert_eq!(
        texts(part_update(requests, "approval", &bare, &ok, &limits)),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    let issued = request(json!({"certificate": "eA=="}));
    assert_eq!(
        texts(part_update(requests, "approval", &issued, &bare, &limits)),
        ["status.certificate: Forbidden: updates may not set certificate content"]
    );
    assert_eq!(
        texts(status_update(requests, &issued, &bare)),
        [
            "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
        ]
    );
}

#[test]
fn a_condition_is_dated_when_it_is_told() {
    let mut request = request(json!({"conditions": [{"type": "Approved", "status": "True"}]}));
    CertificateSigningRequest.dated(&mut request, None, "2026-01-01T00:00:00Z");
    let condition = &conditions(&request)[0];
    assert_eq!(condition["lastUpdateTime"], "2026-01-01T00:00:00Z");
    assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
}

#[test]
fn cells_of_a_request() {
    let shown = cells(
        GROUP,
        REQUESTS,
        json!({"spec": {"signerName": "a.example/b", "username": "jane", "expirationSeconds": 3600},
            "status": {"certificate": "eA==", "conditions": [{"type": "Approved"}]}}),
    );
    assert_eq!(shown[2..], ["a.example/b", "jane", "60m", "Approved,Issued"].map(Value::from));
}

fn pem(label: &str, der: &str) -> String {
    format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n")
}

fn encoded(pem: &str) -> String {
    BASE64_STANDARD.encode(pem)
}

fn asks(der: &str) -> String {
    encoded(&pem("CERTIFICATE REQUEST", der))
}

#[test]
fn a_request_is_signed_with_the_key_that_it_is_for() {
    for (name, der, problem) in [
        ("P-256", P256, "x509: ECDSA verification failure"),
        ("P-521", P521, "x509: ECDSA verification failure"),
        ("Ed25519", ED, "x509: Ed25519 verification failure"),
        ("RSA", RSA, "crypto/rsa: verification error"),
    ] {
        let found = |der: &[u8]| read::request(&asks(&BASE64_STANDARD.encode(der)), read::signature);
        let mut der = BASE64_STANDARD.decode(der).unwrap();
        assert_eq!(found(&der), Ok(Ok(())), "{name}");
        // The organization is another one than was signed.
        let at = der.windows(4).position(|word| word == b"devs").unwrap();
        der[at] = b'x';
        assert_eq!(found(&der), Ok(Err(problem)), "{name}");
    }
    // SHA-256 with ECDSA has become SHA-224.
    let mut der = BASE64_STANDARD.decode(P256).unwrap();
    let at = der.windows(3).rposition(|word| word == [4, 3, 2]).unwrap();
    der[at + 2] = 1;
    let unknown = "x509: cannot verify signature: algorithm unimplemented";
    assert_eq!(read::request(&asks(&BASE64_STANDARD.encode(der)), read::signature), Ok(Err(unknown)));
    let told = created(
        GROUP,
        REQUESTS,
        json!({"spec": {"request": asks(NAMES), "usages": ["client auth"], "signerName": "a.example/b"}}),
    );
    assert!(told.is_empty(), "{told:?}");
}

/// Go reads T61 and BMP texts, in which an organization could hide from who looks for `system:masters`.
#[test]
fn organizations_are_read_in_every_form_that_signers_read() {
    let of = |text: &str| {
        let request = json!({"metadata": {"name": "r"}, "spec": {"request": text}});
        organizations(&Object::from_value(request).unwrap())
    };
    let all = ["caf\u{e9}", "system:masters", "plain"].map(str::to_owned);
    assert_eq!(of(&asks(NAMES)), Some(all.to_vec()));
    assert_eq!(of(&asks(HALF)), None, "half a character");
    assert_eq!(of("AAAA"), Some(vec![]));
}

#[test]
fn a_request_has_one_block() {
    let one = pem("CERTIFICATE REQUEST", P256);
    let two = format!("{one}{}", pem("CERTIFICATE REQUEST", NAMES));
    assert_eq!(read::request(&encoded(&two), |_| ()), Err("must hold one PEM block"));
    let led = format!("some text\n{one}more");
    assert_eq!(read::request(&encoded(&led), |_| ()), Ok(()));
}

#[test]
fn what_a_signer_issues_are_certificates() {
    let one = pem("CERTIFICATE", CERT);
    let headers = one.replacen('\n', "\nA: b\n\n", 1);
    let twice = BASE64_STANDARD.encode(BASE64_STANDARD.decode(CERT).unwrap().repeat(2));
    for (text, problem) in [
        (String::new(), None),
        (one.clone(), None),
        (format!("text\n{one}{one}"), None),
        (pem("CERTIFICATE", &twice), None),
        ("text".into(), Some("must contain at least one CERTIFICATE PEM block")),
        (format!("{one}{}", pem("X", CERT)), Some("only CERTIFICATE PEM blocks are allowed, found \"X\"")),
        (headers, Some("no PEM block headers are permitted")),
        (pem("CERTIFICATE", ""), Some("found CERTIFICATE PEM block containing 0 certificates")),
        (format!("{one}{}", pem("CERTIFICATE", "AAAA")), Some("x509: malformed certificate")),
        (pem("CERTIFICATE", P256), Some("x509: malformed certificate")),
    ] {
        assert_eq!(read::certificates(&encoded(&text)).err().as_deref(), problem, "{text}");
    }
}

/// Of the organization `devs`, as the next ones.
const P256: &str = "MIHKMHECAQAwDzENMAsGA1UECgwEZGV2czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFwZumYAkuKSxYWM4rhW1VudMejuHqeBdgFaoYYe/D5w+hwn764fFN1WVjABBzE8X5KpqBOSb+N8kExxmz2Rwf6gADAKBggqhkjOPQQDAgNJADBGAiEAserx4PX+yb9Ksdz2zdPRgGORCshi4XtvcT2DlT9gR/QCIQCql//gn7eHCFlpg/epv7NfcC5pzmUSyxJ8q4ML484aOg==";
/// With SHA-512.
const P521: &str = "MIIBUjCBtAIBADAPMQ0wCwYDVQQKDARkZXZzMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBGhV1ZbSxkAqvUBnFPTiNuyhV9KsaZPcveVr2luyS2g6kLUKdHim+wh+gEl1ZPJfGGxlDf2A1vFVcBHEFGfVZhDEBzmmt3E7ynNKOk5ym1ElxmJdvkUFK+EeO2PqBHbWy8xnzZt4iJMTyfH6vPqI3CoiIUGHVihP9qMciX+bvDke5gI2gADAKBggqhkjOPQQDBAOBjAAwgYgCQgD1g6e/DiOfmkTTNtu/wg+G0fnjF/JBxbHpIO1Jv96csaDIhSU3omu/wliG0fopNGK9nE+qU6toYpBt2/hO1j9BxQJCAfZ3cYnRc8axBoTCGYtZdja/cy5UAQxiOkiOuHxOuHRkVoD7SrkJ5EeHNNBEN9JR3tOk9cAcLbVcKjwtDon/yUK9";
/// Ed25519.
const ED: &str = "MIGOMEICAQAwDzENMAsGA1UECgwEZGV2czAqMAUGAytlcAMhAIL1OSQEJ8x/VjVNYNQuELgL6ysiWsYLImU9uKfowj8ZoAAwBQYDK2VwA0EAqR7fg6rurpzgfNqQBowTKfTs5hIZ/S5BYtWhZAZi+6gwnGvw7ANVmdOP7jybig18Rqywr1pw9rI1ku1uyesqAA==";
/// RSA-2048.
const RSA: &str = "MIICVDCCATwCAQAwDzENMAsGA1UECgwEZGV2czCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBANlCzI0C7yNOUJWvm8jNN6RaXSequiEdUL4sWtBpOuo9USHlhQWZAJXM8ZrDM35Zfjsbt2ktwrWqCIKyBi3VcZayeWfJLc+C08rPzPphMkiaJS+sw8G8d/TdEaT85AahpUCQR93I3X35hUQfEhS+dXNbcEvc527DWAbp2RqYQ8IZx6Gyi7KIevlqWZqzT4pXKOIlANpZ/KtRVIioEVm6SPzsxijzfoM4VbuhuqVNYkXX2265eC0byV2JvOrsR7S9rjryOAbrpLALoSN7p90qjZABmcnTzeAQAHIEsK95QmFph2s/jeLQkG+Ijj5WDU6y7Ah3c0jaZv9W03HOPUILLucCAwEAAaAAMA0GCSqGSIb3DQEBCwUAA4IBAQAdewqJzkNyE90+7UuYv3P8H8ho8jEAlcv9/FTliU6ie3hgUvSiWtHDbfq0Q3833pAj6z4XFvzmefpfwj4oxeb/RAbAUREsqRhchUgPaa6GQBmwozZf4nhEZyrv9uV9mBuBM/p1LxsQHx3XeIoyF4Ne94A8N6v64b1p+HRoquHh1vqq4rIv6a102APXiX2blzP2J2IvRX0JK9h4zHfME5m/9WYpDOsXz0Gc8Tp1eQJBh8eLkli2r9BjYXYW4RhLU6O3b8rZOxeV9u/H/ysHJsuev6YhTRzSlhKJhZsYIeygerbQE0w4RCbFtwP8p2kD4mCLGsbjkfwqp+8boITueeOq";
/// A T61, a BMP and a printable text.
const NAMES: &str = "MIIBAjCBqAIBADBGMQ0wCwYDVQQKFARjYWbpMSUwIwYDVQQKHhwAcwB5AHMAdABlAG0AOgBtAGEAcwB0AGUAcgBzMQ4wDAYDVQQKEwVwbGFpbjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFwZumYAkuKSxYWM4rhW1VudMejuHqeBdgFaoYYe/D5w+hwn764fFN1WVjABBzE8X5KpqBOSb+N8kExxmz2Rwf6gADAKBggqhkjOPQQDAgNJADBGAiEAovF8ZP73Xz431x3ohOZeWKpQ8psm//3kXQ6krIthaMwCIQCHKzuBxnw+zF0etpHU7uZ2GW3KcKC7qNAbuLKncQs91Q==";
/// A BMP text of three bytes.
const HALF: &str = "MIHIMHACAQAwDjEMMAoGA1UECh4DYWJjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXBm6ZgCS4pLFhYziuFbVW50x6O4ep4F2AVqhhh78PnD6HCfvrh8U3VZWMAEHMTxfkqmoE5Jv43yQTHGbPZHB/qAAMAoGCCqGSM49BAMCA0gAMEUCIQDKRmjfN1/GsjXVu9ub23Y3YnANlPH2kxyj/UfkJ/WwaQIgI6np8FgsFjaurEznxBXg/LrsOWVIf0aXW+fWDiQShcA=";
/// Some certificate.
const CERT: &str = "MIIBAzCBq6ADAgECAgEBMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWMwHhcNMjYwMTAxMDAwMDAwWhcNMzYwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXBm6ZgCS4pLFhYziuFbVW50x6O4ep4F2AVqhhh78PnD6HCfvrh8U3VZWMAEHMTxfkqmoE5Jv43yQTHGbPZHB/jAKBggqhkjOPQQDAgNHADBEAiAj+mpH1S37Syp2AN3waVGjmhBMG5sWLj1dN5SrSyRQ3wIgaljDV7GH55ZLYgVPPkn8wKFeu+NcJcs7J2B8Id63VuI=";

//! The file of `--sts-config`: which issuers there are and where their documents are read here, and what each cloud was told.
//!
//! The whole file is read and judged at once, so that a start with a wrong line stops: fields that nobody knows are refused, and
//! what is wrong is told with its line and column.

use std::collections::HashSet;

use serde::Deserialize;
use tokensmith_api::yaml::{self, ConfigError, Placed};

use crate::cloud::Cloud;
use crate::issuers::config::{Issuer, RawIssuer};
use crate::{aws, azure, gcp};

/// What the services are to know.
#[derive(Clone, Debug)]
pub struct StsConfig {
    /// Of the file: the same one says the same.
    pub(crate) digest: [u8; 32],
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) aws: Option<aws::Config>,
    pub(crate) azure: Option<azure::Config>,
    pub(crate) gcp: Option<gcp::Config>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    issuers: Vec<Placed<RawIssuer>>,
    aws: Option<aws::RawConfig>,
    azure: Option<azure::RawConfig>,
    gcp: Option<gcp::RawConfig>,
}

impl StsConfig {
    /// Reads the file. Each of the clouds must have its part there; those of others are judged as well.
    ///
    /// # Errors
    /// It is not what it should be; says where.
    pub fn parse(text: &[u8], clouds: &[Cloud]) -> Result<Self, ConfigError> {
        let raw: Placed<RawConfig> = yaml::config(text)?;
        let there = |cloud: &Cloud| match cloud {
            Cloud::Aws => raw.value.aws.is_some(),
            Cloud::Azure => raw.value.azure.is_some(),
            Cloud::Gcp => raw.value.gcp.is_some(),
        };
        if let Some(missing) = clouds.iter().find(|cloud| !there(cloud)) {
            return Err(raw.refuse(format!("there is no `{missing}:`, which --sts asks for")));
        }
        let RawConfig { issuers, aws, azure, gcp } = raw.value;
        let issuers = Issuer::all(issuers)?;
        let known: HashSet<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        let aws = aws.map(|raw| aws::Config::new(raw, &known)).transpose()?;
        let azure = azure.map(|raw| azure::Config::new(raw, &known)).transpose()?;
        let gcp = gcp.map(|raw| gcp::Config::new(raw, &known)).transpose()?;
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text).as_ref());
        Ok(StsConfig { digest, issuers, aws, azure, gcp })
    }

    /// Whether documents that are to be this server's own (`self`) are those of an issuer of its: the one that signs, or those
    /// that it may become. To be asked before anything is made.
    ///
    /// # Errors
    /// They are another's; says where that is written.
    pub fn check_own(&self, own: &[&str]) -> Result<(), ConfigError> {
        self.issuers.iter().try_for_each(|issuer| issuer.check_own(own))
    }
}

/// Whether it can be a DNS name with a dot in it.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Whether a place stands behind what is wrong, with nothing between them, as in what is said of the form.
    pub(crate) fn is_placed(told: &str) -> bool {
        let said = told.rsplit_once(" at line ").map(|(said, _)| said);
        said.is_some_and(|said| !said.ends_with([',', ':', '.']))
    }

    const GOOD: &str = r#"issuers:
- issuer: https://oidc.example.com
  documents: self
- {issuer: https://elsewhere.example.com/a, documents: "http://127.0.0.1:1/"}
aws:
  oidcProviders:
  - account: "123456789012"
    url: https://oidc.example.com
    clientIdList: [sts.amazonaws.com]
  roles:
  - arn: arn:aws:iam::123456789012:role/reader
    assumeRolePolicyDocument:
      Version: "2012-10-17"
      Statement:
        Effect: Allow
        Principal: {Federated: "arn:aws:iam::123456789012:oidc-provider/oidc.example.com"}
        Action: sts:AssumeRoleWithWebIdentity
        Condition: {StringEquals: {"oidc.example.com:aud": sts.amazonaws.com}}
"#;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let parse = |text: &str| StsConfig::parse(text.as_bytes(), &[Cloud::Aws]).map(drop);
        assert_eq!(parse(GOOD), Ok(()));
        for (from, to, words, place) in [
            ("documents: self", "documents: selfish", "must be `self`", "line 3, column 14"),
            ("documents: self", "document: self", "unknown field `document`", "line 3, column 3"),
            ("documents: self", "documents: self\n  ca: x", "need no `ca`", "line 4, column 7"),
            (
                "https://elsewhere.example.com/a",
                "https://oidc.example.com/",
                "there twice",
                "line 4, column 12",
            ),
            ("https://elsewhere.example.com/a", "http://a.example.com", "https scheme", "line 4, column 12"),
            (
                "https://elsewhere.example.com/a",
                "https://u@a.example.com",
                "without user",
                "line 4, column 12",
            ),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1/?a", "without user, query", "line 4, column 56"),
            ("aws:", "awz:", "unknown field `awz`", "line 5, column 1"),
            ("\"123456789012\"", "\"12345678901\"", "12 digits", "line 7, column 14"),
            ("    url: https://oidc", "    url: http://oidc", "begin with https://", "line 8, column 10"),
            (
                "    url: https://oidc.example.com",
                "    url: https://oidc.example.com:8",
                "without port",
                "line 8, column 10",
            ),
            (
                "    url: https://oidc.example.com",
                "    url: https://oidc.example.com:443/a",
                "without port",
                "line 8, column 10",
            ),
            ("    url: https://oidc", "    url: https://x", "does not say where", "line 8, column 10"),
            ("[sts.amazonaws.com]", "['']", "1 to 255 characters", "line 9, column 19"),
            ("clientIdList", "clientIDList", "unknown field", "line 9, column 5"),
            ("  roles:", "  roles: []\n  roles:", "duplicate", "line 11, column 3"),
            ("role/reader", "user/reader", "no role's ARN", "line 11, column 10"),
            ("role/reader", "role/reader\n    maxSessionDuration: 60", "3600 to 43200", "line 12, column 25"),
            (
                "StringEquals",
                "StringMatches",
                "StringMatches: the operator is not understood",
                "line 13, column 7",
            ),
            ("Effect: Allow", "Effect: Maybe", "Statement 1: Effect", "line 13, column 7"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = parse(&text).expect_err(to).to_string();
            assert!(error.contains(words) && error.contains(place) && is_placed(&error), "{to}: {error}");
        }
        let config = StsConfig::parse(GOOD.as_bytes(), &[Cloud::Aws]).unwrap();
        assert_eq!(config.check_own(&["https://other.example.com", "https://oidc.example.com"]), Ok(()));
        let error = config.check_own(&["https://127.0.0.1:6443"]).unwrap_err().to_string();
        assert!(
            error.contains("--service-account-issuer=https://oidc.example.com")
                && error.contains("\"https://127.0.0.1:6443\"")
                && error.contains("line 3, column 14"),
            "{error}"
        );
        let error = StsConfig::parse(b"issuers: []\n", &[Cloud::Gcp]).unwrap_err().to_string();
        assert!(error.contains("there is no `gcp:`"), "{error}");
        assert!(parse("").is_err() && parse("[]").is_err() && parse(&format!("{GOOD}---\na: 1\n")).is_err());
    }
    /// All three clouds, as JSON: a line for each thing.
    const JSON: &str = r#"{"issuers": [
{"issuer": "https://oidc.example.com", "documents": "self"}],
"aws": {"oidcProviders": [
{"account": "123456789012", "url": "https://oidc.example.com", "clientIdList": ["sts.amazonaws.com"]}],
"roles": [{"arn": "arn:aws:iam::123456789012:role/reader", "assumeRolePolicyDocument":
{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example.com"}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"oidc.example.com:aud": "sts.amazonaws.com"}}}]}}]},
"gcp": {"providers": [
{"name": "projects/1/locations/global/workloadIdentityPools/laptop/providers/cluster", "attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": "https://oidc.example.com"}}],
"serviceAccounts": [{"email": "a@shop.iam.gserviceaccount.com", "policy": {"bindings": [
{"role": "roles/iam.workloadIdentityUser", "members": ["principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/laptop/*"]}]}}]},
"azure": {"tenants": [{"tenantId": "11111111-1111-1111-1111-111111111111", "applications": [
{"appId": "22222222-2222-2222-2222-222222222222", "federatedIdentityCredentials": [
{"name": "cluster", "issuer": "https://oidc.example.com", "subject": "s", "audiences": ["a"]}]}]}]}}"#;

    #[test]
    fn no_misspelling_is_taken_in_json_either() {
        let parse = |text: &str| StsConfig::parse(text.as_bytes(), &[Cloud::Aws, Cloud::Azure, Cloud::Gcp]);
        assert!(parse(JSON).is_ok(), "{:?}", parse(JSON).map(drop));
        for (from, to, words, line) in [
            ("\"issuers\"", "\"issuer\"", "unknown field `issuer`", 1),
            ("\"clientIdList\"", "\"clientIds\"", "unknown field `clientIds`", 4),
            ("\"clientIdList\"", "\"url\": \"https://x\", \"clientIdList\"", "duplicate", 4),
            ("\"arn\": ", "\"ARN\": ", "unknown field `ARN`", 5),
            ("\"Version\"", "\"version\"", "version is not understood", 6),
            ("\"Effect\"", "\"effect\"", "Statement 1: the statement: effect is not understood", 6),
            ("\"Federated\"", "\"Federate\"", "Principal.Federate: it is not understood", 6),
            ("oidc-provider/oidc", "oidc-provider/odic", "is none of oidcProviders", 6),
            ("sts:AssumeRoleWith", "sts:AssumRoleWith", "is no action of a trust policy", 6),
            (
                "\"StringEquals\"",
                "\"StringEqual\"",
                "Condition.StringEqual: the operator is not understood",
                6,
            ),
            ("\"Condition\": {", "\"Condition\": {\"StringEquals\": {}, ", "duplicate", 6),
            ("\"attributeMapping\"", "\"attributeMappings\"", "unknown field `attributeMappings`", 8),
            ("\"issuerUri\"", "\"issuerURI\"", "unknown field `issuerURI`", 8),
            ("\"email\"", "\"mail\"", "unknown field `mail`", 9),
            ("workloadIdentityUser", "workloadIdentityUsers", "no role of IAM is known here", 10),
            ("laptop/*", "labtop/*", "there is no provider of the pool", 10),
            ("principalSet:", "principalset:", "no principal of IAM has this form", 10),
            ("\"tenantId\"", "\"tenantID\"", "unknown field `tenantID`", 11),
            ("\"appId\"", "\"clientId\"", "unknown field `clientId`", 12),
            ("\"subject\"", "\"subjects\"", "unknown field `subjects`", 13),
        ] {
            assert!(JSON.contains(from), "{from}");
            let told = parse(&JSON.replacen(from, to, 1)).map(drop).expect_err(to).to_string();
            let there = told.contains(&format!("line {line}, ")) && is_placed(&told);
            assert!(told.contains(words) && there, "{to}: {told}");
        }
    }
}

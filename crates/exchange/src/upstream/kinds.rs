//! The services: what each is asked, in its own words, and what its answer comes to.

use serde::Deserialize;
use serde_json::json;
use tokensmith_core::Clock;
use url::Url;

use super::answer::{TokenResponse, element, read, refused, senseless, token, until};
use super::web::{Posted, Poster};
use super::{Asked, IssuedToken, UpstreamError};
use crate::subject::Subject;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The three parts of AWS' credentials as JSON, as the SDKs take them from a `credential_process`.
pub(super) const AWS_CREDENTIALS: &str = "urn:tokensmith:params:oauth:token-type:aws-credentials";
pub(super) const VAULT_TOKEN: &str = "urn:tokensmith:params:oauth:token-type:vault-token";
/// What is issued is no access token (RFC 8693 §2.2.1).
pub(super) const NOT_APPLICABLE: &str = "N_A";

/// Which service, and what of the question the policy fixes.
#[derive(Debug)]
pub(super) enum Kind {
    /// STS, `AssumeRoleWithWebIdentity`.
    Aws { endpoint: Url, role_arn: String, session_name: Option<String>, duration_seconds: Option<u32> },
    /// Microsoft Entra's token endpoint with a federated credential.
    Azure { endpoint: Url, client_id: String, scope: Option<String> },
    /// Workload identity federation, and a service account's token if one is named.
    Gcp { endpoint: Url, audience: String, scopes: Vec<String>, impersonate: Option<Impersonate> },
    /// Any token endpoint of RFC 8693.
    Oauth { endpoint: Url, client_id: Option<String>, requested_token_type: Option<String> },
    /// A login of Vault's auth methods `jwt` and `kubernetes`, which ask for the same.
    Vault { endpoint: Url, role: String },
}

/// `generateAccessToken` of Google's IAM credentials.
#[derive(Debug)]
pub(super) struct Impersonate {
    pub(super) endpoint: Url,
    pub(super) scopes: Vec<String>,
    pub(super) lifetime_seconds: u32,
}

impl Kind {
    pub(super) async fn ask(
        &self,
        poster: &Poster,
        subject_token: &str,
        subject: &Subject,
        asked: &Asked<'_>,
        clock: &dyn Clock,
    ) -> Result<IssuedToken, UpstreamError> {
        match self {
            Kind::Aws { endpoint, role_arn, session_name, duration_seconds } => {
                let session = session_name.clone().unwrap_or_else(|| session_of(&subject.sub));
                let duration = duration_seconds.map(|seconds| seconds.to_string());
                let mut fields = vec![
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("Version", "2011-06-15"),
                    ("RoleArn", role_arn),
                    ("RoleSessionName", &session),
                    ("WebIdentityToken", subject_token),
                ];
                fields.extend(duration.as_deref().map(|seconds| ("DurationSeconds", seconds)));
                aws(&poster.form(endpoint, "application/xml, text/xml", &fields).await?, clock.unix())
            }
            Kind::Azure { endpoint, client_id, scope } => {
                let scope = scope.clone().unwrap_or_else(|| asked.scopes.join(" "));
                let fields = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ("client_assertion", subject_token),
                    ("scope", &scope),
                ];
                oauth(read(&poster.form(endpoint, "application/json", &fields).await?)?)
            }
            Kind::Gcp { endpoint, audience, scopes, impersonate } => {
                let scope = if scopes.is_empty() { asked.scopes.join(" ") } else { scopes.join(" ") };
                let fields = [
                    ("grant_type", TOKEN_EXCHANGE),
                    ("audience", audience),
                    ("scope", &scope),
                    ("requested_token_type", ACCESS_TOKEN),
                    ("subject_token", subject_token),
                    ("subject_token_type", JWT),
                ];
                let federated = oauth(read(&poster.form(endpoint, "application/json", &fields).await?)?)?;
                match impersonate {
                    Some(account) => account.ask(poster, &federated.access_token, clock).await,
                    None => Ok(federated),
                }
            }
            Kind::Oauth { endpoint, client_id, requested_token_type } => {
                let scope = asked.scopes.join(" ");
                let mut fields = vec![
                    ("grant_type", TOKEN_EXCHANGE),
                    ("subject_token", subject_token),
                    ("subject_token_type", JWT),
                ];
                fields.extend(asked.audiences.iter().map(|audience| ("audience", audience.as_str())));
                fields.extend(asked.resources.iter().map(|resource| ("resource", resource.as_str())));
                fields.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
                fields.extend(client_id.as_deref().map(|id| ("client_id", id)));
                fields.extend(requested_token_type.as_deref().map(|of| ("requested_token_type", of)));
                let answer: TokenResponse = read(&poster.form(endpoint, "application/json", &fields).await?)?;
                // REQUIRED by RFC 8693 §2.2.1: without it nobody could tell what this is.
                if answer.issued_token_type.is_none() {
                    return Err(senseless("its answer does not say what it has issued"));
                }
                oauth(answer)
            }
            Kind::Vault { endpoint, role } => {
                let body = json!({"role": role, "jwt": subject_token});
                vault(&poster.json(endpoint, None, &body).await?)
            }
        }
    }
}

impl Impersonate {
    async fn ask(
        &self,
        poster: &Poster,
        federated: &str,
        clock: &dyn Clock,
    ) -> Result<IssuedToken, UpstreamError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: String,
            expire_time: String,
        }
        let body = json!({"scope": self.scopes, "lifetime": format!("{}s", self.lifetime_seconds)});
        let answer: Answer = read(&poster.json(&self.endpoint, Some(federated), &body).await?)?;
        Ok(IssuedToken {
            access_token: token(answer.access_token)?,
            issued_token_type: ACCESS_TOKEN.into(),
            token_type: "Bearer".into(),
            expires_in: Some(until(&answer.expire_time, clock.unix())?),
            scope: None,
        })
    }
}

/// A `RoleSessionName` of a subject: what AWS takes of it (`[\w+=,.@-]{2,64}`), the end of it where it is longer.
fn session_of(sub: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let mut name: String = sub.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    name = name.split_off(name.len().saturating_sub(64));
    while name.len() < 2 {
        name.push('-');
    }
    name
}

fn aws(posted: &Posted, now: i64) -> Result<IssuedToken, UpstreamError> {
    let xml = std::str::from_utf8(&posted.body).map_err(|_| senseless("its answer is no text"))?;
    if posted.status.as_u16() != 200 {
        return Err(refused(posted, element(xml, "Code").map(str::to_owned)));
    }
    let part = |name: &str| element(xml, name).ok_or_else(|| senseless("its answer has no credentials"));
    let (id, secret, session) = (part("AccessKeyId")?, part("SecretAccessKey")?, part("SessionToken")?);
    let expiration = part("Expiration")?;
    let credentials = json!({
        "Version": 1,
        "AccessKeyId": id,
        "SecretAccessKey": secret,
        "SessionToken": session,
        "Expiration": expiration,
    });
    Ok(IssuedToken {
        access_token: token(credentials.to_string())?,
        issued_token_type: AWS_CREDENTIALS.into(),
        token_type: NOT_APPLICABLE.into(),
        expires_in: Some(until(expiration, now)?),
        scope: None,
    })
}

fn oauth(answer: TokenResponse) -> Result<IssuedToken, UpstreamError> {
    let word =
        |text: &str| !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic());
    let issued_token_type = answer.issued_token_type.unwrap_or_else(|| ACCESS_TOKEN.to_owned());
    if !word(&answer.token_type) || !word(&issued_token_type) {
        return Err(senseless("its token is of no type"));
    }
    Ok(IssuedToken {
        access_token: token(answer.access_token)?,
        issued_token_type,
        token_type: answer.token_type,
        expires_in: answer.expires_in.map(|seconds| seconds.get()).transpose()?,
        scope: answer.scope,
    })
}

fn vault(posted: &Posted) -> Result<IssuedToken, UpstreamError> {
    #[derive(Deserialize)]
    struct Answer {
        auth: Auth,
    }
    #[derive(Deserialize)]
    struct Auth {
        client_token: String,
        lease_duration: i64,
    }
    let Answer { auth } = read(posted)?;
    Ok(IssuedToken {
        access_token: token(auth.client_token)?,
        issued_token_type: VAULT_TOKEN.into(),
        token_type: NOT_APPLICABLE.into(),
        // Zero is for ever, as root tokens are: nothing to count on here.
        expires_in: Some(auth.lease_duration).filter(|seconds| *seconds > 0),
        scope: None,
    })
}

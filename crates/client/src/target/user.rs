//! What a kubeconfig's user says about who one is (client-go `clientcmd/validation.go` and `client_config.go`).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::{Bearer, Credentials, TargetOptions};
use crate::Error;
use crate::certificate::{Certificate, Pem};
use crate::kubeconfig::{self, ExecConfig, Impersonate, User};
use crate::plugin::{ClusterInfo, Plugin};

/// The credentials that are wanted, or the user's.
pub(super) fn credentials(
    wanted: &TargetOptions,
    user: &User,
    info: impl FnOnce() -> ClusterInfo,
) -> Result<Credentials, Error> {
    let credentials = match (&wanted.token, &wanted.certificate) {
        (None, None) => of_user(user, info)?,
        (token, certificate) => Credentials {
            token: token.clone(),
            certificate: certificate
                .clone()
                .map(|(chain, key)| Certificate { chain: Pem::File(chain), key: Pem::File(key) }),
            ..Credentials::default()
        },
    };
    // What cannot be read now is told now, not at the first request.
    credentials.token.as_ref().map(Bearer::read).transpose()?;
    Ok(credentials)
}

/// Over plain HTTP nobody shows who they are. kubectl does not even look at a kubeconfig's credentials there; those that are
/// given by hand are meant, and to go on as nobody would be something else.
pub(super) fn none_for_http(wanted: &TargetOptions) -> Result<Credentials, Error> {
    let flag = match (&wanted.token, &wanted.certificate) {
        (Some(Bearer::Fixed(_)), _) => "--token",
        (Some(_), _) => "--bearer-token-file",
        (None, Some(_)) => "--client-certificate",
        (None, None) => return Ok(Credentials::default()),
    };
    Err(Error::usage(format!(
        "{flag} is not shown over plain HTTP, where everybody in between reads along: give an https server, or leave the credentials out"
    )))
}

fn of_user(user: &User, info: impl FnOnce() -> ClusterInfo) -> Result<Credentials, Error> {
    let refuse = |text: String| Err(Error::failed(format!("the kubeconfig's user {text}")));
    if let Some(name) = &user.auth_provider {
        return refuse(format!(
            "gets credentials from the auth-provider {name:?}, of which there are none here: use an exec plugin or a token"
        ));
    }
    let token = given(&user.token);
    let basic = (given(&user.username), given(&user.password));
    let basic = (basic != (None, None)).then_some(basic);
    if token.is_some() && basic.is_some() {
        return refuse("has a token and a username or password: only one may be there".into());
    }
    let certificate = certificate(user)?;
    // The file wins over the value (client-go): it is the one that someone renews.
    let token = match (given(&user.token_file), token) {
        (Some(path), Some(token)) => Some(Bearer::FileOr(path.into(), token)),
        (Some(path), None) => Some(Bearer::File(path.into())),
        (None, token) => token.map(Bearer::Fixed),
    };
    let basic = match basic.filter(|_| token.is_none()) {
        Some((name, password)) => {
            let pair = format!("{}:{}", name.unwrap_or_default(), password.unwrap_or_default());
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
                .map_err(|_| Error::failed("the kubeconfig's user cannot be sent"))?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let plugin = match &user.exec {
        Some(exec) => {
            checked(exec)?;
            // Who has credentials at hand asks nobody for more.
            let idle = token.is_some() || certificate.is_some() || basic.is_some();
            let plugin = Plugin::new(exec.clone(), info())?;
            (!idle).then(|| Arc::new(plugin))
        }
        None => None,
    };
    Ok(Credentials { token, certificate, basic, plugin })
}

/// A certificate and its key, each from one place.
fn certificate(user: &User) -> Result<Option<Certificate>, Error> {
    let part = |what: &str, data: &Option<String>, file: &Option<String>| match (given(data), given(file)) {
        (Some(_), Some(_)) => Err(Error::failed(format!(
            "the kubeconfig's user has both {what}-data and {what}: only one may be there"
        ))),
        (Some(data), None) => {
            let data = kubeconfig::data(&data);
            let data =
                data.ok_or_else(|| Error::failed(format!("the kubeconfig's {what}-data is not base64")));
            Ok(Some(Pem::Data(data?)))
        }
        (None, file) => Ok(file.map(|path| Pem::File(path.into()))),
    };
    let chain = part("client-certificate", &user.client_certificate_data, &user.client_certificate)?;
    let key = part("client-key", &user.client_key_data, &user.client_key)?;
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Certificate { chain, key })),
        (None, None) => Ok(None),
        _ => Err(Error::failed(
            "the kubeconfig's user has a client certificate without key, or a key without certificate",
        )),
    }
}

fn checked(exec: &ExecConfig) -> Result<(), Error> {
    let missing = match exec {
        exec if exec.command.is_empty() => "command",
        exec if exec.api_version.is_empty() => "apiVersion",
        exec if exec.env.iter().any(|(name, _)| name.is_empty()) => "the name of a variable in env",
        exec if exec.interactive_mode.is_empty() => "interactiveMode",
        _ => "",
    };
    if !missing.is_empty() {
        return Err(Error::failed(format!("the kubeconfig's exec plugin lacks {missing}")));
    }
    match exec.interactive_mode.as_str() {
        "Never" | "IfAvailable" | "Always" => Ok(()),
        other => Err(Error::failed(format!(
            "the kubeconfig's exec plugin has the interactiveMode {other:?}: it must be Never, IfAvailable or Always"
        ))),
    }
}

/// As whom one asks: each part is the wanted one, or the user's.
pub(super) fn impersonate(wanted: &TargetOptions, user: &User) -> Result<Impersonate, Error> {
    let (wanted, own) = (&wanted.impersonate, &user.impersonate);
    let list = |wanted: &Vec<String>, own: &Vec<String>| {
        if wanted.is_empty() { own.clone() } else { wanted.clone() }
    };
    let mut extra = own.extra.clone();
    extra.extend(wanted.extra.clone());
    let all = Impersonate {
        user: given(&wanted.user).or_else(|| given(&own.user)),
        groups: list(&wanted.groups, &own.groups),
        uid: given(&wanted.uid).or_else(|| given(&own.uid)),
        extra,
    };
    if all.user.is_none() && all != Impersonate::default() {
        return Err(Error::failed(
            "a uid, groups or extra values are to be impersonated without a user: give --as, or `as` in the kubeconfig",
        ));
    }
    Ok(all)
}

fn given(field: &Option<String>) -> Option<String> {
    field.clone().filter(|text| !text.is_empty())
}

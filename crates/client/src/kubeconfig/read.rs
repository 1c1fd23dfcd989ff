//! How a file is read: as client-go's codec does (`clientcmd/latest`), which is YAML 1.1 made JSON, and JSON made Go structs.
//!
//! - Of several documents the first counts, of a repeated key the last one.
//! - `null` is the same as nothing. A value of another type is refused, wherever it is: a number is no string.
//! - A list's names are unique.
//! - Unknown fields are kept by name. kubectl passes over them; who resolves a context refuses those that are in it, since they
//!   say who one is and whom one trusts.
//!
//! What is said of a file has the names of its fields, and never their values.

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use tokensmith_api::yaml;

use super::model::{
    Cluster, Context, ExecConfig, Extension, Impersonate, Kubeconfig, Named, NamedCluster, NamedContext,
    NamedUser, User,
};

/// Go's `base64.StdEncoding`: bits behind the last byte are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Reads a file's content. The error says what is wrong, without values.
pub fn parse(bytes: &[u8]) -> Result<Kubeconfig, String> {
    if bytes.is_empty() {
        return Ok(Kubeconfig::default());
    }
    let read = yaml::parse(bytes).map_err(|e| e.cause().to_owned())?;
    let mut all = Fields::of(read.value, String::new())?;
    let config = Kubeconfig {
        api_version: all.text("apiVersion")?.unwrap_or_default(),
        kind: all.text("kind")?.unwrap_or_default(),
        current_context: all.text("current-context")?.unwrap_or_default(),
        clusters: all.named("clusters", |name, mut entry| {
            let mut cluster = cluster(entry.fields("cluster")?)?;
            cluster.unknown.extend(entry.unknown());
            Ok(NamedCluster { name, cluster })
        })?,
        contexts: all.named("contexts", |name, mut entry| {
            let mut context = context(entry.fields("context")?)?;
            context.unknown.extend(entry.unknown());
            Ok(NamedContext { name, context })
        })?,
        users: all.named("users", |name, mut entry| {
            let mut user = user(entry.fields("user")?)?;
            user.unknown.extend(entry.unknown());
            Ok(NamedUser { name, user })
        })?,
        extensions: all.extensions()?,
    };
    if !matches!(config.api_version.as_str(), "" | "v1") || !matches!(config.kind.as_str(), "" | "Config") {
        return Err("it is of another kind than Config of v1".into());
    }
    Ok(config)
}

/// What base64 in a field stands for. Line breaks in it count for nothing, spaces do.
pub fn data(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64.decode(text).ok()
}

fn cluster(mut from: Fields) -> Result<Cluster, String> {
    // Of before Kubernetes 1.5, and without a meaning since.
    from.0.remove("api-version");
    Ok(Cluster {
        certificate_authority: from.text("certificate-authority")?,
        certificate_authority_data: from.data("certificate-authority-data")?,
        disable_compression: from.flag("disable-compression")?,
        extensions: from.extensions()?,
        insecure_skip_tls_verify: from.flag("insecure-skip-tls-verify")?,
        proxy_url: from.text("proxy-url")?,
        server: from.text("server")?.unwrap_or_default(),
        tls_server_name: from.text("tls-server-name")?,
        unknown: from.unknown(),
    })
}

fn context(mut from: Fields) -> Result<Context, String> {
    from.extensions()?;
    Ok(Context {
        cluster: from.text("cluster")?.unwrap_or_default(),
        namespace: from.text("namespace")?,
        user: from.text("user")?.unwrap_or_default(),
        unknown: from.unknown(),
    })
}

fn user(mut from: Fields) -> Result<User, String> {
    from.extensions()?;
    let auth_provider = match from.optional("auth-provider")? {
        Some(mut provider) => Some(provider.text("name")?.unwrap_or_default()),
        None => None,
    };
    let mut unknown = Vec::new();
    let exec = match from.optional("exec")? {
        Some(fields) => Some(exec(fields, &mut unknown)?),
        None => None,
    };
    Ok(User {
        impersonate: Impersonate {
            user: from.text("as")?,
            groups: from.texts("as-groups")?,
            uid: from.text("as-uid")?,
            extra: from.extra("as-user-extra")?,
        },
        auth_provider,
        client_certificate: from.text("client-certificate")?,
        client_certificate_data: from.data("client-certificate-data")?,
        client_key: from.text("client-key")?,
        client_key_data: from.data("client-key-data")?,
        exec,
        password: from.text("password")?,
        token: from.text("token")?,
        token_file: from.text("tokenFile")?,
        username: from.text("username")?,
        unknown: from.unknown().into_iter().chain(unknown).collect(),
    })
}

fn exec(mut from: Fields, unknown: &mut Vec<String>) -> Result<ExecConfig, String> {
    let mut config = ExecConfig {
        api_version: from.text("apiVersion")?.unwrap_or_default(),
        args: from.texts("args")?,
        command: from.text("command")?.unwrap_or_default(),
        env: Vec::new(),
        install_hint: from.text("installHint")?.unwrap_or_default(),
        interactive_mode: from.text("interactiveMode")?.unwrap_or_default(),
        provide_cluster_info: from.flag("provideClusterInfo")?,
    };
    for (i, mut variable) in from.list("env")?.into_iter().enumerate() {
        let pair = (variable.text("name")?.unwrap_or_default(), variable.text("value")?.unwrap_or_default());
        config.env.push(pair);
        unknown.extend(variable.unknown().into_iter().map(|name| format!("exec.env[{i}].{name}")));
    }
    // SetDefaults_ExecConfig (clientcmd/api/v1/defaults.go)
    if config.interactive_mode.is_empty() && config.api_version == "client.authentication.k8s.io/v1beta1" {
        config.interactive_mode = "IfAvailable".into();
    }
    unknown.extend(from.unknown().into_iter().map(|name| format!("exec.{name}")));
    Ok(config)
}

/// An object's fields that nobody has taken yet, and where it stands in the file.
struct Fields(Map<String, Value>, String);

impl Fields {
    fn of(value: Value, path: String) -> Result<Self, String> {
        match value {
            Value::Null => Ok(Fields(Map::new(), path)),
            Value::Object(map) => Ok(Fields(map, path)),
            _ if path.is_empty() => Err("it holds no fields".into()),
            _ => Err(format!("{path} must have fields")),
        }
    }

    /// A field that is there, and its path.
    fn take(&mut self, name: &str) -> Option<(Value, String)> {
        let value = self.0.remove(name).filter(|value| !value.is_null())?;
        let path = if self.1.is_empty() { name.to_owned() } else { format!("{}.{name}", self.1) };
        Some((value, path))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.take(name).map(|(value, path)| string(value, &path)).transpose()
    }

    fn data(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some((value, path)) = self.take(name) else { return Ok(None) };
        let text = string(value, &path)?;
        match data(&text) {
            Some(_) => Ok(Some(text)),
            None => Err(format!("{path} is not base64")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name) {
            None => Ok(false),
            Some((Value::Bool(value), _)) => Ok(value),
            Some((_, path)) => Err(format!("{path} must be true or false")),
        }
    }

    fn items(&mut self, name: &str) -> Result<Vec<(Value, String)>, String> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some((Value::Array(items), path)) => {
                let place = |(i, item)| (item, format!("{path}[{i}]"));
                Ok(items.into_iter().enumerate().map(place).collect())
            }
            Some((_, path)) => Err(format!("{path} must be a list")),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        self.items(name)?.into_iter().map(|(item, path)| string(item, &path)).collect()
    }

    fn list(&mut self, name: &str) -> Result<Vec<Fields>, String> {
        self.items(name)?.into_iter().map(|(item, path)| Fields::of(item, path)).collect()
    }

    fn optional(&mut self, name: &str) -> Result<Option<Fields>, String> {
        self.take(name).map(|(value, path)| Fields::of(value, path)).transpose()
    }

    fn fields(&mut self, name: &str) -> Result<Fields, String> {
        let path = format!("{}.{name}", self.1);
        Ok(self.optional(name)?.unwrap_or(Fields(Map::new(), path)))
    }

    fn extra(&mut self, name: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut all = BTreeMap::new();
        if let Some(mut fields) = self.optional(name)? {
            for key in fields.0.keys().cloned().collect::<Vec<_>>() {
                all.insert(key.clone(), fields.texts(&key)?);
            }
        }
        Ok(all)
    }

    /// A list whose entries have names of their own.
    fn named<T: Named>(
        &mut self,
        name: &str,
        each: impl Fn(String, Fields) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut seen = HashSet::new();
        let all: Vec<T> = self
            .list(name)?
            .into_iter()
            .map(|mut entry| each(entry.text("name")?.unwrap_or_default(), entry))
            .collect::<Result<_, _>>()?;
        match all.iter().find(|entry| !seen.insert(entry.name().to_owned())) {
            Some(twice) => Err(format!("{name} has two entries with the name {:?}", twice.name())),
            None => Ok(all),
        }
    }

    fn extensions(&mut self) -> Result<Vec<Extension>, String> {
        self.named("extensions", |name, mut entry| {
            Ok(Extension { name, extension: entry.take("extension").map(|(v, _)| v).unwrap_or_default() })
        })
    }

    fn unknown(self) -> Vec<String> {
        self.0.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect()
    }
}

fn string(value: Value, path: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        _ => Err(format!("{path} must be text: put it in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn types_are_gos_and_values_are_not_told() {
        for (text, said) in [
            ("users: [{name: a, user: {token: 4711}}]", "users[0].user.token must be text: put it in quotes"),
            ("users: [{name: a, user: {as: yes}}]", "users[0].user.as must be text: put it in quotes"),
            ("users: [{name: a, user: {as-groups: a}}]", "users[0].user.as-groups must be a list"),
            (
                "users: [{name: a, user: {exec: {env: [{value: 1}]}}}]",
                "users[0].user.exec.env[0].value must be text: put it in quotes",
            ),
            (
                "clusters: [{cluster: {insecure-skip-tls-verify: 'true'}}]",
                "clusters[0].cluster.insecure-skip-tls-verify must be true or false",
            ),
            (
                "clusters: [{cluster: {certificate-authority-data: 'QQ == '}}]",
                "clusters[0].cluster.certificate-authority-data is not base64",
            ),
            ("clusters: {a: b}", "clusters must be a list"),
            ("contexts: [{name: a}, {name: a}]", "contexts has two entries with the name \"a\""),
            ("just text", "it holds no fields"),
            ("{apiVersion: v2, kind: Config}", "it is of another kind than Config of v1"),
            ("{apiVersion: v1, kind: Pod}", "it is of another kind than Config of v1"),
        ] {
            assert_eq!(refused(text), said, "{text}");
        }
    }

    #[test]
    fn nulls_repeats_and_more_documents_are_passed_over() {
        let text = "---\nkind: null\nusers: null\nclusters:\n- name: a\n  cluster:\n    server: one\n    server: two\n    certificate-authority-data: |\n      QUFB\n      QkJC\n---\nclusters: []\n";
        let read = parse(text.as_bytes()).unwrap();
        let cluster = &read.clusters[0].cluster;
        assert_eq!(cluster.server, "two");
        assert_eq!(data(cluster.certificate_authority_data.as_ref().unwrap()).unwrap(), b"AAABBB");
        assert!(parse(b"").unwrap().clusters.is_empty());
        assert!(parse(b"---\n").unwrap().clusters.is_empty());
    }

    #[test]
    fn what_kubernetes_does_not_have_is_kept_by_name() {
        let text = "users: [{name: a, user: {As: jane, exec: {comand: x, env: [{name: A, value: b}, {name: C, vaule: d, x: null}], apiVersion: client.authentication.k8s.io/v1beta1}}}]\nclusters: [{cluster: {api-version: v1, insecure: true, x: null}}]";
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(read.users[0].user.unknown, ["As", "exec.env[1].vaule", "exec.comand"]);
        assert_eq!(read.users[0].user.exec.as_ref().unwrap().interactive_mode, "IfAvailable");
        assert_eq!(read.clusters[0].cluster.unknown, ["insecure"]);
    }
}

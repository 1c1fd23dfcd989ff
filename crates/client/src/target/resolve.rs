//! From a kubeconfig to its context, and from there to cluster and user (client-go `clientcmd/client_config.go`).

use super::cluster;
use super::files::{self, Environment, Origin};
use super::{Target, TargetOptions, Trust, parse_url, user};
use crate::Error;
use crate::kubeconfig::{self, Cluster, Context, Kubeconfig, Named, NamedCluster, User};
use crate::proxy::{Proxy, Route};

impl Target {
    /// Finds the server that is wanted.
    ///
    /// # Errors
    /// Nothing names a server, a name is not in the kubeconfig, a file cannot be read, or a field cannot be honoured.
    pub fn resolve(wanted: &TargetOptions) -> Result<Target, Error> {
        resolve_with(wanted, &Environment::of_the_process())
    }

    /// Whom to trust and which way to go for what is not the server's: the cluster's, without a server being wanted. Without
    /// a kubeconfig these are the system's; one that is there and cannot be honoured is not passed over.
    ///
    /// # Errors
    /// As of [`Target::resolve`], where it is about the cluster.
    pub fn surroundings(wanted: &TargetOptions) -> Result<(Trust, Route), Error> {
        surroundings_with(wanted, &Environment::of_the_process())
    }
}

fn surroundings_with(wanted: &TargetOptions, environment: &Environment) -> Result<(Trust, Route), Error> {
    let (config, origin) = files::read(wanted, environment)?;
    let (_, cluster) = cluster_in(&config, wanted, &origin)?;
    let nowhere = Cluster::default();
    let cluster = cluster.map_or(&nowhere, |named| &named.cluster);
    Ok((cluster::trust(wanted, cluster)?.0, route(wanted, cluster)?))
}

/// The context and the cluster that count.
fn cluster_in<'a>(
    config: &'a Kubeconfig,
    wanted: &TargetOptions,
    origin: &Origin,
) -> Result<(Option<&'a Context>, Option<&'a NamedCluster>), Error> {
    let context =
        named(&config.contexts, "context", wanted.context.as_deref(), &config.current_context, origin)?;
    let context = context.map(|named| &named.context);
    known(context.map(|context| &context.unknown), "context", origin)?;
    let of_context = context.map(|context| context.cluster.as_str()).unwrap_or_default();
    let cluster = named(&config.clusters, "cluster", wanted.cluster.as_deref(), of_context, origin)?;
    known(cluster.map(|named| &named.cluster.unknown), "cluster", origin)?;
    Ok((context, cluster))
}

fn route(wanted: &TargetOptions, cluster: &Cluster) -> Result<Route, Error> {
    let proxy = match (&wanted.proxy_url, &cluster.proxy_url) {
        (Some(url), _) => Some((url, "--proxy-url")),
        (None, Some(url)) => Some((url, "the kubeconfig's proxy-url")),
        (None, None) => None,
    };
    Ok(match proxy.filter(|(url, _)| !url.is_empty()) {
        Some((url, by)) => Route::Proxy(Proxy::parse(url, by)?),
        None => Route::of_the_process(),
    })
}

pub(super) fn resolve_with(wanted: &TargetOptions, environment: &Environment) -> Result<Target, Error> {
    let (config, origin) = files::read(wanted, environment)?;
    let (context, cluster) = cluster_in(&config, wanted, &origin)?;
    let of_context = context.map(|context| context.user.as_str()).unwrap_or_default();
    let user = named(&config.users, "user", wanted.user.as_deref(), of_context, &origin)?;
    known(user.map(|named| &named.user.unknown), "user", &origin)?;

    let nobody = User::default();
    let (nowhere, elsewhere) = (Cluster::default(), wanted.server.as_deref().filter(|s| !s.is_empty()));
    let in_config = cluster.map_or(&nowhere, |named| &named.cluster);
    let server = match (elsewhere, in_config.server.as_str()) {
        (Some(server), _) => parse_url(server, "--server")?,
        (None, "") => return Err(Error::failed(no_server(wanted, &config, &origin))),
        (None, server) => parse_url(server, &format!("the server of the cluster in {origin}"))?,
    };
    let route = route(wanted, in_config)?;
    let (trust, server_name) = cluster::trust(wanted, in_config)?;
    let in_config_user = user.map_or(&nobody, |named| &named.user);
    let info = || cluster::info(&server, in_config, &trust, server_name.as_deref(), &route);
    let credentials = match server.scheme() {
        "https" => user::credentials(wanted, in_config_user, info)?,
        _ => user::none_for_http(wanted)?,
    };
    Ok(Target {
        credentials,
        impersonate: user::impersonate(wanted, in_config_user)?,
        request_timeout: wanted.request_timeout,
        user: user.map(|named| named.name.clone()).unwrap_or_default(),
        namespace: wanted
            .namespace
            .clone()
            .or_else(|| context.and_then(|c| c.namespace.clone()))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "default".into()),
        server,
        trust,
        server_name,
        route,
    })
}

/// The entry that is wanted, or that the context names. One that is named and not there is refused: kubectl would go on as
/// nobody, or to `localhost:8080`.
fn named<'a, T: Named>(
    list: &'a [T],
    what: &str,
    wanted: Option<&str>,
    otherwise: &str,
    origin: &Origin,
) -> Result<Option<&'a T>, Error> {
    let name = wanted.filter(|name| !name.is_empty()).unwrap_or(otherwise);
    match kubeconfig::find(list, name) {
        None if !name.is_empty() => Err(Error::failed(format!("there is no {what} {name:?} in {origin}"))),
        found => Ok(found),
    }
}

/// A field that Kubernetes does not have may be a misspelt one: who one is must not hang on that.
fn known(unknown: Option<&Vec<String>>, what: &str, origin: &Origin) -> Result<(), Error> {
    match unknown.map(|unknown| unknown.join(", ")) {
        Some(names) if !names.is_empty() => Err(Error::failed(format!(
            "the {what} in {origin} has fields that kubeconfigs do not have: {names}"
        ))),
        _ => Ok(()),
    }
}

/// What is missing for a server, and how to mend just that.
fn no_server(wanted: &TargetOptions, config: &Kubeconfig, origin: &Origin) -> String {
    match origin {
        Origin::Nowhere(path) => format!(
            "no server to talk to: there is no {}; start `tokensmith serve` here, or give --server, --kubeconfig or --data-dir, or set KUBECONFIG",
            path.display()
        ),
        Origin::List { missing, none: true } => {
            let names: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            let files = if names.len() == 1 { "a file that is" } else { "files that are" };
            let mend = match wanted.fallback.is_file() {
                true => format!("unset it for {}", wanted.fallback.display()),
                false => "give --server".to_owned(),
            };
            format!("KUBECONFIG names {files} not there ({}): set it right, or {mend}", names.join(", "))
        }
        _ => {
            let contexts: Vec<_> = config.contexts.iter().take(MOST).map(|c| c.name.as_str()).collect();
            let more = if config.contexts.len() > MOST { ", …" } else { "" };
            let mend = match contexts.is_empty() {
                true => "it has no context; give another kubeconfig, or --server".to_owned(),
                false => format!(
                    "choose a context with --context ({}{more}), or give --server",
                    contexts.join(", ")
                ),
            };
            format!("{origin} names no server: {mend}")
        }
    }
}

/// So many contexts are listed.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::target::Bearer;

    const DATA: &str = "admin.kubeconfig";

    fn write(dir: &Path, name: &str, server: &str) -> PathBuf {
        let path = dir.join(name);
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: {server}, certificate-authority-data: Q0E=}}}}]\nusers: [{{name: u, user: {{token: t0ken}}}}]\ncontexts: [{{name: c, context: {{cluster: a, user: u, namespace: team}}}}]\ncurrent-context: c\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn wanted(dir: &Path) -> TargetOptions {
        TargetOptions { fallback: dir.join(DATA), ..TargetOptions::default() }
    }

    fn environment(dir: &Path, kubeconfig: &[PathBuf]) -> Environment {
        Environment { kubeconfig: kubeconfig.to_vec(), home: None, service: None, account: dir.to_path_buf() }
    }

    #[test]
    fn what_is_named_then_kubeconfig_then_the_fallback() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let flagged = write(dir, "flagged", "https://flagged:1");
        let listed = write(dir, "listed", "https://listed:1");
        write(dir, DATA, "https://data:1");
        let mut wanted = wanted(dir);
        let host = |t: Target| t.server.host_str().unwrap().to_owned();

        assert_eq!(host(resolve_with(&wanted, &environment(dir, &[])).unwrap()), "data");
        let list = environment(dir, &[dir.join("absent"), listed]);
        assert_eq!(host(resolve_with(&wanted, &list).unwrap()), "listed");
        wanted.kubeconfig = Some(flagged);
        assert_eq!(host(resolve_with(&wanted, &list).unwrap()), "flagged");
        wanted.server = Some("https://given:1".into());
        let target = resolve_with(&wanted, &list).unwrap();
        assert_eq!(target.trust, Trust::Authority(b"CA".to_vec()));
        assert_eq!(target.credentials.token, Some(Bearer::Fixed("t0ken".into())));
        assert_eq!(target.namespace, "team");
        assert_eq!(host(target), "given");
    }

    #[test]
    fn inside_a_pod_its_own_account_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (name, text) in [("token", "t0ken\n"), ("ca.crt", "CA"), ("namespace", "payments")] {
            fs::write(dir.join(name), text).unwrap();
        }
        let mut inside = environment(dir, &[]);
        inside.service = Some(("fd00::1".into(), "443".into()));
        let target = resolve_with(&wanted(dir), &inside).unwrap();
        assert_eq!(target.server.as_str(), "https://[fd00::1]/");
        assert_eq!(target.credentials.token, Some(Bearer::File(dir.join("token"))));
        assert_eq!(target.credentials.token.unwrap().read().unwrap(), "t0ken");
        assert_eq!((target.trust, target.namespace.as_str()), (Trust::Authority(b"CA".to_vec()), "payments"));
        // What someone started here comes first.
        write(dir, DATA, "https://data:1");
        let target = resolve_with(&wanted(dir), &inside).unwrap();
        assert_eq!(target.server.as_str(), "https://data:1/");
    }

    #[test]
    fn credentials_that_are_given_are_not_dropped_for_plain_http() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, DATA, "http://data:1");
        let none = environment(dir, &[]);
        // kubectl does not even look at those of a kubeconfig.
        assert!(!resolve_with(&wanted(dir), &none).unwrap().credentials.is_some());
        let file = Some(Bearer::File("absent".into()));
        let token = Some(Bearer::Fixed("t0ken".into()));
        let certificate = Some(("absent".into(), "absent".into()));
        for (token, certificate, flag) in [
            (file, None, "--bearer-token-file"),
            (token.clone(), None, "--token"),
            (None, certificate.clone(), "--client-certificate"),
            (token, certificate, "--token"),
        ] {
            let wanted = TargetOptions { token, certificate, ..wanted(dir) };
            let told = format!(
                "{flag} is not shown over plain HTTP, where everybody in between reads along: give an https server, or leave the credentials out"
            );
            assert_eq!(resolve_with(&wanted, &none).unwrap_err(), Error::Usage(told));
        }
    }

    #[test]
    fn who_wants_no_server_still_has_the_kubeconfig_read() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let none = environment(dir, &[]);
        let found = |wanted: &TargetOptions| surroundings_with(wanted, &none).map_err(|e| e.to_string());
        assert!(matches!(found(&wanted(dir)), Ok((Trust::System, Route::Environment(_)))));

        let cluster = |fields: &str| {
            let text = format!(
                "clusters: [{{name: a, cluster: {{{fields}}}}}]\ncontexts: [{{name: c, context: {{cluster: a, user: gone}}}}]\ncurrent-context: c\n"
            );
            fs::write(dir.join(DATA), text).unwrap();
        };
        cluster("server: no url, certificate-authority-data: Q0E=, proxy-url: 'socks5://p:1'");
        let (trust, route) = found(&wanted(dir)).unwrap();
        assert_eq!(trust, Trust::Authority(b"CA".to_vec()));
        assert!(matches!(route, Route::Proxy(proxy) if proxy.url() == "socks5://p:1"));
        let other = TargetOptions { proxy_url: Some("http://q:2".into()), ..wanted(dir) };
        assert!(matches!(found(&other).unwrap().1, Route::Proxy(proxy) if proxy.url() == "http://q:2"));

        for (fields, why) in [
            ("certificate-authority: absent", "cannot read "),
            ("certificate-authority-data: '!'", "certificate-authority-data is not base64"),
            ("certificate-authorty: ca.crt", "fields that kubeconfigs do not have: certificate-authorty"),
            ("proxy-url: 'ftp://p'", "the kubeconfig's proxy-url names a proxy of the scheme \"ftp\""),
        ] {
            cluster(fields);
            let error = found(&wanted(dir)).unwrap_err();
            assert!(error.contains(why), "{fields}: {error}");
        }
        let other = TargetOptions { context: Some("gone".into()), ..wanted(dir) };
        assert!(found(&other).unwrap_err().starts_with("there is no context \"gone\" in "));
        fs::write(dir.join(DATA), "clusters: [").unwrap();
        assert!(found(&wanted(dir)).unwrap_err().contains("is not a kubeconfig"));
    }

    #[test]
    fn no_server_is_told_by_what_is_missing_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let told = |wanted: &TargetOptions, environment: &Environment| {
            let error = resolve_with(wanted, environment).unwrap_err().to_string();
            error.replace(dir.to_str().unwrap(), "DIR")
        };
        let (absent, empty, many) = (dir.join("absent"), dir.join("empty"), dir.join("many"));
        fs::write(&empty, "").unwrap();
        let contexts: String = (0..9).map(|n| format!("{{name: c{n}, context: {{cluster: a}}}}, ")).collect();
        fs::write(&many, format!("contexts: [{contexts}]\n")).unwrap();
        let list = |paths: &[&PathBuf]| {
            environment(dir, &paths.iter().map(|path| (*path).clone()).collect::<Vec<_>>())
        };
        let nothing =
            "KUBECONFIG names a file that is not there (DIR/absent): set it right, or give --server";
        assert_eq!(told(&wanted(dir), &list(&[&absent])), nothing);
        let none = "KUBECONFIG (not there: DIR/absent) names no server: it has no context; give another kubeconfig, or --server";
        assert_eq!(told(&wanted(dir), &list(&[&absent, &empty])), none);
        let choose = "choose a context with --context (c0, c1, c2, c3, c4, c5, c6, c7, …), or give --server";
        assert_eq!(told(&wanted(dir), &list(&[&many])), format!("KUBECONFIG names no server: {choose}"));
        let named = TargetOptions { kubeconfig: Some(many.clone()), ..wanted(dir) };
        assert_eq!(told(&named, &list(&[&absent])), format!("DIR/many names no server: {choose}"));
        // What is there is not said to be missing.
        let mut at_home = environment(dir, &[]);
        at_home.home = Some(many.clone());
        assert_eq!(told(&wanted(dir), &at_home), format!("DIR/many names no server: {choose}"));
        let context = TargetOptions { context: Some("x".into()), ..wanted(dir) };
        let gone = "there is no context \"x\" in DIR/admin.kubeconfig, which is not there";
        assert_eq!(told(&context, &environment(dir, &[])), gone);
        let gone = "there is no context \"x\" in KUBECONFIG (not there: DIR/absent)";
        assert_eq!(told(&context, &list(&[&absent])), gone);
        write(dir, DATA, "https://data:1");
        let beside = "KUBECONFIG names files that are not there (DIR/absent, DIR/absent): set it right, or unset it for DIR/admin.kubeconfig";
        assert_eq!(told(&wanted(dir), &list(&[&absent, &absent])), beside);
    }

    #[test]
    fn says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut wanted = wanted(dir);
        let none = environment(dir, &[]);
        let error = resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("no server to talk to: there is no "), "{error}");
        write(dir, DATA, "https://data:1");
        wanted.context = Some("prod".into());
        let error = resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("there is no context \"prod\" in "), "{error}");
        wanted.context = None;
        wanted.token = Some(Bearer::File(dir.join("absent")));
        let error = resolve_with(&wanted, &none).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        wanted.token = None;
        wanted.server = Some("localhost:8080".into());
        assert!(matches!(resolve_with(&wanted, &none), Err(Error::Usage(_))));
    }
}

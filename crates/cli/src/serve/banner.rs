//! What a start prints: where it listens, the issuer, and three commands to try next.

use std::path::Path;

use tokensmith_core::keys::issuer::check_discovery;
use tokensmith_federation::Cloud;

use super::flags::ServeArgs;
use super::tls::Local;
use crate::client::flags::DATA_DIR;
use crate::files::absolute;
use crate::logs;
use crate::output::{mention, shell};

/// Prints it. The commands need nothing but this binary, and work when pasted into a second terminal.
pub(super) fn print(
    args: &ServeArgs,
    url: &str,
    here: &Local,
    issuer: &str,
    kubeconfig: &Path,
    sts: Option<&str>,
) {
    let exchange = args.exchange_policy_file.as_ref().map(|_| format!("{url}/oauth2/token"));
    if logs::as_json() {
        let kubeconfig = absolute(kubeconfig).display().to_string();
        tracing::info!(
            url,
            issuer,
            kubeconfig,
            sts,
            exchange,
            version = env!("CARGO_PKG_VERSION"),
            "tokensmith listens"
        );
        return;
    }
    let mut text =
        format!("tokensmith {} listens on {url}\nissuer      {issuer}\n", env!("CARGO_PKG_VERSION"));
    text += &format!("discovery   {}\n", discovery(args, issuer));
    if let Some(socket) = &args.external_signer_socket {
        text += &format!("signer      {socket}\n");
    }
    if let Some(url) = sts {
        let clouds: Vec<_> = args.sts.sts.iter().map(|cloud| Cloud::from(*cloud).name()).collect();
        text += &format!("sts         {url} ({})\n", clouds.join(", "));
    }
    if let (Some(endpoint), Some(policy)) = (&exchange, &args.exchange_policy_file) {
        text += &format!("exchange    {endpoint} (policy {})\n", policy.display());
    }
    if let Some(names) = &here.given {
        text += &format!("certificate {names}\n");
    }
    text += &format!("kubeconfig  {}\n", absolute(kubeconfig).display());
    let me = std::env::args_os()
        .next()
        .map_or_else(|| "tokensmith".into(), |me| me.to_string_lossy().into_owned());
    let me = shell(&me);
    // The default place is found without being told.
    let found = args.data_dir == Path::new(DATA_DIR) && args.kubeconfig.is_none() && !args.ephemeral;
    let place = match found && std::env::var_os("KUBECONFIG").is_none() {
        true => String::new(),
        false => format!(" --kubeconfig {}", shell(&absolute(kubeconfig).to_string_lossy())),
    };
    text += &format!(
        "\nTry next, in a second terminal:\n  {me} token create default{place}\n  {me} token create default --audience vault --duration 10m{place} | {me} token inspect --server --audience vault{place}\n  {me} keys list{place}\n\n"
    );
    mention(&text);
}

/// Whether outsiders can read discovery: an oauth2-proxy or a Vault that cannot, says no more than 403.
fn discovery(args: &ServeArgs, issuer: &str) -> String {
    match check_discovery(issuer) {
        Err(cause) => format!("none: {cause}; verifiers find no keys by this issuer"),
        Ok(()) if args.anonymous_oidc => "open to everyone".into(),
        Ok(()) => "for clients with credentials; --anonymous-oidc opens it to verifiers that have none (they get a 403)".into(),
    }
}

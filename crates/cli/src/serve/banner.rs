//! What a start prints: where it listens, the issuer, and three commands to try next.

use std::path::Path;

use super::flags::ServeArgs;
use crate::client::flags::DATA_DIR;
use crate::files::absolute;
use crate::output::shell;

/// Prints it. The commands need nothing but this binary, and work when pasted into a second terminal.
pub(super) fn print(args: &ServeArgs, url: &str, issuer: &str, kubeconfig: &Path) {
    println!("tokensmith {} listens on {url}", env!("CARGO_PKG_VERSION"));
    println!("issuer      {issuer}");
    if let Some(socket) = &args.external_signer_socket {
        println!("signer      {socket}");
    }
    println!("kubeconfig  {}", absolute(kubeconfig).display());
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
    println!("\nTry next, in a second terminal:");
    println!("  {me} token create default{place}");
    println!(
        "  {me} token create default --audience vault --duration 10m{place} | {me} token inspect --server --audience vault{place}"
    );
    println!("  {me} keys list{place}\n");
}

//! What SIGHUP has read anew, and what is said of it: each file that was, each that stays as it was, and why.

use std::path::Path;

use tokensmith_core::access::authenticators::TokenFile;

use super::flags::ServeArgs;
use crate::files;

/// Tells how it went with the TLS settings, which are made of all their files or stay.
pub(super) fn tls(args: &ServeArgs, renewed: Result<(), String>) {
    let files = [&args.tls_cert_file, &args.tls_private_key_file, &args.client_ca_file];
    let files: Vec<_> = files.into_iter().flatten().map(|path| path.as_path()).collect();
    let named = list(&files);
    match (renewed, files.len()) {
        (Ok(()), 0) => tracing::info!("made the serving certificate anew"),
        (Ok(()), _) => tracing::info!("reloaded {named}"),
        (Err(cause), 0) => tracing::error!(cause, "the serving certificate stays as it was"),
        (Err(cause), 1) => tracing::error!(cause, "{named} stays as it was"),
        (Err(cause), _) => tracing::error!(cause, "{named} stay as they were"),
    }
}

/// Reads the users anew; a file that is wrong changes nothing.
pub(super) fn users(path: Option<&Path>, file: Option<&TokenFile>) {
    let Some((path, file)) = path.zip(file) else { return };
    let judged = files::check_given(path).map_err(|e| e.to_string());
    let text = judged.and_then(|_| std::fs::read_to_string(path).map_err(|e| e.to_string()));
    match text.and_then(|text| file.reload(&text).map_err(|e| e.to_string())) {
        Ok(()) => tracing::info!("reloaded {}", path.display()),
        Err(cause) => tracing::error!(cause, "{} stays as it was", path.display()),
    }
}

/// Tells which files only a start reads: who has changed one must not wait for it.
pub(super) fn tell_of_the_rest(args: &ServeArgs) {
    let keys = &args.keys;
    let rest = [&args.admin_token_file, &args.token_profile_file, &keys.service_account_signing_key_file];
    let rest = rest.into_iter().flatten().chain(&keys.service_account_key_file);
    let rest: Vec<_> = rest.map(|path| path.as_path()).collect();
    if !rest.is_empty() {
        tracing::info!("only a restart reads {} anew", list(&rest));
    }
}

/// `a`, `a and b`, `a, b and c`.
fn list(files: &[&Path]) -> String {
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

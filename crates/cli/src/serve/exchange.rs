//! `--exchange-policy-file`: read before anything is made, and again on SIGHUP.

use std::path::Path;
use std::sync::Arc;

use tokensmith::{ExchangePolicies, ExchangePolicyError};

use super::flags::ServeArgs;
use super::keys;
use crate::failure::Failure;
use crate::files;

/// The policy.
///
/// # Errors
/// The file cannot be read, or makes no sense; says which place of it.
pub(super) fn read(path: &Path) -> Result<Arc<ExchangePolicies>, Failure> {
    let read = ExchangePolicies::open(&keys::read(path)?, folder(path)).map_err(|e| named(path, &e))?;
    judge(&read)?;
    Ok(read)
}

/// Why a server cannot have it.
pub(super) fn refused(args: &ServeArgs, e: &ExchangePolicyError) -> Failure {
    named(args.exchange_policy_file.as_deref().unwrap_or(Path::new("")), e)
}

/// Reads it again. What cannot be used leaves the old one in force, and shows in the metrics.
pub(super) fn reload(path: Option<&Path>, policies: Option<&ExchangePolicies>) {
    let Some((path, policies)) = path.zip(policies) else { return };
    let judged = files::check_given(path).map_err(|e| e.to_string());
    let text = judged.and_then(|_| std::fs::read(path).map_err(|e| e.to_string()));
    let done = match text {
        Ok(text) => {
            let judged = ExchangePolicies::open(&text, folder(path)).map_err(|e| e.to_string());
            let judged = judged.and_then(|read| judge(&read).map_err(|e| e.to_string()));
            match judged {
                Ok(()) => policies.reload(&text).map_err(|e| e.to_string()),
                Err(cause) => {
                    policies.unreadable();
                    Err(cause)
                }
            }
        }
        Err(cause) => {
            policies.unreadable();
            Err(cause)
        }
    };
    match done {
        Ok(()) => tracing::info!("reloaded {}", path.display()),
        Err(cause) => tracing::error!(cause, "{} stays as it was", path.display()),
    }
}

/// Judges who may write the files that it names.
fn judge(policies: &ExchangePolicies) -> Result<(), Failure> {
    policies.files().iter().try_for_each(|path| files::check_given(path).map(drop))
}

/// What paths in it are relative to.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn named(path: &Path, e: &ExchangePolicyError) -> Failure {
    Failure::failed(format!("the exchange policy {} cannot be used: {e}", path.display()))
}

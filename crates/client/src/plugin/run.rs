//! How the program is found and run.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokensmith_api::GoDuration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::Error;
use crate::kubeconfig::ExecConfig;

/// No answer is anywhere near this.
const MAX_OUTPUT: u64 = 1 << 20;

/// Whether it gets our standard input.
pub(super) fn interactive(config: &ExecConfig) -> Result<bool, Error> {
    let terminal = std::io::stdin().is_terminal();
    match config.interactive_mode.as_str() {
        "Always" if !terminal => Err(Error::failed(format!(
            "getting credentials: exec plugin {} cannot support interactive mode: standard input is not a terminal",
            config.command
        ))),
        "Always" => Ok(true),
        "IfAvailable" => Ok(terminal),
        _ => Ok(false),
    }
}

/// What it writes to its standard output.
pub(super) async fn run(
    config: &ExecConfig,
    info: &str,
    interactive: bool,
    limit: Option<Duration>,
) -> Result<Vec<u8>, Error> {
    let failed =
        |why: &str| Error::failed(format!("getting credentials: exec: executable {} {why}", config.command));
    let program = find(&config.command, env::var_os("PATH")).ok_or_else(|| not_found(config))?;
    let mut child = Command::new(program)
        .args(&config.args)
        .envs(config.env.iter().map(|(name, value)| (name, value)))
        .env("KUBERNETES_EXEC_INFO", info)
        .stdin(if interactive { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(&format!("cannot be run: {e}")))?;
    let Some(output) = child.stdout.take() else { return Err(failed("has no output")) };
    let work = async {
        let mut bytes = Vec::new();
        let read = output.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await;
        read.map_err(|e| failed(&format!("cannot be read from: {e}")))?;
        if bytes.len() as u64 > MAX_OUTPUT {
            return Err(failed("writes far too much"));
        }
        let status = child.wait().await.map_err(|e| failed(&format!("cannot be waited for: {e}")))?;
        match status.code() {
            Some(0) => Ok(bytes),
            Some(code) => Err(failed(&format!("failed with exit code {code}"))),
            None => Err(failed("was ended by a signal")),
        }
    };
    match limit {
        Some(limit) => timeout(limit, work).await.unwrap_or_else(|_| {
            let waited =
                i64::try_from(limit.as_nanos()).map_or(GoDuration::default(), GoDuration::from_nanos);
            Err(failed(&format!("gave no answer within {waited}: --request-timeout lets it take longer")))
        }),
        None => work.await,
    }
}

/// A name is looked for in `PATH`, in folders that are named in full: nothing is run because of where one stands.
fn find(command: &str, path: Option<OsString>) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(|path| runs(path));
    }
    let path = path.unwrap_or_default();
    let mut found = env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(command));
    found.find(|path| runs(path))
}

fn not_found(config: &ExecConfig) -> Error {
    // Escape sequences of a terminal are shown, not obeyed (clientcmd's cleanANSIEscapeCodes).
    let hint: String = config.install_hint.chars().map(shown).collect();
    let hint = match hint.trim() {
        "" => "the kubeconfig's user gets its credentials from it: install it, or give another --user".into(),
        hint => hint.to_owned(),
    };
    Error::failed(format!("getting credentials: exec: executable {} not found: {hint}", config.command))
}

fn shown(c: char) -> String {
    match c {
        c if c.is_control() && !c.is_whitespace() => format!("U+{:04X}", u32::from(c)),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_name_is_found_in_path_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a-plugin");
        fs::write(&at, "#!/bin/sh\n").unwrap();
        let path = |dirs: &[&Path]| Some(env::join_paths(dirs).unwrap());
        assert_eq!(find("a-plugin", path(&[dir.path()])), None, "nobody may run it");
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("a-plugin", path(&[Path::new("/nowhere"), dir.path()])), Some(at.clone()));
        assert_eq!(find("a-plugin", path(&[Path::new("."), Path::new("")])), None);
        assert_eq!(find(at.to_str().unwrap(), None), Some(at));
    }

    #[test]
    fn a_hint_cannot_speak_to_the_terminal() {
        let config = ExecConfig {
            command: "x".into(),
            install_hint: "\u{1b}[1mbrew\n".into(),
            ..ExecConfig::default()
        };
        let said = not_found(&config).to_string();
        assert_eq!(said, "getting credentials: exec: executable x not found: U+001B[1mbrew");
    }
}

//! The audit log: one JSON line per request that mints, reviews, revokes or signs. Never a token.

use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::Serialize;

/// A line. Empty fields are left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// RFC 3339.
    pub time: String,
    /// As in the reply's `Audit-Id`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `mint`, `review`, `revoke`, `sign` for a token that an API server had signed over the signer's socket, or
    /// `keys.…` for what operators do to the key ring.
    pub action: &'static str,
    /// Who asked.
    pub user: String,
    /// The real user, when the request impersonated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub impersonated_by: String,
    /// For whom: the account, or whose token it was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What the token is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// `Pod/web`; of a revocation `Pod/NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bound_object: String,
    /// `jti`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// The key that signed, or is revoked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kid: String,
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// Why not; of a revocation also why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The HTTP status.
    pub code: u16,
    /// From the request's arrival to the decision.
    pub latency_micros: u64,
}

/// Where lines go. A thread of its own writes them, so a slow disk delays nobody until the queue is full.
pub struct Audit {
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

/// As many lines may wait.
const QUEUE: usize = 16_384;

impl Audit {
    /// Writes to `out`.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn to(mut out: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel::<Vec<u8>>(QUEUE);
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || {
            while let Ok(line) = queue.recv() {
                // One write per line: lines of several processes on one file do not mix.
                if let Err(e) = out.write_all(&line).and_then(|()| out.flush()) {
                    tracing::error!(cause = %e, "an audit line was lost");
                }
            }
        })?;
        Ok(Audit { lines: Some(lines), writer: Some(writer) })
    }

    /// Hands over a line.
    pub fn write(&self, line: &Line) {
        let Some(lines) = &self.lines else { return };
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        // Only a writer that has ended refuses, and then the process is ending too.
        let _ = lines.send(bytes);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

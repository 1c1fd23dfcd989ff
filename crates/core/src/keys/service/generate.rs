//! Making keys, away from the tasks that answer requests.

use tokio::sync::oneshot;
use tracing::Span;

use crate::keys::{Algorithm, KeyError, PrivateKey};

/// How soon a key is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keys) enum Haste {
    /// Somebody waits for it.
    Now,
    /// It is to stand by: making it takes only what CPU time requests leave.
    Spare,
}

/// Makes a key. An RSA key takes up to seconds of CPU, so each is made on a thread of its own.
pub(in crate::keys) async fn generate(algorithm: Algorithm, haste: Haste) -> Result<PrivateKey, KeyError> {
    let (done, made) = oneshot::channel();
    let span = Span::current();
    let work = move || {
        let _on_behalf_of = span.enter();
        // Elsewhere the whole process would step back. A thread that may not makes its key all the same.
        if haste == Haste::Spare && cfg!(target_os = "linux") {
            let _ = rustix::process::nice(LEAST);
        }
        // Who asked may be gone: then the key is wiped.
        let _ = done.send(PrivateKey::generate(algorithm));
    };
    let failed = || KeyError::Generate(algorithm);
    std::thread::Builder::new().name("key-maker".into()).spawn(work).map_err(|_| failed())?;
    made.await.map_err(|_| failed())?
}

/// The niceness of who comes last: about a seventieth of the CPU that everyone else gets, if all want it.
const LEAST: i32 = 19;

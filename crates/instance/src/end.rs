//! The end of a server that has a store: within its grace time, whatever the disk does. A thread that hangs in a write is
//! left behind: whoever waits for it has not been told that it was written.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::EndError;

/// How long what is left may take, once no request is served any more.
pub const GRACE: Duration = Duration::from_secs(5);

/// Does the last work, then lets go of the rest, which may join threads.
///
/// # Errors
/// It took too long, or panicked: the caller is to end the process, and its exit code tells.
pub async fn within<R: Send + 'static>(
    grace: Duration,
    work: impl Future<Output = ()>,
    rest: R,
) -> Result<(), EndError> {
    let mut rest = Some(rest);
    let done = tokio::time::timeout(grace, async {
        work.await;
        let (done, waiting) = oneshot::channel();
        let rest = rest.take();
        // A thread of its own: one of the runtime's would be missed.
        let thread = std::thread::Builder::new().name("end".into()).spawn(move || {
            drop(rest);
            let _ = done.send(());
        });
        thread.is_ok() && waiting.await.is_ok()
    });
    let done = done.await;
    // To drop it would wait for the very thread that hangs.
    std::mem::forget(rest);
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(EndError::Broken),
        Err(_) => Err(EndError::Hangs { seconds: grace.as_secs() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Joined by its drop, as the store's writer.
    struct Joins(Option<std::thread::JoinHandle<()>>);

    impl Drop for Joins {
        fn drop(&mut self) {
            if let Some(thread) = self.0.take() {
                let _ = thread.join();
            }
        }
    }

    fn thread() -> (mpsc::Sender<()>, Joins) {
        let (end, ended) = mpsc::channel();
        (
            end,
            Joins(Some(std::thread::spawn(move || {
                let _ = ended.recv();
            }))),
        )
    }

    #[tokio::test]
    async fn a_thread_that_hangs_does_not_keep_the_process() {
        let short = Duration::from_millis(50);
        let (_hangs, rest) = thread();
        let late = within(short, std::future::pending(), rest).await.unwrap_err();
        assert!(late.to_string().contains("the disk has not answered"), "{late}");
        let (_hangs, rest) = thread();
        assert!(within(short, std::future::ready(()), rest).await.is_err());
        let (ends, rest) = thread();
        drop(ends);
        assert!(within(GRACE, std::future::ready(()), rest).await.is_ok());
    }
}

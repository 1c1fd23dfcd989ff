//! Connections for answers that go on for long.
//!
//! A server lets only so many requests be open on one connection of HTTP/2 (kube-apiserver 100 to 1,000, hyper 200). Watches
//! would fill it, and everything else would wait behind them for ever: so they get connections of their own, and never more
//! on one than any server bears.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::transport::Transport;

/// Watches on one connection.
const MOST: usize = 80;

/// HTTP clients, each with a connection of its own.
#[derive(Default)]
pub(crate) struct Watching(Mutex<Vec<Connection>>);

struct Connection {
    http: Transport,
    open: Arc<AtomicUsize>,
}

/// A place on a connection, until it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Watching {
    /// Connections with room for one more, made if there are none.
    pub(crate) fn place(&self, make: impl FnOnce() -> Transport) -> (Transport, Place) {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let found = all.iter().find(|connection| connection.open.load(Ordering::Relaxed) < MOST);
        let connection = match found {
            Some(connection) => connection,
            None => {
                all.push(Connection { http: make(), open: Arc::default() });
                &all[all.len() - 1]
            }
        };
        // Only here, under the lock, does it rise.
        connection.open.fetch_add(1, Ordering::Relaxed);
        (connection.http.clone(), Place(connection.open.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Route;
    use crate::transport::Setup;
    use crate::{Trust, tls};

    #[tokio::test]
    async fn a_full_connection_gets_company() {
        let (watching, mut made) = (Watching::default(), 0);
        let tls = tls::config(&Trust::Anyone, None).unwrap();
        let setup = Setup { tls, server_name: None, route: Route::Direct };
        let mut place = || {
            watching
                .place(|| {
                    made += 1;
                    Transport::new(&setup)
                })
                .1
        };
        let mut places: Vec<Place> = (0..2 * MOST).map(|_| place()).collect();
        places.truncate(MOST);
        places.extend((0..MOST).map(|_| place()));
        drop(places);
        assert_eq!(made, 2);
    }
}

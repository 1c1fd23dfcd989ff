//! The signer behind its socket: an end to each call.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_listen::{Bounds, Connection, Listening, RequestBody, Serve};
use tokio::sync::watch;
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::service;
use crate::{ExternalSigner, Socket};

/// What may be taken of the signer. An API server has one connection, with one call for each token.
fn bounds() -> Bounds {
    let most = 64;
    let bounds = Bounds {
        connections: most,
        // All have the same user, and none an address.
        per_address: most,
        silent: most / 2,
        greeted: most / 2,
        http1: false,
        head: Duration::from_secs(10),
        header_bytes: 16 << 10,
        streams: 128,
        // An API server keeps its connection for ever.
        idle_http2: Duration::MAX,
        drain: Duration::from_secs(15),
        ..Bounds::default()
    };
    bounds.within_descriptors()
}

/// A call ends by then, done or not; reading its message counts.
const DEADLINE: Duration = Duration::from_secs(10);

/// The services, with a deadline.
#[derive(Clone)]
struct Calls {
    routes: Routes,
    clock: Arc<dyn Clock>,
}

impl Serve for Calls {
    type Client = ();
    type Body = tonic::body::Body;

    fn connected(&self, _: Connection) {}

    async fn answer(&self, request: Request<RequestBody>, _: Arc<()>) -> Response<tonic::body::Body> {
        tokio::select! {
            answered = self.routes.clone().oneshot(request) => match answered {
                Ok(answer) => answer,
                Err(never) => match never {},
            },
            () = self.clock.sleep(DEADLINE) => {
                Status::deadline_exceeded("the call took too long").into_http()
            }
        }
    }
}

/// Serves until `stop` turns true, then takes the socket away and lets the open calls end.
pub async fn serve(
    socket: Socket,
    signer: Arc<ExternalSigner>,
    supervisor: Arc<Supervisor>,
    stop: watch::Receiver<bool>,
) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let calls = Calls { routes: service::routes(signer), clock: clock.clone() };
    let (stats, task) = (Arc::default(), Task::Signer);
    let how = Listening { bounds: bounds(), tls: None, clock, stats, supervisor, task };
    tokensmith_listen::serve(socket, calls, how, stop).await;
}

//! The listener: one for all services, whose paths do not collide.
//!
//! A body is read only where a service has the path, and no more of it than any service takes. An answer comes in time, also
//! where an issuer's does not. What comes to nothing here (a body that is too long, an answer that is late, a panic) is told by the
//! service, as its cloud tells errors. Connections are [`tokensmith_listen`]'s.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::Keys;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_core::{Clock, random};
use tokensmith_listen::{Bounds, Connection, Listening, RequestBody, Serve, Stats, TcpAccept, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::answer;
use crate::aws::Aws;
use crate::azure::Azure;
use crate::cloud::{Cloud, Failure, Means, Secret, Service};
use crate::config::StsConfig;
use crate::gcp::Gcp;
use crate::issuers::{Issuers, Places, SetupError};

/// No request is longer: a token of 20,000 characters, a policy and more.
pub(crate) const MAX_BODY: usize = 128 << 10;
/// No answer takes longer: an issuer has five seconds for each of its two documents.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the services stand on.
pub struct Ground {
    /// The server's time.
    pub clock: Arc<dyn Clock>,
    /// The server's keys, for the issuer whose documents are `self`.
    pub keys: Arc<Keys>,
    /// The URL by which clients reach the listener, without a stroke at its end.
    pub url: String,
    /// Who counts the answers.
    pub counted: Counted,
}

/// Told of each answer: which service, and the HTTP status.
pub type Counted = Box<dyn Fn(Cloud, u16) + Send + Sync>;

/// The services.
pub struct Sts {
    clouds: Vec<Cloud>,
    ground: Ground,
    secret: Arc<Secret>,
    issuers: Arc<Issuers>,
    live: ArcSwap<Live>,
}

/// What goes by one configuration.
struct Live {
    /// Of its file.
    digest: [u8; 32],
    services: Services,
}

type Services = Vec<Box<dyn Service>>;

impl Sts {
    /// Sets up the services of these clouds. Nothing is fetched before the first token.
    ///
    /// # Errors
    /// This server's documents are not those of an issuer that has them, or no documents can be fetched at all.
    pub fn new(config: StsConfig, clouds: &[Cloud], ground: Ground) -> Result<Arc<Self>, SetupError> {
        let secret = Arc::new(Secret(random::bytes()));
        let places = Places::new(&config.issuers, &ground.keys, &Places::default())?;
        let issuers = Arc::new(Issuers::new(places));
        let live = ArcSwap::from_pointee(live(config, clouds, &ground, &secret, &issuers));
        Ok(Arc::new(Sts { clouds: clouds.to_vec(), ground, secret, issuers, live }))
    }

    /// Goes by another configuration from the next request on. Credentials that were given out stay good for their time, and the
    /// keys of issuers whose documents stay where they are for theirs. The same file changes nothing.
    ///
    /// # Errors
    /// As [`Self::new`]; all stays as it was.
    pub fn reload(&self, config: StsConfig) -> Result<(), SetupError> {
        if self.live.load().digest == config.digest {
            return Ok(());
        }
        let places = Places::new(&config.issuers, &self.ground.keys, &self.issuers.places())?;
        self.issuers.replace(places);
        self.live.store(Arc::new(live(config, &self.clouds, &self.ground, &self.secret, &self.issuers)));
        Ok(())
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body_util::BodyExt<Data = Bytes> + Unpin + Send,
    {
        let live = self.live.load_full();
        let path = request.uri().path();
        let Some(service) = live.services.iter().find(|service| service.owns(path)) else {
            // A path may be anything, so the log has none.
            tracing::info!(method = %request.method(), "a request is refused: no service of --sts has its path");
            return answer::text(StatusCode::NOT_FOUND, "no service of --sts has this path\n").map(Full::new);
        };
        let response = answered(&**service, request).await;
        (self.ground.counted)(service.cloud(), response.status().as_u16());
        response.map(Full::new)
    }
}

fn live(
    config: StsConfig,
    clouds: &[Cloud],
    ground: &Ground,
    secret: &Arc<Secret>,
    issuers: &Arc<Issuers>,
) -> Live {
    let StsConfig { digest, issuers: _, aws, azure, gcp } = config;
    let means = Means {
        clock: ground.clock.clone(),
        issuers: issuers.clone(),
        secret: secret.clone(),
        url: ground.url.as_str().into(),
    };
    let on = |cloud| clouds.contains(&cloud);
    let mut services: Services = Vec::new();
    if let Some(config) = aws.filter(|_| on(Cloud::Aws)) {
        services.push(Box::new(Aws::new(config, means.clone())));
    }
    if let Some(config) = gcp.filter(|_| on(Cloud::Gcp)) {
        services.push(Box::new(Gcp::new(config, means.clone())));
    }
    if let Some(config) = azure.filter(|_| on(Cloud::Azure)) {
        services.push(Box::new(Azure::new(config, means)));
    }
    Live { digest, services }
}

/// Reads the body and has the service answer, both in time.
async fn answered<B>(service: &dyn Service, request: Request<B>) -> Response<Bytes>
where
    B: http_body_util::BodyExt<Data = Bytes> + Unpin + Send,
{
    let until = Instant::now().checked_add(DEADLINE);
    let until = until.expect("there is an instant in twenty seconds");
    let (parts, body) = request.into_parts();
    let id = service.id(&parts.headers);
    let body = timeout_at(until, whole(body)).await.unwrap_or(Err(Failure::Slow));
    let answered = async {
        let request = Request::from_parts(parts, body?);
        let answered = AssertUnwindSafe(service.answer(request)).catch_unwind();
        let answered = timeout_at(until, answered).await.map_err(|_| Failure::TimedOut)?;
        answered.map_err(|_| Failure::Internal)
    };
    answered.await.unwrap_or_else(|failure| service.failed(failure, id))
}

/// Reads a body.
async fn whole<B>(mut body: B) -> Result<Bytes, Failure>
where
    B: http_body_util::BodyExt<Data = Bytes> + Unpin + Send,
{
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::BrokeOff)?.into_data() else { continue };
        if data.len() > MAX_BODY.saturating_sub(read.len()) {
            return Err(Failure::TooLong);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

#[derive(Clone)]
struct Served(Arc<Sts>);

impl Serve for Served {
    type Client = ();
    type Body = Full<Bytes>;

    fn connected(&self, _: Connection) {}

    async fn answer(&self, request: Request<RequestBody>, _: Arc<()>) -> Response<Full<Bytes>> {
        self.0.answer(request).await
    }
}

/// Serves until `stop` turns true, then lets the open requests end.
pub async fn serve(
    listener: TcpListener,
    sts: Arc<Sts>,
    tls: Tls,
    stats: Arc<Stats>,
    supervisor: Arc<Supervisor>,
    stop: watch::Receiver<bool>,
) {
    let bounds =
        Bounds { connections: 1024, per_address: 768, silent: 256, greeted: 256, ..Bounds::default() };
    // Clients have clocks of their own: a test clock that stands still would let none of them be late.
    let clock = Arc::new(SystemClock::new());
    let how = Listening {
        bounds: bounds.within_descriptors(),
        tls: Some(tls),
        clock,
        stats,
        supervisor,
        task: Task::Sts,
    };
    tokensmith_listen::serve(TcpAccept(listener), Served(sts), how, stop).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use http::HeaderMap;
    use http_body_util::combinators::UnsyncBoxBody;
    use http_body_util::{BodyExt, Limited, StreamBody};
    use uuid::Uuid;

    use super::*;

    /// Says how long a body is, or fails as the body's first word wants it.
    #[derive(Default)]
    struct Fake(Mutex<Option<(Failure, Option<Uuid>)>>);

    #[async_trait]
    impl Service for Fake {
        fn cloud(&self) -> Cloud {
            Cloud::Aws
        }

        fn owns(&self, _: &str) -> bool {
            true
        }

        fn id(&self, headers: &HeaderMap) -> Option<Uuid> {
            headers.get("id")?.to_str().ok()?.parse().ok()
        }

        async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
            match &request.body()[..] {
                b"hang" => std::future::pending().await,
                b"panic" => panic!("as it was told"),
                body => Response::new(body.len().to_string().into()),
            }
        }

        fn failed(&self, failure: Failure, id: Option<Uuid>) -> Response<Bytes> {
            *self.0.lock().unwrap() = Some((failure, id));
            Response::new(Bytes::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_to_nothing_the_service_tells() {
        type Error = Box<dyn std::error::Error + Send + Sync>;
        let id = Uuid::from_u128(7);
        let ask = async |body: UnsyncBoxBody<Bytes, Error>| {
            let fake = Fake::default();
            let request = Request::post("/").header("id", id.to_string()).body(body).unwrap();
            let response = answered(&fake, request).await;
            let failed = fake.0.lock().unwrap().take();
            failed.ok_or_else(|| String::from_utf8(response.into_body().to_vec()).unwrap())
        };
        let full = |text: String| Full::new(Bytes::from(text)).map_err(Error::from);
        let failed = |failure| Ok((failure, Some(id)));
        assert_eq!(ask(full("x".repeat(MAX_BODY)).boxed_unsync()).await, Err(MAX_BODY.to_string()));
        assert_eq!(ask(full("x".repeat(MAX_BODY + 1)).boxed_unsync()).await, failed(Failure::TooLong));
        assert_eq!(ask(full("hang".into()).boxed_unsync()).await, failed(Failure::TimedOut));
        assert_eq!(ask(full("panic".into()).boxed_unsync()).await, failed(Failure::Internal));
        let never = StreamBody::new(futures::stream::pending());
        assert_eq!(ask(never.boxed_unsync()).await, failed(Failure::Slow));
        let broken = Limited::new(full("x".into()), 0);
        assert_eq!(ask(broken.boxed_unsync()).await, failed(Failure::BrokeOff));
    }
}

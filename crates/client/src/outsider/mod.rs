//! An issuer's documents as somebody fetches them who has no account: no credentials, no proxy, any certificate, with all
//! that came with the answer. For looking at an issuer, never for believing it: [`Web`](crate::Web) is for that.
//!
//! What an issuer can cost is bounded: the time of a request, the bytes of an answer, the number of its redirects. And it
//! cannot send us where only we can go (see [`Fence`]): names are looked up here, judged, and connected to as they were judged.

mod fence;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, redirect};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use tokensmith_core::Clock;

pub use fence::{Fence, Reach};
pub use reqwest::Url;
pub use tls::{Judged, Shown};

use crate::Error;
use crate::tls::{add, system};
use crate::unreachable::cause;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// As many as Go's client follows.
const MAX_HOPS: usize = 10;

/// Fetches as an outsider does.
pub struct Outsider {
    judges: Arc<tls::Judges>,
    names: Arc<dyn Names>,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

/// Where a name leads. The real one asks the system; a test's has a public address for a server of its own.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses of a host.
    ///
    /// # Errors
    /// It has none.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<Place>>;
}

/// An address, and where its connections go: the same, but in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What counts for [`Reach`].
    pub address: IpAddr,
    /// What is connected to.
    pub socket: SocketAddr,
}

/// The system's names.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<Place>> {
        let found = tokio::net::lookup_host((host, port)).await?;
        Ok(found.map(|socket| Place { address: socket.ip(), socket }).collect())
    }
}

/// What is asked for, and how.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// GET, or HEAD.
    pub head: bool,
    /// `Accept`
    pub accept: &'a str,
    /// How many bytes are read of the answer.
    pub longest: usize,
}

/// What came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The last answer's status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was read.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub cut: bool,
    /// Where it led to, in turn.
    pub hops: Vec<Url>,
    /// What the first server's TLS was like; `None` over plain http.
    pub tls: Option<Shown>,
    /// How long all of it took.
    pub took: Duration,
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A document leads where it must not.
    #[error(
        "{url} leads to {address}, which is {reach} to us, and the issuer itself is not there: not followed"
    )]
    Fenced {
        /// What was named.
        url: String,
        /// Where that is.
        address: IpAddr,
        /// Who can reach it.
        reach: Reach,
    },
    /// The time was over.
    #[error("{0} has not answered in full within {1:?}")]
    Late(String, Duration),
    /// More redirects than any client follows.
    #[error("{0} redirects more than {MAX_HOPS} times")]
    Loops(String),
    /// The name leads nowhere.
    #[error("{0} has no address: {1}")]
    Nameless(String, String),
    /// A redirect to what is no URL of http.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// No connection, or one that broke.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
}

impl Outsider {
    /// With the system's CAs, and with one in `authority` (PEM) besides. `patience` is for each question.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(
        authority: Option<&[u8]>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Outsider, Error> {
        Self::with(system(), authority, Arc::new(SystemNames), clock, patience)
    }

    /// With these CAs for the system's, and these names.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn with(
        system: impl IntoIterator<Item = CertificateDer<'static>>,
        authority: Option<&[u8]>,
        names: Arc<dyn Names>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Outsider, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system);
        let given = |pem: &[u8]| {
            let mut roots = RootCertStore::empty();
            add(&mut roots, &mut Vec::new(), pem)?;
            Ok::<_, Error>(roots)
        };
        let judges = Arc::new(tls::Judges::new(roots, authority.map(given).transpose()?)?);
        Ok(Outsider { judges, names, clock, patience })
    }

    /// The fence around what the user has named, which may be anywhere; and its addresses.
    ///
    /// # Errors
    /// It leads nowhere.
    pub async fn around(&self, url: &Url) -> Result<(Fence, Vec<IpAddr>), Trouble> {
        let late = |_| Trouble::Late(url.to_string(), self.patience);
        let places = tokio::time::timeout(self.patience, self.places(url, None)).await.map_err(late)??;
        let addresses: Vec<IpAddr> = places.iter().map(|place| place.address).collect();
        Ok((Fence::around(&addresses), addresses))
    }

    /// Asks, and follows where the answer leads, within the fence.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, url: &Url, question: Question<'_>, fence: &Fence) -> Result<Answer, Trouble> {
        let asked = self.follow(url, question, fence);
        let late = |_| Trouble::Late(url.to_string(), self.patience);
        tokio::time::timeout(self.patience, asked).await.map_err(late)?
    }

    async fn follow(&self, url: &Url, question: Question<'_>, fence: &Fence) -> Result<Answer, Trouble> {
        let begun = self.clock.monotonic();
        let (mut at, mut hops, mut first) = (url.clone(), Vec::new(), None);
        loop {
            let places = self.places(&at, Some(fence)).await?;
            let (mut response, tls) = self.send(&at, question, &places).await?;
            first.get_or_insert(tls);
            if let Some(next) = moved(&at, &response)? {
                if hops.len() == MAX_HOPS {
                    return Err(Trouble::Loops(url.to_string()));
                }
                hops.push(next.clone());
                at = next;
                continue;
            }
            let (mut body, mut cut) = (Vec::new(), false);
            while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(&at, &e))? {
                let room = question.longest - body.len();
                cut = chunk.len() > room;
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if cut {
                    break;
                }
            }
            return Ok(Answer {
                status: response.status(),
                headers: response.headers().clone(),
                body,
                cut,
                hops,
                tls: first.flatten(),
                took: self.clock.monotonic().saturating_sub(begun),
            });
        }
    }

    /// Where a URL leads: what is not let through is refused, whichever of its addresses it is.
    async fn places(&self, url: &Url, fence: Option<&Fence>) -> Result<Vec<Place>, Trouble> {
        let unfit = || Trouble::Url(url.to_string());
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).ok_or_else(unfit)?;
        let port = url.port_or_known_default().ok_or_else(unfit)?;
        let nameless = |e: io::Error| Trouble::Nameless(host.to_owned(), e.to_string().replace('\n', " "));
        let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let places = match literal {
            Some(address) => vec![Place { address, socket: SocketAddr::new(address, port) }],
            None => self.names.look_up(host, port).await.map_err(nameless)?,
        };
        if places.is_empty() {
            return Err(Trouble::Nameless(host.to_owned(), "the name is known, and has none".into()));
        }
        let outside = fence.and_then(|fence| places.iter().find(|place| !fence.lets(place.address)));
        match outside {
            Some(Place { address, .. }) => {
                Err(Trouble::Fenced { url: url.to_string(), address: *address, reach: Reach::of(*address) })
            }
            None => Ok(places),
        }
    }

    /// One request over a connection of its own, to the places that were judged and no others.
    async fn send(
        &self,
        url: &Url,
        question: Question<'_>,
        places: &[Place],
    ) -> Result<(reqwest::Response, Option<Shown>), Trouble> {
        let failed = |why: String| Trouble::Unreachable(url.to_string(), why);
        let (config, seen) = self.judges.config().map_err(|e| failed(e.to_string()))?;
        let sockets: Vec<SocketAddr> = places.iter().map(|place| place.socket).collect();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(crate::transport::AGENT)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &sockets)
            .build()
            .map_err(|e| failed(cause(&e)))?;
        let method = if question.head { Method::HEAD } else { Method::GET };
        let sent = http.request(method, url.clone()).header(ACCEPT, question.accept).send().await;
        Ok((sent.map_err(|e| self.broken(url, &e))?, seen.shown()))
    }

    fn broken(&self, url: &Url, error: &reqwest::Error) -> Trouble {
        match error.is_timeout() {
            true => Trouble::Late(url.to_string(), self.patience.min(CONNECT)),
            false => Trouble::Unreachable(url.to_string(), cause(error)),
        }
    }
}

/// Where an answer sends us, if it does.
fn moved(from: &Url, response: &reqwest::Response) -> Result<Option<Url>, Trouble> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(to) = response.headers().get(LOCATION) else { return Ok(None) };
    let to = String::from_utf8_lossy(to.as_bytes());
    from.join(&to).map(Some).map_err(|_| Trouble::Url(to.into_owned()))
}

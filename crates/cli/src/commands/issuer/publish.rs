//! `tokensmith issuer publish`: the documents as files, once or kept current.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use time::Duration;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::supervise;

use super::documents::{self, DISCOVERY, Discovery};
use super::site::Site;
use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::client::http::{Client, Document};
use crate::client::target::Trust;
use crate::commands::staying;
use crate::duration::{DurationError, GoDuration, typed};
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  # what a bucket is to serve under the issuer's URL
  tokensmith issuer publish ./site

  # beside the server, until it is told to stop
  tokensmith issuer publish /srv/www --watch --interval 30s

Serve openid-configuration and jwks as application/json, with a Cache-Control of no more than the server's max-age.";

/// Write the discovery document and the key set to a directory for static hosting.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    /// What is served under the issuer's URL; made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Publish for this issuer alone. Default: the one that DIR is for already
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,

    /// Keep the files current until SIGTERM or SIGINT
    #[arg(long)]
    watch: bool,

    /// How often to ask the server for news
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "watch", value_parser = interval)]
    interval: Interval,

    #[command(flatten)]
    client: ClientFlags,
}

/// With bounds of its own.
#[derive(Clone, Copy, Debug)]
struct Interval(GoDuration);

fn interval(text: &str) -> Result<Interval, NoInterval> {
    match typed(text)? {
        given if given.is_whole() && (1..=86_400).contains(&given.whole_seconds()) => Ok(Interval(given)),
        _ => Err(NoInterval::OutOfRange),
    }
}

#[derive(Debug, thiserror::Error)]
enum NoInterval {
    #[error(transparent)]
    Duration(#[from] DurationError),
    #[error("use whole seconds from 1s to 24h")]
    OutOfRange,
}

/// The longest pause while the server is away.
const LONGEST: Duration = Duration::minutes(5);

impl PublishArgs {
    /// Publishes, once or for as long as it may.
    ///
    /// # Errors
    /// The server cannot be reached (with `--watch`: refuses from the start), its documents are no good, or the directory
    /// cannot be written.
    pub async fn run(self) -> Result<(), Failure> {
        // A wrong server is no reason to make a directory.
        let client = self.connect()?;
        let mut publisher = Publisher {
            site: Site::open(&self.dir)?,
            wanted: self.issuer.clone(),
            discovery: None,
            keys: None,
            warned: false,
        };
        if self.watch {
            self.keep(client, publisher).await
        } else {
            let changes = publisher.round(&client).await.map_err(|t| t.failure)?;
            match changes.is_empty() {
                true => Ok(output::print_text(&format!("{} is current\n", publisher.site.name().display()))?),
                false => Ok(output::print_text(&lines(&changes))?),
            }
        }
    }

    /// A connection that nobody can have tampered with: what comes over it is what others will trust.
    fn connect(&self) -> Result<Client, Failure> {
        let target = self.client.target()?;
        let host = target.server.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !local && (target.server.scheme() != "https" || target.trust == Trust::Anyone) {
            return Err(Failure::guard(format!(
                "whoever is between here and {} could publish keys of their own: use https, and --certificate-authority if its CA is not known here",
                target.server.origin().ascii_serialization()
            )));
        }
        connect(&target)
    }

    /// Rounds until a signal. Trouble that may pass is told once and waited out; other trouble ends it only before
    /// anything has been published.
    async fn keep(&self, client: Client, mut publisher: Publisher) -> Result<(), Failure> {
        let end = staying::end()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let usual = Duration::seconds(self.interval.0.whole_seconds());
        let (mut client, mut pause, mut told, mut began) = (Some(client), usual, None::<String>, false);
        let rounds = async {
            loop {
                let done = match &client {
                    // The next round may go well: nothing is written in part.
                    Some(client) => supervise::attempt(publisher.round(client)).await.unwrap_or_else(|| {
                        Err(Trouble { failure: Failure::failed("a round has panicked"), passes: true })
                    }),
                    None => Ok(Vec::new()),
                };
                match done {
                    Ok(changes) if client.is_some() => {
                        if told.take().is_some() {
                            output::aside("publishing works again");
                        }
                        // Who watches may go; whoever reads the files stays.
                        output::mention(&lines(&changes));
                        (pause, began) = (usual, true);
                    }
                    Ok(_) => {}
                    Err(trouble) if !trouble.passes && !began => return Err(trouble.failure),
                    Err(trouble) => {
                        let text = trouble.failure.to_string();
                        if told.as_ref() != Some(&text) {
                            output::aside(&format!("warning: {text}; trying again until it works"));
                        }
                        told = Some(text);
                        client = None;
                    }
                }
                clock.sleep(pause.unsigned_abs()).await;
                if client.is_none() {
                    pause = pause.saturating_mul(2).min(LONGEST.max(usual));
                    // The server may come back elsewhere, or want newer credentials.
                    client = self.connect().ok();
                }
            }
        };
        tokio::select! {
            ended = rounds => ended,
            () = end => Ok(()),
        }
    }
}

/// One line for each file that has changed.
fn lines(changes: &[String]) -> String {
    changes.iter().map(|line| format!("{line}\n")).collect()
}

/// The directory, and what the server last said.
struct Publisher {
    site: Site,
    /// The issuer that the directory is for.
    wanted: Option<String>,
    discovery: Option<Document>,
    keys: Option<Document>,
    warned: bool,
}

/// Why a round did not work, and whether the next one may.
struct Trouble {
    failure: Failure,
    passes: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble { failure, passes: false }
    }
}

impl Publisher {
    /// Asks for news, and brings the files to what the server says. Gives a line per change.
    async fn round(&mut self, client: &Client) -> Result<Vec<String>, Trouble> {
        let path = format!("/{}", DISCOVERY.join("/"));
        let discovery = fetch(client, &path, self.discovery.as_ref()).await?;
        let found = documents::discovery(&discovery.bytes).map_err(refused)?;
        self.check_issuer(&found)?;
        // After the discovery document, so that its keys are at least as new.
        let keys = fetch(client, "/openid/v1/jwks", self.keys.as_ref()).await?;
        let count = documents::key_set(&keys.bytes).map_err(refused)?;
        if let Some(uri) = found.elsewhere.as_ref().filter(|_| !self.warned) {
            output::aside(&format!(
                "warning: jwks_uri {uri:?} is not below the issuer {:?}: see to it that {} is served there",
                found.issuer,
                self.site.shown(&found.jwks)
            ));
            self.warned = true;
        }

        let mut changes = Vec::new();
        // The keys first: who reads the new discovery document must find them.
        if self.site.write(&found.jwks, &keys.bytes)? {
            let keys = if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
            changes.push(format!("{}: {keys}", self.site.shown(&found.jwks)));
        }
        if self.site.write(&DISCOVERY, &discovery.bytes)? {
            changes.push(format!("{}: issuer {}", self.site.shown(&DISCOVERY), found.issuer));
        }
        (self.discovery, self.keys, self.wanted) = (Some(discovery), Some(keys), Some(found.issuer));
        Ok(changes)
    }

    /// Another issuer's documents would make every token of this one worthless.
    fn check_issuer(&self, found: &Discovery) -> Result<(), Trouble> {
        let refuse = |wanted: &str, whose: &str, mend: &str| {
            let given = &found.issuer;
            Err(Failure::guard(format!("the server's issuer is {given:?}, but {whose} {wanted:?}: {mend}"))
                .into())
        };
        match &self.wanted {
            Some(wanted) if *wanted == found.issuer => return Ok(()),
            Some(wanted) => return refuse(wanted, "this is to publish for", "ask another server"),
            None => {}
        }
        let published = self.site.read(&DISCOVERY)?.and_then(|bytes| documents::discovery(&bytes).ok());
        match published {
            Some(published) if published.issuer != found.issuer => refuse(
                &published.issuer,
                &format!("{} is for", self.site.name().display()),
                &format!("give another directory, or --issuer {} to replace it", found.issuer),
            ),
            _ => Ok(()),
        }
    }
}

fn refused(e: documents::DocumentError) -> Trouble {
    Failure::failed(format!("nothing is published: {e}")).into()
}

/// The document as it is now; `known` if it is that still.
async fn fetch(client: &Client, path: &str, known: Option<&Document>) -> Result<Document, Trouble> {
    let etag = known.and_then(|known| known.etag.as_ref());
    let answer =
        client.document(path, etag).await.map_err(|e| Trouble { failure: e.into(), passes: true })?;
    match (answer, known) {
        (Ok(Some(document)), _) => Ok(document),
        (Ok(None), Some(known)) => Ok(known.clone()),
        (Ok(None), None) => Err(Failure::failed(format!("{path} has nothing to give")).into()),
        (Err(refusal), _) => {
            let hint = match refusal.code {
                404 => ": is its issuer an https URL? Without one there is nothing to discover",
                _ => "",
            };
            let failure = Failure::failed(format!("failed to fetch {path}: {}{hint}", refusal.message));
            Err(Trouble { failure, passes: refusal.code >= 500 || refusal.code == 429 })
        }
    }
}

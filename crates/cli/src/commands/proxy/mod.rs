//! `tokensmith proxy`: wires the sidecar to its tokens, its upstream and its listener.

mod flags;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use tokensmith_agent::api::{ApiServer, PodRef};
use tokensmith_agent::ensure;
use tokensmith_agent::exchange::ExchangeSpec;
use tokensmith_agent::proxy::{
    ForwardMode, Guard, Limits, ListenAddress, ListenAddressError, Listener, Mode, Proxy, ProxyConfig,
    ReverseMode, Tls, TlsSettings, TokenMode, Upstream, UpstreamLimits, VerifierGate,
};
use tokensmith_agent::source::{TokenError, TokenRequestTemplate, TokenSource};
use tokensmith_client::exchange::{Judged, audience, resource, scope};
use tokensmith_client::{Client, Trust, tls};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_verify::{IssuerConfig, ReviewConfig, Verifier, VerifierConfig, WithoutReview};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub use flags::ProxyArgs;

use crate::commands::exchange::{exchanger, judged};
use crate::commands::named::named;
use crate::commands::staying;
use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::serve::tls::{chain_of, key_of};

impl ProxyArgs {
    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The address is taken or not allowed, a file or the server cannot be had.
    pub async fn run(self) -> Result<(), Failure> {
        self.log.start();
        tokensmith_listen::descriptors::raise();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let address: ListenAddress =
            self.listen.parse().map_err(|e: ListenAddressError| Failure::usage(e.to_string()))?;
        let file = self.token_file.as_ref().map(|path| TokenSource::file(path, clock.clone()));
        let (verifier, mode) = match self.verify {
            true => {
                let verifier = Arc::new(self.verifier(&clock)?);
                (Some(verifier.clone()), self.reverse(verifier)?)
            }
            false => (None, self.local(file.as_ref(), &clock).await?),
        };
        let tls = self.tls()?.map(|config| Arc::new(ArcSwap::from_pointee(TlsSettings::from(config))));
        let config = ProxyConfig { mode, tls: tls.clone(), limits: Limits::default(), clock };
        let proxy = Proxy::new(config);
        proxy.check(&address).map_err(|e| Failure::usage(e.to_string()))?;
        let listener = Listener::bind(&address).await.map_err(|e| Failure::failed(e.to_string()))?;
        if let Some(address) = self.metrics_address {
            staying::observe(address, Arc::new(proxy.clone())).await?;
        }
        if let Some(verifier) = verifier {
            // It is tried again by itself; until then requests are answered 503.
            if let Err(why) = verifier.warm().await {
                tracing::warn!(cause = %why, "the issuer's keys cannot be had yet");
            }
        }
        if let Some(file) = file {
            tell_of_the_first(file, self.audience.first().cloned());
        }
        let address = listener.address().to_string();
        tracing::info!(address, "listening");
        if let Some(path) = &self.ready_file {
            files::write(path, format!("{address}\n").as_bytes(), Access::Everyone)?;
        }
        let (stop, stopped) = watch::channel(false);
        let end = staying::end()?;
        tokio::spawn(async move {
            end.await;
            stop.send_replace(true);
        });
        let served = proxy.serve(listener, stopped);
        tokio::select! {
            served = served => served.map_err(|e| Failure::failed(e.to_string())),
            failure = self.reload(tls) => Err(failure),
        }
    }

    /// Reads the certificate again on SIGHUP; one that cannot be used changes nothing. Ends only if it cannot listen.
    async fn reload(&self, tls: Option<Tls>) -> Failure {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return Failure::failed(format!("cannot listen for signals: {error}")),
        };
        while hangup.recv().await.is_some() {
            match (self.tls(), &tls) {
                (Ok(Some(config)), Some(tls)) => {
                    tls.store(Arc::new(config.into()));
                    tracing::info!("the certificate was read again");
                }
                (Err(cause), _) => tracing::warn!(%cause, "the certificate stays as it was"),
                _ => {}
            }
        }
        std::future::pending().await
    }

    /// Token mode, or forward mode where there is an upstream.
    async fn local(&self, file: Option<&TokenSource>, clock: &Arc<dyn Clock>) -> Result<Mode, Failure> {
        let source = self.source(file, clock).await?;
        let guard = Guard { require_header: self.header()?, ..Guard::default() };
        let wanted = if self.exchange.is_some() { &self.exchange_audience } else { &self.audience };
        let audience = wanted.first().cloned();
        Ok(match &self.upstream {
            Some(_) => Mode::Forward(ForwardMode { source, audience, upstream: self.upstream()?, guard }),
            None => {
                let audiences = (!wanted.is_empty()).then(|| wanted.iter().cloned().collect());
                Mode::Token(TokenMode { source, audience, audiences, guard })
            }
        })
    }

    /// The tokens that are given out or put on requests.
    async fn source(
        &self,
        file: Option<&TokenSource>,
        clock: &Arc<dyn Clock>,
    ) -> Result<TokenSource, Failure> {
        let Some(url) = &self.exchange else { return self.own_source(file, clock).await };
        for (flag, values, judge) in [
            ("--exchange-audience", &self.exchange_audience, audience as fn(&str) -> Judged),
            ("--exchange-resource", &self.exchange_resource, resource),
            ("--exchange-scope", &self.exchange_scope, scope),
        ] {
            judged(flag, values, judge)?;
        }
        if self.audience.len() > 1 {
            return Err(Failure::usage(
                "--exchange takes one --audience, that of the token which is exchanged: --exchange-audience says for whom others are",
            ));
        }
        let exchanger = exchanger(&self.client, url, self.exchange_ca_file.as_deref(), clock)?;
        let spec = ExchangeSpec {
            audience: Vec::new(),
            resource: self.exchange_resource.clone(),
            scope: self.exchange_scope.clone(),
        };
        let (own, audience) = (self.own_source(file, clock).await?, self.audience.first().cloned());
        Ok(TokenSource::exchanged(own, audience, exchanger, spec, clock.clone(), self.max_audiences))
    }

    async fn own_source(
        &self,
        file: Option<&TokenSource>,
        clock: &Arc<dyn Clock>,
    ) -> Result<TokenSource, Failure> {
        if let Some(file) = file {
            return Ok(file.clone());
        }
        let target = self.client.target()?;
        let api: Arc<dyn ApiServer> = Arc::new(Client::new(&target)?);
        let name = self.service_account.as_deref().unwrap_or_default();
        let (namespace, account) = named("service account", name, &self.client, &target)?;
        if self.audience.iter().any(String::is_empty) {
            return Err(Failure::usage("--audience must not be empty"));
        }
        if self.expiration.whole_seconds() < 1 {
            return Err(Failure::usage("--expiration must be at least a second"));
        }
        let pod = match &self.pod {
            None => None,
            Some(name) => {
                let pod = ensure::named(&*api, namespace, name).await;
                let pod = pod.map_err(|e| Failure::failed(e.to_string()))?;
                Some(PodRef { name: name.clone(), uid: pod.uid().into() })
            }
        };
        let template = TokenRequestTemplate {
            namespace: namespace.into(),
            account: account.into(),
            pod,
            expiration_seconds: Some(self.expiration.whole_seconds()),
        };
        Ok(TokenSource::api_bounded(api, template, clock.clone(), self.max_audiences))
    }

    fn reverse(&self, verifier: Arc<Verifier>) -> Result<Mode, Failure> {
        let gate = Arc::new(VerifierGate::new(verifier));
        Ok(Mode::Reverse(ReverseMode { gate, upstream: self.upstream()?, pass_token: self.pass_token }))
    }

    fn verifier(&self, clock: &Arc<dyn Clock>) -> Result<Verifier, Failure> {
        let (Some(issuer), Some(audience)) = (self.issuer.first(), self.audience.first()) else {
            return Err(Failure::usage("--verify needs --issuer and --audience"));
        };
        let mut config = VerifierConfig::new(issuer, audience, Arc::new(self.client.web()?));
        let more = self.issuer.iter().skip(1);
        config.issuers.extend(more.map(|i| IssuerConfig { issuer: i.clone(), audiences: Vec::new() }));
        config.audiences = self.audience.clone();
        config.clock = clock.clone();
        config.max_stale = seconds("--max-stale", self.max_stale)?;
        for subject in &self.allow_subject {
            config
                .allow_subjects
                .push(subject.parse().map_err(|e| Failure::usage(format!("--allow-subject: {e}")))?);
        }
        if self.token_review {
            let review = Arc::new(Client::new(&self.client.target()?)?);
            let kept = seconds("--review-cache", self.review_cache)?;
            config.review = Some(ReviewConfig {
                accepted_for: kept,
                refused_for: kept,
                without: match self.review_fail_open {
                    true => WithoutReview::RelyOnToken,
                    false => WithoutReview::Refuse,
                },
                ..ReviewConfig::new(review)
            });
        }
        Verifier::new(config).map_err(|e| Failure::usage(format!("--verify: {e}")))
    }

    fn upstream(&self) -> Result<Upstream, Failure> {
        let address = self.upstream.as_deref().unwrap_or_default();
        let address = address.parse().map_err(|e| Failure::usage(format!("--upstream: {e}")))?;
        let trust = match &self.upstream_ca_file {
            Some(path) => Trust::Authority(read(path)?),
            None => Trust::System,
        };
        let tls = tls::config(&trust, None)?;
        Ok(Upstream::new(address, tls, self.upstream_protocol.into(), UpstreamLimits::default()))
    }

    fn tls(&self) -> Result<Option<rustls::ServerConfig>, Failure> {
        let (Some(cert), Some(key)) = (&self.tls_cert_file, &self.tls_private_key_file) else {
            return Ok(None);
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_no_client_auth()
            .with_single_cert(chain_of(cert)?.0, key_of(key)?)
            .with_context(|| format!("{} and {} do not go together", cert.display(), key.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(config))
    }

    fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, Failure> {
        let Some(text) = &self.require_header else { return Ok(None) };
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        let bad = || Failure::usage(format!("--require-header {text}: give NAME=VALUE"));
        let name = name.parse().map_err(|_| bad())?;
        Ok(Some((name, value.parse().map_err(|_| bad())?)))
    }
}

/// Looks at the token before anyone asks for it, and says what is wrong with it: it may come yet, so that is no reason to end. A
/// file system that hangs keeps nobody waiting.
fn tell_of_the_first(source: TokenSource, audience: Option<String>) {
    tokio::spawn(async move {
        match source.token(audience.as_deref()).await {
            // The source has said so itself.
            Ok(_) | Err(TokenError::File { .. }) => {}
            Err(cause) => tracing::warn!(%cause, "there is no token to give yet"),
        }
    });
}

fn seconds(flag: &str, duration: GoDuration) -> Result<Duration, Failure> {
    let seconds = u64::try_from(duration.whole_seconds());
    seconds.map(Duration::from_secs).map_err(|_| Failure::usage(format!("{flag} must not be negative")))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

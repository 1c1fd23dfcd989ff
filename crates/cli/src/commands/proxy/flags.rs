//! `proxy`'s flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use tokensmith_agent::proxy::UpstreamProtocol;

use crate::client::flags::ClientFlags;
use crate::duration::GoDuration;
use crate::logs::LogFlags;

/// What the upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Protocol {
    /// The upstream's choice over https; else HTTP/1.1, and HTTP/2 for gRPC alone
    #[default]
    Auto,
    /// HTTP/1.1
    Http1,
    /// HTTP/2, over http with prior knowledge
    Http2,
}

impl From<Protocol> for UpstreamProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => UpstreamProtocol::Auto,
            Protocol::Http1 => UpstreamProtocol::Http1,
            Protocol::Http2 => UpstreamProtocol::Http2,
        }
    }
}

/// The sidecar: gives tokens to local callers, puts them on requests, or lets in only requests that carry one
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("mode").required(true).args(["token_file", "service_account", "verify"]),
    after_help = "\
Examples:
  # gives the token of a file that the kubelet (or `tokensmith project`) renews:  curl http://localhost:8181/token
  tokensmith proxy --token-file /var/run/secrets/tokens/token

  # asks for tokens itself, one per audience:  curl 'http://localhost:8181/token?audience=vault'
  tokensmith proxy --service-account payments/api

  # puts the token on every request that passes; HTTP/1.1, HTTP/2 and gRPC
  tokensmith proxy --token-file /var/run/secrets/tokens/token --upstream https://api.example.com

  # the same with the token that it is exchanged for
  tokensmith proxy --token-file /var/run/secrets/tokens/token --upstream https://api.example.com \\
      --exchange https://sts.example.com/oauth2/token --exchange-audience https://api.example.com

  # lets in only requests with a token for this audience, and tells the application whose it is (X-Remote-User, …)
  tokensmith proxy --verify --issuer https://tokens.example.com --audience https://api.example.com \\
      --listen 0.0.0.0:8443 --tls-cert-file tls.crt --tls-private-key-file tls.key --upstream http://127.0.0.1:8080"
)]
pub struct ProxyArgs {
    /// Use the token in this file, read again as it is renewed
    #[arg(long, value_name = "PATH", help_heading = "Tokens")]
    pub token_file: Option<PathBuf>,

    /// Ask the server for this account's tokens
    #[arg(long, value_name = "[NAMESPACE/]NAME", help_heading = "Tokens")]
    pub service_account: Option<String>,

    /// Bind them to this pod, in the account's namespace
    #[arg(long, value_name = "NAME", requires = "service_account", help_heading = "Tokens")]
    pub pod: Option<String>,

    /// Ask for tokens that live this long
    #[arg(long, value_name = "DURATION", default_value = "1h", help_heading = "Tokens")]
    pub expiration: GoDuration,

    /// With --service-account: give tokens for these audiences only, the first where none is asked for. With --verify: take
    /// tokens for these. With --exchange: exchange tokens for this one. Repeatable
    #[arg(long, value_name = "AUDIENCE", help_heading = "Tokens")]
    pub audience: Vec<String>,

    /// How many audiences may be asked for in all
    #[arg(long, value_name = "N", default_value_t = 16, help_heading = "Tokens")]
    pub max_audiences: usize,

    /// Exchange the token at this OAuth token endpoint (RFC 8693), and give out or put on requests what comes
    #[arg(long, value_name = "URL", conflicts_with = "verify", help_heading = "Exchanging")]
    pub exchange: Option<String>,

    /// Ask there for tokens for this audience: for these only where they are given out, the first where none is asked for.
    /// Repeatable
    #[arg(long, value_name = "AUDIENCE", requires = "exchange", help_heading = "Exchanging")]
    pub exchange_audience: Vec<String>,

    /// For this resource; repeatable
    #[arg(long, value_name = "URI", requires = "exchange", help_heading = "Exchanging")]
    pub exchange_resource: Vec<String>,

    /// With this scope; repeatable
    #[arg(long, value_name = "SCOPE", requires = "exchange", help_heading = "Exchanging")]
    pub exchange_scope: Vec<String>,

    /// Trust this PEM file's certificates for the token endpoint instead of the system's
    #[arg(long, value_name = "PATH", requires = "exchange", help_heading = "Exchanging")]
    pub exchange_ca_file: Option<PathBuf>,

    /// Listen here: ADDRESS:PORT, or unix:PATH. Only loopback without --verify; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8181", help_heading = "Listening")]
    pub listen: String,

    /// Refuse requests without this header (a value of true, if none is given): one more hurdle for browsers
    #[arg(long, value_name = "NAME[=VALUE]", conflicts_with = "verify", help_heading = "Listening")]
    pub require_header: Option<String>,

    /// With --verify: serve TLS with this certificate (PEM), read again on SIGHUP
    #[arg(long, value_name = "PATH", requires_all = ["tls_private_key_file", "verify"], help_heading = "Listening")]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of --tls-cert-file (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_cert_file", help_heading = "Listening")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Serve /metrics and /healthz here
    #[arg(long, value_name = "ADDRESS", help_heading = "Listening")]
    pub metrics_address: Option<SocketAddr>,

    /// Write the address here once ready
    #[arg(long, value_name = "PATH", help_heading = "Listening")]
    pub ready_file: Option<PathBuf>,

    /// Pass requests on to this URL. Without it, /token is served
    #[arg(long, value_name = "URL", required_if_eq("verify", "true"), help_heading = "Upstream")]
    pub upstream: Option<String>,

    /// Trust this PEM file's certificates for the upstream instead of the system's
    #[arg(long, value_name = "PATH", requires = "upstream", help_heading = "Upstream")]
    pub upstream_ca_file: Option<PathBuf>,

    /// Speak this to the upstream. auto: over https what the handshake says, over http HTTP/1.1, and HTTP/2 for gRPC
    #[arg(
        long,
        value_enum,
        value_name = "PROTOCOL",
        default_value_t,
        requires = "upstream",
        help_heading = "Upstream"
    )]
    pub upstream_protocol: Protocol,

    /// Let in only requests that carry a service-account token which holds
    #[arg(long, requires_all = ["issuer", "audience"], help_heading = "Verifying")]
    pub verify: bool,

    /// Take tokens of this issuer, checked with the key set that it publishes; repeatable
    #[arg(long, value_name = "URL", requires = "verify", help_heading = "Verifying")]
    pub issuer: Vec<String>,

    /// Take tokens of this account only, as system:serviceaccount:NAMESPACE:NAME; * stands for any namespace or name. Repeatable
    #[arg(long, value_name = "SUBJECT", requires = "verify", help_heading = "Verifying")]
    pub allow_subject: Vec<String>,

    /// Pass the token on, too; whoever has it can use it
    #[arg(long, requires = "verify", help_heading = "Verifying")]
    pub pass_token: bool,

    /// How long keys are still used when the issuer cannot be reached
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        requires = "verify",
        help_heading = "Verifying"
    )]
    pub max_stale: GoDuration,

    /// Ask the API server as well (TokenReview): it knows whether account and pod are still there
    #[arg(long, requires = "verify", help_heading = "Verifying")]
    pub token_review: bool,

    /// How long an answer of the API server counts
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        requires = "token_review",
        help_heading = "Verifying"
    )]
    pub review_cache: GoDuration,

    /// Rely on what the token itself says while the API server cannot be reached
    #[arg(long, requires = "token_review", help_heading = "Verifying")]
    pub review_fail_open: bool,

    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,

    /// Where to find the API server.
    #[command(flatten)]
    pub client: ClientFlags,
}

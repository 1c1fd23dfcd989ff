//! `serve`'s flags: kube-apiserver's names wherever they mean the same. Each can come from `TOKENSMITH_…` too.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgAction, Args, ValueEnum};
use tokensmith::{AddressRange, Authorization};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_objects::schema::Schema;
use tokensmith_signer::Address;

use super::federation::StsArgs;
use super::keys::KeyArgs;
use crate::client::flags::DATA_DIR;
use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::logs::LogFlags;

/// An authorizer (`--authorization-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Everyone may do everything.
    #[value(name = "AlwaysAllow")]
    AlwaysAllow,
    /// Nobody may do anything, but system:masters.
    #[value(name = "AlwaysDeny")]
    AlwaysDeny,
    /// Nodes may what their pods need.
    #[value(name = "Node")]
    Node,
    /// Roles and bindings.
    #[value(name = "RBAC")]
    Rbac,
}

/// What is written down of tokens (`--ledger`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LedgerFlag {
    /// Every issued token, and revocations.
    Full,
    /// Nothing: tokens cannot be listed or revoked.
    Off,
    /// Revocations alone: tokens can be revoked, not listed.
    Revocations,
}

impl From<LedgerFlag> for LedgerMode {
    fn from(flag: LedgerFlag) -> Self {
        match flag {
            LedgerFlag::Full => LedgerMode::Full,
            LedgerFlag::Off => LedgerMode::Off,
            LedgerFlag::Revocations => LedgerMode::Revocations,
        }
    }
}

/// Run the server.
#[derive(Args, Debug)]
#[command(after_help = concat!("\
Examples:
  # everything in ./tokensmith-data, on https://127.0.0.1:6443
  tokensmith serve

  # an issuer that others trust
  tokensmith serve --service-account-issuer https://tokens.example.com --anonymous-oidc --bind-address 0.0.0.0

  # for a test: nothing is kept, time stands still until it is moved
  tokensmith serve --ephemeral --test-clock --secure-port 0 --ready-file ready

A --token-profile-file; the first profile with a pattern that matches an audience counts:
", include_str!("token-profiles.example.yaml"), "
SIGHUP reloads the token file, the TLS files, the client CA file, the exchange policy and the STS configuration, and opens the audit log anew. SIGTERM and SIGINT drain and stop."))]
pub struct ServeArgs {
    /// Listen on this address
    #[arg(
        long,
        value_name = "IP",
        env = "TOKENSMITH_BIND_ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Listening"
    )]
    pub bind_address: IpAddr,

    /// Where pods reach the server: the endpoints of the service kubernetes lead to this address and --secure-port. Default:
    /// --bind-address; where that is all addresses, the one by which this machine reaches others; none where it is loopback
    #[arg(long, value_name = "IP", env = "TOKENSMITH_ADVERTISE_ADDRESS", help_heading = "Listening")]
    pub advertise_address: Option<IpAddr>,

    /// Listen on this port with TLS; 0 picks one
    #[arg(
        long,
        value_name = "PORT",
        env = "TOKENSMITH_SECURE_PORT",
        default_value_t = 6443,
        help_heading = "Listening"
    )]
    pub secure_port: u16,

    /// Listen on this port without TLS, too; kubectl sends no credentials there. Off without it
    #[arg(long, value_name = "PORT", env = "TOKENSMITH_INSECURE_PORT", help_heading = "Listening")]
    pub insecure_port: Option<u16>,

    /// Listen on this address with --insecure-port: everything that passes there can be read and changed on its way
    #[arg(
        long,
        value_name = "IP",
        env = "TOKENSMITH_INSECURE_BIND_ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Listening"
    )]
    pub insecure_bind_address: IpAddr,

    /// Sign for a kube-apiserver on this Unix socket, too (its --service-account-signing-endpoint); @NAME is abstract
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_EXTERNAL_SIGNER_SOCKET", help_heading = "Listening")]
    pub external_signer_socket: Option<Address>,

    /// The name by which others reach this server: in the issuer and in the serving certificate
    #[arg(long, value_name = "HOST", env = "TOKENSMITH_EXTERNAL_HOSTNAME", help_heading = "Listening")]
    pub external_hostname: Option<String>,

    /// Take no larger request bodies
    #[arg(long, value_name = "BYTES", env = "TOKENSMITH_MAX_REQUEST_BYTES", default_value_t = 3 << 20, help_heading = "Listening")]
    pub max_request_bytes: usize,

    /// Serve this certificate (PEM) instead of one of our own CA
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_TLS_CERT_FILE",
        requires = "tls_private_key_file",
        help_heading = "TLS"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of --tls-cert-file (PEM)
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_TLS_PRIVATE_KEY_FILE",
        requires = "tls_cert_file",
        help_heading = "TLS"
    )]
    pub tls_private_key_file: Option<PathBuf>,

    /// A further name or address for our own serving certificate; repeatable
    #[arg(
        long,
        value_name = "NAME",
        env = "TOKENSMITH_TLS_SAN",
        value_delimiter = ',',
        help_heading = "TLS"
    )]
    pub tls_san: Vec<String>,

    /// Accept client certificates of these CAs (PEM): CN is the user, O the groups
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_CLIENT_CA_FILE", help_heading = "Access")]
    pub client_ca_file: Option<PathBuf>,

    /// Accept these bearer tokens: lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_TOKEN_AUTH_FILE", help_heading = "Access")]
    pub token_auth_file: Option<PathBuf>,

    /// Let requests without credentials in as system:anonymous
    #[arg(long, value_name = "BOOL", env = "TOKENSMITH_ANONYMOUS_AUTH", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Access")]
    pub anonymous_auth: bool,

    /// Open the discovery document and the key set to everyone; verifiers without an account need it
    #[arg(long, value_name = "BOOL", env = "TOKENSMITH_ANONYMOUS_OIDC", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Access")]
    pub anonymous_oidc: bool,

    /// The authorizers, asked in this order
    #[arg(
        long,
        value_name = "LIST",
        env = "TOKENSMITH_AUTHORIZATION_MODE",
        value_delimiter = ',',
        default_value = "Node,RBAC",
        help_heading = "Access"
    )]
    pub authorization_mode: Vec<Mode>,

    /// Serve APIs that are off by default, too: certificates.k8s.io/v1beta1=true (ClusterTrustBundles), api/beta, api/all
    #[arg(
        long,
        value_name = "KEY=BOOL",
        env = "TOKENSMITH_RUNTIME_CONFIG",
        value_delimiter = ',',
        help_heading = "APIs"
    )]
    pub runtime_config: Vec<String>,

    /// The issuer in tokens; repeatable: the first signs, all are accepted. Default: https://HOST:PORT of the first start
    #[arg(
        long,
        value_name = "URL",
        env = "TOKENSMITH_SERVICE_ACCOUNT_ISSUER",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub service_account_issuer: Vec<String>,

    /// Let the tokens of this issuer go, which has been accepted so far; repeatable
    #[arg(
        long,
        value_name = "URL",
        env = "TOKENSMITH_DROP_SERVICE_ACCOUNT_ISSUER",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub drop_service_account_issuer: Vec<String>,

    /// The jwks_uri in the discovery document. Default: the issuer and /openid/v1/jwks
    #[arg(long, value_name = "URL", env = "TOKENSMITH_SERVICE_ACCOUNT_JWKS_URI", help_heading = "Tokens")]
    pub service_account_jwks_uri: Option<String>,

    /// Put this authorization_endpoint into the discovery document. Kubernetes has none, for nobody logs in here; but
    /// OpenID Connect demands one, and strict clients (openidconnect for Rust) read no document without it
    #[arg(
        long,
        value_name = "URL",
        env = "TOKENSMITH_DISCOVERY_AUTHORIZATION_ENDPOINT",
        help_heading = "Tokens"
    )]
    pub discovery_authorization_endpoint: Option<String>,

    /// What a token is for when the request does not say. Default: the issuers
    #[arg(
        long,
        value_name = "LIST",
        env = "TOKENSMITH_API_AUDIENCES",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub api_audiences: Vec<String>,

    /// Let the tokens for this audience go, which has been one of the API's so far; repeatable
    #[arg(
        long,
        value_name = "LIST",
        env = "TOKENSMITH_DROP_API_AUDIENCE",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub drop_api_audience: Vec<String>,

    /// The signing keys.
    #[command(flatten)]
    pub keys: KeyArgs,

    /// The shortest that a token may be asked to live
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_MIN_TOKEN_EXPIRATION",
        default_value = "10m",
        help_heading = "Tokens"
    )]
    pub min_token_expiration: GoDuration,

    /// How long events are kept; 0: for ever
    #[arg(
        long,
        value_name = "DURATION",
        env = "TOKENSMITH_EVENT_TTL",
        default_value = "1h0m0s",
        help_heading = "Objects"
    )]
    pub event_ttl: GoDuration,

    /// Pods that are deleted on their nodes go after this time at most; there is no kubelet that says when they have stopped
    #[arg(long, value_name = "DURATION", env = "TOKENSMITH_POD_GRACE", help_heading = "Objects")]
    pub pod_grace: Option<GoDuration>,

    /// Let the tokens of automatic volumes live for a year, for clients that do not reload them
    #[arg(long, value_name = "BOOL", env = "TOKENSMITH_SERVICE_ACCOUNT_EXTEND_TOKEN_EXPIRATION", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Tokens")]
    pub service_account_extend_token_expiration: bool,

    /// Choose algorithm, lifetime and further claims of a token by its audience (YAML, see below)
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_TOKEN_PROFILE_FILE", help_heading = "Tokens")]
    pub token_profile_file: Option<PathBuf>,

    /// Exchange tokens at /oauth2/token under this policy (YAML, see docs/exchange.md); reloaded on SIGHUP
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_EXCHANGE_POLICY_FILE", help_heading = "Tokens")]
    pub exchange_policy_file: Option<PathBuf>,

    /// Write down which tokens are issued, so that they can be listed and revoked
    #[arg(
        long,
        value_name = "MODE",
        env = "TOKENSMITH_LEDGER",
        value_enum,
        default_value = "full",
        help_heading = "Tokens"
    )]
    pub ledger: LedgerFlag,

    /// Switch features: ImplicitServiceAccountToken=false gives pods no token volume of themselves
    #[arg(
        long,
        value_name = "NAME=BOOL",
        env = "TOKENSMITH_FEATURE_GATES",
        value_delimiter = ',',
        help_heading = "Tokens"
    )]
    pub feature_gates: Vec<String>,

    /// From which network services get their addresses; two, of both families, for services that have both
    #[arg(
        long,
        value_name = "CIDR",
        env = "TOKENSMITH_SERVICE_CLUSTER_IP_RANGE",
        value_delimiter = ',',
        default_value = "10.0.0.0/24",
        help_heading = "Objects"
    )]
    pub service_cluster_ip_range: Vec<AddressRange>,

    /// Which ports of nodes services get
    #[arg(
        long,
        value_name = "FROM-TO",
        env = "TOKENSMITH_SERVICE_NODE_PORT_RANGE",
        default_value = "30000-32767",
        value_parser = port_range,
        help_heading = "Objects"
    )]
    pub service_node_port_range: RangeInclusive<u16>,

    /// Keep everything here
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR, help_heading = "Files")]
    pub data_dir: PathBuf,

    /// Let the data directory's group use what is in it (0770 and 0660): for volumes that a group owns (fsGroup)
    #[arg(long, env = "TOKENSMITH_ALLOW_GROUP_ACCESS", help_heading = "Files")]
    pub allow_group_access: bool,

    /// Make anew what was lost from the data directory, beside what is still there: a store with a key ring, a CA, the
    /// administrator's token. Tokens and clients of before may be refused afterwards
    #[arg(long, env = "TOKENSMITH_FORCE", help_heading = "Files")]
    pub force: bool,

    /// Write the administrator's kubeconfig here. Default: admin.kubeconfig in the data directory
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_KUBECONFIG", help_heading = "Files")]
    pub kubeconfig: Option<PathBuf>,

    /// Write the URL here once ready
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_READY_FILE", help_heading = "Files")]
    pub ready_file: Option<PathBuf>,

    /// Write the audit log here; - is standard output
    #[arg(
        long,
        value_name = "PATH",
        env = "TOKENSMITH_AUDIT_LOG_PATH",
        default_value = "-",
        help_heading = "Files"
    )]
    pub audit_log_path: PathBuf,

    /// Take the administrator's token from this file, instead of making one: a single line of 32 to 1024 characters of
    /// A-Z a-z 0-9 - . _ ~ + / and = at the end. It replaces the one that the data directory has
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_ADMIN_TOKEN_FILE", help_heading = "Access")]
    pub admin_token_file: Option<PathBuf>,

    /// The clouds' security token services.
    #[command(flatten)]
    pub sts: StsArgs,

    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,

    /// Keep nothing: all is in memory and ends with the process
    #[arg(long, env = "TOKENSMITH_EPHEMERAL", help_heading = "Tests")]
    pub ephemeral: bool,

    /// Let administrators move the clock at /testing/v1/clock; it stands still otherwise
    #[arg(long, env = "TOKENSMITH_TEST_CLOCK", requires = "ephemeral", help_heading = "Tests")]
    pub test_clock: bool,

    /// End with this process, whoever it is: a test's server does not outlive it. One that has ended already stops the start
    #[arg(long, value_name = "PID", env = "TOKENSMITH_PARENT_PID", value_parser = pid, help_heading = "Tests")]
    pub parent_pid: Option<u32>,
}

const GATE: &str = "ImplicitServiceAccountToken";

impl ServeArgs {
    /// The authorizers, in order.
    ///
    /// # Errors
    /// Wrong usage: one is named twice (upstream's words).
    pub fn authorizers(&self) -> Result<Vec<Authorization>, Failure> {
        let modes = &self.authorization_mode;
        if modes.iter().enumerate().any(|(at, mode)| modes[..at].contains(mode)) {
            let names: Vec<_> = modes
                .iter()
                .filter_map(|mode| Some(format!("{:?}", mode.to_possible_value()?.get_name())))
                .collect();
            let names = names.join(" ");
            return Err(Failure::usage(format!(
                "authorization-mode [{names}] has mode specified more than once"
            )));
        }
        Ok(modes.iter().copied().map(Mode::into).collect())
    }

    /// Who else may use what is private.
    pub fn others(&self) -> Others {
        if self.allow_group_access { Others::Group } else { Others::Nobody }
    }

    /// Whether pods get a token volume of themselves.
    ///
    /// # Errors
    /// Wrong usage: an unknown gate, or no boolean.
    pub fn implicit_token(&self) -> Result<bool, Failure> {
        let mut on = true;
        for gate in self.feature_gates.iter().filter(|g| !g.is_empty()) {
            on = match gate.split_once('=') {
                Some((GATE, "true")) => true,
                Some((GATE, "false")) => false,
                Some((GATE, value)) => {
                    return Err(Failure::usage(format!(
                        "--feature-gates: {GATE}={value}: use true or false"
                    )));
                }
                _ => {
                    return Err(Failure::usage(format!(
                        "--feature-gates: unknown gate {gate:?}: there is {GATE}=true|false"
                    )));
                }
            };
        }
        Ok(on)
    }

    /// The kinds that are served.
    ///
    /// # Errors
    /// Wrong usage: an unknown API, or no boolean.
    pub fn served(&self) -> Result<Arc<Schema>, Failure> {
        let served = Schema::serving(self.runtime_config.iter().map(String::as_str));
        served.map_err(|e| Failure::usage(format!("--runtime-config: {e}")))
    }

    /// How long events are kept.
    ///
    /// # Errors
    /// Wrong usage: less than nothing.
    pub fn event_ttl(&self) -> Result<Option<time::Duration>, Failure> {
        match self.event_ttl.nanos() {
            0 => Ok(None),
            _ if self.event_ttl.is_negative() => Err(Failure::usage("--event-ttl must not be negative")),
            nanos => Ok(Some(time::Duration::nanoseconds(nanos))),
        }
    }

    /// How long a pod may take to stop; what is said in pods, where that is shorter.
    ///
    /// # Errors
    /// Wrong usage: less than nothing.
    pub fn pod_grace(&self) -> Result<Option<time::Duration>, Failure> {
        match self.pod_grace {
            Some(most) if most.is_negative() => Err(Failure::usage("--pod-grace must not be negative")),
            most => Ok(most.map(|most| time::Duration::nanoseconds(most.nanos()))),
        }
    }

    /// Seconds.
    ///
    /// # Errors
    /// Wrong usage: below a second.
    pub fn min_token_seconds(&self) -> Result<i64, Failure> {
        match self.min_token_expiration.whole_seconds() {
            seconds if tokensmith::MIN_TOKEN_SECONDS.contains(&seconds) => Ok(seconds),
            _ => Err(Failure::usage("--min-token-expiration must be between 1s and 2^32 seconds")),
        }
    }
}

fn pid(text: &str) -> Result<u32, String> {
    let pid = text.parse().ok().filter(|pid| (1..=i32::MAX.unsigned_abs()).contains(pid));
    pid.ok_or_else(|| "not the number of a process".into())
}

/// `FROM-TO`, as Kubernetes has it.
fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match range {
        Some((from, to)) if 0 < from && from <= to => Ok(from..=to),
        _ => Err("not a range of ports, such as 30000-32767".into()),
    }
}

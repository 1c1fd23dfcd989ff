//! `project`'s flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use tokensmith_agent::refresh::RefreshPolicy;

use super::remove::RemoveArgs;
use super::status::StatusArgs;
use crate::client::flags::ClientFlags;
use crate::duration::GoDuration;
use crate::logs::LogFlags;

/// Keep the projected volumes of pods fresh in a folder, as the kubelet does
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    group = ArgGroup::new("pods").required(true),
    after_help = "\
Examples:
  # the volumes of a pod that need not run anywhere, below ./volumes; the pod and its account are made if they are missing
  tokensmith project -f pod.yaml --ensure --root volumes

  # the same of the pods that a chart's or a folder's workloads would have
  tokensmith project -f deploy/ --from-templates --ensure --root volumes

  # a program with its volumes at the paths where a container would have them
  tokensmith project -f pod.yaml --ensure --exec ./app --verbose

  # what a virtual kubelet does: all pods of its node
  tokensmith project --all --node worker-1 --root /var/lib/tokensmith

  # does anything need attention? Exit code 3 if so
  tokensmith project status --root volumes

Below the root: NAMESPACE/POD/volumes/VOLUME/ has each volume, NAMESPACE/POD/rootfs/CONTAINER/ shows it where the container mounts it."
)]
pub struct ProjectArgs {
    /// What to do instead
    #[command(subcommand)]
    pub action: Option<Action>,

    /// The pods in this manifest or folder (YAML or JSON; - is standard input), which is followed when it changes; repeatable
    #[arg(long, short, value_name = "PATH", group = "pods", help_heading = "Pods")]
    pub filename: Vec<PathBuf>,

    /// Of --filename, one pod of each workload's template, too: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob …
    #[arg(long, requires = "filename", help_heading = "Pods")]
    pub from_templates: bool,

    /// This pod of the server's
    #[arg(long, value_name = "[NAMESPACE/]NAME", group = "pods", help_heading = "Pods")]
    pub pod: Option<String>,

    /// The server's pods with these labels, in the namespace of --namespace or of the context
    #[arg(long, short = 'l', value_name = "SELECTOR", group = "pods", help_heading = "Pods")]
    pub selector: Option<String>,

    /// All of the server's pods, or those in --namespace
    #[arg(long, group = "pods", help_heading = "Pods")]
    pub all: bool,

    /// Of those of --selector and --all, the ones on this node
    #[arg(long, value_name = "NAME", conflicts_with_all = ["filename", "pod"], help_heading = "Pods")]
    pub node: Option<String>,

    /// Create the pods of --filename where they are missing, and what they need: their namespaces and accounts, and the
    /// ConfigMaps and Secrets of the manifest that they refer to
    #[arg(long, requires = "filename", help_heading = "Pods")]
    pub ensure: bool,

    /// Keep the volumes below this folder. Default with --exec: a private one that is removed afterwards
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "exec",
        env = "TOKENSMITH_ROOT",
        help_heading = "Volumes"
    )]
    pub root: Option<PathBuf>,

    /// Where volumes rest: on a tmpfs of their own where that is permitted, or in the root as it is
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = TmpfsFlag::Auto, help_heading = "Volumes")]
    pub tmpfs: TmpfsFlag,

    /// Keep them fresh (the default)
    #[arg(long, conflicts_with_all = ["once", "exec"], help_heading = "Refreshing")]
    pub watch: bool,

    /// Write them, tell what was written, and leave
    #[arg(long, conflicts_with = "exec", help_heading = "Refreshing")]
    pub once: bool,

    /// How long --once and --exec wait for the volumes to be whole
    #[arg(long, value_name = "DURATION", default_value = "1m", help_heading = "Refreshing")]
    pub timeout: GoDuration,

    /// Refresh a token at this share of its life, or at this age; 24h at the latest
    #[arg(long, value_name = "PERCENT|DURATION", default_value = "80%", help_heading = "Refreshing")]
    pub refresh_at: RefreshPolicy,

    /// Serve /metrics and /healthz here
    #[arg(long, value_name = "ADDRESS", help_heading = "Refreshing")]
    pub metrics_address: Option<SocketAddr>,

    /// Write the root here once all volumes are whole
    #[arg(long, value_name = "PATH", help_heading = "Refreshing")]
    pub ready_file: Option<PathBuf>,

    /// Exchange tokens at this OAuth token endpoint (RFC 8693), for pods that ask for it by the annotation tokensmith.dev/exchange
    #[arg(long, value_name = "URL", help_heading = "Exchanging")]
    pub exchange: Option<String>,

    /// Trust this PEM file's certificates for the token endpoint instead of the system's
    #[arg(long, value_name = "PATH", requires = "exchange", help_heading = "Exchanging")]
    pub exchange_ca_file: Option<PathBuf>,

    /// Run the command that follows, with its arguments, and leave with its exit code
    #[arg(
        long,
        requires = "command",
        conflicts_with_all = ["selector", "all"],
        help_heading = "Running a command"
    )]
    pub exec: bool,

    /// Whether this process has a mount namespace of its own.
    #[arg(skip)]
    pub alone: bool,

    /// The command
    #[arg(value_name = "CMD", last = true, requires = "exec", help_heading = "Running a command")]
    pub command: Vec<OsString>,

    /// As this container. Default: the pod's first
    #[arg(long, value_name = "NAME", requires = "exec", help_heading = "Running a command")]
    pub container: Option<String>,

    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,

    /// Where to find the server.
    #[command(flatten)]
    pub client: ClientFlags,
}

/// Whether volumes get a tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TmpfsFlag {
    /// Where it is permitted.
    Auto,
    /// Nowhere.
    Never,
}

/// What else there is to do with a root.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Remove what is below a root: files, links and mounts
    Remove(RemoveArgs),
    /// Tell how fresh the tokens below a root are; exit code 3 on an alarm
    Status(StatusArgs),
}

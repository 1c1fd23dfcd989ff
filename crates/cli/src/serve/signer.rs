//! The external signer: beside the server with `serve --external-signer-socket`, or alone with `signer`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use time::format_description::well_known::Rfc3339;
use tokensmith::end;
use tokensmith_core::Clock;
use tokensmith_core::clock::ClockWatch;
use tokensmith_core::keys::Keys;
use tokensmith_core::random;
use tokensmith_core::supervise::{Task, Tasks};
use tokensmith_core::tokens::claims::Payload;
use tokensmith_core::tokens::ledger::REQUESTER;
use tokensmith_core::tokens::{LedgerMode, TokenLedger};
use tokensmith_core::view::View;
use tokensmith_server::App;
use tokensmith_server::audit::Line;
use tokensmith_signer::{Address, ExternalSigner, Socket, Witness};
use tokio::sync::watch;

use super::data_dir::{ADDRESS, DataDir};
use super::first_start::{FirstStart, Who};
use super::keys::{self, KeyArgs, KeyFiles};
use super::{OnSignal, Signals, start};
use crate::client::flags::DATA_DIR;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{self, Access, set_umask};
use crate::logs::LogFlags;

/// Sign for a kube-apiserver, and do nothing else
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # for a kube-apiserver with --service-account-signing-endpoint=/run/tokensmith/signer.sock
  tokensmith signer --socket /run/tokensmith/signer.sock --data-dir /var/lib/tokensmith

The API server must run as the same user, or as root. The keys rotate by themselves; to
administer them, start `tokensmith serve --external-signer-socket` on the same data instead.")]
pub struct SignerArgs {
    /// Listen here, with mode 0600; @NAME is an abstract socket
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SOCKET", help_heading = "Listening")]
    pub socket: Address,

    /// The signing keys.
    #[command(flatten)]
    pub keys: KeyArgs,

    /// Keep the keys here
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_DATA_DIR", default_value = DATA_DIR, help_heading = "Files")]
    pub data_dir: PathBuf,

    /// Let the data directory's group use what is in it (0770 and 0660): for volumes that a group owns (fsGroup)
    #[arg(long, env = "TOKENSMITH_ALLOW_GROUP_ACCESS", help_heading = "Files")]
    pub allow_group_access: bool,

    /// Make anew what was lost from the data directory, beside what is still there: a store with a key ring.
    /// Tokens of before are refused afterwards
    #[arg(long, env = "TOKENSMITH_FORCE", help_heading = "Files")]
    pub force: bool,

    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,
}

/// Signs until it is told to stop.
///
/// # Errors
/// A wrong flag or file, a socket or a data directory in use: nothing has been changed then.
pub fn run(args: SignerArgs) -> Result<(), Failure> {
    set_umask(args.others());
    tokensmith_listen::descriptors::raise();
    let log = args.log.clone();
    super::block_on(&log, sign(args))
}

impl SignerArgs {
    fn others(&self) -> Others {
        if self.allow_group_access { Others::Group } else { Others::Nobody }
    }
}

async fn sign(args: SignerArgs) -> Result<(), Failure> {
    let max_seconds = args.keys.max_token_seconds()?;
    let files = KeyFiles::read(&args.keys)?;
    files.fit_api_server()?;
    // The socket first: while it is taken, nothing is to be made.
    let socket = bind(&args.socket).await?;
    let dir = DataDir::open(&args.data_dir, args.others())?;
    let first = FirstStart::begin(&dir, Who::Signer, args.force)?;
    let start::Opened { store, ledger, fail, time, .. } = start::open_sled(&dir, start::Time::new(false))?;
    let start::Time { clock, supervisor, .. } = time;
    let place = keys::Place { dir: &dir, store: &store, clock: &clock, fail: &fail, first: &first };
    // Which profiles a kube-apiserver's tokens have is not for this process to say.
    let keys = keys::open(files, BTreeSet::new(), place, ISSUER, keys::Urls::default()).await?;
    first.done();
    // The objects are for revoking, which a server does.
    let view = Arc::new(View::load(&*store).await.map_err(|e| anyhow!(e))?);
    let ledger = TokenLedger::open(ledger, LedgerMode::Full, clock.clone(), keys.clone(), view).await;
    let ledger = ledger.map_err(|e| anyhow!(e))?;
    let written = ledger.clone();
    let witness: Witness = Box::new(move |payload, kid| {
        let ledger = written.clone();
        Box::pin(async move { ledger.signed(REQUESTER, &payload, &kid).await })
    });
    let signer = new(keys.clone(), clock.clone(), max_seconds, witness)?;
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Tasks::new(supervisor.clone());
    tasks.run(Task::SigningKeys, &keys, |keys| async move { keys.run().await });
    tasks.run(Task::Ledger, &ledger, |ledger| async move { ledger.run().await });
    tasks.run(Task::ClockWatch, &Arc::new(ClockWatch::new(clock)), |watch| async move { watch.run().await });
    let serving = tokio::spawn(tokensmith_signer::serve(socket, signer, supervisor.clone(), stopped));
    let address = dir.file(ADDRESS);
    files::write(&address, format!("unix:{}", args.socket).as_bytes(), Access::Everyone)?;
    crate::output::mention(&format!("tokensmith {} signs on {}\n", env!("CARGO_PKG_VERSION"), args.socket));
    // There is nothing to reload, and SIGHUP must not end it.
    let failure = loop {
        tokio::select! {
            told = signals.next() => if let OnSignal::End = told { break None },
            // Nobody asks for its readiness: who has started it sees its exit code.
            why = supervisor.lasting(LASTING) => break Some(Failure::failed(format!("{why}, for a minute now"))),
        }
    };
    tracing::info!("stopping: no new connections, open calls end");
    stop.send_replace(true);
    // Who looks for a running signer finds none.
    let _ = std::fs::remove_file(address);
    let _ = serving.await;
    let last = ledger.clone();
    let work = async {
        tasks.end().await;
        if let Err(e) = last.flush().await {
            tracing::error!(cause = %e, "the last issue records are lost");
        }
    };
    // Its last owner flushes the store.
    let ended = end::within(end::GRACE, work, move || {
        drop((ledger, store));
        Ok(())
    })
    .await;
    failure.map_or(ended.map_err(|e| Failure::failed(e.to_string())), Err)
}

/// The signer of a server that also speaks HTTP: with its keys, its clock, its bound, its ledger and its audit log.
pub(super) fn beside(app: &Arc<App>) -> Result<Arc<ExternalSigner>, Failure> {
    let max_seconds = app.tokens.config().max_expiration_seconds;
    let told = app.clone();
    let witness: Witness = Box::new(move |payload, kid| {
        let app = told.clone();
        Box::pin(async move {
            app.ledger.signed(REQUESTER, &payload, &kid).await;
            app.audit.write(&line(&app, payload, kid));
        })
    });
    new(app.keys.clone(), app.clock.clone(), max_seconds, witness)
}

fn line(app: &App, payload: Payload, kid: String) -> Line {
    Line {
        time: app.clock.now().format(&Rfc3339).unwrap_or_default(),
        audit_id: random::uuid().to_string(),
        action: "sign",
        user: REQUESTER.into(),
        subject: payload.subject,
        audiences: payload.audiences,
        bound_object: payload.kubernetes.pod.map(|pod| format!("Pod/{}", pod.name)).unwrap_or_default(),
        jti: payload.id,
        kid,
        decision: "allow",
        code: 200,
        ..Line::default()
    }
}

fn new(
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    max_seconds: Option<i64>,
    witness: Witness,
) -> Result<Arc<ExternalSigner>, Failure> {
    ExternalSigner::witnessed(keys, clock, max_seconds, witness).map_err(|e| Failure::failed(e.to_string()))
}

/// A task that is down for so long is not going to come back.
const LASTING: std::time::Duration = std::time::Duration::from_secs(60);

/// Nobody can ask for the discovery document here: that of the API server counts.
const ISSUER: &str = "https://kubernetes.default.svc";

/// Listens. Whoever connects waits until the keys are there.
pub(super) async fn bind(address: &Address) -> Result<Socket, Failure> {
    Ok(Socket::bind(address).await.map_err(|e| anyhow!(e))?)
}

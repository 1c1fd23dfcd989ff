//! `tokensmith project`: wires the agent's projector to a server, a folder and a clock.

mod exec;
mod flags;
pub mod init;
pub mod keep;
mod private;
mod remove;
mod status;
mod summary;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::channel::oneshot;
use tokensmith_agent::api::{ApiServer, Selection};
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_agent::ensure::{self, EnsureError};
use tokensmith_agent::exchange::Exchanger;
use tokensmith_agent::manifests::{Files, Keeper, Origin, Rules};
use tokensmith_agent::pod::{NodeResources, PlanError, PodPlan, manifest};
use tokensmith_agent::projector::{Config, Kept, PodName, Pods, Projector};
use tokensmith_client::{Client, Target};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_exec::{Signals, namespace};
use tokensmith_objects::Object;
use tokensmith_objects::selector::{LabelSelector, SelectorError};
use tokio::sync::watch;

pub use flags::ProjectArgs;

use crate::commands::exchange::exchanger;
use crate::commands::named::named;
use crate::commands::staying;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::output::{self, aside};
use flags::{Action, TmpfsFlag};
use private::Private;

/// How often it is looked whether the volumes are whole, while they are not yet.
const LOOK: Duration = Duration::from_millis(100);

impl ProjectArgs {
    /// Before there are threads: `--exec` without a folder of its own keeps its volumes where nobody else sees them, and
    /// where they go with it.
    pub fn alone(&mut self) {
        // An ordinary user may not; then it is as with a folder.
        self.alone = self.exec && self.root.is_none() && namespace::alone().is_ok();
    }

    /// Keeps the volumes until it is told to stop, or as long as a command runs.
    ///
    /// # Errors
    /// The pods, the folder or the server cannot be had; with `--once` and `--exec`, volumes that are not whole in time.
    pub async fn run(mut self) -> Result<(), Failure> {
        match self.action.take() {
            Some(Action::Remove(args)) => return args.run(),
            Some(Action::Status(args)) => return args.run(),
            None if self.exec => self.log.start_quietly(),
            None => self.log.start(),
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let exchanger = |url: &String| exchanger(&self.client, url, self.exchange_ca_file.as_deref(), &clock);
        let exchanger = self.exchange.as_ref().map(exchanger).transpose()?;
        let target = self.client.target()?;
        let api: Arc<dyn ApiServer> = Arc::new(Client::new(&target)?);
        let (pods, left_out) = self.pods(&api, &clock, &target).await?;
        // What is done once says so at its end.
        if !self.once {
            left_out.iter().for_each(|line| aside(&format!("note: {line}")));
        }
        if self.exec && !matches!(&pods, Pods::Fixed(pods) if pods.len() == 1) {
            return Err(one_pod());
        }
        // From here on a signal must not end this before what is private has been removed.
        let signals = self.exec.then(tokensmith_exec::signals).transpose()?;
        // It ends when the folder is gone.
        let keeper;
        let folder = Folder::new(self.root.as_deref(), self.alone)?;
        let tmpfs = match self.tmpfs {
            TmpfsFlag::Auto => Tmpfs::Auto,
            TmpfsFlag::Never => Tmpfs::Never,
        };
        let root = Root::open(folder.path(), tmpfs, clock.clone());
        let root = root.map_err(|e| Failure::failed(e.to_string()))?;
        if self.exec {
            keep::forget(folder.path());
        }
        keeper = self.exec.then(|| keep::Keeper::start(folder.path(), self.root.is_none()));
        let site = Site { api, clock, target, exchanger, root: &root, path: folder.path(), left_out };
        let done = self.project(site, pods, signals).await;
        let removed = folder.remove(root);
        drop(keeper);
        done.and(removed)
    }

    async fn project(self, site: Site<'_>, pods: Pods, signals: Option<Signals>) -> Result<(), Failure> {
        let Site { api, clock, target, exchanger, root, path, left_out } = site;
        let node = node_resources(path);
        let config = Config {
            api: api.clone(),
            clock: clock.clone(),
            files: Arc::new(root.clone()),
            policy: self.refresh_at,
            pods: pods.clone(),
            node,
            exchanger,
        };
        let (kept, mut projector) = Kept::new(config).map_err(unplanned)?;
        if let Some(address) = self.metrics_address {
            staying::observe(address, Arc::new(kept.clone())).await?;
        }
        let Some(mut signals) = signals else {
            return match self.once {
                true => {
                    self.wait(&mut projector, &*clock).await?;
                    let summary = summary::text(&projector.summary(), &left_out, path, clock.now());
                    Ok(output::print_text(&summary)?)
                }
                false => self.watch(&kept, projector, &*clock, path).await,
            };
        };
        let ended = tokio::select! {
            done = self.wait(&mut projector, &*clock) => done.map(|()| None)?,
            code = tokensmith_exec::signalled(&mut signals) => Some(code),
        };
        if let Some(code) = ended {
            // Nothing is being written any more when the folder is removed.
            projector.run(std::future::ready(())).await;
            return Err(Failure::Exit(code));
        }
        let Pods::Fixed(pods) = pods else { return Err(one_pod()) };
        let [pod] = &pods[..] else { return Err(one_pod()) };
        let context = tokensmith_exec::Context { api: &*api, target: &target, root: path, node: &node };
        let prepared = context.prepare(pod, self.container.as_deref(), self.command).await?;
        let file = path.join(format!("{}{}", keep::SPEC, std::process::id()));
        // It comes when the command has ended, whatever has become of the projector until then.
        let (running, ended) = oneshot::channel::<()>();
        let ended = ended.map(drop).boxed().shared();
        let command = async {
            let code = exec::run(&prepared, &file, signals).await;
            drop(running);
            code
        };
        let keep = async |projector: &mut Projector| projector.run(ended.clone()).await;
        let (code, keeping) = tokio::join!(command, kept.run(projector, ended.clone(), keep));
        let code = code?;
        if code != 0 {
            return Err(Failure::Exit(code));
        }
        keeping.map(drop).map_err(unplanned)
    }

    /// Works until all volumes are whole, or `--timeout` is over.
    async fn wait(&self, projector: &mut Projector, clock: &dyn Clock) -> Result<(), Failure> {
        // Cut off in the middle or not, what is written is written whole.
        let whole = self.in_time(done(projector, clock)).await;
        projector.run(std::future::ready(())).await;
        whole.unwrap_or_else(|| Err(Failure::failed(projector.unfinished().join("; "))))
    }

    /// Keeps the volumes until a signal ends it, over panics.
    async fn watch(
        &self,
        kept: &Kept,
        projector: Projector,
        clock: &dyn Clock,
        root: &Path,
    ) -> Result<(), Failure> {
        // Shared: who has seen it come leaves it to others to see, too.
        let end = staying::end()?.boxed().shared();
        let keep = async |projector: &mut Projector| -> Result<(), Failure> {
            let ready = tokio::select! {
                () = whole(projector, clock) => true,
                () = end.clone() => false,
            };
            if !ready {
                projector.run(std::future::ready(())).await;
                return Ok(());
            }
            tracing::info!(root = %root.display(), "all volumes are whole");
            if let Some(path) = &self.ready_file {
                files::write(path, format!("{}\n", root.display()).as_bytes(), Access::Everyone)?;
            }
            projector.run(end.clone()).await;
            Ok(())
        };
        kept.run(projector, end.clone(), keep).await.map_err(unplanned)?.unwrap_or(Ok(()))
    }

    /// Whose volumes are kept, and what is left out.
    async fn pods(
        &self,
        api: &Arc<dyn ApiServer>,
        clock: &Arc<dyn Clock>,
        target: &Target,
    ) -> Result<(Pods, Vec<String>), Failure> {
        let namespace = &target.namespace;
        if let Some(name) = &self.pod {
            let (namespace, name) = named("pod", name, &self.client, target)?;
            let name = PodName { namespace: namespace.into(), name: name.into() };
            if !self.exec && !self.once {
                return Ok((Pods::Named(name), Vec::new()));
            }
            // What is done once needs its pod now.
            let pods = vec![ensure::named(&**api, &name.namespace, &name.name).await.map_err(failed)?];
            let ignored = ignored(&pods)?;
            return Ok((Pods::Fixed(pods), ignored));
        }
        let fields = self.node.as_ref().map(|node| format!("spec.nodeName={node}")).unwrap_or_default();
        if let Some(labels) = &self.selector {
            let wrong = |e: SelectorError| Failure::usage(format!("--selector {labels}: {e}"));
            LabelSelector::parse(labels).map_err(wrong)?;
            let namespace = Some(namespace.clone());
            let selection = Selection { namespace, labels: labels.clone(), fields, name: None };
            return Ok((Pods::Selected(selection), Vec::new()));
        }
        if self.all {
            let namespace = self.client.namespace.clone();
            let selection = Selection { namespace, fields, ..Selection::default() };
            return Ok((Pods::Selected(selection), Vec::new()));
        }
        self.listed(api, clock, namespace).await
    }

    /// The pods of manifests.
    async fn listed(
        &self,
        api: &Arc<dyn ApiServer>,
        clock: &Arc<dyn Clock>,
        namespace: &str,
    ) -> Result<(Pods, Vec<String>), Failure> {
        let rules =
            Rules { namespace: namespace.to_owned(), templates: self.from_templates, create: self.ensure };
        let mut keeper =
            Keeper::new(Files::new(self.origins()?), rules).map_err(|e| Failure::failed(e.to_string()))?;
        if self.once || self.exec {
            let mut why = String::new();
            let away = |error: &EnsureError| {
                aside(&format!("note: the API server is waited for: {error}"));
                why = error.to_string();
            };
            let pods = self.in_time(keeper.ensure_patiently(&**api, &**clock, away)).await;
            let late = || Failure::failed(format!("the API server did not come within --timeout: {why}"));
            let pods = pods.ok_or_else(late)?.map_err(failed)?;
            return Ok((Pods::Fixed(pods), keeper.left_out()));
        }
        let left_out = keeper.left_out();
        let (to, list) = watch::channel(keeper.begin(&**api, &**clock).await.map_err(failed)?);
        tokio::spawn(keeper.run(api.clone(), clock.clone(), to));
        // Followed from here on: with a pod go its volumes.
        Ok((Pods::Listed(list), left_out))
    }

    fn origins(&self) -> Result<Vec<Origin>, Failure> {
        let mut origins = Vec::new();
        let mut standard_input = false;
        for path in &self.filename {
            if path != Path::new("-") {
                origins.push(Origin::Path(path.clone()));
                continue;
            }
            if std::mem::replace(&mut standard_input, true) {
                return Err(Failure::usage("--filename - was given twice: standard input can be read once"));
            }
            let mut text = String::new();
            let read = std::io::stdin().take(manifest::MAX_BYTES as u64 + 1).read_to_string(&mut text);
            read.context("cannot read standard input")?;
            origins.push(Origin::Text(text.into()));
        }
        Ok(origins)
    }

    /// What comes within `--timeout`.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let limit = Duration::from_secs(self.timeout.whole_seconds().max(1).unsigned_abs());
        tokio::time::timeout(limit, work).await.ok()
    }
}

/// Where and with whom the work is done.
struct Site<'a> {
    api: Arc<dyn ApiServer>,
    clock: Arc<dyn Clock>,
    target: Target,
    /// Where tokens are exchanged.
    exchanger: Option<Exchanger>,
    root: &'a Root,
    /// The root's path, as it was named.
    path: &'a Path,
    /// What was asked for and is not made.
    left_out: Vec<String>,
}

/// Works until nothing is missing.
///
/// # Errors
/// Something is that no wait brings.
async fn done(projector: &mut Projector, clock: &dyn Clock) -> Result<(), Failure> {
    loop {
        projector.settle().await;
        if let Some(why) = projector.in_vain() {
            return Err(Failure::failed(why));
        }
        if projector.unfinished().is_empty() {
            return Ok(());
        }
        projector.run(clock.sleep(LOOK)).await;
    }
}

/// Works until nothing is missing, whatever has yet to come for that.
async fn whole(projector: &mut Projector, clock: &dyn Clock) {
    loop {
        projector.settle().await;
        if projector.unfinished().is_empty() {
            return;
        }
        projector.run(clock.sleep(LOOK)).await;
    }
}

/// Where the volumes are; a private place that goes with the command if none is named.
enum Folder {
    Named(PathBuf),
    Private(Private),
}

impl Folder {
    fn new(root: Option<&Path>, alone: bool) -> Result<Folder, Failure> {
        match root {
            Some(root) => Ok(Folder::Named(files::absolute(root))),
            None => Ok(Folder::Private(Private::new(alone)?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Named(path) => path,
            Folder::Private(private) => private.path(),
        }
    }

    /// Removes what is private.
    fn remove(self, root: Root) -> Result<(), Failure> {
        match self {
            Folder::Named(_) => Ok(()),
            Folder::Private(private) => private.remove(root),
        }
    }
}

/// This machine is the node of the pods that are projected here.
fn node_resources(root: &Path) -> NodeResources {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = rustix::system::sysinfo();
    let disk = rustix::fs::statvfs(root).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    NodeResources {
        cpu_millis: i64::try_from(cores).unwrap_or(i64::MAX).saturating_mul(1000),
        memory_bytes: whole((system.totalram as u64).saturating_mul(u64::from(system.mem_unit))),
        ephemeral_storage_bytes: whole(disk),
    }
}

/// What of a pod is the kubelet's business alone, so that nobody looks for it.
fn ignored(pods: &[Object]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for pod in pods {
        let plan = PodPlan::new(pod).map_err(|e| Failure::failed(e.to_string()))?;
        let ignored = plan.ignored.iter();
        lines.extend(ignored.map(|what| format!("Pod {}/{}: left out: {what}", plan.namespace, plan.name)));
    }
    Ok(lines)
}

fn unplanned(error: PlanError) -> Failure {
    Failure::failed(error.to_string())
}

fn one_pod() -> Failure {
    Failure::usage("--exec takes one pod, from --filename or --pod")
}

fn failed(error: ensure::EnsureError) -> Failure {
    Failure::failed(error.to_string())
}

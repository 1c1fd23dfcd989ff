//! `tokensmith project`: wires the agent's projector to a server, a folder and a clock.

mod exec;
mod flags;
pub mod init;
mod remove;
mod status;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::channel::oneshot;
use tempfile::TempDir;
use tokensmith_agent::api::{ApiServer, Selection};
use tokensmith_agent::disk::{Root, Tmpfs};
use tokensmith_agent::ensure;
use tokensmith_agent::pod::{self, Ignored, NodeResources, PlanError, PodPlan};
use tokensmith_agent::projector::{Config, Kept, PodName, Pods, Projector};
use tokensmith_client::{Client, Target};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_exec::Signals;
use tokensmith_objects::Object;

pub use flags::ProjectArgs;

use crate::commands::staying;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::logs;
use crate::output;
use flags::{Action, TmpfsFlag};

/// How often it is looked whether the volumes are whole, while they are not yet.
const LOOK: Duration = Duration::from_millis(100);

impl ProjectArgs {
    /// Keeps the volumes until it is told to stop, or as long as a command runs.
    ///
    /// # Errors
    /// The pods, the folder or the server cannot be had; with `--once` and `--exec`, volumes that are not whole in time.
    pub async fn run(mut self) -> Result<(), Failure> {
        match self.action.take() {
            Some(Action::Remove(args)) => return args.run(),
            Some(Action::Status(args)) => return args.run(),
            None if self.exec => logs::start_quietly(),
            None => logs::start(),
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let target = self.client.target()?;
        let api: Arc<dyn ApiServer> = Arc::new(Client::new(&target)?);
        let pods = self.pods(&*api, &target).await?;
        if self.exec && !matches!(&pods, Pods::Fixed(pods) if pods.len() == 1) {
            return Err(one_pod());
        }
        // From here on a signal must not end this before what is private has been removed.
        let signals = self.exec.then(tokensmith_exec::signals).transpose()?;
        let folder = Folder::new(self.root.as_deref())?;
        let tmpfs = match self.tmpfs {
            TmpfsFlag::Auto => Tmpfs::Auto,
            TmpfsFlag::Never => Tmpfs::Never,
        };
        let root = Root::open(folder.path(), tmpfs, clock.clone());
        let root = root.map_err(|e| Failure::failed(e.to_string()))?;
        let site = Site { api, clock, target, root: &root, path: folder.path() };
        let done = self.project(site, pods, signals).await;
        let removed = folder.remove(root);
        done.and(removed)
    }

    async fn project(self, site: Site<'_>, pods: Pods, signals: Option<Signals>) -> Result<(), Failure> {
        let Site { api, clock, target, root, path } = site;
        let node = node_resources(path);
        let config = Config {
            api: api.clone(),
            clock: clock.clone(),
            files: Arc::new(root.clone()),
            policy: self.refresh_at,
            pods: pods.clone(),
            node,
        };
        let (kept, mut projector) = Kept::new(config).map_err(unplanned)?;
        if let Some(address) = self.metrics_address {
            staying::observe(address, Arc::new(kept.clone())).await?;
        }
        let Some(mut signals) = signals else {
            return match self.once {
                true => self.wait(&mut projector, &*clock).await,
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
        let file = path.join(format!(".exec-{}", std::process::id()));
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
        let limit = Duration::from_secs(self.timeout.whole_seconds().max(1).unsigned_abs());
        // Cut off in the middle or not, what is written is written whole.
        let whole = tokio::time::timeout(limit, whole(projector, clock)).await;
        projector.run(std::future::ready(())).await;
        match whole {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::failed(projector.unfinished().join("; "))),
        }
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

    /// Whose volumes are kept.
    async fn pods(&self, api: &dyn ApiServer, target: &Target) -> Result<Pods, Failure> {
        let namespace = &target.namespace;
        if let Some(name) = &self.pod {
            let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
            let name = PodName { namespace: namespace.into(), name: name.into() };
            return Ok(match self.exec || self.once {
                // What is done once needs its pod now.
                true => {
                    Pods::Fixed(vec![ensure::named(api, &name.namespace, &name.name).await.map_err(failed)?])
                }
                false => Pods::Named(name),
            });
        }
        let fields = self.node.as_ref().map(|node| format!("spec.nodeName={node}")).unwrap_or_default();
        if let Some(labels) = &self.selector {
            let namespace = Some(namespace.clone());
            return Ok(Pods::Selected(Selection { namespace, labels: labels.clone(), fields, name: None }));
        }
        if self.all {
            let namespace = self.client.namespace.clone();
            return Ok(Pods::Selected(Selection { namespace, fields, ..Selection::default() }));
        }
        let mut manifest = Vec::new();
        for path in &self.filename {
            let text = read(path)?;
            let objects = pod::manifest(&text, namespace);
            manifest.extend(objects.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?);
        }
        if !manifest.iter().any(|object| object.kind() == "Pod") {
            return Err(Failure::failed("the manifest holds no pod"));
        }
        let pods = ensure::pods(api, &manifest, self.ensure).await.map_err(failed)?;
        tell_ignored(&pods)?;
        Ok(match &pods[..] {
            // Followed from here on: with the pod go its volumes.
            [pod] if !self.once && !self.exec => {
                Pods::Named(PodName { namespace: pod.namespace().into(), name: pod.name().into() })
            }
            _ => Pods::Fixed(pods),
        })
    }
}

/// Where and with whom the work is done.
struct Site<'a> {
    api: Arc<dyn ApiServer>,
    clock: Arc<dyn Clock>,
    target: Target,
    root: &'a Root,
    /// The root's path, as it was named.
    path: &'a Path,
}

/// Works until nothing is missing.
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
    Private(TempDir),
}

impl Folder {
    fn new(root: Option<&Path>) -> Result<Folder, Failure> {
        if let Some(root) = root {
            return Ok(Folder::Named(files::absolute(root)));
        }
        // Memory, where a user has some of their own.
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        let made = tempfile::Builder::new()
            .prefix("tokensmith-")
            .tempdir_in(runtime.unwrap_or_else(std::env::temp_dir));
        Ok(Folder::Private(made.context("cannot make a folder for the volumes")?))
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Named(path) => path,
            Folder::Private(dir) => dir.path(),
        }
    }

    /// Removes what is private.
    fn remove(self, root: Root) -> Result<(), Failure> {
        if let Folder::Private(dir) = self {
            // It goes with what is in it; dropping removes what somebody else has put there.
            remove::empty(root)?;
            drop(dir);
        }
        Ok(())
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

/// Volumes that are the kubelet's business alone are named, so that nobody looks for them.
fn tell_ignored(pods: &[Object]) -> Result<(), Failure> {
    for pod in pods {
        let plan = PodPlan::new(pod).map_err(|e| Failure::failed(e.to_string()))?;
        let ignored: Vec<String> = plan.ignored.iter().map(Ignored::to_string).collect();
        if !ignored.is_empty() {
            output::aside(&format!(
                "note: {}/{}: left out: {}",
                plan.namespace,
                plan.name,
                ignored.join(", ")
            ));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    let read = || format!("cannot read {}", path.display());
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(pod::manifest::MAX_BYTES as u64 + 1)
            .read_to_string(&mut text)
            .with_context(read)?;
        return Ok(text);
    }
    Ok(std::fs::read_to_string(path).with_context(read)?)
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

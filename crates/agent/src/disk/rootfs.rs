//! `rootfs/CONTAINER/MOUNT/PATH`: a pod's volumes where its containers mount them.
//!
//! A mount with `subPath` is a link into a bind mount of the whole volume (`..volumes/VOLUME`, beside it), so that it
//! sees updates; the kubelet's never does.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::ops::Bound;
use std::path::Path;

use tracing::warn;

use super::dir::{Dir, Mounts};
use super::error::{Doing, Failed};
use super::facts::View;
use super::layout::{Place, ROOTFS, VOLUMES, WHOLE};
use super::root::Root;
use super::shared::check;
use super::{DiskError, mount};
use crate::pod::{ContainerPlan, MountPlan, PodPlan};

/// What is to be at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    /// A volume.
    Bind(String),
    /// Something that is reached from there.
    Link(String),
}

/// By the elements of the path.
type Tree = BTreeMap<Vec<String>, Shown>;

/// Whether something is wanted below: what begins alike stands together.
fn leads_on(wanted: &Tree, prefix: &[String]) -> bool {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    wanted.range::<[String], _>(from).next().is_some_and(|(path, _)| path.starts_with(prefix))
}

impl Root {
    /// Shows a pod's volumes where its containers mount them, by bind mounts where that is permitted and by relative
    /// links elsewhere. What an earlier plan has left there goes. The volumes have been written.
    ///
    /// # Errors
    /// What the system says; [`DiskError::Nested`] after everything else is in its place.
    pub fn show(&self, plan: &PodPlan) -> Result<(), DiskError> {
        let path = self.pod_path(&plan.namespace, &plan.name);
        let Some(pod) = self.0.pod(&plan.namespace, &plan.name, true)? else { return Ok(()) };
        let path = path.join(ROOTFS);
        let Some(rootfs) = self.0.folder(&pod, ROOTFS, 0o755, true, &path)? else { return Ok(()) };
        let failed = |failed: Failed| failed.at(&path, Some(&rootfs));
        let kept: HashSet<&OsStr> = plan.containers.iter().map(|c| OsStr::new(&c.name)).collect();
        for name in rootfs.names().doing("list", "").map_err(failed)? {
            if !kept.contains(name.as_os_str()) {
                let removed = rootfs.remove(&name, Mounts::Detach(&self.0.budget));
                removed.doing("remove", &name).map_err(failed)?;
            }
        }
        let mut nested = Ok(());
        for container in &plan.containers {
            check(&container.name)?;
            let path = path.join(&container.name);
            let Some(dir) = self.0.folder(&rootfs, &container.name, 0o755, true, &path)? else { continue };
            let (wanted, inside) = wanted(container, self.0.facts.view == View::Bind)?;
            nested = nested.and(inside);
            self.clear(&dir, &mut Vec::new(), &wanted, plan).map_err(|f| f.at(&path, Some(&dir)))?;
            for (at, shown) in &wanted {
                self.place(&dir, at, shown, plan).map_err(|f| f.at(&path, Some(&dir)))?;
            }
        }
        nested
    }

    /// Removes what is not wanted, or not as it is.
    fn clear(
        &self,
        dir: &Dir,
        prefix: &mut Vec<String>,
        wanted: &Tree,
        plan: &PodPlan,
    ) -> Result<(), Failed> {
        for name in dir.names().doing("list", "")? {
            prefix.push(name.to_string_lossy().into_owned());
            let keep = match wanted.get(prefix) {
                Some(Shown::Link(target)) => {
                    let found = dir.link_target(&name).doing("read", &name)?;
                    found.is_some_and(|found| found == target.as_str())
                }
                Some(Shown::Bind(volume)) => self.shows(dir, &name, volume, plan),
                None if leads_on(wanted, prefix) => match dir.child(&name) {
                    Ok(child) if !dir.is_mounted(&child).unwrap_or(true) => {
                        self.clear(&child, prefix, wanted, plan)?;
                        true
                    }
                    _ => false,
                },
                None => false,
            };
            if !keep {
                let removed = dir.remove(&name, Mounts::Detach(&self.0.budget));
                removed.doing("remove", prefix.join("/"))?;
            }
            prefix.pop();
        }
        Ok(())
    }

    /// Whether a volume as it is now is mounted there: it may have been made anew.
    fn shows(&self, dir: &Dir, name: &std::ffi::OsStr, volume: &str, plan: &PodPlan) -> bool {
        let found = || -> io::Result<bool> {
            let child = dir.child(name)?;
            let Ok(Some(volume)) = self.0.existing_volume(&place(plan, volume)) else { return Ok(false) };
            Ok(dir.is_mounted(&child)? && child.same(&volume)?)
        };
        found().unwrap_or(false)
    }

    fn place(&self, dir: &Dir, at: &[String], shown: &Shown, plan: &PodPlan) -> Result<(), Failed> {
        let Some((name, folders)) = at.split_last() else { return Ok(()) };
        let path = at.join("/");
        let mut open: Option<Dir> = None;
        for folder in folders {
            let parent = open.as_ref().unwrap_or(dir);
            open = Some(parent.child_or_create(folder, 0o755).doing("create", &path)?);
        }
        let parent = open.as_ref().unwrap_or(dir);
        let target = match shown {
            Shown::Link(target) => target.clone(),
            Shown::Bind(volume) => match self.bind(parent, name, volume, plan).doing("mount", &path) {
                Err(failed) if failed.out_of_mounts() => {
                    warn!(pod = %plan.name, path, "A volume is shown by a link: there are too many mounts");
                    let removed = parent.remove(name, Mounts::Detach(&self.0.budget));
                    removed.doing("remove", &path)?;
                    link(at.len(), volume, None)
                }
                done => return done,
            },
        };
        if parent.link_target(name).doing("read", &path)?.is_none() {
            parent.create_link(target, name).doing("link", &path)?;
        }
        Ok(())
    }

    fn bind(&self, parent: &Dir, name: &str, volume: &str, plan: &PodPlan) -> io::Result<()> {
        let source = self.0.existing_volume(&place(plan, volume)).map_err(io::Error::other)?;
        let source = source.ok_or(io::ErrorKind::NotFound)?;
        let point = parent.child_or_create(name, 0o755)?;
        if !parent.is_mounted(&point)? {
            self.0.budget.attach(&mount::tree(&source, false)?, &point)?;
        }
        mount::read_only(parent.child(name)?)
    }
}

fn place(plan: &PodPlan, volume: &str) -> Place {
    Place { namespace: plan.namespace.clone(), pod: plan.name.clone(), volume: volume.to_owned() }
}

/// What a container is to see, and the first mount that has no place.
fn wanted(container: &ContainerPlan, bind: bool) -> Result<(Tree, Result<(), DiskError>), DiskError> {
    let mut wanted = Tree::new();
    let mut nested = Ok(());
    let mut mounts: Vec<(Vec<String>, &MountPlan)> = Vec::new();
    for mount in &container.mounts {
        mounts.push((elements(&mount.path)?, mount));
    }
    mounts.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut outer: Option<(Vec<String>, &MountPlan)> = None;
    for (at, mount) in mounts {
        if let Some((path, outer)) = &outer
            && at.starts_with(path)
        {
            nested = nested.and(Err(DiskError::Nested {
                container: container.name.clone(),
                path: mount.path.clone(),
                outer: outer.path.clone(),
            }));
            continue;
        }
        outer = Some((at.clone(), mount));
        let sub_path = mount.sub_path.as_ref().map(|path| path.as_str());
        let shown = match (bind, sub_path) {
            (true, None) => Shown::Bind(mount.volume.clone()),
            (true, Some(sub_path)) => {
                let whole = vec![WHOLE.to_owned(), mount.volume.clone()];
                wanted.insert(whole, Shown::Bind(mount.volume.clone()));
                Shown::Link(format!("{}{WHOLE}/{}/{sub_path}", "../".repeat(at.len() - 1), mount.volume))
            }
            (false, sub_path) => Shown::Link(link(at.len(), &mount.volume, sub_path)),
        };
        wanted.insert(at, shown);
    }
    Ok((wanted, nested))
}

/// From `rootfs/CONTAINER/` and so many elements to a volume.
fn link(elements: usize, volume: &str, sub_path: Option<&str>) -> String {
    let up = "../".repeat(elements + 1);
    match sub_path {
        Some(sub_path) => format!("{up}{VOLUMES}/{volume}/{sub_path}"),
        None => format!("{up}{VOLUMES}/{volume}"),
    }
}

/// The elements of a mount path. It was looked at when the pod was planned; but here it becomes folders.
fn elements(path: &str) -> Result<Vec<String>, DiskError> {
    let elements: Vec<String> = path.split('/').filter(|e| !e.is_empty()).map(str::to_owned).collect();
    let bad = |e: &String| e == "." || e == ".." || e == WHOLE || e.contains('\0') || e.len() > 255;
    if !Path::new(path).is_absolute() || elements.is_empty() || elements.iter().any(bad) {
        return Err(DiskError::Name { name: path.chars().take(80).collect() });
    }
    Ok(elements)
}

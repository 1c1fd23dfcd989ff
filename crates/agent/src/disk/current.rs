//! What a volume serves now.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;

use rustix::io::Errno;
use tokensmith_objects::LocalPath;

use super::dir::{self, Dir, Meta};
use super::generation;
use super::layout::{DATA, MAX_DEPTH, folders};
use super::owner::Owners;
use crate::payload::{File, Payload, Secret};

/// The generation that counts. A `..data` that is no link, leads elsewhere or to something that is no folder counts
/// as none: whoever put it there is not read.
pub fn current(volume: &Dir) -> io::Result<Option<(OsString, Dir)>> {
    let Some(name) = volume.link_target(DATA)?.filter(|name| generation::is_one(name)) else {
        return Ok(None);
    };
    match volume.child(&name) {
        Ok(dir) => Ok(Some((name, dir))),
        Err(error) if no_folder(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nothing of that name, or something that is no folder.
pub(super) fn no_folder(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::LOOP | Errno::NOENT | Errno::NOTDIR))
}

/// A file of a generation; `None` when it is not there.
pub(super) fn read(generation: &Dir, path: &LocalPath) -> io::Result<Option<Vec<u8>>> {
    let found = open(generation, path).and_then(|file| file.map(dir::read_to_end).transpose());
    match found {
        Err(error) if no_folder(&error) => Ok(None),
        found => found,
    }
}

/// Whether a generation has a file.
pub(super) fn exists(generation: &Dir, path: &LocalPath) -> io::Result<bool> {
    open(generation, path).map(|file| file.is_some())
}

fn open(generation: &Dir, path: &LocalPath) -> io::Result<Option<std::fs::File>> {
    let mut at: Option<Dir> = None;
    let mut elements = path.elements().peekable();
    while let Some(element) = elements.next() {
        let dir = at.as_ref().unwrap_or(generation);
        if elements.peek().is_none() {
            return dir.open_file(element).map(Some);
        }
        at = Some(dir.child(element)?);
    }
    Ok(None)
}

/// All files of a generation, with the permissions and the owners they have.
pub(super) fn payload(generation: &Dir) -> io::Result<Payload> {
    let mut payload = Payload::default();
    walk(generation, "", &mut |entry| {
        if let Entry::File(path, dir, name) = entry
            && let Ok(path) = LocalPath::try_from(path)
        {
            let meta = Meta::from(&dir.stat_of(name)?);
            let data = Secret::new(dir.read_file(name)?);
            payload.insert(path, File { data, mode: meta.mode & 0o777, user: Some(meta.user) });
        }
        Ok(true)
    })?;
    Ok(payload)
}

/// Whether a generation is exactly this: no file more, none less, none that differs in content, permissions or
/// owner. The kubelet compares the contents alone, so that it misses a new `fsGroup` or mode; here they are a reason to
/// make a new generation, since a change in place would show a reader half of it.
pub(super) fn matches(generation: &Dir, payload: &Payload, wanted: &Owners<'_>) -> io::Result<bool> {
    if Meta::from(&generation.stat()?) != wanted.dir() {
        return Ok(false);
    }
    let folders: BTreeSet<&str> = payload.files().flat_map(|(path, _)| folders(path.as_str())).collect();
    let (mut files, mut dirs) = (0, 0);
    let same = walk(generation, "", &mut |entry| match entry {
        Entry::Folder(path, dir) => {
            dirs += 1;
            Ok(folders.contains(path) && Meta::from(&dir.stat()?) == wanted.dir())
        }
        Entry::File(path, dir, name) => {
            files += 1;
            let Some(file) = LocalPath::try_from(path).ok().and_then(|path| payload.get(&path)) else {
                return Ok(false);
            };
            let found = dir.stat_of(name)?;
            let size = u64::try_from(found.st_size).unwrap_or(u64::MAX);
            Ok(Meta::from(&found) == wanted.file(file)
                && size == file.data.expose().len() as u64
                && dir.read_file(name)? == file.data.expose())
        }
        Entry::Other => Ok(false),
    })?;
    Ok(same && files == payload.len() && dirs == folders.len())
}

enum Entry<'a> {
    /// A path, and the open folder.
    Folder(&'a str, &'a Dir),
    /// A path, its folder and its name in there.
    File(&'a str, &'a Dir, &'a str),
    /// Something that we do not make.
    Other,
}

/// Shows everything below a folder, until the visitor says `false`.
fn walk(dir: &Dir, prefix: &str, visit: &mut dyn FnMut(Entry<'_>) -> io::Result<bool>) -> io::Result<bool> {
    for name in dir.names()? {
        let Some(name) = name.to_str() else { return visit(Entry::Other) };
        let path = format!("{prefix}{name}");
        let go_on = match dir.stat_of(name)?.st_mode & 0o170_000 {
            0o100_000 => visit(Entry::File(&path, dir, name))?,
            0o040_000 if path.split('/').count() <= MAX_DEPTH => {
                let child = dir.child(name)?;
                visit(Entry::Folder(&path, &child))? && walk(&child, &format!("{path}/"), visit)?
            }
            _ => visit(Entry::Other)?,
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

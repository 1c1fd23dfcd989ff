//! The directory that a web server or a bucket serves: files in it are replaced whole, and nothing outside it is
//! touched, wherever links in it point.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files::{self, Access};

/// A directory for static hosting.
#[derive(Debug)]
pub struct Site {
    /// As the user named it, for messages.
    name: PathBuf,
    /// Where it really is.
    root: PathBuf,
}

impl Site {
    /// Uses a directory, making it if there is none.
    ///
    /// # Errors
    /// It cannot be made, or is no directory.
    pub fn open(name: &Path) -> Result<Self, Failure> {
        let cannot = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::failed(format!(
                "cannot publish to {}: it is no folder; give one, or a new name",
                name.display()
            )),
            _ => Failure::failed(format!("cannot publish to {}: {e}", name.display())),
        };
        // Under no umask may others write there: whoever replaces the key set signs what they like.
        DirBuilder::new().recursive(true).mode(0o755).create(name).map_err(cannot)?;
        Ok(Site { name: name.to_path_buf(), root: fs::canonicalize(name).map_err(cannot)? })
    }

    /// The directory, as the user named it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Where a file is, for messages.
    pub fn shown<S: AsRef<str>>(&self, path: &[S]) -> String {
        let parts = path.iter().map(AsRef::as_ref);
        parts.fold(self.name.clone(), |at, part| at.join(part)).display().to_string()
    }

    /// What a file holds; `None` when it is not there.
    ///
    /// # Errors
    /// It is there, but outside, or cannot be read.
    pub fn read<S: AsRef<str>>(&self, path: &[S]) -> Result<Option<Vec<u8>>, Failure> {
        let at = path.iter().fold(self.root.clone(), |at, part| at.join(part.as_ref()));
        match fs::canonicalize(&at) {
            Ok(real) => Ok(files::read_if_there(&self.inside(path, real)?)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.cannot("read", path, &e)),
        }
    }

    /// Makes a file hold `content`, for everyone to read; says whether it did not before. The names in `path` have been
    /// checked to be plain ones.
    ///
    /// # Errors
    /// It would be outside, or cannot be written; what is there is then as it was.
    pub fn write<S: AsRef<str>>(&self, path: &[S], content: &[u8]) -> Result<bool, Failure> {
        if self.read(path)?.as_deref() == Some(content) {
            return Ok(false);
        }
        let Some((name, directories)) = path.split_last() else { return Ok(false) };
        let mut at = self.root.clone();
        for directory in directories {
            at.push(directory.as_ref());
            match fs::create_dir(&at) {
                // Whoever serves it must be able to enter, under any umask.
                Ok(()) => fs::set_permissions(&at, Permissions::from_mode(0o755)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(e) => Err(e),
            }
            .map_err(|e| self.cannot("write", path, &e))?;
            // Each step is taken from where the last one really led.
            at = self.inside(path, fs::canonicalize(&at).map_err(|e| self.cannot("write", path, &e))?)?;
        }
        at.push(name.as_ref());
        files::write(&at, content, Access::Everyone)?;
        Ok(true)
    }

    fn inside<S: AsRef<str>>(&self, path: &[S], real: PathBuf) -> Result<PathBuf, Failure> {
        match real.starts_with(&self.root) {
            true => Ok(real),
            false => Err(Failure::guard(format!(
                "{} leads out of {}, to {}: remove the link",
                self.shown(path),
                self.name.display(),
                real.display()
            ))),
        }
    }

    fn cannot<S: AsRef<str>>(&self, verb: &str, path: &[S], e: &io::Error) -> Failure {
        Failure::failed(format!("cannot {verb} {}: {e}", self.shown(path)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const PATH: [&str; 2] = ["a", "file"];

    #[test]
    fn files_are_for_everyone_and_left_alone_when_equal() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(&dir.path().join("new/site")).unwrap();
        assert!(site.write(&PATH, b"one").unwrap());
        let at = dir.path().join("new/site/a/file");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&at), mode(at.parent().unwrap())), (0o644, 0o755));
        let inode = fs::metadata(&at).unwrap().ino();
        assert!(!site.write(&PATH, b"one").unwrap());
        assert_eq!(fs::metadata(&at).unwrap().ino(), inode);
        assert!(site.write(&PATH, b"two").unwrap());
        assert_eq!(site.read(&PATH).unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(fs::read_dir(at.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn links_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, root) = (dir.path().join("outside"), dir.path().join("site"));
        for path in [&outside, &root] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join("file"), "mine").unwrap();
        let site = Site::open(&root).unwrap();
        let refused = || matches!(site.write(&PATH, b"x"), Err(Failure::Guard(_)));

        symlink(&outside, root.join("a")).unwrap();
        assert!(refused(), "a directory that leads out");
        fs::remove_file(outside.join("file")).unwrap();
        assert!(refused(), "also when the file is not there yet");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        fs::remove_file(root.join("a")).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(outside.join("file"), "mine").unwrap();
        symlink(outside.join("file"), root.join("a/file")).unwrap();
        assert!(refused(), "a file that leads out");
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");
        // A link to nowhere is replaced, not followed.
        fs::remove_file(root.join("a/file")).unwrap();
        symlink(outside.join("none"), root.join("a/file")).unwrap();
        assert!(site.write(&PATH, b"x").unwrap());
        assert!(!outside.join("none").exists());
        // One that stays inside is the user's own affair.
        fs::create_dir(root.join("real")).unwrap();
        symlink("real", root.join("b")).unwrap();
        assert!(site.write(&["b", "file"], b"x").unwrap());
        assert_eq!(fs::read(root.join("real/file")).unwrap(), b"x");
        // And the directory itself may be a link.
        symlink(&root, dir.path().join("link")).unwrap();
        assert!(!Site::open(&dir.path().join("link")).unwrap().write(&["b", "file"], b"x").unwrap());
    }
}

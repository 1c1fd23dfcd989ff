//! A file that is written piece by piece, and has its name only once it is whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokensmith_core::random;

use super::{Access, split};

/// It, until it is given its name. One that is dropped before is removed.
#[derive(Debug)]
pub struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Begins one that is to be at this path. A symbolic link is followed.
    ///
    /// # Errors
    /// The directory is not writable, and so on.
    pub fn create(path: &Path, access: Access) -> Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let (dir, name) = split(&path)?;
        let draft = dir.join(format!(".{name}.{}", random::suffix(8)));
        let mode = access.mode();
        let open = || {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
            file.set_permissions(Permissions::from_mode(mode)).map(|()| file)
        };
        let file = open().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Draft { file, draft, path })
    }

    /// Appends.
    ///
    /// # Errors
    /// The disk is full, and so on.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Brings it to disk and gives it its name. What was there before is as it was until then.
    ///
    /// # Errors
    /// The disk is full, and so on.
    pub fn commit(self) -> Result<()> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.draft, &self.path));
        done.with_context(|| format!("cannot write {}", self.path.display()))?;
        // Makes the rename itself durable; not every file system can, and none needs it to be correct.
        let _ = split(&self.path).map(|(dir, _)| File::open(dir).and_then(|dir| dir.sync_all()));
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it has its name already there is none of this one.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        fs::write(&path, "old").unwrap();
        let mut draft = Draft::create(&path, Access::Owner).unwrap();
        draft.write(b"ne").unwrap();
        drop(draft);
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()),
            (b"old".to_vec(), 1)
        );
        let mut draft = Draft::create(&path, Access::Owner).unwrap();
        draft.write(b"ne").unwrap();
        draft.write(b"w").unwrap();
        draft.commit().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read_dir(dir.path()).unwrap().count()),
            (b"new".to_vec(), 1)
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

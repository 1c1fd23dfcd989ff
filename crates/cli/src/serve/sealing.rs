//! The file with the keys that seal private keys in the store: 32 bytes in base64 a line; the first seals, all of them
//! open; `#` begins a comment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokensmith_core::keys::{SealKey, SealKeys, SealSource, SealSourceError};
use zeroize::Zeroizing;

use super::data_dir::{DataDir, SEAL};
use crate::files;
use crate::files::modes::Others;

/// A sealing-key file. It is read anew each time: an operator may have changed it.
#[derive(Debug)]
pub struct SealingFile {
    path: PathBuf,
    others: Others,
}

impl SealingFile {
    /// The file of `--sealing-key-file`, which must be there. `sealed` are the ids of the keys that need it.
    ///
    /// # Errors
    /// It is not there, open to others, or holds something else.
    pub fn given(path: &Path, sealed: &[String], others: Others) -> Result<Self> {
        let file = SealingFile { path: path.to_path_buf(), others };
        if file.read()?.is_none() {
            let path = path.display();
            match sealed {
                [] => bail!(
                    "--sealing-key-file: there is no {path}: make it with `(umask 077; head -c 32 /dev/urandom | base64 >{path})`"
                ),
                sealed => bail!("--sealing-key-file: there is no {path}{}", needed_by(sealed)),
            }
        }
        Ok(file)
    }

    /// The file in the data directory; made where nothing is sealed yet.
    ///
    /// # Errors
    /// It is missing though something is sealed, open to others, or holds something else.
    pub fn own(dir: &DataDir, sealed: &[String]) -> Result<Self> {
        let file = SealingFile { path: dir.file(SEAL), others: dir.others() };
        if file.read()?.is_none() {
            if !sealed.is_empty() {
                bail!("{} is missing{}", file.path.display(), needed_by(sealed));
            }
            file.write(&SealKey::generate().into())?;
        }
        Ok(file)
    }

    /// The keys of `--sealing-key-file`, or else of the data directory's own file, if there is one. Makes nothing.
    ///
    /// # Errors
    /// The file is open to others, or holds something else; the one that was given is not there.
    pub fn find(given: Option<&Path>, dir: &Path, others: Others) -> Result<Option<SealKeys>> {
        match given {
            Some(path) => match (SealingFile { path: path.to_path_buf(), others }).read()? {
                // A new one would open nothing: what is asked about is sealed already.
                None => bail!(
                    "--sealing-key-file: there is no {}: give the key of the server that this comes from",
                    path.display()
                ),
                found => Ok(found),
            },
            None => SealingFile { path: dir.join(SEAL), others }.read(),
        }
    }

    fn read(&self) -> Result<Option<SealKeys>> {
        let Some(text) = files::read_secret(&self.path, self.others)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let wrong = || {
            format!(
                "{} is no sealing-key file (32 bytes in base64 a line): put the right one back",
                self.path.display()
            )
        };
        let mut keys = Vec::new();
        for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let bytes = BASE64_STANDARD.decode(line).ok().map(Zeroizing::new);
            let bytes = bytes.and_then(|b| <[u8; 32]>::try_from(b.as_slice()).ok());
            keys.push(SealKey::new(bytes.with_context(wrong)?));
        }
        let mut keys = keys.into_iter();
        let first = keys.next().with_context(wrong)?;
        Ok(Some(SealKeys::new(first, keys.collect())))
    }

    fn write(&self, keys: &SealKeys) -> Result<()> {
        let mut text = Zeroizing::new(String::new());
        for key in keys.all() {
            text.push_str(&Zeroizing::new(BASE64_STANDARD.encode(key.expose())));
            text.push('\n');
        }
        files::write(&self.path, text.as_bytes(), self.others.into())
    }
}

impl SealSource for SealingFile {
    fn load(&self) -> Result<SealKeys, SealSourceError> {
        let missing = || SealSourceError::Failed(format!("{} is missing", self.path.display()).into());
        self.read().map_err(|e| SealSourceError::Failed(e.into()))?.ok_or_else(missing)
    }

    fn store(&self, keys: &SealKeys) -> Result<(), SealSourceError> {
        self.write(keys).map_err(|e| SealSourceError::Failed(e.into()))
    }
}

fn needed_by(sealed: &[String]) -> String {
    format!(", and signing key {} cannot be opened without it: put it back", sealed.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::files::Access;

    #[test]
    fn it_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), Others::Nobody).unwrap();
        let first = SealingFile::own(&data, &[]).unwrap().load().unwrap();
        let again = SealingFile::own(&data, &["k".into()]).unwrap().load().unwrap();
        assert_eq!(first.all()[0].expose(), again.all()[0].expose());
        assert_eq!(fs::metadata(data.file(SEAL)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lost_one_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), Others::Nobody).unwrap();
        let text = SealingFile::own(&data, &["k1".into()]).unwrap_err().to_string();
        assert!(
            text.ends_with(
                "seal.key is missing, and signing key k1 cannot be opened without it: put it back"
            )
        );
        assert!(!data.file(SEAL).exists());
        let text = SealingFile::given(&dir.path().join("x"), &[], Others::Nobody).unwrap_err().to_string();
        assert!(text.contains("head -c 32"), "{text}");
    }

    #[test]
    fn several_keys_and_comments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let line = |n: u8| BASE64_STANDARD.encode([n; 32]);
        files::write(&path, format!("# new\n{}\n\n{}\n", line(2), line(1)).as_bytes(), Access::Owner)
            .unwrap();
        let keys = SealingFile::given(&path, &[], Others::Nobody).unwrap().load().unwrap();
        assert_eq!(keys.all().iter().map(|k| k.expose()[0]).collect::<Vec<_>>(), [2, 1]);
        for wrong in ["", "# only\n", "x\n", "AAAA\n"] {
            files::write(&path, wrong.as_bytes(), Access::Owner).unwrap();
            let text = SealingFile::given(&path, &[], Others::Nobody).unwrap_err().to_string();
            assert!(text.contains("no sealing-key file"), "{text}");
        }
    }
}

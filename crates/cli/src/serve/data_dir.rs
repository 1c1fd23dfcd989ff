//! The data directory: what is where, and what a first start makes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokensmith_core::random;
use tokensmith_server::backup::FileError;
use zeroize::Zeroizing;

use super::temporary::{self, Temporary};
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{self, Access};

/// The URL of the running server; there while it runs.
pub const ADDRESS: &str = "address";
/// The certificate that is served; there while the server runs.
pub const SERVING_CERT: &str = "serving.crt";
/// The administrator's token.
pub const ADMIN_TOKEN: &str = "admin.token";
/// The issuer of the first start without a flag.
pub const ISSUER: &str = "issuer";
/// The certificate of our own CA,
pub const CA_CERT: &str = "ca.crt";
/// and its key.
pub const CA_KEY: &str = "ca.key";
/// The key that seals the private keys in the store.
pub const SEAL: &str = "seal.key";
/// The store's folder.
pub const STORE: &str = "store";
/// The lock in it.
pub const LOCK: &str = "lock";
/// What a backup takes along besides the store: all that a client trusts or is known by.
const KEPT: [&str; 4] = [CA_CERT, CA_KEY, ADMIN_TOKEN, ISSUER];

/// Files with their names.
pub type Kept = Vec<(String, Zeroizing<Vec<u8>>)>;

/// A directory that holds everything. With `--ephemeral` a temporary one, gone with this value.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    others: Others,
    /// It goes with this.
    _temporary: Option<Temporary>,
}

impl DataDir {
    /// Uses a directory, making it (0700) if there is none. One that is there is made private, with the store in it.
    ///
    /// # Errors
    /// It cannot be made; or a guard's refusal: others may have written there.
    pub fn open(path: &Path, others: Others) -> Result<Self, Failure> {
        files::private_dir(path, &[STORE], others)?;
        Ok(DataDir { path: path.to_path_buf(), others, _temporary: None })
    }

    /// One that is there, as it is: for who changes nothing.
    pub fn look(path: &Path) -> Self {
        DataDir { path: path.to_path_buf(), others: Others::Nobody, _temporary: None }
    }

    /// One that is there and has a store.
    ///
    /// # Errors
    /// There is none; or as [`DataDir::open`].
    pub fn existing(path: &Path, others: Others) -> Result<Self, Failure> {
        if !DataDir::look(path).holds_store() {
            return Err(Failure::failed(format!("there is no store in {}: give --data-dir", path.display())));
        }
        DataDir::open(path, others)
    }

    /// A temporary one, in the first place that takes it.
    ///
    /// # Errors
    /// None does.
    pub fn temporary() -> Result<Self, Failure> {
        let temporary = Temporary::new()?;
        let path = temporary.path().to_path_buf();
        Ok(DataDir { path, others: Others::Nobody, _temporary: Some(temporary) })
    }

    /// The one of a server that keeps nothing and runs as this user; the newest, where there are several.
    pub fn of_ephemeral() -> Option<PathBuf> {
        let me = rustix::process::geteuid().as_raw();
        let folders =
            temporary::places().into_iter().flat_map(|place| fs::read_dir(place).into_iter().flatten());
        let ours = folders.flatten().filter(|entry| temporary::is_named(&entry.path()));
        // Nobody else makes a folder that is this user's: what is in it can be believed.
        let ours =
            ours.filter(|entry| entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == me));
        let begun = |path: &PathBuf| fs::metadata(path.join(ADDRESS)).and_then(|found| found.modified()).ok();
        ours.map(|entry| entry.path()).filter(|path| begun(path).is_some()).max_by_key(begun)
    }

    /// Who else may use what is private in it.
    pub fn others(&self) -> Others {
        self.others
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is anything of a store. Its lock, which a start that was refused leaves behind, is nothing, nor is a
    /// folder without a file.
    pub fn holds_store(&self) -> bool {
        let inside = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        inside(&self.store()).filter(|entry| entry.file_name() != LOCK).any(|entry| {
            let path = entry.path();
            !path.is_dir() || inside(&path).next().is_some()
        })
    }

    /// Reads what a backup takes along, as it is when it is asked.
    pub fn kept(&self) -> impl Fn() -> Result<Kept, FileError> + Send + Sync + 'static {
        let path = self.path.clone();
        move || {
            let read = |name: &&str| {
                let path = path.join(name);
                match fs::read(&path) {
                    Ok(bytes) => Ok(Some(((*name).to_owned(), Zeroizing::new(bytes)))),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(FileError { path, source }),
                }
            };
            KEPT.iter().filter_map(|name| read(name).transpose()).collect()
        }
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The administrator's token; made at the first start, unless it is given: then it replaces the one that is there.
    ///
    /// # Errors
    /// The file is unreadable or open to others.
    pub fn admin_token(&self, given: Option<&str>) -> Result<String> {
        let kept = self.secret(ADMIN_TOKEN)?.filter(|t| !t.trim().is_empty());
        let kept = kept.as_deref().map(str::trim);
        let token = match (kept, given) {
            (Some(kept), None) => return Ok(kept.to_owned()),
            (Some(kept), Some(given)) if kept == given => return Ok(kept.to_owned()),
            (Some(_), Some(given)) => {
                tracing::warn!(
                    "--admin-token-file holds another token than the data directory: that of before is refused from now on"
                );
                given.to_owned()
            }
            (None, Some(given)) => given.to_owned(),
            (None, None) => BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()),
        };
        files::write(&self.file(ADMIN_TOKEN), format!("{token}\n").as_bytes(), self.others.into())?;
        Ok(token)
    }

    /// The issuer of the first start without a flag, if there was one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn kept_issuer(&self) -> Result<Option<String>> {
        let stored = files::read_if_there(&self.file(ISSUER))?;
        let stored = stored.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        Ok(stored.filter(|issuer| !issuer.is_empty()))
    }

    /// Keeps the issuer of the first start; `first` if this is it.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn issuer(&self, first: &str) -> Result<String> {
        if let Some(stored) = self.kept_issuer()? {
            return Ok(stored);
        }
        files::write(&self.file(ISSUER), format!("{first}\n").as_bytes(), Access::Everyone)?;
        Ok(first.to_owned())
    }

    /// A secret file's text. One that others may read is refused.
    pub fn secret(&self, name: &str) -> Result<Option<String>> {
        let text = files::read_secret(&self.file(name), self.others)?;
        Ok(text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_made_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("data"), Others::Nobody).unwrap();
        assert_eq!(data.admin_token(None).unwrap(), data.admin_token(None).unwrap());
        for given in [Some("given"), None] {
            assert_eq!(data.admin_token(given).unwrap(), "given", "and kept");
        }
        assert_eq!(data.issuer("https://a").unwrap(), "https://a");
        assert_eq!(data.issuer("https://b").unwrap(), "https://a");
        assert_eq!(fs::metadata(data.file(ADMIN_TOKEN)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_open_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path(), Others::Nobody).unwrap();
        data.admin_token(None).unwrap();
        fs::set_permissions(data.file(ADMIN_TOKEN), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(data.admin_token(None).unwrap_err().to_string().contains("chmod 600"));
    }
}

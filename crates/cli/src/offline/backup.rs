//! A backup of a data directory that no server uses; and whether a backup is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokensmith_core::backup::{Finished, Source, write};
use tokensmith_core::clock::SystemClock;
use tokensmith_core::keys::{NotOpened, SealKeys};
use tokensmith_store::{FORMAT, OpenError, Options, SledStore, is_of_format_1};
use tokio::sync::mpsc;

use super::contents::{self, Contents};
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::output::{self, shell};
use crate::serve::data_dir::DataDir;
use crate::serve::sealing::SealingFile;

/// Begins the backup of a data directory.
///
/// # Errors
/// There is none, a server uses it, it is damaged; the sealing key is not there or does not open its keys.
pub fn begin(
    path: &Path,
    sealing_key_file: Option<&Path>,
    others: Others,
) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    let dir = DataDir::existing(path, others)?;
    let seal = Arc::new(sealing(sealing_key_file, path, others)?);
    let store = open(&dir)?;
    let identity = Some(store.identity());
    let source = Source {
        ledger: Arc::new(store.ledger().context("cannot open the token ledger")?),
        store: Arc::new(store),
        clock: Arc::new(SystemClock::new()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: dir.kept_issuer()?,
        identity,
        files: dir.kept()().map_err(anyhow::Error::new)?,
        seal: Box::new(move || seal.clone()),
    };
    let (out, pieces) = mpsc::channel::<Bytes>(4);
    let writing = tokio::spawn(async move { write(&source, &out).await });
    Ok(stream::unfold(Some((pieces, writing)), |state| async {
        let (mut pieces, writing) = state?;
        if let Some(piece) = pieces.recv().await {
            return Some((Ok(piece), Some((pieces, writing))));
        }
        match writing.await.map_err(|e| Failure::failed(e.to_string())) {
            Ok(Ok(_)) => None,
            Ok(Err(e)) => Some((Err(anyhow::Error::new(e).into()), None)),
            Err(e) => Some((Err(e), None)),
        }
    })
    .boxed())
}

/// Opens the store of a directory that no server uses.
///
/// # Errors
/// One does, it is damaged, or there is none.
pub fn open(dir: &DataDir) -> Result<SledStore, Failure> {
    let old = is_of_format_1(&dir.store());
    let opened = SledStore::open(&dir.store(), Options::default());
    if old && opened.is_ok() {
        output::aside(&format!(
            "Warning: the store in {} is brought to format {FORMAT} by this: an older tokensmith refuses it, the backup is for this one, too",
            dir.path().display()
        ));
    }
    opened.map_err(|e| match &e {
        OpenError::InUse { .. } => {
            Failure::failed(format!("{e}: a running server is backed up without --offline"))
        }
        OpenError::Damaged(_) => {
            let at = shell(&dir.path().to_string_lossy());
            Failure::failed(format!(
                "{e}: `tokensmith store check --data-dir {at}` lists it, `tokensmith store salvage --data-dir {at} --to DIR` saves what is whole"
            ))
        }
        _ => Failure::from(anyhow::Error::new(e)),
    })
}

/// The sealing keys.
///
/// # Errors
/// They are not there.
pub fn sealing(given: Option<&Path>, dir: &Path, others: Others) -> Result<SealKeys, Failure> {
    let missing = || {
        Failure::failed(format!(
            "the sealing key is missing, without which no signing key opens: put it back as {} (mode 0600), or give --sealing-key-file",
            dir.join(crate::serve::data_dir::SEAL).display()
        ))
    };
    SealingFile::find(given, dir, others)?.ok_or_else(missing)
}

/// Look whether a backup is whole
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Also see that the keys in it open with this sealing key
    #[arg(long, value_name = "PATH", env = "TOKENSMITH_SEALING_KEY_FILE")]
    sealing_key_file: Option<PathBuf>,
}

impl VerifyArgs {
    /// Reads it to its end.
    ///
    /// # Errors
    /// It is not as it was written, or its keys do not open.
    pub fn run(self) -> Result<(), Failure> {
        let (contents, finished) = contents::read(&self.file)?;
        let proven = match &self.sealing_key_file {
            None => "not asked whether its keys open: give --sealing-key-file".to_owned(),
            Some(path) => {
                let seal = sealing(Some(path), Path::new("."), Others::Nobody)?;
                prove(&self.file, &contents, &finished, &seal)?;
                format!("its keys open with {}", path.display())
            }
        };
        let file = self.file.display();
        Ok(crate::output::print_text(&format!(
            "{file} is whole: {}\n  {}\n  {proven}\n",
            contents::origin(&finished),
            contents.told()
        ))?)
    }
}

/// Sees that a backup was written by a server with these sealing keys, and that they open its ring.
///
/// # Errors
/// No.
pub fn prove(file: &Path, contents: &Contents, finished: &Finished, seal: &SealKeys) -> Result<(), Failure> {
    let ring = contents.ring().map_err(anyhow::Error::new).context("the key ring in it cannot be used")?;
    let opened = ring.map_or(Ok(()), |ring| seal.opens(&ring));
    opened.map_err(|NotOpened { id }| {
        Failure::failed(format!(
            "the sealing key does not open signing key {id} in {}: give the one that the server had at {}, in --sealing-key-file or as seal.key in the data directory",
            file.display(),
            tokensmith_objects::object::timestamp(finished.header.time)
        ))
    })?;
    finished.prove(seal).map_err(|_| {
        Failure::guard(format!(
            "{} was not written by a server with this sealing key, though its keys open: somebody has changed it",
            file.display()
        ))
    })
}

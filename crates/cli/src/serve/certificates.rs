//! The CA of a data directory.

use anyhow::{Context, Result};
use time::OffsetDateTime;
use tokensmith::certificates::{Authority, CertificateError};

use super::data_dir::{CA_CERT, CA_KEY, DataDir};
use crate::files::{self, Access};

/// Reads the CA, or makes it.
///
/// # Errors
/// Its files cannot be read, used or written.
pub fn open(dir: &DataDir, now: OffsetDateTime) -> Result<Authority> {
    let (cert, key) = (dir.file(CA_CERT), dir.secret(CA_KEY)?);
    let pem = files::read_if_there(&cert)?.map(|b| String::from_utf8_lossy(&b).into_owned());
    match (pem, key) {
        (Some(pem), Some(key)) => Authority::read(pem, &key).map_err(|e| match e {
            CertificateError::CaKey(e) => anyhow::Error::new(e).context("ca.key cannot be used"),
            CertificateError::Ca(e) => {
                anyhow::Error::new(e).context(format!("{} cannot be used", cert.display()))
            }
            e => e.into(),
        }),
        (Some(_), None) => anyhow::bail!("ca.key is missing beside {}: put it back", cert.display()),
        (None, _) => {
            let made = Authority::make(now).context("cannot make a CA")?;
            // The key first: a certificate without a key could not be told from a lost key.
            files::write(&dir.file(CA_KEY), made.key_pem().as_bytes(), dir.others().into())?;
            files::write(&cert, made.pem().as_bytes(), Access::Everyone)?;
            Ok(made)
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::files::modes::Others;

    #[test]
    fn the_ca_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path(), Others::Nobody).unwrap();
        let now = datetime!(2026-01-01 0:00 UTC);
        assert_eq!(open(&dir, now).unwrap().pem(), open(&dir, now).unwrap().pem());
    }
}

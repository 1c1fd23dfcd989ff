//! The static token file: CSV of `token,user,uid[,"group1,group2"]` (apiserver `token/tokenfile`).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use time::OffsetDateTime;

use crate::access::{AuthError, Authenticated, BearerToken, Identity, TokenAuthenticator};
use crate::view::Snapshot;

/// What is wrong with a token file; never shows a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenFileError {
    /// Too few columns.
    #[error("line {line}: need at least 3 columns (token, user name, user uid), found {found}")]
    Columns {
        /// Counted from 1.
        line: usize,
        /// How many there are.
        found: usize,
    },
    /// Quotes that do not match.
    #[error("line {line}: a quoted column is not closed")]
    Quote {
        /// Counted from 1.
        line: usize,
    },
    /// An empty user name.
    #[error("line {line}: the user name is empty")]
    User {
        /// Counted from 1.
        line: usize,
    },
}

/// Users by the digest of their token: a look-up by the token itself would take a time that tells how many of its
/// characters are right.
#[derive(Default)]
pub struct TokenFile {
    users: ArcSwap<HashMap<[u8; 32], Identity>>,
}

impl TokenFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is none, by its number; never what stands in it.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        Ok(TokenFile { users: ArcSwap::from_pointee(users(text)?) })
    }

    /// One user, without a file: the administrator's token.
    pub fn single(token: &str, identity: Identity) -> Self {
        TokenFile { users: ArcSwap::from_pointee(HashMap::from([(key(token), identity)])) }
    }

    /// Takes the users of a new text; on an error the old ones stay.
    ///
    /// # Errors
    /// As [`parse`](Self::parse)'s.
    pub fn reload(&self, text: &str) -> Result<(), TokenFileError> {
        self.users.store(Arc::new(users(text)?));
        Ok(())
    }
}

impl TokenAuthenticator for TokenFile {
    fn authenticate(
        &self,
        token: &BearerToken,
        _audiences: &[String],
        _objects: &Snapshot,
        _now: OffsetDateTime,
    ) -> Result<Option<Authenticated>, AuthError> {
        let found = self.users.load().get(&key(token.expose())).cloned();
        Ok(found.map(|identity| Authenticated { identity, ..Authenticated::default() }))
    }

    fn name(&self) -> &'static str {
        "static token"
    }
}

fn key(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

fn users(text: &str) -> Result<HashMap<[u8; 32], Identity>, TokenFileError> {
    let mut users = HashMap::new();
    for (at, row) in text.lines().enumerate() {
        let line = at + 1;
        if row.trim().is_empty() || row.starts_with('#') {
            continue;
        }
        let columns = columns(row).ok_or(TokenFileError::Quote { line })?;
        let [token, name, uid, rest @ ..] = columns.as_slice() else {
            return Err(TokenFileError::Columns { line, found: columns.len() });
        };
        if name.is_empty() {
            return Err(TokenFileError::User { line });
        }
        // Kubernetes skips rows without a token too: an empty one would let in everybody.
        if token.is_empty() {
            continue;
        }
        let groups = rest.first().map(String::as_str).unwrap_or("").split(',').map(str::trim);
        let groups = groups.filter(|g| !g.is_empty()).map(Into::into).collect();
        let user = Identity { name: name.clone(), uid: uid.clone(), groups, extra: Default::default() };
        if users.insert(key(token), user).is_some() {
            // Upstream's words; the later one counts there, too. The token itself is nobody's business.
            tracing::warn!("duplicate token has been found in token file, record number {line}");
        }
    }
    Ok(users)
}

/// The columns of one CSV row (RFC 4180); `None` when a quote is not closed.
fn columns(row: &str) -> Option<Vec<String>> {
    let (mut out, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = row.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut column).trim().to_owned()),
            c => column.push(c),
        }
    }
    out.push(column.trim().to_owned());
    (!quoted).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(file: &TokenFile, token: &str) -> Option<Identity> {
        let found = file.authenticate(
            &BearerToken::new(token),
            &[],
            &Snapshot::default(),
            OffsetDateTime::UNIX_EPOCH,
        );
        found.unwrap().map(|a| a.identity)
    }

    #[test]
    fn users_and_groups() {
        let file =
            TokenFile::parse("# users\na,admin,1,\"system:masters, ops\"\n\nb,jane,2\n,nobody,3\n").unwrap();
        let admin = who(&file, "a").unwrap();
        assert_eq!(
            (admin.name.as_str(), admin.uid.as_str(), admin.groups),
            ("admin", "1", vec!["system:masters".to_owned(), "ops".into()])
        );
        assert_eq!(who(&file, "b").unwrap().groups, Vec::<String>::new());
        assert_eq!(who(&file, "c"), None);
        assert_eq!(who(&file, ""), None, "a row without a token lets nobody in");
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let file = TokenFile::parse("a,admin,1").unwrap();
        assert_eq!(file.reload("b,jane"), Err(TokenFileError::Columns { line: 1, found: 2 }));
        assert_eq!(file.reload("b,jane,2\nc,x,3,\"open"), Err(TokenFileError::Quote { line: 2 }));
        assert!(who(&file, "a").is_some() && who(&file, "b").is_none());
        file.reload("b,jane,2").unwrap();
        assert!(who(&file, "a").is_none() && who(&file, "b").is_some());
    }
}

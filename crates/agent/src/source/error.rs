//! Why there is no token.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;
use tokensmith_objects::object::timestamp;

use crate::refresh::RefreshError;

/// Why there is no token. One line, without secrets; kept and told to all who ask meanwhile.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The file's token is for others.
    #[error("the token in {} is not for the audience {audience:?}", .path.display())]
    Audience {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        audience: String,
    },
    /// Longer than any audience has reason to be.
    #[error("an audience has at most {0} bytes")]
    AudienceTooLong(usize),
    /// Nothing in it.
    #[error("the token is empty")]
    Empty,
    /// It was good once.
    #[error("the token has expired at {}", timestamp(*.0))]
    Expired(OffsetDateTime),
    /// The one in the file: nobody keeps it fresh.
    #[error("the token in {} has expired at {}: whoever keeps the file does not renew it", .path.display(), timestamp(*.at))]
    ExpiredFile {
        /// The file.
        path: PathBuf,
        /// When its token ended.
        at: OffsetDateTime,
    },
    /// The file cannot be used.
    #[error("cannot read the token in {}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: Arc<FileProblem>,
    },
    /// Characters that no token has.
    #[error("what should be a token has characters that none has")]
    NotAToken,
    /// The API server gives none.
    #[error("cannot get a token: {0}")]
    Refresh(#[from] RefreshError),
    /// No answer yet; asking goes on.
    #[error("the API server has not answered in time")]
    Slow,
    /// All places are taken.
    #[error("tokens for {0} other audiences are held: no more at one time")]
    TooManyAudiences(usize),
}

impl TokenError {
    /// Of a token that was good until this time.
    pub(super) fn expired(at: Option<OffsetDateTime>) -> Self {
        at.map_or(TokenError::Empty, TokenError::Expired)
    }
}

/// What is wrong with a token file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The system says.
    #[error("{0}")]
    Io(io::Error),
    /// A folder, a device, a pipe.
    #[error("it is not a file")]
    NotAFile,
    /// What it holds is no token.
    #[error("{0}")]
    Token(TokenError),
    /// More than any token has.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

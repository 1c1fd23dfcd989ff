//! Authenticators that need no objects: the static token file and client certificates.

mod certificate;
mod token_file;

pub use certificate::{
    AnchorError, CertificateError, ClientCas, ClientCertificates, Shown, Untrusted, identity_of,
};
pub use token_file::{TokenFile, TokenFileError};

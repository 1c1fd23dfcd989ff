//! The certificates that a server shows, as far as rules ask.

use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who signed it, by their own name.
    pub issuer: String,
    /// Until when it counts, Unix seconds.
    pub not_after: i64,
    /// Whether it says where its issuer's certificate is to be had: a CA of the public's does, its root has no need to.
    pub says_where: bool,
}

impl Certificate {
    /// Reads one; `None` where it is none.
    pub fn parse(der: &[u8]) -> Option<Certificate> {
        let (_, read) = parse_x509_certificate(der).ok()?;
        let where_ = |extension: &x509_parser::prelude::X509Extension<'_>| {
            matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(_))
        };
        Some(Certificate {
            subject: read.subject().to_string(),
            issuer: read.issuer().to_string(),
            not_after: read.validity().not_after.timestamp(),
            says_where: read.extensions().iter().any(where_),
        })
    }

    /// Whether it is its own issuer, by the names.
    pub fn own_issuer(&self) -> bool {
        self.subject == self.issuer
    }
}

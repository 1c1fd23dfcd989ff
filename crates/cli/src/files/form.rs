//! What a file is that is not what it should be.

use crate::failure::Failure;

/// What to say behind an error about a file that cannot be read as text or PEM; `""` where its bytes tell nothing.
pub fn form(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ": it is UTF-16; save it as UTF-8",
        [0xef, 0xbb, 0xbf, ..] => ": it begins with a byte order mark; save it without",
        // An ASN.1 sequence with a length of its own.
        [0x30, 0x81..=0x84, ..] => {
            ": it is DER; make PEM of it, a key with `openssl pkey -inform DER -in FILE`, a public one with `-pubin` besides, a certificate with `openssl x509 -inform DER -in FILE`"
        }
        bytes if encrypted(bytes) => {
            ": it is encrypted; `openssl pkey -in FILE -out NEW` makes one that is not"
        }
        _ => "",
    }
}

/// Whether there is a key under a passphrase in it, PEM.
fn encrypted(bytes: &[u8]) -> bool {
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|at| at == mark);
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// A failure with what the file is.
pub fn unreadable(text: &str, bytes: &[u8]) -> Failure {
    Failure::failed(format!("{text}{}", form(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_form_says_so() {
        assert!(form(b"\xff\xfe-\0").contains("UTF-16") && form(b"\xfe\xff\0-").contains("UTF-16"));
        assert!(
            form(b"\x30\x82\x01\x22").contains("DER") && form(b"\xef\xbb\xbf---").contains("byte order mark")
        );
        assert!(form(b"-----BEGIN ENCRYPTED PRIVATE KEY-----").contains("openssl pkey"));
        assert_eq!((form(b"-----BEGIN"), form(b"0\n"), form(b"")), ("", "", ""));
    }
}

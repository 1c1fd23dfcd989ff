//! Key files: what openssl writes is read, what is written openssl's way is read back, and every refusal says why.

use proptest::prelude::*;

use super::{file, passphrase, private, public};
use crate::keys::{Algorithm, KeyError, Passphrase, PrivateKey, PrivatePem, PublicKey};

const ENCRYPTED: [(&str, &str); 7] = [
    ("rsa2048.aes256.pem", "rsa2048.pem"),
    ("rsa2048.aes192-sha1.pem", "rsa2048.pem"),
    ("rsa2048.des3.pem", "rsa2048.pem"),
    ("rsa2048.scrypt.pem", "rsa2048.pem"),
    ("p256.aes256.pem", "p256.pem"),
    ("ed25519.aes256.pem", "ed25519.pem"),
    // A passphrase that is not needed does no harm.
    ("p384.pem", "p384.pem"),
];

fn open(text: impl Into<Vec<u8>>, passphrase: Option<&str>) -> Result<PrivateKey, KeyError> {
    let passphrase = passphrase.map(Passphrase::new);
    PrivateKey::from_pem_with(&PrivatePem::new(text), passphrase.as_ref())
}

#[test]
fn what_openssl_encrypts_is_opened() {
    for (name, plain) in ENCRYPTED {
        let key = open(file(name), Some("test-only")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(key.public(), private(plain).public(), "{name}");
        assert_eq!(key.pkcs8(), private(plain).pkcs8(), "{name}");
    }
}

#[test]
fn without_the_passphrase_or_with_a_wrong_one_it_is_said() {
    for (name, _) in &ENCRYPTED[..6] {
        let error = |passphrase| open(file(name), passphrase).unwrap_err();
        assert_eq!(error(None), KeyError::PassphraseNeeded, "{name}");
        for wrong in ["", "test", "test-only\n", "Test-only"] {
            assert_eq!(error(Some(wrong)), KeyError::WrongPassphrase, "{name} {wrong:?}");
        }
        // A server that starts has nobody to ask.
        let unattended = PrivateKey::from_pem(&PrivatePem::new(file(name))).unwrap_err();
        assert_eq!(unattended, KeyError::Encrypted, "{name}");
        assert_eq!(PublicKey::list_from_pem(&file(name)).unwrap_err(), KeyError::Encrypted, "{name}");
    }
    assert!(KeyError::Encrypted.to_string().contains("openssl pkey"));
    assert_eq!(KeyError::WrongPassphrase.to_string(), "the passphrase does not open the private key");
}

/// One wrong passphrase in 256 leaves a padding that looks right: 2,000 try the check behind it.
#[test]
fn no_wrong_passphrase_is_taken_for_a_right_one() {
    for i in 0..2000 {
        let wrong = format!("wrong {i}");
        assert_eq!(open(file("p256.aes256.pem"), Some(&wrong)).unwrap_err(), KeyError::WrongPassphrase);
    }
}

const TRADITIONAL: [&str; 4] =
    ["rsa2048.pkcs1.aes256.pem", "rsa2048.pkcs1.des3.pem", "p256.sec1.aes128.pem", "rsa2048.pkcs1.des.pem"];

#[test]
fn the_traditional_encrypted_form_is_refused_with_the_command_that_converts_it() {
    for name in TRADITIONAL {
        for passphrase in [None, Some("test-only"), Some("wrong")] {
            assert_eq!(open(file(name), passphrase).unwrap_err(), KeyError::Traditional, "{name}");
        }
        // Where a passphrase cannot be given, the converted file must not need one.
        let unattended = PrivateKey::from_pem(&PrivatePem::new(file(name))).unwrap_err();
        assert_eq!(unattended, KeyError::Encrypted, "{name}");
        assert_eq!(PublicKey::list_from_pem(&file(name)).unwrap_err(), KeyError::Encrypted, "{name}");
    }
    let said = KeyError::Traditional.to_string();
    assert!(said.contains("`openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW`") && !said.contains('\n'));
    // Whatever its headers say of the cipher, and if they say nothing.
    let text = String::from_utf8(file(TRADITIONAL[0])).unwrap();
    for line in ["DEK-Info: RC2-40-CBC,00", "DEK-Info: AES-256-CBC", "Other: x"] {
        let dek = text.lines().find(|l| l.starts_with("DEK-Info")).unwrap();
        assert_eq!(open(text.replace(dek, line), None).unwrap_err(), KeyError::Traditional, "{line}");
    }
}

/// The commands that the refusals name, on the files that they refuse.
#[test]
#[ignore = "needs the openssl program"]
fn what_the_named_commands_convert_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let keys = format!("{}/../../keys", env!("CARGO_MANIFEST_DIR"));
    // What stands between the text's backquotes: the command, and what openssl 3 may need besides.
    let quoted = |error: &KeyError, at: usize| -> Vec<String> {
        let text = error.to_string();
        text.split('`').nth(at).unwrap_or("").split_whitespace().map(Into::into).collect()
    };
    let run = |error: KeyError, key: &str, out: &str, besides: &[String]| {
        let words = quoted(&error, 1).into_iter().skip(1).map(|word| match word.as_str() {
            "KEY" => format!("{keys}/{key}"),
            "NEW" | "PLAIN" => dir.path().join(out).display().to_string(),
            _ => word,
        });
        let done = std::process::Command::new("openssl")
            .args(words)
            .args(besides)
            .args(["-passin", "pass:test-only", "-passout", "pass:another"])
            .output()
            .expect("openssl, which made the files of keys/");
        assert!(done.status.success(), "{key}: {done:?}");
        std::fs::read(dir.path().join(out)).unwrap()
    };
    let command = |error: KeyError, key: &str, out: &str| run(error, key, out, &[]);
    for (name, plain) in TRADITIONAL.iter().zip(["rsa2048.pem", "rsa2048.pem", "p256.sec1.pem"]) {
        let new = command(KeyError::Traditional, name, "new.pem");
        assert_eq!(open(new.clone(), None).unwrap_err(), KeyError::PassphraseNeeded, "{name}");
        assert_eq!(open(new, Some("another")).unwrap().public(), private(plain).public(), "{name}");
        let bare = command(KeyError::Encrypted, name, "plain.pem");
        assert_eq!(open(bare, None).unwrap().public(), private(plain).public(), "{name}");
    }
    let new = command(KeyError::UnknownCipher, "rsa2048.pbes1-unsupported.pem", "new.pem");
    assert_eq!(open(new, Some("another")).unwrap().public(), private("rsa2048.pem").public());
    // A cipher that openssl 3 keeps in a provider of its own; one before has no such flags.
    let version = std::process::Command::new("openssl").arg("version").output().unwrap();
    let besides = quoted(&KeyError::Traditional, 3);
    assert_eq!(besides, ["-provider", "legacy", "-provider", "default"]);
    if String::from_utf8_lossy(&version.stdout).starts_with("OpenSSL 3") {
        let new = run(KeyError::Traditional, "rsa2048.pkcs1.des.pem", "new.pem", &besides);
        assert_eq!(open(new, Some("another")).unwrap().public(), private("rsa2048.pem").public());
    }
}

#[test]
fn what_is_not_supported_is_said() {
    let unknown = open(file("rsa2048.pbes1-unsupported.pem"), Some("test-only")).unwrap_err();
    assert_eq!(unknown, KeyError::UnknownCipher);
    assert!(matches!(open(file("rsa1024-too-small.pem"), None), Err(KeyError::TooSmall { bits: 1024 })));
    assert_eq!(open("", None).unwrap_err(), KeyError::NoPrivateKey);
    assert_eq!(open(file("p256.pub.pem"), None).unwrap_err(), KeyError::NoPrivateKey);
}

/// A hostile file names a work factor of hours or of all memory; it must be refused before any work is done.
#[test]
fn a_work_factor_without_bound_is_refused() {
    // Both written as DER by hand: `30 len, oid pbes2, {kdf, aes-256-cbc}, octets`.
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let long: &[u8] = if content.len() > 127 { &[0x81] } else { &[] };
        [&[tag], long, &[content.len() as u8], content].concat()
    }
    let cipher = [tlv(6, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]), tlv(4, &[7; 16])];
    let file = |kdf_oid: &[u8], kdf_parameters: &[u8]| {
        let kdf = tlv(0x30, &[tlv(6, kdf_oid), tlv(0x30, kdf_parameters)].concat());
        let parameters = tlv(0x30, &[kdf, tlv(0x30, &cipher.concat())].concat());
        let scheme = tlv(
            0x30,
            &[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]), parameters].concat(),
        );
        let der = tlv(0x30, &[scheme, tlv(4, &[1; 48])].concat());
        crate::keys::pem::write("ENCRYPTED PRIVATE KEY", &der).as_str().to_owned()
    };
    let number = |n: &[u8]| tlv(2, n);
    let pbkdf2 = |rounds: &[u8]| {
        let sha256 =
            tlv(0x30, &[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09]), tlv(5, &[])].concat());
        let parameters = [tlv(4, &[7; 8]), number(rounds), sha256].concat();
        file(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c], &parameters)
    };
    let scrypt = |n: &[u8], r: &[u8], p: &[u8]| {
        let parameters = [tlv(4, &[7; 8]), number(n), number(r), number(p)].concat();
        file(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b], &parameters)
    };
    let opened = |text: String| open(text, Some("test-only")).unwrap_err();
    // The builder is right: with modest factors it is the passphrase that is wrong.
    assert_eq!(opened(pbkdf2(&[8, 0])), KeyError::WrongPassphrase);
    assert_eq!(opened(scrypt(&[4, 0], &[8], &[1])), KeyError::WrongPassphrase);
    // 2^31 - 1 rounds.
    assert_eq!(opened(pbkdf2(&[0x7f, 0xff, 0xff, 0xff])), KeyError::TooCostly);
    // 2^23 · 8 · 128 bytes; a block size of 65,535 (2^31 bytes); 17 passes; and what does not fit into 64 bits.
    assert_eq!(opened(scrypt(&[0, 0x80, 0, 0], &[8], &[1])), KeyError::TooCostly);
    assert_eq!(opened(scrypt(&[1, 0], &[0, 0xff, 0xff], &[1])), KeyError::TooCostly);
    assert_eq!(opened(scrypt(&[4, 0], &[8], &[17])), KeyError::TooCostly);
    assert_eq!(opened(scrypt(&[0x40, 0, 0, 0, 0, 0, 0, 0], &[8], &[1])), KeyError::TooCostly);
}

#[test]
fn a_file_that_is_cut_off_is_said_to_be() {
    for name in ["rsa2048.pem", "rsa2048.pkcs1.pem", "rsa2048.aes256.pem", "rsa2048.scrypt.pem"] {
        let text = file(name);
        assert_eq!(open(&text[..text.len() / 2], Some("test-only")).unwrap_err(), KeyError::Cut, "{name}");
        assert_eq!(PublicKey::list_from_pem(&text[..text.len() / 2]).unwrap_err(), KeyError::Cut, "{name}");
        // Lines lost from the middle.
        let lines: Vec<_> = text.split(|c| *c == b'\n').collect();
        let text = [&lines[..6], &lines[9..]].concat().join(&b'\n');
        let error = open(text, Some("test-only")).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. } | KeyError::WrongPassphrase), "{name}: {error}");
    }
}

#[test]
fn the_first_usable_key_counts() {
    let text =
        [file("p256.pub.pem"), file("rsa1024-too-small.pem"), file("p384.pem"), file("p256.pem")].concat();
    assert_eq!(open(text, None).unwrap().public(), private("p384.pem").public());
    // What is wrong with the first that was tried is what is said.
    let text = [file("rsa1024-too-small.pem"), file("rsa2048.aes256.pem")].concat();
    assert!(matches!(open(text, None), Err(KeyError::TooSmall { .. })));
}

/// Each block may cost seconds: a file of a thousand must not cost an hour.
#[test]
fn only_one_encrypted_block_is_opened() {
    let other = private("p256.pem").to_pem(Some(&Passphrase::new("other"))).unwrap();
    let both = [other.as_bytes(), &file("ed25519.aes256.pem")].concat();
    assert_eq!(open(both.clone(), Some("test-only")).unwrap_err(), KeyError::WrongPassphrase);
    assert_eq!(open(both.clone(), Some("other")).unwrap().public(), private("p256.pem").public());
    // One that is not encrypted counts all the same, after the first, too.
    let plain = [other.as_bytes(), &file("p384.pem")].concat();
    assert_eq!(open(plain, Some("test-only")).unwrap().public(), private("p384.pem").public());
}

#[test]
fn what_is_exported_is_imported() {
    for &algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap();
        let pem = key.public().to_pem();
        assert!(
            pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n")
        );
        assert!(pem.lines().all(|line| line.len() <= 64));
        let read = PublicKey::list_from_pem(pem.as_bytes()).unwrap().remove(0);
        assert_eq!(read.key_id(), key.public().key_id());
        let pem = key.to_pem(None).unwrap();
        let read = open(pem.as_bytes(), None).unwrap().with_algorithm(algorithm).unwrap();
        assert_eq!((read.public(), read.pkcs8()), (key.public(), key.pkcs8()));
    }
    // openssl wrote the file: byte for byte the same.
    for name in ["rsa2048.pub.pem", "p256.pub.pem", "p384.pub.pem", "p521.pub.pem", "ed25519.pub.pem"] {
        assert_eq!(public(name).to_pem().as_bytes(), file(name), "{name}");
    }
    for name in ["rsa2048.pem", "ed25519.pem"] {
        assert_eq!(private(name).to_pem(None).unwrap().as_bytes(), file(name), "{name}");
    }
}

#[test]
fn an_encrypted_export_needs_its_passphrase() {
    let key = private("ed25519.pem");
    let (one, two) = (key.to_pem(Some(&passphrase())).unwrap(), key.to_pem(Some(&passphrase())).unwrap());
    assert!(one.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert_ne!(one, two, "salt and IV are new each time");
    assert_eq!(open(one.as_bytes(), None).unwrap_err(), KeyError::PassphraseNeeded);
    assert_eq!(open(one.as_bytes(), Some("other")).unwrap_err(), KeyError::WrongPassphrase);
    assert_eq!(open(one.as_bytes(), Some("test-only")).unwrap().pkcs8(), key.pkcs8());
}

#[test]
fn secrets_are_not_shown() {
    let key = private("p256.pem");
    assert_eq!(format!("{:?} {:?}", passphrase(), PrivatePem::new("secret")), "Passphrase(…) PrivatePem(…)");
    assert_eq!(format!("{key:?}"), format!("PrivateKey(ES256 {})", key.public().key_id()));
}

proptest! {
    #[test]
    fn garbage_never_panics(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(text.clone(), Some("test-only")).is_err());
        prop_assert!(PublicKey::list_from_pem(&text).is_err());
    }

    /// Blocks of every kind around garbage, and headers of every kind.
    #[test]
    fn garbage_in_a_block_never_panics(
        label in "(EC |RSA |ENCRYPTED |)(PRIVATE|PUBLIC) KEY|CERTIFICATE",
        header in "(|Proc-Type: 4,ENCRYPTED\nDEK-Info: X(,[0-9A-F]{0,32}|)\n\n)",
        der in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let block = crate::keys::pem::write(&label, &der);
        let text = block.replacen('\n', &format!("\n{header}"), 1);
        prop_assert!(open(text.clone(), Some("test-only")).is_err());
        prop_assert!(PublicKey::list_from_pem(text.as_bytes()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One byte of a real file changed.
    #[test]
    fn a_damaged_file_never_panics(which in 0..ENCRYPTED.len(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut text = file(ENCRYPTED[which].0);
        let at = at.index(text.len());
        text[at] = to;
        let _ = open(text, Some("test-only"));
    }
}

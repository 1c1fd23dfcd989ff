//! The sealing key: without it the data give nothing, with a wrong one nothing starts, and it can be replaced.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use tokensmith_tests::server::write_secret;

use crate::place::{Place, bytes_under, jti, mint, review};

#[tokio::test]
async fn the_data_give_no_private_key() -> Result<()> {
    let place = Place::new().await?;
    let mode = fs::metadata(place.sealing_key())?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "seal.key is {mode:o}");
    let store = bytes_under(&place.path("data/store"))?;
    // What is in the store can be found in its files; so this search would find a private key.
    for public in [place.active.as_bytes(), place.spare.as_bytes(), jti(&place.token)?.as_bytes()] {
        ensure!(holds(&store, public), "a public value is not found");
    }
    for marker in ["PRIVATE KEY", "BEGIN EC"] {
        ensure!(!holds(&store, marker.as_bytes()), "{marker} is there");
    }
    let everything = bytes_under(&place.path("data"))?;
    for pem in &place.private {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())?;
        let scalar = scalar(key.secret_pkcs8_der())?;
        ensure!(holds(&[b"x".as_slice(), scalar].concat(), scalar), "the search finds nothing");
        ensure!(!holds(&everything, scalar), "a private key is there");
        // Base64 depends on where it begins: in any of its three positions.
        for skip in 0..3 {
            let text = BASE64_STANDARD.encode(&scalar[skip..skip + 27]);
            ensure!(!holds(&everything, text.as_bytes()), "a private key is there in base64");
        }
        let hex: String = scalar.iter().map(|b| format!("{b:02x}")).collect();
        ensure!(!holds(&everything, hex.as_bytes()), "a private key is there in hex");
    }
    Ok(())
}

#[tokio::test]
async fn a_sealing_key_that_does_not_belong_is_refused() -> Result<()> {
    let place = Place::new().await?;
    let right = fs::read(place.sealing_key())?;
    let other = format!("{}\n", BASE64_STANDARD.encode([7; 32]));
    let either = |line: &str| line.contains(&place.active) || line.contains(&place.spare);

    write_secret(&place.sealing_key(), other.as_bytes())?;
    let line = place.refused(&[]).await?;
    ensure!(either(&line) && line.contains("put the sealing key that belongs to this data back"), "{line}");

    fs::remove_file(place.sealing_key())?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains(&place.active) && line.contains(&place.spare), "{line}");
    ensure!(line.contains("seal.key is missing") && line.ends_with("put it back"), "{line}");

    for garbage in ["", "not base64\n", "AAAA\n", "\u{0}\u{1}\u{2}"] {
        write_secret(&place.sealing_key(), garbage.as_bytes())?;
        let line = place.refused(&[]).await?;
        ensure!(line.contains("no sealing-key file") && line.ends_with("put the right one back"), "{line}");
    }

    write_secret(&place.sealing_key(), &right)?;
    fs::set_permissions(place.sealing_key(), Permissions::from_mode(0o644))?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains("open to others (mode 644)") && line.contains("chmod 600"), "{line}");
    fs::set_permissions(place.sealing_key(), Permissions::from_mode(0o600))?;

    write_secret(&place.path("elsewhere"), other.as_bytes())?;
    let line = place.refused(&["--sealing-key-file=elsewhere"]).await?;
    ensure!(either(&line), "{line}");
    let line = place.refused(&["--sealing-key-file=nowhere"]).await?;
    ensure!(line.contains("there is no nowhere") && line.contains(&place.active), "{line}");
    place.works().await
}

#[tokio::test]
async fn it_is_replaced_while_the_server_runs() -> Result<()> {
    let place = Place::new().await?;
    let first = fs::read_to_string(place.sealing_key())?;
    let server = place.start().await?;
    let done = place.tool(&["keys", "reseal", "--reason=yearly"])?;
    ensure!(done.status.success(), "{done:?}");
    let second = fs::read_to_string(place.sealing_key())?;
    ensure!(second != first && second.lines().count() == 1, "the file is not replaced");
    let mode = fs::metadata(place.sealing_key())?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "seal.key is {mode:o}");
    let client = server.client()?;
    ensure!(review(&client, &mint(&client).await?).await? && review(&client, &place.token).await?);
    server.stop().await?;

    write_secret(&place.sealing_key(), first.as_bytes())?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains(&place.active) || line.contains(&place.spare), "{line}");
    write_secret(&place.sealing_key(), second.as_bytes())?;
    place.works().await?;

    // The operator's own: the new one in front, the old one behind it until all is sealed anew.
    let third = format!("{}\n", BASE64_STANDARD.encode([9; 32]));
    let server = place.start().await?;
    write_secret(&place.sealing_key(), third.as_bytes())?;
    let done = place.tool(&["keys", "reseal", "--keep-file"])?;
    ensure!(!done.status.success(), "the new key alone opens nothing: {done:?}");
    let both = format!("# since today\n{third}{second}");
    write_secret(&place.sealing_key(), both.as_bytes())?;
    let done = place.tool(&["keys", "reseal", "--keep-file"])?;
    ensure!(done.status.success(), "{done:?}");
    ensure!(fs::read_to_string(place.sealing_key())? == both, "the file is not kept");
    server.stop().await?;
    write_secret(&place.sealing_key(), second.as_bytes())?;
    place.refused(&[]).await?;
    write_secret(&place.sealing_key(), third.as_bytes())?;
    place.works().await
}

/// What happens to a sealed half.
type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_private_half_is_bound_to_its_key() -> Result<()> {
    let base = Place::new().await?;
    let sealed = |key: &Value| BASE64_STANDARD.decode(key["sealed"].as_str().unwrap_or_default());
    let cases: [(&str, Damage); 5] = [
        ("a bit of the nonce", |sealed| sealed[0] ^= 1),
        ("a bit of the ciphertext", |sealed| sealed[40] ^= 0x80),
        ("a bit of the tag", |sealed| *sealed.last_mut().expect("it is long") ^= 1),
        ("cut short", |sealed| sealed.truncate(60)),
        ("nearly nothing", |sealed| sealed.truncate(5)),
    ];
    for (what, damage) in cases {
        let place = base.copy()?;
        place
            .change_ring(|ring| {
                let mut ring: Value = serde_json::from_slice(ring).ok()?;
                let spare = ring["keys"].as_array_mut()?.iter_mut().find(|k| k["id"] == base.spare)?;
                let mut half = sealed(spare).ok()?;
                damage(&mut half);
                spare["sealed"] = BASE64_STANDARD.encode(half).into();
                Some(ring.to_string().into_bytes())
            })
            .await?;
        let line = place.refused(&[]).await?;
        ensure!(line.contains(&base.spare) && line.contains("cannot be opened"), "{what}: {line}");
    }

    let place = base.copy()?;
    let mut swapped = false;
    place
        .change_ring(|ring| {
            let mut ring: Value = serde_json::from_slice(ring).ok()?;
            let halves: Vec<Value> = ring["keys"].as_array()?.iter().map(|k| k["sealed"].clone()).collect();
            swapped = halves.len() == 2 && halves[0].is_string() && halves[1].is_string();
            (ring["keys"][0]["sealed"], ring["keys"][1]["sealed"]) = (halves[1].clone(), halves[0].clone());
            Some(ring.to_string().into_bytes())
        })
        .await?;
    ensure!(swapped, "there are not two sealed halves");
    let line = place.refused(&[]).await?;
    ensure!(line.contains(&base.active) || line.contains(&base.spare), "{line}");
    ensure!(line.contains("cannot be opened"), "{line}");
    base.works().await
}

/// The 32 bytes that are the secret of a P-256 key, in its PKCS#8 form.
fn scalar(pkcs8: &[u8]) -> Result<&[u8]> {
    // RFC 5915: version 1, then an octet string of 32 bytes.
    const BEFORE: [u8; 5] = [2, 1, 1, 4, 32];
    let at = pkcs8.windows(BEFORE.len()).position(|w| w == BEFORE).context("no EC private key")?;
    pkcs8.get(at + BEFORE.len()..at + BEFORE.len() + 32).context("it is cut short")
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

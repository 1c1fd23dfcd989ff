//! Examples of the RFCs: what others sign verifies here, and what is signed here is what they say.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt;

use crate::keys::{Algorithm, LocalSigner, PrivateKey, PrivatePem, PublicKey, Signer, pem, spki};

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[track_caller]
fn verifies(key: &PublicKey, algorithm: Algorithm, token: &str) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    assert!(key.verify(algorithm, signed.as_bytes(), &signature));
    assert!(!key.verify(algorithm, &signed.as_bytes()[1..], &signature));
}

/// RFC 8037, appendix A.
#[test]
fn ed25519_of_rfc_8037() {
    let seed = decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    // PKCS#8 of RFC 8410 §7 around the seed.
    let pkcs8 =
        [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20], seed.as_slice()].concat();
    let key =
        PrivateKey::from_pem(&PrivatePem::new(pem::write(pem::PRIVATE_KEY, &pkcs8).as_bytes())).unwrap();
    assert!(key.public().jwk().contains(r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#));
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let made = LocalSigner::new(&key).unwrap().sign(signed.as_bytes()).now_or_never().unwrap().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(made), signature, "A.4: Ed25519 is deterministic");
    verifies(key.public(), Algorithm::EdDSA, &format!("{signed}.{signature}"));
}

/// RFC 5958 §2: openssl writes version 1, others a second one with the public half, or attributes (RFC 8410 §10.3).
#[test]
fn pkcs8_is_read_in_both_versions_and_with_attributes() {
    let seed = decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let x = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let public = [&[0x81, 0x21, 0], x.as_slice()].concat();
    let attributes = [0xa0, 16, 0x30, 14, 6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 9, 20, 0x31, 0];
    let read = |version: u8, rest: &[u8]| {
        let head = [2, 1, version, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let body = [&head, seed.as_slice(), rest].concat();
        PrivateKey::from_pkcs8(&[&[0x30, body.len() as u8], body.as_slice()].concat())
    };
    let forms = [
        (0, vec![]),
        (0, attributes.to_vec()),
        (1, public.clone()),
        (1, [&attributes, public.as_slice()].concat()),
    ];
    for (version, rest) in forms {
        let key = read(version, &rest).unwrap();
        assert!(key.public().spki().ends_with(&x));
        assert_eq!(key.pkcs8(), read(0, &[]).unwrap().pkcs8(), "it is kept in one form");
    }
    let other = [&[0x81, 0x21, 0], [7; 32].as_slice()].concat();
    for (version, rest) in [(0, public), (1, other), (2, vec![]), (0, vec![0])] {
        assert!(read(version, &rest).is_err(), "{version} {rest:02x?}");
    }
}

/// RFC 7515, appendix A.3.
#[test]
fn es256_of_rfc_7515() {
    let x = decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    let y = decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let key = PublicKey::from_point(Algorithm::ES256, &[&[4], x.as_slice(), &y].concat()).unwrap();
    verifies(
        &key,
        Algorithm::ES256,
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
         .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
}

/// RFC 7515, appendix A.4.
#[test]
fn es512_of_rfc_7515() {
    let x =
        decode("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk");
    let y =
        decode("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2");
    let key = PublicKey::from_point(Algorithm::ES512, &[&[4], x.as_slice(), &y].concat()).unwrap();
    verifies(
        &key,
        Algorithm::ES512,
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7Xdt\
         AG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    );
}

/// RFC 7515, appendix A.2.
#[test]
fn rs256_of_rfc_7515() {
    let n = decode(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs\
         D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV\
         MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );
    let key = PublicKey::from_spki(&spki::rsa(&n, &[1, 0, 1]).unwrap()).unwrap();
    verifies(
        &key,
        Algorithm::RS256,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
         .cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dn\
         ZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC\
         -eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
}

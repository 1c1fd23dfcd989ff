//! The client at the token endpoint, which is nobody but `gcloud`.
//!
//! "Do not send the Authorization HTTP header in the request"
//! (<https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>): workload pools have no clients that could have a
//! secret, and no bearer is known before the exchange. `gcloud` all the same names itself where a credential file has no
//! `service_account_impersonation_url`, by the id that its source and every login with it show. Its secret is as public, proves
//! nothing, and is not looked at.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::body::Parameters;
use super::refusal::Refusal;

/// The id of `gcloud`.
const GCLOUD: &str = "32555940559.apps.googleusercontent.com";

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// RFC 7617 §2, and as Google's library for Rust writes it.
const ENGINES: [GeneralPurpose; 2] = [
    GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING),
    GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING),
];

/// Judges the header (RFC 6749 §2.3.1).
pub(super) fn in_header(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = all.next() else { return Ok(()) };
    let (scheme, credentials) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("basic") || all.next().is_some() {
        return Err(
            Refusal::invalid_credentials().because("the Authorization header is not one of HTTP Basic")
        );
    }
    let credentials = credentials.trim();
    let decoded = ENGINES.iter().find_map(|engine| engine.decode(credentials).ok());
    let text = decoded.and_then(|decoded| String::from_utf8(decoded).ok());
    let id = text.as_deref().and_then(|text| text.split_once(':')).map(|(id, _)| id);
    known(id.unwrap_or_default())
}

/// Judges `client_id` of the body, the other way of RFC 6749 §2.3.1. A secret without an id is nobody's.
pub(super) fn in_body(parameters: &mut Parameters) -> Result<(), Refusal> {
    match (parameters.take("client_id")?, parameters.take("client_secret")?) {
        (None, None) => Ok(()),
        (id, _) => known(&id.unwrap_or_default()),
    }
}

fn known(id: &str) -> Result<(), Refusal> {
    if id == GCLOUD {
        return Ok(());
    }
    let why = "the client is not gcloud, which is the only one that pools know";
    Err(Refusal::oauth("invalid_client", "The OAuth client was not found.").because(why))
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use http::HeaderValue;

    use super::*;

    fn of(header: &str) -> Result<(), &'static str> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(header).unwrap())]);
        in_header(&headers).map_err(|refusal| refusal.name())
    }

    #[test]
    fn rfc_6749_section_2_3_1_gcloud_and_nobody_else() {
        for secret in ["", "x", "x:y", "???>>>"] {
            let text = format!("{GCLOUD}:{secret}");
            for credentials in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)] {
                assert_eq!(of(&format!("Basic {credentials}")), Ok(()), "{text}");
                assert_eq!(of(&format!("basic {credentials}")), Ok(()), "{text}");
                assert_eq!(of(&format!("Bearer {credentials}")), Err("UNAUTHENTICATED"), "{text}");
            }
        }
        for text in ["", ":", "x:y", GCLOUD, &format!("x{GCLOUD}:y"), &format!("{GCLOUD}.evil:y")] {
            assert_eq!(
                of(&format!("Basic {}", BASE64_STANDARD.encode(text))),
                Err("invalid_client"),
                "{text}"
            );
        }
        assert_eq!((of("Basic"), of("Basic !")), (Err("UNAUTHENTICATED"), Err("invalid_client")));
        let basic = || {
            HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(format!("{GCLOUD}:")))).unwrap()
        };
        let mut twice = HeaderMap::from_iter([(AUTHORIZATION, basic())]);
        twice.append(AUTHORIZATION, basic());
        assert!(in_header(&twice).is_err() && in_header(&HeaderMap::new()).is_ok());
    }
}

//! AWS's published examples (aws-signing-test-suite, version 4, of awslabs/aws-c-auth), and what breaks them.

use http::Method;
use time::macros::datetime;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: OffsetDateTime = datetime!(2015-08-30 12:36 UTC);
const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn request(method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target).header("host", "example.amazonaws.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn signed(
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
    names: &str,
    signature: &str,
) -> Request<Bytes> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={signature}"
    );
    let own = [("authorization", authorization.as_str()), ("x-amz-date", "20150830T123600Z")];
    request(method, target, &[headers, &own].concat(), body)
}

fn verify(request: &Request<Bytes>) -> Result<Signed, Refusal> {
    let signed = Signed::read(request, "service", NOW)?;
    signed.check(request, SECRET)?;
    Ok(signed)
}

fn vectors() -> Vec<Request<Bytes>> {
    let get = |target: &str, headers: &[(&str, &str)], names: &str, signature: &str| {
        signed(Method::GET, target, headers, "", names, signature)
    };
    let plain = "host;x-amz-date";
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", "13"),
        ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
    ];
    let order = ["value4", "value1", "value3", "value2"].map(|value| ("my-header1", value));
    let query = |more: &str, token: &str, signature: &str| {
        let target = format!(
            "/?{more}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600{token}&X-Amz-Signature={signature}"
        );
        request(Method::GET, &target, &[], "")
    };
    vec![
        get(
            "/?Param2=value2&Param1=value1",
            &[],
            plain,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        get(
            &format!("/?{UNRESERVED}={UNRESERVED}"),
            &[],
            plain,
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        get(
            "/?%E1%88%B4=bar",
            &[],
            plain,
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        get(
            "/",
            &[("x-amz-security-token", TOKEN)],
            "host;x-amz-date;x-amz-security-token",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        get(
            "/",
            &order,
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        get(
            "/",
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        signed(
            Method::POST,
            "/",
            &form,
            "Param1=value1",
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        ),
        query(
            &format!("{UNRESERVED}={UNRESERVED}&"),
            "",
            "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
        ),
        query(
            "",
            &format!("&X-Amz-Security-Token={TOKEN}"),
            "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
        ),
    ]
}

#[test]
fn awss_examples_hold_and_no_other_secret_signs_them() {
    for request in vectors() {
        let signed = verify(&request).unwrap_or_else(|e| panic!("{e}: {request:?}"));
        assert_eq!(signed.access_key_id, "AKIDEXAMPLE");
        assert!(signed.check(&request, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ").is_err());
    }
    let tokens = vectors().iter().filter_map(|request| verify(request).unwrap().session_token).count();
    assert_eq!(tokens, 2);
}

#[test]
fn what_was_signed_cannot_be_changed() {
    for request in vectors() {
        let changed = |change: &dyn Fn(&mut Request<Bytes>)| {
            let mut other = request.clone();
            change(&mut other);
            verify(&other).expect_err("it was changed").code
        };
        assert_eq!(changed(&|r| *r.body_mut() = Bytes::from_static(b"x")), "SignatureDoesNotMatch");
        assert_eq!(changed(&|r| *r.method_mut() = Method::PUT), "SignatureDoesNotMatch");
        let host = || "other.amazonaws.com".parse().unwrap();
        assert_eq!(changed(&|r| drop(r.headers_mut().insert("host", host()))), "SignatureDoesNotMatch");
        let more = |r: &mut Request<Bytes>| {
            let target = r.uri().to_string();
            let sign = if target.contains('?') { '&' } else { '?' };
            *r.uri_mut() = format!("{target}{sign}a=b").parse().unwrap();
        };
        assert_eq!(changed(&more), "SignatureDoesNotMatch");
        // What is not signed does not count, unless AWS would read it.
        let mut other = request.clone();
        other.headers_mut().insert("user-agent", "x".parse().unwrap());
        assert!(verify(&other).is_ok());
        assert_eq!(
            changed(&|r| drop(r.headers_mut().insert("x-amz-other", host()))),
            "SignatureDoesNotMatch"
        );
    }
}

#[test]
fn each_fault_has_the_code_and_the_words_of_the_service() {
    let with = |from: &str, to: &str| {
        let mut request = vectors().swap_remove(3);
        let headers = request.headers_mut();
        for name in ["authorization", "x-amz-date"] {
            let text = headers[name].to_str().unwrap().replace(from, to);
            headers.insert(name, text.parse().unwrap());
        }
        let refusal = verify(&request).unwrap_err();
        (refusal.code, refusal.message)
    };
    for (from, to, code, words) in [
        (
            "T123600Z",
            "T122059Z",
            "SignatureDoesNotMatch",
            "Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)",
        ),
        (
            "T123600Z",
            "T125101Z",
            "SignatureDoesNotMatch",
            "Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)",
        ),
        ("20150830T123600Z", "x", "IncompleteSignature", "ISO-8601"),
        (
            "/service/",
            "/s3/",
            "SignatureDoesNotMatch",
            "Credential should be scoped to correct service: 'service'.",
        ),
        ("aws4_request", "aws5", "SignatureDoesNotMatch", "valid terminator: 'aws4_request', not 'aws5'"),
        ("us-east-1", "", "SignatureDoesNotMatch", "Credential should be scoped to a valid region, not ''"),
        ("us-east-1", "us-east-2", "SignatureDoesNotMatch", "The request signature we calculated"),
        (
            "/20150830/",
            "/20150831/",
            "SignatureDoesNotMatch",
            "'20150831' != '20150830', from '20150830T123600Z'",
        ),
        ("/us-east-1", "", "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements"),
        ("SHA256", "SHA1", "IncompleteSignature", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'"),
        (
            " Signature=",
            " Sign=",
            "IncompleteSignature",
            "Authorization header requires 'Signature' parameter.",
        ),
        ("Credential=", "Credential", "IncompleteSignature", "missing equal-sign"),
        ("=host;", "=", "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader'"),
        (
            ";x-amz-security-token",
            "",
            "SignatureDoesNotMatch",
            "'x-amz-security-token' must be a 'SignedHeader'",
        ),
        ("=host;", "=host;absent;", "SignatureDoesNotMatch", "The request signature we calculated"),
        ("=07ec", "=07eg", "SignatureDoesNotMatch", "The request signature we calculated"),
        ("=07ec", "=", "SignatureDoesNotMatch", "The request signature we calculated"),
    ] {
        let (found, message) = with(from, to);
        assert_eq!(found, code, "{from} {to}");
        assert!(message.contains(words), "{message}");
    }
    let unsigned = request(Method::GET, "/", &[], "");
    assert_eq!(verify(&unsigned).unwrap_err().code, "MissingAuthenticationToken");
    let partly = request(Method::GET, "/?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[], "");
    assert_eq!(verify(&partly).unwrap_err().code, "IncompleteSignature");
    let mut twice = vectors().swap_remove(0);
    twice.headers_mut().append("authorization", "AWS4-HMAC-SHA256 x=y".parse().unwrap());
    assert_eq!(verify(&twice).unwrap_err().code, "IncompleteSignature");
}

//! Headers that say who somebody is: what cannot be read for certain is refused, not passed over.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use tokensmith_agent::proxy::{Mode, ReverseMode};

use crate::reverse::OneToken;
use crate::upstream::Upstream;
use crate::world::*;

async fn send(http: &Http, url: &str, lines: &[(&str, &[u8])]) -> http::Response<hyper::body::Incoming> {
    let mut request: Request<Full<Bytes>> = get(url).body(empty()).unwrap();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    http.request(request).await.unwrap()
}

/// Each header, whether it must be single, in both modes and both versions of HTTP.
#[tokio::test]
async fn a_header_about_who_somebody_is_is_never_passed_over() {
    let (upstream, url) = Upstream::start().await;
    let forward = forward_proxy(&url).await;
    let gate = std::sync::Arc::new(OneToken);
    let mode = ReverseMode { gate, upstream: upstream_at(&url), pass_token: false };
    let reverse = start(config(Mode::Reverse(mode))).await;
    let token: (&str, &[u8]) = ("authorization", b"Bearer good");
    let headers = [
        ("impersonate-user", true),
        ("impersonate-uid", true),
        ("impersonate-group", false),
        ("impersonate-extra-scopes", false),
        ("impersonate_user", true),
        ("x-remote-user", true),
        ("x-remote-uid", true),
        ("x-remote-group", false),
        ("x-remote-extra-a", false),
        ("x.remote.user", true),
        ("x_remote_group", false),
    ];
    for http in [http1(), http2()] {
        let mut passed = upstream.count();
        for (name, single) in headers {
            let bad: [&[&[u8]]; 6] =
                [&["josé".as_bytes()], &[b"jos\xe9"], &[b"a", b"\xff"], &[b""], &[b"a", b""], &[b"a", b"b"]];
            for values in bad {
                let good = !single && values == [b"a", b"b"];
                let mut lines = vec![token];
                lines.extend(values.iter().map(|value| (name, *value)));
                for proxy in [&forward, &reverse] {
                    let answer = send(&http, &proxy.url("/"), &lines).await;
                    if good {
                        assert_eq!(answer.status(), 200, "{lines:?}");
                        passed += 1;
                        assert!(upstream.last().header(name).iter().all(|v| !["a", "b"].contains(v)));
                    } else {
                        let message = assert_status(answer, 400, "BadRequest").await;
                        assert!(message.contains(name), "{lines:?}: {message}");
                    }
                }
            }
        }
        assert_eq!(upstream.count(), passed, "nothing else has gone on");
    }
}

/// In forward mode nobody obeys the client's own, and it does not go on: it may be there twice, but must be readable.
#[tokio::test]
async fn a_clients_own_authorization_is_read_before_it_is_dropped() {
    let (upstream, url) = Upstream::start().await;
    let proxy = forward_proxy(&url).await;
    let name = "authorization";
    let bad: [&[(&str, &[u8])]; 4] = [
        &[(name, b"Bearer \xff")],
        &[(name, "Bearer é".as_bytes())],
        &[(name, b"")],
        &[(name, b"Bearer a"), (name, b"Bearer \xff")],
    ];
    for lines in bad {
        assert_status(send(&http1(), &proxy.url("/"), lines).await, 400, "BadRequest").await;
    }
    assert_eq!(upstream.count(), 0);
    let theirs: [&[(&str, &[u8])]; 2] =
        [&[(name, b"Bearer theirs")], &[(name, b"Bearer theirs"), (name, b"Basic YTpi")]];
    for lines in theirs {
        assert_eq!(send(&http1(), &proxy.url("/"), lines).await.status(), 200);
    }
}

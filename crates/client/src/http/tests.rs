use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[test]
fn a_program_for_credentials_has_a_limit_unless_it_is_taken_away() {
    let seconds = Duration::from_secs;
    for (limit, program) in [
        (None, Some(seconds(300))),
        (Some(seconds(5)), Some(seconds(5))),
        (Some(seconds(900)), Some(seconds(900))),
        (Some(Duration::ZERO), None),
    ] {
        assert_eq!(patience(limit), program);
    }
}

/// A client of a server that says these things, one to each request.
async fn server(answers: &'static [&'static str]) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Client::new(&Target::of(Url::parse(&url).unwrap())).unwrap()
}

#[test]
fn a_segment_cannot_leave_its_place() {
    assert_eq!(segment("api"), "api");
    assert_eq!(segment("system:node:a"), "system:node:a");
    assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
    assert_eq!(segment("-._~: ä%2f+"), "-._~:%20%C3%A4%252f%2B");
}

#[tokio::test]
async fn a_refusal_tells_all() {
    let client = server(&[
        "HTTP/1.1 429 x\r\nretry-after: 7\r\nconnection: close\r\n\r\n{\"reason\":\"TooManyRequests\",\"message\":\"wait\"}",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\nconnection: close\r\n\r\n???",
    ])
    .await;
    let refusal = client.get("/").await.unwrap().unwrap_err();
    assert_eq!((refusal.code, refusal.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!((refusal.message.as_str(), refusal.retry_after), ("wait", Some(Duration::from_secs(7))));
    let refusal = client.get("/").await.unwrap().unwrap_err();
    assert_eq!((refusal.code, refusal.message.as_str()), (502, "the server answered 502"));
}

#[tokio::test]
async fn lines_are_whole() {
    let client = server(&[
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n6\r\n\ntwo\nt\r\n5\r\nhree\n\r\n0\r\n\r\n",
    ])
    .await;
    let lines = client.lines("/", &[], Duration::from_secs(10)).await.unwrap().unwrap();
    let lines: Vec<Bytes> = lines.map(Result::unwrap).collect().await;
    assert_eq!(lines, ["one", "two", "three"]);
}

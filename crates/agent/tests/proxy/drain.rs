//! The end: what was asked is answered, nothing new is taken.

use std::time::Duration;

use tokensmith_agent::proxy::Mode;
use tokio::net::TcpStream;

use crate::upstream::Upstream;
use crate::world::*;

#[tokio::test]
async fn open_requests_are_answered() {
    let (upstream, url) = Upstream::start().await;
    for client in [http1(), http2()] {
        let proxy = forward_proxy(&url).await;
        let open = tokio::spawn(client.request(get(proxy.url("/wait")).body(empty()).unwrap()));
        // Another connection, with nothing to do.
        let idle = http1();
        text(idle.request(get(proxy.url("/")).body(empty()).unwrap()).await.unwrap()).await;
        upstream.waiting.notified().await;
        proxy.stop.send_replace(true);
        until("the end of listening", || async { TcpStream::connect(proxy.tcp()).await.is_err() }).await;
        upstream.release.notify_one();
        assert_eq!(text(open.await.unwrap().unwrap()).await, "waited");
        tokio::time::timeout(Duration::from_secs(10), proxy.task).await.expect("the end").unwrap();
    }
}

#[tokio::test]
async fn those_that_do_not_end_are_cut() {
    let (upstream, url) = Upstream::start().await;
    let mut config = config(Mode::Forward(forward_mode(upstream_at(&url))));
    config.limits.drain = Duration::from_millis(50);
    let proxy = start(config).await;
    let open = tokio::spawn(http1().request(get(proxy.url("/wait")).body(empty()).unwrap()));
    upstream.waiting.notified().await;
    proxy.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), proxy.task).await.expect("the end").unwrap();
    assert!(open.await.unwrap().is_err());
}

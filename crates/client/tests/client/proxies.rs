//! Proxies that are real, with TLS behind them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokensmith_client::proxy::{Environment, Proxy as Named, Route};
use tokensmith_client::{Client, Target};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::world::{TOKEN, World, listening, told, whoami};

#[derive(Clone, Copy)]
pub enum Speaks {
    Http,
    /// SOCKS 5
    Socks,
    /// SOCKS 5 with the user `jane` and the password `s3cret!`.
    SocksWithPassword,
}

/// A proxy. Names lead to this machine, whatever they are: nobody else resolves them.
pub struct Proxy {
    pub port: u16,
    tunnels: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn new(speaks: Speaks) -> Proxy {
        let (tunnels, heads) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let state = (tunnels.clone(), heads.clone());
        let port = listening(move |stream| {
            let (tunnels, heads) = state.clone();
            async move {
                let _ = match speaks {
                    Speaks::Http => http(stream, &tunnels, &heads, "").await,
                    Speaks::Socks => socks(stream, &tunnels, &heads, false).await,
                    Speaks::SocksWithPassword => socks(stream, &tunnels, &heads, true).await,
                };
            }
        })
        .await;
        Proxy { port, tunnels, heads }
    }

    /// One of HTTP that answers this instead.
    async fn refusing(answer: &'static str) -> Proxy {
        let (tunnels, heads) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let state = (tunnels.clone(), heads.clone());
        let port = listening(move |stream| {
            let (tunnels, heads) = state.clone();
            async move { drop(http(stream, &tunnels, &heads, answer).await) }
        })
        .await;
        Proxy { port, tunnels, heads }
    }

    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    fn head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap()
    }
}

async fn http<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    tunnels: &AtomicUsize,
    heads: &Mutex<Vec<String>>,
    answer: &str,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head.clone());
    if !answer.is_empty() {
        return stream.write_all(answer.as_bytes()).await;
    }
    let port = head.split_whitespace().nth(1).and_then(|place| place.rsplit_once(':')).unwrap().1;
    let mut server = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").await?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

async fn socks(
    mut stream: TcpStream,
    tunnels: &AtomicUsize,
    heads: &Mutex<Vec<String>>,
    password: bool,
) -> std::io::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    stream.read_exact(&mut methods).await?;
    let method = if password { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    if password {
        assert_eq!(stream.read_u8().await?, 1);
        let mut said = Vec::new();
        for _ in 0..2 {
            let mut text = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut text).await?;
            said.push(String::from_utf8(text).unwrap());
        }
        let good = said == ["jane", "s3cret!"];
        stream.write_all(&[1, u8::from(!good)]).await?;
        if !good {
            return Ok(());
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        4 => std::net::Ipv6Addr::from(stream.read_u128().await?).to_string(),
        _ => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).unwrap()
        }
    };
    let port = stream.read_u16().await?;
    heads.lock().unwrap().push(format!("{host} {port}"));
    if host == "forbidden.example" {
        return stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&[5, 0, 0, 3, 1, b'x', 0, 0]).await?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

/// The server by another name, by the proxies that the environment names.
fn behind(world: &World, host: &str, variables: &[(&str, String)]) -> Target {
    let environment =
        Environment::of(|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.into()));
    let mut target = world.target("", &format!("token: {TOKEN}"));
    target.server.set_host(Some(host)).unwrap();
    target.route = Route::Environment(environment);
    target
}

async fn error(target: &Target) -> String {
    whoami(&Client::new(target).unwrap()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn connect_with_a_password() {
    let (world, proxy) = (World::new().await, Proxy::new(Speaks::Http).await);
    let url = format!("http://jane:s3cret%21@127.0.0.1:{}", proxy.port);
    let target = behind(&world, "api.example", &[("HTTPS_PROXY", url)]);
    assert_eq!(whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap(), "admin");
    let head = proxy.head();
    assert!(head.starts_with(&format!("CONNECT api.example:{} HTTP/1.1\r\n", world.port)), "{head}");
    assert!(head.to_lowercase().contains("\r\nproxy-authorization: basic amfuztpzm2nyzxqh\r\n"), "{head}");
    assert!(!head.contains(TOKEN));
    assert_eq!(world.last().name.as_deref(), Some("api.example"));
    assert!(!world.last().headers.contains_key("proxy-authorization"));
}

#[tokio::test]
async fn socks_resolves_names_itself() {
    let world = World::new().await;
    let proxy = Proxy::new(Speaks::Socks).await;
    let url = format!("socks5://127.0.0.1:{}", proxy.port);
    let target = behind(&world, "api.example", &[("https_proxy", url.clone())]);
    assert_eq!(whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap(), "admin");
    assert_eq!(proxy.head(), format!("api.example {}", world.port));

    let refused = error(&behind(&world, "forbidden.example", &[("https_proxy", url)])).await;
    assert!(refused.contains("the proxy answered not allowed by its rules"), "{refused}");

    let proxy = Proxy::new(Speaks::SocksWithPassword).await;
    for (user, want) in [
        ("jane:s3cret%21@", "admin"),
        ("jane:wrong@", "the proxy answered that user and password are wrong"),
        ("", "the proxy answered it wants a user"),
    ] {
        let url = format!("socks5://{user}127.0.0.1:{}", proxy.port);
        let target = behind(&world, "api.example", &[("https_proxy", url)]);
        let said = match whoami(&Client::new(&target).unwrap()).await {
            Ok(answer) => answer.unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(want) && !said.contains("s3cret"), "{said}");
    }
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_is_trusted_as_the_server_is() {
    let world = World::new().await;
    let (tunnels, heads) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
    let acceptor = TlsAcceptor::from(world.tls.clone());
    let state = (tunnels.clone(), heads.clone());
    let port = listening(move |stream| {
        let (acceptor, (tunnels, heads)) = (acceptor.clone(), state.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = http(stream, &tunnels, &heads, "").await;
            }
        }
    })
    .await;
    let target = behind(&world, "api.example", &[("https_proxy", format!("https://127.0.0.1:{port}"))]);
    assert_eq!(whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap(), "admin");
    assert_eq!(tunnels.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_error_names_the_proxy_and_who_named_it() {
    let world = World::new().await;
    let server = format!("https://api.example:{}", world.port);
    let mend = "; NO_PROXY lists the hosts that are asked without one";
    for (answer, want) in [
        ("HTTP/1.1 407 x\r\n\r\n", "the proxy answered 407 Proxy Authentication Required"),
        ("HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n", "the proxy answered 403 Forbidden"),
    ] {
        let proxy = Proxy::refusing(answer).await;
        let url = format!("http://jane:s3cret@127.0.0.1:{}", proxy.port);
        let said = error(&behind(&world, "api.example", &[("HTTPS_PROXY", url)])).await;
        let by = format!("through the proxy http://127.0.0.1:{} (HTTPS_PROXY)", proxy.port);
        assert_eq!(said, format!("cannot reach {server} {by}: {want}{mend}"));
    }
    let said = error(&behind(&world, "api.example", &[("https_proxy", "127.0.0.1:1".into())])).await;
    let by = "through the proxy http://127.0.0.1:1 (https_proxy)";
    assert_eq!(said, format!("cannot reach {server} {by}: Connection refused{mend}"));
    // What names a proxy for all hosts has no exceptions.
    let named = |url: &str| {
        let route = Route::Proxy(Named::parse(url, "--proxy-url").unwrap());
        Target { route, ..behind(&world, "api.example", &[]) }
    };
    let by = "through the proxy http://127.0.0.1:1 (--proxy-url)";
    let mend = "; is a proxy running there?";
    let said = error(&named("http://127.0.0.1:1")).await;
    assert_eq!(said, format!("cannot reach {server} {by}: Connection refused{mend}"));
    let proxy = Proxy::refusing("HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n").await;
    let said = error(&named(&format!("http://127.0.0.1:{}", proxy.port))).await;
    let by = format!("through the proxy http://127.0.0.1:{} (--proxy-url)", proxy.port);
    assert_eq!(said, format!("cannot reach {server} {by}: the proxy answered 403 Forbidden"));
    let said = error(&behind(&world, "api.example", &[("https_proxy", "socks4://127.0.0.1:1".into())])).await;
    assert_eq!(said, "https_proxy names a proxy of the scheme \"socks4\": it must be http, https or socks5");
}

#[tokio::test]
async fn this_machine_is_behind_no_proxy_but_the_kubeconfigs() {
    let (world, proxy) = (World::new().await, Proxy::new(Speaks::Http).await);
    let unreachable = [("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())];
    for host in ["127.0.0.1", "localhost"] {
        let client = Client::new(&behind(&world, host, &unreachable)).unwrap();
        assert_eq!(whoami(&client).await.unwrap().unwrap(), "admin", "{host}");
    }
    let cluster = format!(", proxy-url: \"http://127.0.0.1:{}\"", proxy.port);
    let client = Client::new(&world.target(&cluster, &format!("token: {TOKEN}"))).unwrap();
    assert_eq!(whoami(&client).await.unwrap().unwrap(), "admin");
    assert_eq!(proxy.tunnels(), 1);
}

#[tokio::test]
async fn without_tls_the_proxy_is_asked_itself() {
    let proxy = Proxy::refusing("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"message\":\"p\"}").await;
    let world = World::answering(|_| told(http::StatusCode::OK, "x")).await;
    let url = format!("jane:s3cret%21@127.0.0.1:{}", proxy.port);
    let mut target = behind(&world, "api.example", &[("HTTP_PROXY", url)]);
    target.server.set_scheme("http").unwrap();
    assert_eq!(whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap(), "p");
    let head = proxy.head();
    assert!(
        head.starts_with(&format!("GET http://api.example:{}/whoami HTTP/1.1\r\n", world.port)),
        "{head}"
    );
    assert!(head.to_lowercase().contains("proxy-authorization: basic ") && !head.contains(TOKEN), "{head}");
}

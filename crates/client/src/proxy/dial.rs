//! What is said to a proxy before a connection through it is the server's: CONNECT (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928 and
//! 1929). hyper-util has both, but not the proxy's answer in its errors, and no IPv6 address through SOCKS.

use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Proxy;
use crate::transport::AGENT;

/// Opens a tunnel to `host` (an IPv6 address in brackets) through a proxy of HTTP.
pub(crate) async fn tunnel<T>(stream: T, proxy: &Proxy, host: &str, port: u16) -> io::Result<Upgraded>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let place = format!("{host}:{port}");
    let handshake = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // It ends when the tunnel takes the stream over, or with it.
    tokio::spawn(connection.with_upgrades());
    let request = Request::connect(place.as_str()).header(HOST, place.as_str()).header(USER_AGENT, AGENT);
    let request = match proxy.authorization() {
        Some(who) => request.header(PROXY_AUTHORIZATION, who),
        None => request,
    };
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    match response.status() {
        StatusCode::OK => hyper::upgrade::on(response).await.map_err(io::Error::other),
        code @ StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.user.is_none() => {
            Err(said(&format!("{code}; its URL can name a user: http://USER:PASSWORD@HOST:PORT")))
        }
        code => Err(said(&code.to_string())),
    }
}

/// Has a SOCKS proxy connect this stream to `host`, whose name the proxy resolves.
pub(crate) async fn socks<T>(stream: &mut T, proxy: &Proxy, host: &str, port: u16) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    const VERSION: u8 = 5;
    const NOBODY: u8 = 0;
    const PASSWORD: u8 = 2;
    let methods: &[u8] =
        if proxy.user.is_some() { &[VERSION, 2, NOBODY, PASSWORD] } else { &[VERSION, 1, NOBODY] };
    stream.write_all(methods).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, &proxy.user) {
        ([VERSION, NOBODY], _) => {}
        ([VERSION, PASSWORD], Some((user, password))) => {
            let mut request = vec![1];
            for text in [user, password] {
                let length = u8::try_from(text.len());
                request.push(length.map_err(|_| io::Error::other("its user or password is too long"))?);
                request.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&request).await?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            if answer[1] != 0 {
                return Err(said("that user and password are wrong"));
            }
        }
        ([VERSION, _], None) => {
            return Err(said("it wants a user; its URL can name one: socks5://USER:PASSWORD@HOST:PORT"));
        }
        ([VERSION, _], _) => return Err(said("it takes no password")),
        _ => return Err(io::Error::other("what answers is no SOCKS 5 proxy")),
    }
    let mut request = vec![VERSION, 1, 0];
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len());
            request.extend([3, length.map_err(|_| io::Error::other("the host's name is too long for it"))?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer[1] != 0 {
        return Err(said(failure(answer[1])));
    }
    // Where it is connected from is of no use here.
    let length = match answer[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(stream.read_u8().await?),
    };
    stream.read_exact(&mut vec![0; length + 2]).await?;
    Ok(())
}

/// RFC 1928, 6
fn failure(code: u8) -> &'static str {
    match code {
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "general failure",
    }
}

fn said(what: &str) -> io::Error {
    io::Error::other(format!("the proxy answered {what}"))
}

//! Why there was no answer at all, and how the usual causes are mended.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use rustls::CertificateError as Certificate;
use url::Url;

use crate::Error;
use crate::proxy::Proxy;

/// By what the user names a server's CA, where no flag of its own is for it.
pub(crate) const CA_BY: &str = "--certificate-authority, or the kubeconfig of this server";

/// Why there was no answer at all, with how to mend the usual causes; `ca_by` is what names its CA.
pub(crate) fn unreachable(
    url: &Url,
    proxy: Option<&Proxy>,
    ca_by: &str,
    error: &(dyn StdError + 'static),
) -> Error {
    let host = url.origin().ascii_serialization();
    let certificate = chain(error).find_map(|error| mend_certificate(error, ca_by));
    let refused = chain(error).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    });
    let (through, mend) = match (proxy, certificate) {
        (None, Some(mend)) => (String::new(), mend),
        (None, None) if refused => (String::new(), "; is `tokensmith serve` running there?".to_owned()),
        (None, None) => (String::new(), String::new()),
        (Some(proxy), Some(mend)) => (format!(" through the proxy {proxy}"), mend),
        (Some(proxy), None) => {
            let mend = match proxy.has_exceptions() {
                true => "; NO_PROXY lists the hosts that are asked without one",
                false if refused => "; is a proxy running there?",
                false => "",
            };
            (format!(" through the proxy {proxy}"), mend.to_owned())
        }
    };
    Error::failed(format!("cannot reach {host}{through}: {}{mend}", cause(error)))
}

/// The innermost cause, which is the one that says something, without the URL.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> String {
    if chain(error)
        .any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut))
    {
        return "no answer in time".into();
    }
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// An error and its causes. An `io::Error` that holds another error names as its source that one's source, and leaves the
/// error itself out; TLS's come in one.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| {
        error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map_or_else(|| error.source(), |held| Some(held as &'a (dyn StdError + 'static)))
    })
}

/// What to do about a certificate, behind what is wrong with it.
fn mend_certificate(error: &(dyn StdError + 'static), ca_by: &str) -> Option<String> {
    let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() else { return None };
    let mend = match why {
        Certificate::BadSignature | Certificate::UnknownIssuer => {
            return Some(format!(
                ": its certificate is not signed by a CA that is trusted here; give {ca_by}"
            ));
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            ": its certificate has expired; renew it, or set this machine's clock right"
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            ": its certificate is for other names; `tokensmith serve --tls-san NAME` adds one"
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            ": its certificate is not valid yet; set the clock right, here or there"
        }
        _ => return None,
    };
    Some(mend.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::ServerConfig;
    use rustls::crypto::aws_lc_rs;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use crate::target::{Target, Trust};
    use crate::{Client, Error, Web};

    /// A CA of this name, each with a key of its own.
    fn authority(name: &str) -> (Issuer<'static, KeyPair>, Trust) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), Trust::Authority(pem.into_bytes()))
    }

    fn for_names(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    /// What a client that trusts `trust` says of a server with this certificate, and what one for documents says.
    async fn refused(params: CertificateParams, by: &Issuer<'static, KeyPair>, trust: Trust) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let _ = acceptor.accept(stream).await;
            }
        });
        let text = said(&server, trust).await;
        serving.abort();
        text
    }

    /// What is behind the server's name.
    async fn said(server: &str, trust: Trust) -> String {
        let url = url::Url::parse(server).unwrap();
        let web = Web::new(&trust, None).unwrap().get(&url, None, None, 1).await.unwrap_err();
        let target = Target { trust, ..Target::of(url) };
        let error = Client::new(&target).unwrap().get("/version").await.unwrap_err();
        assert_eq!(error, web);
        let Error::Failed(text) = error else { panic!("{error}") };
        text.strip_prefix(&format!("cannot reach {server}: ")).expect(&text).to_owned()
    }

    #[tokio::test]
    async fn a_name_that_the_certificate_lacks_is_mended_by_tls_san() {
        let (ca, trust) = authority("ca");
        let text = refused(for_names(&["elsewhere.example"]), &ca, trust).await;
        assert!(
            text.starts_with("invalid peer certificate: certificate not valid for name \"localhost\""),
            "{text}"
        );
        assert!(
            text.ends_with(
                ": its certificate is for other names; `tokensmith serve --tls-san NAME` adds one"
            ),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_ca_that_is_not_trusted_is_mended_by_naming_it() {
        let (ca, _) = authority("ca");
        let mend = ": its certificate is not signed by a CA that is trusted here; give --certificate-authority, or the kubeconfig of this server";
        let (_, stranger) = authority("another");
        let text = refused(for_names(&["localhost"]), &ca, stranger).await;
        assert_eq!(text, format!("invalid peer certificate: UnknownIssuer{mend}"));
        let (_, namesake) = authority("ca");
        let text = refused(for_names(&["localhost"]), &ca, namesake).await;
        assert_eq!(text, format!("invalid peer certificate: BadSignature{mend}"));
        let (_, Trust::Authority(another)) = authority("leaf") else { unreachable!() };
        let text = refused(for_names(&["localhost"]), &ca, Trust::Leaf(another)).await;
        assert_eq!(text, format!("invalid peer certificate: UnknownIssuer{mend}"));
    }

    #[tokio::test]
    async fn a_certificate_out_of_its_time_is_mended_by_the_clock() {
        let (ca, trust) = authority("ca");
        let mut ended = for_names(&["localhost"]);
        (ended.not_before, ended.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let text = refused(ended, &ca, trust.clone()).await;
        assert!(text.starts_with("invalid peer certificate: certificate expired"), "{text}");
        assert!(
            text.ends_with(": its certificate has expired; renew it, or set this machine's clock right"),
            "{text}"
        );
        let mut early = for_names(&["localhost"]);
        early.not_before = date_time_ymd(4000, 1, 1);
        let text = refused(early, &ca, trust).await;
        assert!(text.starts_with("invalid peer certificate: certificate not valid yet"), "{text}");
        assert!(
            text.ends_with(": its certificate is not valid yet; set the clock right, here or there"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_port_that_nobody_serves_is_asked_for_its_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(
            said(&server, Trust::System).await,
            "Connection refused; is `tokensmith serve` running there?"
        );
    }

    #[tokio::test]
    async fn what_has_no_usual_mend_is_said_alone() {
        // Not TLS: what answers closes at once.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
            }
        });
        let text = said(&server, Trust::System).await;
        assert!(!text.contains(['`', ';']), "{text}");
        serving.abort();
    }
}

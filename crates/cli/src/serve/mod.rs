//! `tokensmith serve`: flags, files, signals and exit codes around a server of the library `tokensmith`.

mod banner;
pub mod certificates;
pub mod data_dir;
mod exchange;
mod fail;
mod federation;
mod first_start;
pub mod flags;
mod given_certificate;
mod issuers;
pub mod keys;
mod parent;
mod profiles;
mod reload;
pub mod sealing;
pub mod signer;
mod start;
mod temporary;
pub mod tls;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokensmith::Options;
use tokensmith::renewal::Renewal;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::supervise::Task;
use tokensmith_listen::descriptors;
use tokensmith_server::listener;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{self, Access, set_umask};
use crate::kubeconfig::{check_ours, own, write_ours};
use crate::logs::LogFlags;
use data_dir::{ADDRESS, DataDir};
use federation::Federation;
use first_start::{FirstStart, Who};
use flags::ServeArgs;
use given_certificate::OwnHost;
use parent::Parent;

/// The administrator's name: in `admin.kubeconfig`, in audit lines.
pub use tokensmith::ADMIN;

/// Runs the server until it is told to stop.
///
/// # Errors
/// A wrong flag or file, a port or a data directory in use: nothing has been changed then.
pub fn run(args: ServeArgs) -> Result<(), Failure> {
    set_umask(args.others());
    descriptors::raise();
    let log = args.log.clone();
    block_on(&log, serve(args))
}

fn block_on(log: &LogFlags, server: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("cannot start: {e}")))?;
    let done = runtime.block_on(server);
    // What still runs in the background has nothing left to lose.
    runtime.shutdown_background();
    done
}

async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let parent = args.parent_pid.map(Parent::find).transpose()?;
    let mut settings = start::Settings::read(&args)?;
    let kubeconfig = args.kubeconfig.clone().unwrap_or_else(|| args.data_dir.join("admin.kubeconfig"));
    if !args.ephemeral && args.data_dir.exists() && !args.data_dir.is_dir() {
        let named = args.data_dir.display();
        return Err(Failure::failed(format!("--data-dir {named}: it is no folder; give one, or a new name")));
    }
    if args.kubeconfig.is_some() || !args.ephemeral {
        check_ours(&kubeconfig, "--kubeconfig")?;
    }
    // The port first: while it is taken, nothing is to be made.
    let secure = bind(args.bind_address, args.secure_port, ["--secure-port", "--bind-address"]).await?;
    let plain = match args.insecure_port {
        Some(port) => Some(
            bind(args.insecure_bind_address, port, ["--insecure-port", "--insecure-bind-address"]).await?,
        ),
        None => None,
    };
    let signer_socket = match &args.external_signer_socket {
        Some(address) => Some(signer::bind(address).await?),
        None => None,
    };
    let sts = match args.sts.address() {
        Some(ip) => Some(bind(ip, args.sts.sts_port, ["--sts-port", "--sts-bind-address"]).await?),
        None => None,
    };
    let address = secure.local_addr().map_err(|e| Failure::failed(format!("cannot listen: {e}")))?;
    advertise(&args, address.port(), &mut settings.options)?;
    let dir =
        if args.ephemeral { DataDir::temporary()? } else { DataDir::open(&args.data_dir, args.others())? };
    if args.service_account_issuer.is_empty() {
        let hosts = [OwnHost::Address(tls::local_address(args.bind_address)), OwnHost::Localhost];
        let urls = hosts.map(|host| url(host, address.port()));
        let kept = dir.kept_issuer()?;
        let own = kept.as_ref().map_or(urls.each_ref().map(String::as_str).to_vec(), |kept| vec![kept]);
        args.sts.check_own(settings.sts.as_ref(), &own)?;
    }
    let first = match args.ephemeral {
        true => FirstStart::ephemeral(),
        false => FirstStart::begin(&dir, Who::Server, args.force)?,
    };
    let store = start::open_store(&args, &dir)?;
    let kubeconfig =
        if args.ephemeral && args.kubeconfig.is_none() { dir.file("admin.kubeconfig") } else { kubeconfig };
    let system: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let authority = certificates::open(&dir, system.now())?;
    let clients = settings.options.client_certificates.clone();
    let (sources, here) = tls::Sources::new(&args, &dir, authority, clients)?;
    let url = url(here.host, address.port());
    let (stop, stopped) = watch::channel(false);
    let sts = settings.sts.take().zip(sts);
    let server = wire::server(
        &args,
        settings,
        (&dir, &first),
        store,
        &here.root_ca,
        &external_url(&args, address.port()),
        stopped.clone(),
    )
    .await?;
    // Only now: who cannot open the keys leaves the certificate's file as it is, too.
    let mut renewal = Renewal::begin(system, move |now| sources.build(now))?;

    let external =
        signer_socket.map(|socket| signer::beside(&server.instance.app).map(|signer| (socket, signer)));
    let external = external.transpose()?;
    let sts = sts.map(|(config, socket)| Federation::new(&args.sts, config, socket, &server.instance.app));
    let sts = sts.transpose()?;

    let admin = own(&url, Some(here.ca.as_bytes()), ADMIN, &server.admin_token, None);
    // Elsewhere no group is known to be meant.
    let others = if args.kubeconfig.is_some() { Others::Nobody } else { dir.others() };
    write_ours(&kubeconfig, &admin, "--kubeconfig", others)?;
    let local = local_url(&args, address.port());
    files::write_passing(&dir.file(ADDRESS), local.as_bytes(), Access::Everyone)?;

    first.done();
    let mut signals = Signals::new()?;
    let router = server.instance.router.clone();
    let mut listeners = tokio::task::JoinSet::new();
    let stats = server.instance.app.metrics.listening();
    let tls = Some(renewal.live());
    let supervisor = &server.instance.app.supervisor;
    let served =
        listener::serve(secure, tls, router.clone(), stats.clone(), supervisor.clone(), stopped.clone());
    listeners.spawn(served);
    if let Some(plain) = plain {
        let router = router.clone();
        listeners.spawn(listener::serve(plain, None, router, stats, supervisor.clone(), stopped.clone()));
    }
    drop(router);
    if let Some((socket, signer)) = external {
        listeners.spawn(tokensmith_signer::serve(socket, signer, supervisor.clone(), stopped.clone()));
    }
    let sts = sts.map(|Federation { sts, listener, url }| {
        let stats = server.instance.app.metrics.listening();
        let (supervisor, stopped) = (supervisor.clone(), stopped.clone());
        let serving =
            tokensmith_federation::serve(listener, sts.clone(), renewal.live(), stats, supervisor, stopped);
        listeners.spawn(serving);
        (sts, url)
    });
    if let Some(path) = &args.ready_file {
        files::write_passing(path, format!("{url}\n").as_bytes(), Access::Everyone)?;
    }
    let sts_url = sts.as_ref().map(|(_, url)| url.as_str());
    banner::print(&args, &url, &here, &server.issuer, &kubeconfig, sts_url);

    let supervisor = server.instance.app.supervisor.clone();
    let renewing = supervisor.begin(Task::Certificates);
    let parent_ended = async {
        match &parent {
            Some(parent) => parent.ended().await,
            None => std::future::pending().await,
        }
    };
    let mut parent_ended = std::pin::pin!(parent_ended);
    loop {
        let told = tokio::select! {
            told = signals.next() => Some(told),
            () = &mut parent_ended => Some(OnSignal::End),
            () = renewal.due() => None,
        };
        match told {
            Some(OnSignal::End) => break,
            None => renewal.renew_in_time(&supervisor),
            Some(OnSignal::Reload) => {
                server.instance.app.audit.reopen();
                reload::tls(&args, renewal.renew(&supervisor));
                supervisor.step(Task::Certificates, || {
                    reload::users(args.token_auth_file.as_deref(), server.token_file.as_deref());
                    exchange::reload(args.exchange_policy_file.as_deref(), server.policies.as_deref());
                    if let Some((sts, _)) = &sts {
                        federation::reload(&args.sts, sts);
                    }
                });
                reload::tell_of_the_rest(&args);
            }
        }
    }
    drop(renewing);
    tracing::info!("stopping: no new connections, open requests end");
    stop.send_replace(true);
    while listeners.join_next().await.is_some() {}
    for gone in [Some(&dir.file(ADDRESS)), args.ready_file.as_ref()].into_iter().flatten() {
        // Who looks for a running server finds none.
        let _ = std::fs::remove_file(gone);
    }
    // They have the keys, and with them the store.
    drop((supervisor, sts));
    server.instance.end().await.map_err(|e| Failure::failed(e.to_string()))
}

async fn bind(ip: IpAddr, port: u16, [flag, ip_flag]: [&str; 2]) -> Result<TcpListener, Failure> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.map_err(|e| {
        Failure::failed(match e.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{address} is in use by another program: stop it, or give another {flag} (0 picks one)"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("this machine has no address {ip}: give one of its own with {ip_flag}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("not allowed to listen on {address}: give {flag} above 1023")
            }
            _ => format!("cannot listen on {address}: {e}"),
        })
    })
}

/// Says where pods reach the server, if they can.
fn advertise(args: &ServeArgs, port: u16, options: &mut Options) -> Result<(), Failure> {
    let own = match args.bind_address {
        ip if ip.is_loopback() => None,
        ip if ip.is_unspecified() => outward(ip).or_else(|_| outward(Ipv4Addr::UNSPECIFIED.into())).ok(),
        ip => Some(ip),
    };
    options.advertised = args.advertise_address.or(own).map(|ip| SocketAddr::new(ip, port));
    match options.check() {
        Err(e) if args.advertise_address.is_some() => {
            Err(Failure::usage(format!("--advertise-address: {e}")))
        }
        // One that nobody has given need not be of use.
        Err(_) => {
            options.advertised = None;
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The address by which this machine reaches others; nothing is sent.
fn outward(bound: IpAddr) -> io::Result<IpAddr> {
    let there: IpAddr = match bound {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((bound, 0))?;
    socket.connect((there, 9))?;
    socket.local_addr().map(|address| address.ip())
}

/// How clients on this machine reach the server.
fn url(host: OwnHost, port: u16) -> String {
    match host {
        OwnHost::Localhost => format!("https://localhost:{port}"),
        OwnHost::Address(ip) => format!("https://{}", SocketAddr::new(ip, port)),
    }
}

/// The same without a name: an image need not have a file or a server that resolves one.
fn local_url(args: &ServeArgs, port: u16) -> String {
    format!("https://{}", SocketAddr::new(tls::local_address(args.bind_address), port))
}

/// How others do.
fn external_url(args: &ServeArgs, port: u16) -> String {
    match &args.external_hostname {
        Some(host) => format!("https://{host}:{port}"),
        None if args.bind_address.is_unspecified() => url(OwnHost::Localhost, port),
        None => url(OwnHost::Address(args.bind_address), port),
    }
}

/// What a signal asks for.
enum OnSignal {
    End,
    Reload,
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")));
        Ok(Signals {
            interrupt: on(SignalKind::interrupt())?,
            reload: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> OnSignal {
        tokio::select! {
            _ = self.interrupt.recv() => OnSignal::End,
            _ = self.terminate.recv() => OnSignal::End,
            _ = self.reload.recv() => OnSignal::Reload,
        }
    }
}

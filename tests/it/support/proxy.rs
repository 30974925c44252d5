//! A network between replicas and Redis that does what a test wants. It runs on a thread of its own: a test that blocks
//! does not hold it up.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Healthy,
    /// Every reply takes this much longer.
    Slow(Duration),
    /// Replies are held, except those of a handshake: connections come about, and then nothing is answered.
    HeldAfterHandshake,
    /// Every reply is held.
    Held,
    /// Connections that exist now or come about meanwhile never carry anything again, and are not closed.
    HalfOpen,
    /// Connections are closed, and so is every new one.
    Refused,
}

/// Replies that belong to a handshake: authentication or PING, the database, the client's id, the version, the name.
const HANDSHAKE_REPLIES: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Phase {
    network: Network,
    /// Every existing connection is closed when this changes.
    cuts: u64,
    /// Where new connections lead.
    server: u16,
}

/// A TCP proxy; ends when it is dropped.
pub struct Proxy {
    port: u16,
    phase: watch::Sender<Phase>,
}

impl Proxy {
    /// A healthy network before the server on this port.
    pub fn start(server: u16) -> Self {
        let (phase, seen) = watch::channel(Phase { network: Network::Healthy, cuts: 0, server });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener of ours");
        let port = listener.local_addr().expect("a bound listener").port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, seen));
        });
        Self { port, phase }
    }

    /// As the settings take it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on.
    pub fn set(&self, network: Network) {
        self.phase.send_modify(|phase| phase.network = network);
    }

    /// Closes every connection that exists now.
    pub fn cut(&self) {
        self.phase.send_modify(|phase| phase.cuts += 1);
    }

    /// Closes every connection that exists now; new ones lead to the server on this port.
    pub fn lead_to(&self, server: u16) {
        self.phase.send_modify(|phase| {
            phase.server = server;
            phase.cuts += 1;
        });
    }
}

async fn serve(listener: std::net::TcpListener, mut phase: watch::Receiver<Phase>) {
    let listener = TcpListener::from_std(listener).expect("a runtime");
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if phase.borrow().network != Network::Refused {
                    drop(tokio::spawn(carry(client, phase.clone())));
                }
            }
            // The proxy was dropped. Its connections end with the runtime.
            changed = phase.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry(client: TcpStream, phase: watch::Receiver<Phase>) {
    let server = phase.borrow().server;
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server))).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = one_way(from_client, to_server, phase.clone(), false) => {}
        () = one_way(from_server, to_client, phase.clone(), true) => {}
        () = until_closed(phase) => {}
    }
}

/// Until the network closes this connection.
async fn until_closed(mut phase: watch::Receiver<Phase>) {
    let born = phase.borrow().cuts;
    let closes = |phase: &Phase| phase.cuts != born || phase.network == Network::Refused;
    // An error: the proxy is gone.
    drop(phase.wait_for(closes).await.map(drop));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut phase: watch::Receiver<Phase>, replies: bool) {
    let mut buffer = vec![0; 64 << 10];
    for read in 0.. {
        let Some(count) = next(&mut from, &mut buffer, &mut phase).await else { return };
        loop {
            let network = phase.borrow_and_update().network;
            let is_held = match network {
                Network::Held => replies,
                Network::HeldAfterHandshake => replies && read >= HANDSHAKE_REPLIES,
                Network::HalfOpen => std::future::pending().await,
                Network::Slow(_) | Network::Healthy | Network::Refused => false,
            };
            if !is_held {
                if let (Network::Slow(delay), true) = (network, replies) {
                    tokio::time::sleep(delay).await;
                }
                break;
            }
            if phase.changed().await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// The next bytes; none at the end. Never again once the network was half-open.
async fn next(from: &mut OwnedReadHalf, buffer: &mut [u8], phase: &mut watch::Receiver<Phase>) -> Option<usize> {
    loop {
        if phase.borrow_and_update().network == Network::HalfOpen {
            return std::future::pending().await;
        }
        tokio::select! {
            read = from.read(buffer) => return read.ok().filter(|&count| count > 0),
            changed = phase.changed() => changed.ok()?,
        }
    }
}

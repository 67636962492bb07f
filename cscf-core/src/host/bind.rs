//! Opening the sockets of a node, and saying clearly why that did not work.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::protected::{Protect, Protection};
use super::udp::{self, UdpSocket};
use crate::config::{NodeConfig, NodeRole};
use crate::transport::Transport;

/// The addresses a node listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// For datagrams.
    pub udp: Vec<SocketAddr>,
    /// For connections.
    pub tcp: Vec<SocketAddr>,
    /// What its security associations need; none: it has no associations.
    pub protect: Option<Protect>,
    /// For connections with TLS or WebSocket.
    pub secured: Vec<(Transport, SocketAddr)>,
}

impl Addresses {
    /// UDP and TCP on one address, as every SIP element has (RFC 3261 §18.2.1).
    #[must_use]
    pub fn both(addr: SocketAddr) -> Self {
        Self { udp: vec![addr], tcp: vec![addr], protect: None, secured: Vec::new() }
    }

    /// With security associations.
    #[must_use]
    pub fn protected(mut self, protect: Option<Protect>) -> Self {
        self.protect = protect;
        self
    }

    /// What a node of the lab listens on: CSCFs on UDP and TCP, the HSS on TCP.
    #[must_use]
    pub fn of(node: &NodeConfig) -> Self {
        match node.role {
            NodeRole::Hss => Self { tcp: vec![node.listen], ..Self::default() },
            NodeRole::As | NodeRole::Icscf | NodeRole::Pcscf | NodeRole::Scscf => {
                let addresses: Vec<SocketAddr> = node.addresses().collect();
                let secured = node.secured_listeners();
                Self { udp: addresses.clone(), tcp: addresses, protect: None, secured }
            }
        }
    }
}

/// A node cannot listen where it should.
#[derive(Debug, thiserror::Error)]
#[error("{node} cannot listen on {transport} {addr}: {}", advice(.source, .transport, *.addr))]
pub struct BindError {
    /// The node's name.
    pub node: String,
    /// `udp`, `tcp`, `tls`, `ws`, `wss` or what carries ESP.
    pub transport: &'static str,
    /// The address.
    pub addr: SocketAddr,
    /// What the system says.
    source: io::Error,
}

/// What is wrong and what to do about it.
fn advice(fault: &io::Error, transport: &str, addr: SocketAddr) -> String {
    let port = addr.port();
    match fault.kind() {
        io::ErrorKind::AddrInUse => {
            let kind = if transport == "udp" { 'u' } else { 't' };
            format!(
                "the address is in use; stop the program that has it (`ss -ln{kind}p 'sport = \
                 :{port}'` shows it) or write another address in the lab file"
            )
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "no interface of this machine has the address {}; `ip address` shows those it has",
            addr.ip()
        ),
        io::ErrorKind::PermissionDenied if transport == RAW => "the system does not allow raw \
             sockets; they need the capability CAP_NET_RAW (`ipsec_backend: udp` in the lab file \
             does without)"
            .to_owned(),
        io::ErrorKind::PermissionDenied => format!(
            "the system does not allow it; ports below 1024 need the capability \
             CAP_NET_BIND_SERVICE, so choose a port above (here {port})"
        ),
        _ => fault.to_string(),
    }
}

/// Raw sockets of ESP in a [`BindError`].
pub(super) const RAW: &str = "ESP (raw)";

/// The open sockets of a node, each with its address.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) udp: Vec<(SocketAddr, Rc<UdpSocket>)>,
    pub(super) tcp: Vec<(SocketAddr, TcpListener)>,
    pub(super) protection: Protection,
    pub(super) secured: Vec<(Transport, SocketAddr, TcpListener)>,
}

impl Sockets {
    /// The first address, with the port the system chose where it was asked to.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let udp = self.udp.iter().map(|(addr, _)| *addr);
        udp.chain(self.tcp.iter().map(|(addr, _)| *addr)).next()
    }

    /// The first address for connections of this kind.
    #[must_use]
    pub fn secured(&self, transport: Transport) -> Option<SocketAddr> {
        self.secured.iter().find(|it| it.0 == transport).map(|it| it.1)
    }
}

/// Opens all sockets of a node, or none. A port that the system chose for datagrams may be in use
/// for connections; then another one is tried.
pub(super) fn bind(node: &str, addresses: &Addresses) -> Result<Sockets, BindError> {
    const ATTEMPTS: usize = 16;
    let chosen = addresses.udp.iter().chain(&addresses.tcp).any(|addr| addr.port() == 0);
    for _ in 1..if chosen { ATTEMPTS } else { 1 } {
        match open_all(node, addresses) {
            Err(fault) if fault.source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    open_all(node, addresses)
}

fn open_all(node: &str, addresses: &Addresses) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::default();
    let error = |transport, addr| {
        move |source| BindError { node: node.to_owned(), transport, addr, source }
    };
    for addr in &addresses.udp {
        let socket = udp::open(*addr).map_err(error("udp", *addr))?;
        let addr = socket.local_addr().map_err(error("udp", *addr))?;
        sockets.udp.push((addr, Rc::new(socket)));
    }
    for addr in &addresses.tcp {
        // Port 0 means any; the datagram socket has chosen one already, if there is one.
        let chosen = sockets.udp.iter().map(|(udp, _)| *udp).find(|udp| udp.ip() == addr.ip());
        let wanted = if addr.port() == 0 { chosen.unwrap_or(*addr) } else { *addr };
        let listener = listen(wanted).map_err(error("tcp", wanted))?;
        let addr = listener.local_addr().map_err(error("tcp", wanted))?;
        sockets.tcp.push((addr, listener));
    }
    if let Some(protect) = &addresses.protect {
        let error = |(what, addr, source)| error(what, addr)(source);
        sockets.protection = Protection::open(protect).map_err(error)?;
    }
    for (transport, addr) in &addresses.secured {
        let name = transport.param_name();
        let listener = listen(*addr).map_err(error(name, *addr))?;
        let addr = listener.local_addr().map_err(error(name, *addr))?;
        sockets.secured.push((*transport, addr, listener));
    }
    Ok(sockets)
}

pub(super) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    // Only now: a second listener then still finds the port in use, while our own connections may
    // leave from it.
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Connects from our own listening address and port, so that address and port name us to the peer
/// as they do on UDP. Where that very connection exists already, or has just ended, the system
/// refuses; then it may leave from another port, which is still better than not at all.
pub(super) async fn connect(
    local: SocketAddr,
    remote: SocketAddr,
    port: PortWanted,
) -> io::Result<TcpStream> {
    match connect_from(local, remote).await {
        Err(fault)
            if port == PortWanted::IfFree
                && matches!(
                    fault.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
                ) =>
        {
            connect_from(SocketAddr::new(local.ip(), 0), remote).await
        }
        result => result,
    }
}

/// Whether a connection may leave from another port than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortWanted {
    /// From no other: security associations are for this port only.
    Always,
    /// From another one where this is not to be had.
    IfFree,
}

async fn connect_from(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local.into())?;
    socket.set_nonblocking(true)?;
    let stream = tokio::net::TcpSocket::from_std_stream(socket.into()).connect(remote).await?;
    Ok(stream)
}

/// Small messages leave at once: a SIP message is one write and waits for nothing.
pub(super) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// Ends a connection at once: the peer sees a reset, and nothing waits in the kernel.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// What counts as one peer: an address of IPv4, also where it is written as one of IPv6, or the
/// upper 64 bits of one of IPv6, for a host may take any address below them (RFC 4291 §2.5.1).
pub(super) fn peer_key(addr: SocketAddr) -> IpAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(addr) => addr.into(),
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
    }

    #[test]
    fn all_addresses_of_a_host_are_one_peer() {
        let key = |text: &str| peer_key(text.parse().expect("address"));
        assert_eq!(key("[2001:db8:1:2::1]:5"), key("[2001:db8:1:2:ffff::9]:6"));
        assert_ne!(key("[2001:db8:1:2::1]:5"), key("[2001:db8:1:3::1]:5"));
        assert_eq!(key("[::ffff:192.0.2.1]:5"), key("192.0.2.1:6"));
        assert_ne!(key("192.0.2.1:5"), key("192.0.2.2:5"));
    }

    #[test]
    fn a_port_in_use_is_named_with_node_and_advice() {
        runtime().block_on(async {
            let any = Addresses::both("127.91.0.1:0".parse().expect("address"));
            let first = bind("p1", &any).expect("binds");
            let addr = first.udp[0].0;
            assert_eq!(first.tcp[0].0, addr);

            let udp = bind("p2", &Addresses { udp: vec![addr], ..Addresses::default() })
                .expect_err("in use");
            let tcp = bind("p2", &Addresses { tcp: vec![addr], ..Addresses::default() })
                .expect_err("in use");

            let text = udp.to_string();
            assert!(text.starts_with(&format!("p2 cannot listen on udp {addr}: ")), "{text}");
            assert!(text.contains("in use"), "{text}");
            assert!(tcp.to_string().contains("in use"), "{tcp}");
        });
    }

    #[test]
    fn an_address_of_no_interface_is_said_to_be_none_of_ours() {
        runtime().block_on(async {
            let far = Addresses::both("192.0.2.1:5060".parse().expect("address"));
            let error = bind("p1", &far).expect_err("not ours").to_string();
            assert!(error.contains("no interface of this machine has"), "{error}");
        });
    }

    #[test]
    fn a_connection_leaves_from_the_listening_port_while_the_listener_accepts() {
        runtime().block_on(async {
            let any = "127.91.0.2:0".parse().expect("address");
            let mine = listen(any).expect("listens");
            let peer = listen(any).expect("listens");
            let (me, them) = (mine.local_addr().expect("mine"), peer.local_addr().expect("peer"));

            let _out = connect(me, them, PortWanted::IfFree).await.expect("connects");
            let (_, seen) = peer.accept().await.expect("accepts");
            let _in = TcpStream::connect(me).await.expect("connects");
            let _ = mine.accept().await.expect("still accepts");

            assert_eq!(seen, me);
            assert!(connect(me, them, PortWanted::Always).await.is_err());
            let again =
                connect(me, them, PortWanted::IfFree).await.expect("connects from another port");
            assert_ne!(again.local_addr().expect("local"), me);
        });
    }
}

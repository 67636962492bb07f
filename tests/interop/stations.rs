//! Two hosts with a line between them (network namespaces and a veth pair), and stations on them:
//! nodes that obey a test, on the real sockets of the host, with security associations between
//! them.

use std::collections::VecDeque;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use cscf_core::engine::{Input, Node, Output};
use cscf_core::host::protected::{Form, Protect, Protected};
use cscf_core::host::{Addresses, Clock, Handle, Host};
use cscf_core::time::Instant;
use cscf_core::trace::{TraceEvent, TraceKind};
use cscf_core::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports, SaCommand, SaSet,
};
use cscf_core::transport::{ConnId, Flow, Packet, SaId, Transport};

/// The longest that anything may take.
const WITHIN: Duration = Duration::from_secs(20);
/// The protected ports of the P-CSCF.
pub(crate) const PORTS: Ports = Ports { client: 5100, server: 5062, spi_client: 0, spi_server: 0 };

/// Two hosts with a line between them; they go with this.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// The host of the P-CSCF.
    pub(crate) p: String,
    /// The host of the UEs.
    pub(crate) ue: String,
}

/// Which addresses a test uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn p(self) -> IpAddr {
        self.host(1)
    }

    pub(crate) fn ue(self) -> IpAddr {
        self.host(2)
    }

    /// The address of a host, or one more of the phones: those have numbers from 2.
    pub(crate) fn host(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 9, 8, number]),
            Self::V6 => IpAddr::from([0xfd00, 0x5060, 0, 0, 0, 0, 0, u16::from(number)]),
        }
    }
}

impl Hosts {
    /// Makes them; the error says why that is not possible here.
    pub(crate) fn make() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |what| format!("cscf-{}-{number}-{what}", std::process::id());
        let hosts = Self { p: name("p"), ue: name("ue") };
        let (p, ue) = (hosts.p.clone(), hosts.ue.clone());
        for host in [&p, &ue] {
            ip(&["netns", "add", host])?;
        }
        ip(&["-n", &p, "link", "add", "gm", "type", "veth", "peer", "name", "gm", "netns", &ue])?;
        for (host, number) in [(&p, 1), (&ue, 2), (&ue, 3)] {
            for family in Family::BOTH {
                let addr = family.host(number);
                let bits = if addr.is_ipv4() { 24 } else { 64 };
                let addr = format!("{addr}/{bits}");
                let add = ["-n", host, "address", "add", &addr, "dev", "gm", "nodad"];
                ip(if family == Family::V6 { &add } else { &add[..7] })?;
            }
            for device in ["lo", "gm"] {
                ip(&["-n", host, "link", "set", device, "up"])?;
            }
        }
        Ok(hosts)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.p, &self.ue] {
            let _ = ip(&["netns", "delete", host]);
        }
    }
}

/// Runs `ip` and gives what it says.
pub(crate) fn ip(args: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(args).output().map_err(|fault| format!("ip: {fault}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ip {}: {}", args.join(" "), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lets this thread live on a host.
pub(crate) fn enter(host: &str) {
    let file = File::open(format!("/run/netns/{host}")).expect("the host");
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("may enter it");
}

/// A node that tells all it hears and does what it is told.
#[derive(Debug)]
struct Obedient {
    name: String,
    outputs: VecDeque<Output>,
    heard: std::sync::mpsc::Sender<Input>,
    dropped: std::sync::mpsc::Sender<String>,
}

impl Node for Obedient {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, _now: Instant, input: Input) {
        let _ = match input {
            Input::Dropped { reason, .. } => self.dropped.send(reason).is_ok(),
            input => self.heard.send(input).is_ok(),
        };
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Such a node on a host, in a thread of its own.
pub(crate) struct Station {
    handle: Handle<Obedient>,
    heard: Receiver<Input>,
    dropped: Receiver<String>,
    told: Receiver<TraceEvent>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    opened: u64,
}

impl Station {
    /// Starts one; the error is the host's.
    pub(crate) fn start(
        host: &str,
        form: Form,
        at: &[IpAddr],
        ports: &[u16],
    ) -> Result<Self, String> {
        let place = |ip: &IpAddr| ports.iter().map(|port| SocketAddr::new(*ip, *port)).collect();
        let ports: Vec<Vec<SocketAddr>> = at.iter().map(place).collect();
        let protect = Protect { form, at: at.to_vec(), ports: ports.concat() };
        let addresses = Addresses::default().protected(Some(protect));
        let (to_heard, heard) = channel();
        let (to_dropped, dropped) = channel();
        let (to_told, told) = channel();
        let (to_started, started) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let host = host.to_owned();
        let thread = std::thread::spawn(move || {
            enter(&host);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let sink = Rc::new(move |event| {
                    let _ = to_told.send(event);
                });
                let host = Host::new(Clock::start(), sink);
                let (name, outputs) = ("station".to_owned(), VecDeque::new());
                let node = Obedient { name, outputs, heard: to_heard, dropped: to_dropped };
                let added = host.add(node, &addresses).map_err(|fault| fault.to_string());
                let refused = added.is_err();
                let _ = to_started.send(added);
                if !refused {
                    let _ = host.run_until(stopped).await;
                    host.stop().await;
                }
            });
        });
        let handle = started.recv_timeout(WITHIN).expect("a station")?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { handle, heard, dropped, told, stop, thread, opened: 0 })
    }

    fn order(&self, output: Output) {
        assert!(self.handle.call(move |node, _| node.outputs.push_back(output)), "it runs");
    }

    pub(crate) fn install(&self, set: &SaSet) {
        self.order(Output::Security(SaCommand::Install(Box::new(set.clone()))));
        // Once it tells what it has, it has this.
        assert!(self.protected().sets.contains(set), "installed: {set}");
    }

    pub(crate) fn remove(&self, id: SaId) {
        self.order(Output::Security(SaCommand::Remove(id)));
    }

    pub(crate) fn send(&self, flow: Flow, bytes: &Bytes) {
        let received_at = Instant::EPOCH;
        self.order(Output::Datagram(Packet { flow, bytes: bytes.clone(), received_at }));
    }

    pub(crate) fn connect(&mut self, flow: Flow) -> ConnId {
        self.opened += 1;
        let conn = ConnId::opened(self.opened);
        let Flow { local, remote, sa, .. } = flow;
        self.order(Output::Connect { conn, transport: Transport::Tcp, local, remote, sa });
        conn
    }

    pub(crate) fn write(&self, conn: ConnId, bytes: &Bytes) {
        self.order(Output::Write { conn, bytes: bytes.clone() });
    }

    pub(crate) fn close(&self, conn: ConnId) {
        self.order(Output::Close(conn));
    }

    /// The next that it hears.
    pub(crate) fn hear(&self) -> Input {
        self.heard.recv_timeout(WITHIN).unwrap_or_else(|_| {
            let told: Vec<TraceEvent> = self.told.try_iter().collect();
            let dropped: Vec<String> = self.dropped.try_iter().collect();
            panic!("nothing is heard; told was: {told:#?}, dropped: {dropped:#?}")
        })
    }

    /// All that is heard of a connection until there are so many bytes.
    pub(crate) fn hear_bytes(&self, of: ConnId, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.hear() {
                Input::Bytes { conn, bytes, .. } if conn == of => all.extend_from_slice(&bytes),
                other => panic!("instead of bytes: {other:?}"),
            }
        }
        all
    }

    /// The next drop that it hears of and that says this.
    pub(crate) fn drops(&self, says: &str) -> String {
        next(&self.dropped, says, |reason| reason.contains(says).then(|| reason.clone()))
    }

    /// The next note that it tells and that says this.
    pub(crate) fn notes(&self, says: &str) -> String {
        next(&self.told, says, |event| match &event.kind {
            TraceKind::Note(note) if note.text.contains(says) => Some(note.text.clone()),
            _ => None,
        })
    }

    /// What it has of security associations, once all orders before are done.
    pub(crate) fn protected(&self) -> Protected {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.handle.protected()).expect("it runs")
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The next of what comes that this finds something in.
fn next<E: std::fmt::Debug, T>(
    from: &Receiver<E>,
    says: &str,
    find: impl Fn(&E) -> Option<T>,
) -> T {
    let mut others = Vec::new();
    loop {
        let Ok(event) = from.recv_timeout(WITHIN) else {
            panic!("`{says}` is not told; but: {others:#?}")
        };
        match find(&event) {
            Some(found) => return found,
            None => others.push(event),
        }
    }
}

/// Pairs of algorithms of P-REG-440, all that ESP may use.
pub(crate) fn pairs() -> Vec<Algorithms> {
    Algorithms::all().collect()
}

/// The set number `index` between the two hosts, as the P-CSCF sees it and as the UE does.
pub(crate) fn set(index: u16, algorithms: Algorithms, family: Family) -> (SaSet, SaSet) {
    let number = u32::from(index);
    let spis = |base: u32| (base + 2 * number, base + 2 * number + 1);
    let (spi_client, spi_server) = spis(20_000);
    let local = End { addr: family.p(), ports: Ports { spi_client, spi_server, ..PORTS } };
    let (spi_client, spi_server) = spis(10_000);
    let (client, server) = (40_001 + 2 * index, 40_002 + 2 * index);
    let remote = End { addr: family.ue(), ports: Ports { client, server, spi_client, spi_server } };
    let (ck, ik) = ([number.to_be_bytes(); 4].concat(), *b"an integrity key");
    let ck = std::array::from_fn(|at| ck[at].wrapping_add(at as u8));
    let keys = EspKeys::expand(algorithms, &ck, &ik);
    let (id, mode, lifetime) = (SaId(number), Mode::Transport, IPSEC_LIFETIME);
    let p = SaSet { id, local, remote, algorithms, mode, keys, lifetime };
    let ue = p.seen_by_peer(SaId(number + 1_000));
    (p, ue)
}

/// Datagrams both ways under a set: what was sent arrives at the port and under the set it is for.
pub(crate) fn datagrams_pass(p: (&Station, &SaSet), ue: (&Station, &SaSet)) {
    let text = |what: &str| Bytes::from(format!("{what} {}", "x".repeat(900)));
    for ((from, sender), (to, receiver), what) in [(ue, p, "up"), (p, ue, "down")] {
        let bytes = text(what);
        from.send(sender.datagram_flow(), &bytes);
        let packet = match to.hear() {
            Input::Datagram(packet) => packet,
            other => panic!("{other:?} instead of a datagram of {receiver}"),
        };
        assert_eq!(packet.bytes, bytes, "{receiver}");
        assert_eq!(packet.flow.sa, Some(receiver.id), "{receiver}");
        assert_eq!(packet.flow.local, receiver.local.server(), "{receiver}");
        assert_eq!(packet.flow.remote, receiver.remote.client(), "{receiver}");
    }
}

/// Connections both ways under a set, and on each more bytes than a segment has, both ways.
pub(crate) fn streams_pass(p: (&mut Station, &SaSet), ue: (&mut Station, &SaSet)) {
    let (p, set_of_p) = p;
    let (ue, set_of_ue) = ue;
    stream_passes((ue, set_of_ue), (p, set_of_p));
    stream_passes((p, set_of_p), (ue, set_of_ue));
}

fn stream_passes((from, sender): (&mut Station, &SaSet), (to, receiver): (&Station, &SaSet)) {
    let text = |what: &str| Bytes::from(what.repeat(2_000));
    let conn = from.connect(sender.stream_flow());
    let Input::Opened(opened) = from.hear() else { panic!("no connection of {sender}") };
    assert_eq!((opened.conn, opened.sa), (Some(conn), Some(sender.id)), "{sender}");
    let Input::Opened(accepted) = to.hear() else { panic!("no connection of {receiver}") };
    assert_eq!(accepted.sa, Some(receiver.id), "{receiver}");
    let ends = (receiver.local.server(), receiver.remote.client());
    assert_eq!((accepted.local, accepted.remote), ends, "{receiver}");
    let back = accepted.conn.expect("a connection");
    let (up, down) = (text("up"), text("down"));
    from.write(conn, &up);
    assert_eq!(to.hear_bytes(back, up.len()), up, "{receiver}");
    to.write(back, &down);
    assert_eq!(from.hear_bytes(conn, down.len()), down, "{sender}");
    from.close(conn);
    let Input::Closed { conn, .. } = to.hear() else { panic!("does not end: {receiver}") };
    assert_eq!(conn, back, "{receiver}");
}

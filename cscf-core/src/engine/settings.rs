//! What an engine is told when it is made, and what it counts.

use std::net::SocketAddr;
use std::sync::Arc;

use super::load::LoadLimit;
use crate::ids::Shard;
use crate::time::{Duration, UnixTime};
use crate::transaction::Timers;
use crate::transport::Transport;
use crate::transport::dns::Zone;
use crate::transport::size::PathMtu;
use crate::transport::target::Hosts;

/// An address the node listens on, and the name under which it is known to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The transport protocol.
    pub transport: Transport,
    /// Where packets arrive, and where those that leave come from.
    pub addr: SocketAddr,
    /// Host and port for Via (RFC 3261 §18.1.1): what others shall use instead of `addr`.
    pub advertise: (String, u16),
}

impl Listen {
    /// An address that is advertised as it is.
    #[must_use]
    pub fn new(transport: Transport, addr: SocketAddr) -> Self {
        let advertise = (host_text(&addr), addr.port());
        Self { transport, addr, advertise }
    }

    /// UDP and TCP on one address, as every SIP server has (RFC 3261 §18.2.1).
    #[must_use]
    pub fn both(addr: SocketAddr) -> Vec<Self> {
        vec![Self::new(Transport::Udp, addr), Self::new(Transport::Tcp, addr)]
    }

    /// Host and port as they stand in a Via; a name that nobody can resolve has no port
    /// (RFC 7118 §5.1).
    #[must_use]
    pub fn sent_by(&self) -> String {
        if self.advertise.0.ends_with(".invalid") {
            return self.advertise.0.clone();
        }
        format!("{}:{}", self.advertise.0, self.advertise.1)
    }
}

/// An address as the host part of a URI: IPv6 in brackets.
#[must_use]
pub fn host_text(addr: &SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// What one engine may hold at most. A peer can fill a table but not grow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Response contexts (server transactions whose requests a role has seen).
    pub contexts_max: usize,
    /// Server transactions, lingering ones included.
    pub server_transactions_max: usize,
    /// Client transactions, lingering ones included.
    pub client_transactions_max: usize,
    /// Branches of one context.
    pub branches_max: usize,
    /// Requests of the role's own without final response.
    pub own_requests_max: usize,
    /// Names of next hops that are being looked up.
    pub lookups_max: usize,
    /// Connections.
    pub connections_max: usize,
    /// Flows that are watched for silence; more are not watched.
    pub watched_max: usize,
    /// Bytes that wait for a connection to open.
    pub write_queue_bytes_max: usize,
    /// The body of a request, in bytes; more is answered with 413.
    pub body_bytes_max: usize,
    /// A Request-URI, in bytes; more is answered with 414.
    pub request_uri_bytes_max: usize,
    /// How long a connection attempt may take.
    pub connect_for: Duration,
    /// How long an accepted connection may exist without a whole message, and a message take to
    /// arrive whole.
    pub first_message_for: Duration,
    /// How long a connection may be silent before it is closed; `None`: as long as the peer likes
    /// (a registered UE keeps its connection, RFC 5626 §3.2).
    pub idle_for: Option<Duration>,
    /// How long the HSS may take to answer a question.
    pub ask_for: Duration,
    /// How long the policy function may take.
    pub ask_policy_for: Duration,
    /// The Retry-After of a 503 that says a table is full, or that there is too much new work.
    pub retry_after: Duration,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            contexts_max: 200_000,
            server_transactions_max: 1_000_000,
            client_transactions_max: 1_000_000,
            branches_max: 32,
            own_requests_max: 100_000,
            lookups_max: 10_000,
            connections_max: 20_000,
            watched_max: 1_000_000,
            write_queue_bytes_max: 256 * 1024,
            body_bytes_max: 32 * 1024,
            request_uri_bytes_max: 4_096,
            connect_for: Duration::from_secs(4),
            first_message_for: Duration::from_secs(32),
            idle_for: None,
            ask_for: Duration::from_secs(10),
            ask_policy_for: Duration::from_secs(5),
            retry_after: Duration::from_secs(5),
        }
    }
}

/// What an engine is told when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's addresses; the first one of a transport and family is where requests leave.
    pub listen: Vec<Listen>,
    /// Names that mean this node in a Route or Request-URI, e.g. `p1.ims.example`, besides the
    /// addresses and advertised names in `listen`. A URI with a port must name one of our ports.
    pub own_hosts: Vec<String>,
    /// The table of names (RFC 3263).
    pub hosts: Hosts,
    /// The names of the lab that the DNS knows.
    pub zone: Option<Arc<Zone>>,
    /// Whether there are DNS servers for names that the zone does not know: the host asks them.
    pub resolver: bool,
    /// Whether datagrams ask for their answer at the port they come from (RFC 3581 §3): a UE that
    /// may be behind a translation. Under security associations the ports are agreed.
    pub rport: bool,
    /// Whether keep-alives of UEs are welcome: they are told how often (RFC 6223), and their STUN
    /// is answered (RFC 5626 §4.4.2). Pings on streams are answered in any case.
    pub keep_alives: bool,
    /// How often UEs are told to send them; `None`: what their transport needs.
    pub keep_every: Option<Duration>,
    /// Whether our own REGISTERs offer keep-alives by the parameter `keep` (RFC 6223 §4.2).
    pub offers_keep: bool,
    /// Timer values towards the network.
    pub core: Timers,
    /// Timer values towards UEs on a 3GPP radio access (TS 24.229 §7.7).
    pub air: Timers,
    /// Whether somebody reads the trace; nothing of it is built otherwise.
    pub tracing: bool,
    /// Unix time at [`crate::time::Instant::EPOCH`].
    pub unix_at_epoch: UnixTime,
    /// Bounds.
    pub limits: EngineLimits,
    /// How much new work is too much.
    pub load: LoadLimit,
    /// What is known about path MTUs.
    pub path_mtu: PathMtu,
    /// Which engine of its node this is.
    pub shard: Shard,
}

impl Settings {
    /// Settings with these addresses and the standards' values for the rest; nobody reads the
    /// trace.
    #[must_use]
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            own_hosts: Vec::new(),
            hosts: Hosts::new(),
            zone: None,
            resolver: false,
            rport: false,
            keep_alives: false,
            keep_every: None,
            offers_keep: false,
            core: Timers::CORE,
            air: Timers::AIR,
            tracing: false,
            unix_at_epoch: UnixTime(0),
            limits: EngineLimits::default(),
            load: LoadLimit::default(),
            path_mtu: PathMtu::default(),
            shard: Shard::ALONE,
        }
    }
}

/// What an engine has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SIP requests that came in, retransmissions included.
    pub requests_in: u64,
    /// SIP responses that came in.
    pub responses_in: u64,
    /// SIP messages that left, retransmissions included.
    pub messages_out: u64,
    /// What came in and was not acted on.
    pub dropped: u64,
    /// Requests answered by the engine for their form or content (4xx, 505, 513).
    pub refused: u64,
    /// Requests answered with 503 because a table was full.
    pub overflowed: u64,
    /// Messages that could not be sent: no connection, queue full, no address.
    pub send_failures: u64,
    /// Connections opened by either side.
    pub connections: u64,
    /// Connections ended to keep a bound.
    pub connections_shed: u64,
}

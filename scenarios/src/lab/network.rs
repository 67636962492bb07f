//! The network of the lab: how long a packet takes, and what may happen to it, decided by one
//! seeded sequence.

use bytes::Bytes;
use cscf_core::ids::Ids;
use cscf_core::time::{Duration, Instant};
use cscf_core::transport::Flow;

/// What the network does to packets. Chances are in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The time every packet takes.
    pub delay: Duration,
    /// Up to this much more, at random.
    pub jitter: Duration,
    /// Datagrams lost.
    pub loss: u64,
    /// Datagrams delivered twice.
    pub duplicate: u64,
    /// Datagrams held back so that later ones overtake them.
    pub reorder: u64,
    /// How long a datagram is held back at most.
    pub reorder_by: Duration,
    /// Streams are cut into segments at random places.
    pub cut_streams: bool,
    /// Writes to a stream after which the connection is reset.
    pub reset: u64,
    /// Larger datagrams are lost (the path MTU).
    pub datagram_bytes_max: usize,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_by: Duration::from_millis(200),
            cut_streams: false,
            reset: 0,
            datagram_bytes_max: 65_507,
        }
    }
}

/// What becomes of one datagram.
pub(super) struct Sending {
    /// Delays of its arrivals: none, one or two.
    pub(super) arrivals: Vec<Duration>,
    /// What was done to it, if anything.
    pub(super) action: Option<String>,
}

impl NetworkOptions {
    pub(super) fn datagram(&self, chance: &mut Ids, bytes: usize) -> Sending {
        if bytes > self.datagram_bytes_max {
            return Sending { arrivals: Vec::new(), action: Some("lost: too large".to_owned()) };
        }
        if happens(chance, self.loss) {
            return Sending { arrivals: Vec::new(), action: Some("lost".to_owned()) };
        }
        let mut delay = self.segment(chance);
        if happens(chance, self.duplicate) {
            let again = delay + self.segment(chance);
            let arrivals = vec![delay, again];
            return Sending { arrivals, action: Some("duplicated".to_owned()) };
        }
        let mut action = None;
        if happens(chance, self.reorder) {
            delay += random(chance, self.reorder_by);
            action = Some("held back".to_owned());
        }
        Sending { arrivals: vec![delay], action }
    }

    /// The time a packet or stream segment takes.
    pub(super) fn segment(&self, chance: &mut Ids) -> Duration {
        if self.jitter.is_zero() { self.delay } else { self.delay + random(chance, self.jitter) }
    }

    /// The pieces in which written bytes arrive.
    pub(super) fn cut(&self, chance: &mut Ids, bytes: &Bytes) -> Vec<Bytes> {
        if !self.cut_streams || bytes.len() < 2 {
            return vec![bytes.clone()];
        }
        let bound = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(chance.below(bound)).unwrap_or_default().max(1);
        vec![bytes.slice(..at), bytes.slice(at..)]
    }

    pub(super) fn resets(&self, chance: &mut Ids) -> bool {
        happens(chance, self.reset)
    }
}

fn happens(chance: &mut Ids, thousandths: u64) -> bool {
    thousandths > 0 && chance.below(1_000) < thousandths
}

fn random(chance: &mut Ids, bound: Duration) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(chance.below(nanos))
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The node at the other end.
    pub(super) peer: usize,
    /// The flow as this end has it.
    pub(super) flow: Flow,
    /// The flow as the other end has it.
    pub(super) reverse: Flow,
    /// When the last bytes sent so far arrive.
    pub(super) last_at: Instant,
}

impl Pipe {
    pub(super) const fn new(peer: usize, flow: Flow, reverse: Flow, last_at: Instant) -> Self {
        Self { peer, flow, reverse, last_at }
    }
}

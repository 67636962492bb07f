//! The table of transactions: found by key, by index, by flow or because their time has come.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use super::super::{
    Client, ClientState, Effect, InviteClient, InviteClientState, InviteServer, InviteServerState,
    Key, Server, ServerState, Timers,
};
use super::event::TuId;
use crate::ids::Seed;
use crate::map::{Index, Numbered, Numbers, Places, SeededState};
use crate::time::{DeadlineId, Instant, Wheel};
use crate::transport::Flow;

/// A place in the table and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) index: u32,
    pub(super) life: u32,
}

/// All transactions. Nothing in it is listed in an order that a peer could choose.
#[derive(Debug)]
pub(super) struct Table {
    slots: Places<Slot>,
    /// Counts transactions, so that a later one at the same place is another.
    lives: u32,
    /// Their places; the keys are in the records.
    by_key: Index,
    merged: Numbers<Key, u32>,
    /// Client transactions that wait for a response, by a fingerprint of the flow their request
    /// took: that is compared much faster than the flow itself, which stands in the record.
    waiting: BTreeSet<(u64, u32)>,
    /// Makes the fingerprints: peers choose their addresses.
    state: SeededState,
    deadlines: Wheel<u32>,
    /// Whether a transaction on a protected flow was ever here.
    pub(super) has_protected: bool,
    pub(super) client_count: usize,
    pub(super) server_count: usize,
}

#[derive(Debug)]
struct Slot {
    life: u32,
    record: Record,
}

/// What a transaction takes while it lingers, without its response.
#[cfg(test)]
pub(super) const SLOT_BYTES: usize = size_of::<Option<Slot>>();

/// A transaction. What only an unfinished one needs is in `path`, so that those who merely linger
/// are small.
#[derive(Debug)]
pub(super) struct Record {
    key: Key,
    pub(super) machine: Machine,
    deadline: Option<DeadlineId>,
    pub(super) path: Option<Box<Path>>,
    /// What the TU has it for.
    pub(super) tu: TuId,
}

/// One of the four machines.
#[derive(Debug)]
pub(super) enum Machine {
    Client(Client),
    InviteClient(InviteClient),
    InviteServer(InviteServer),
    Server(Server),
}

/// What a transaction needs until it merely lingers.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) flow: Flow,
    /// The fingerprint by which a client's is found.
    mark: u64,
    pub(super) timers: Timers,
    /// By this key merged requests find each other.
    pub(super) merged: Option<Key>,
    /// The transaction is a CANCEL of this layer's own.
    pub(super) own_cancel: bool,
    /// A CANCEL waits for a provisional response; its Reason.
    pub(super) held_cancel: Option<Option<String>>,
    pub(super) cancel_sent: bool,
}

impl Machine {
    pub(super) const fn is_client(&self) -> bool {
        matches!(self, Self::Client(_) | Self::InviteClient(_))
    }

    /// The name of its state (RFC 3261 §17, RFC 6026 §7).
    pub(super) const fn state_name(&self) -> &'static str {
        match self {
            Self::Client(it) => it.state().as_str(),
            Self::InviteClient(it) => it.state().as_str(),
            Self::InviteServer(it) => it.state().as_str(),
            Self::Server(it) => it.state().as_str(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Client(it) => it.poll_timeout(),
            Self::InviteClient(it) => it.poll_timeout(),
            Self::InviteServer(it) => it.poll_timeout(),
            Self::Server(it) => it.poll_timeout(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, timers: &Timers, out: &mut Vec<Effect>) {
        match self {
            Self::Client(it) => it.handle_timeout(now, timers, out),
            Self::InviteClient(it) => it.handle_timeout(now, out),
            Self::InviteServer(it) => it.handle_timeout(now, timers, out),
            Self::Server(it) => it.handle_timeout(now, out),
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
        match self {
            Self::Client(it) => *it.state() == ClientState::Terminated,
            Self::InviteClient(it) => *it.state() == InviteClientState::Terminated,
            Self::InviteServer(it) => *it.state() == InviteServerState::Terminated,
            Self::Server(it) => *it.state() == ServerState::Terminated,
        }
    }

    /// Whether a response is still awaited, so that a failing path matters.
    pub(super) const fn is_waiting(&self) -> bool {
        match self {
            Self::Client(it) => {
                matches!(it.state(), ClientState::Proceeding { .. } | ClientState::Trying { .. })
            }
            Self::InviteClient(it) => it.request().is_some(),
            Self::InviteServer(_) | Self::Server(_) => false,
        }
    }

    /// How many bytes of messages it keeps.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        match self {
            Self::Client(it) => match it.state() {
                ClientState::Proceeding { request, .. } | ClientState::Trying { request, .. } => {
                    request.len()
                }
                ClientState::Completed { .. } | ClientState::Terminated => 0,
            },
            Self::InviteClient(it) => match it.state() {
                InviteClientState::Completed { ack, .. } => ack.len(),
                _ => it.request().map_or(0, bytes::Bytes::len),
            },
            Self::InviteServer(it) => match it.state() {
                InviteServerState::Completed { response, .. } => response.len(),
                InviteServerState::Proceeding { trying, last } => {
                    let trying = trying.as_ref().map_or(0, |(bytes, _)| bytes.len());
                    trying + last.as_ref().map_or(0, bytes::Bytes::len)
                }
                InviteServerState::Accepted { .. }
                | InviteServerState::Confirmed { .. }
                | InviteServerState::Terminated => 0,
            },
            Self::Server(it) => match it.state() {
                ServerState::Completed { response, .. } => {
                    response.as_ref().map_or(0, bytes::Bytes::len)
                }
                ServerState::Proceeding { last } => last.len(),
                ServerState::Trying { trying, .. } => trying.len(),
                ServerState::Terminated => 0,
            },
        }
    }

    /// Whether the path is still needed: to send by it without being asked.
    pub(super) const fn needs_path(&self) -> bool {
        match self {
            Self::Client(_) => self.is_waiting(),
            Self::Server(it) => it.is_pending(),
            Self::InviteClient(it) => !matches!(it.state(), InviteClientState::Accepted { .. }),
            Self::InviteServer(it) => !matches!(it.state(), InviteServerState::Confirmed { .. }),
        }
    }
}

impl Table {
    pub(super) fn new(seed: &Seed) -> Self {
        Self {
            state: SeededState::new(seed),
            slots: Places::new(),
            lives: 0,
            by_key: Index::new(),
            merged: Numbers::default(),
            waiting: BTreeSet::new(),
            deadlines: Wheel::new(),
            has_protected: false,
            client_count: 0,
            server_count: 0,
        }
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let is_it = |index: u32| self.get(index).is_some_and(|record| record.key == key);
        self.by_key.find(hash(key), is_it)
    }

    /// Whether nothing is left anywhere.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.by_key.is_empty()
            && self.merged.is_empty()
            && self.waiting.is_empty()
            && self.deadlines.is_empty()
            && self.slots.is_empty()
    }

    /// The next deadline of all.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A transaction whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let index = self.deadlines.pop_due(now)?;
        if let Some(record) = self.record(index) {
            record.deadline = None;
        }
        Some(index)
    }

    /// Equal for equal flows, whatever their security association.
    fn fingerprint(&self, flow: &Flow) -> u64 {
        self.state.fingerprint(&(flow.transport, flow.local, flow.remote, flow.conn))
    }

    /// The client transactions that wait for a response to what they sent on this flow, whatever
    /// its security association.
    pub(super) fn waiting_on(&self, flow: &Flow) -> Vec<u32> {
        let flow = Flow { sa: None, ..*flow };
        let same = |path: &Path| Flow { sa: None, ..path.flow } == flow;
        let path = |index: u32| self.get(index)?.path.as_deref();
        let mark = self.fingerprint(&flow);
        let marked = self.waiting.range((mark, 0)..=(mark, u32::MAX)).map(|(_, index)| *index);
        marked.filter(|index| path(*index).is_some_and(same)).collect()
    }

    /// Counts one more copy of a request; says how many there are.
    pub(super) fn count_merged(&mut self, key: Key) -> u32 {
        if let Some(count) = self.merged.get_mut(&key) {
            *count += 1;
            return *count;
        }
        self.merged.insert(key, 1);
        1
    }

    pub(super) fn get(&self, index: u32) -> Option<&Record> {
        self.slots.get(index).map(|slot| &slot.record)
    }

    /// Lets go of what the machine does not need any more.
    pub(super) fn trim(&mut self, index: u32) {
        let Some(record) = self.record(index) else { return };
        let Some(path) = &record.path else { return };
        let mark = path.mark;
        let waits = record.machine.is_waiting();
        // A protected one needs it to the end: to know what else comes by the same way.
        let keeps = record.machine.needs_path()
            || path.merged.is_some()
            || path.own_cancel
            || path.flow.is_protected();
        let client = record.machine.is_client();
        if !keeps {
            record.path = None;
        }
        if client && !waits {
            self.waiting.remove(&(mark, index));
        }
    }

    /// Files the machine's next deadline.
    pub(super) fn file(&mut self, index: u32) {
        let Some(Slot { record, .. }) = self.slots.get_mut(index) else { return };
        match (record.machine.poll_timeout(), record.deadline) {
            (Some(at), Some(id)) if self.deadlines.reschedule(id, at) => {}
            (Some(at), _) => record.deadline = Some(self.deadlines.insert(at, index)),
            (None, Some(id)) => {
                self.deadlines.cancel(id);
                record.deadline = None;
            }
            (None, None) => {}
        }
    }

    /// Takes a new transaction in; a client's waits on its flow.
    pub(super) fn insert(
        &mut self,
        key: Key,
        machine: Machine,
        (flow, timers): (Flow, &Timers),
        tu: TuId,
    ) -> Id {
        let client = machine.is_client();
        self.has_protected |= flow.is_protected();
        let mark = if client { self.fingerprint(&flow) } else { 0 };
        let path = Path {
            flow,
            mark,
            timers: *timers,
            merged: None,
            own_cancel: false,
            held_cancel: None,
            cancel_sent: false,
        };
        self.lives = self.lives.wrapping_add(1);
        let record = Record { key, machine, deadline: None, path: Some(Box::new(path)), tu };
        let index = self.slots.insert(Slot { life: self.lives, record });
        self.by_key.insert(hash(key), index, hashes(&self.slots));
        if client {
            self.waiting.insert((mark, index));
            self.client_count += 1;
        } else {
            self.server_count += 1;
        }
        Id { index, life: self.lives }
    }

    /// Removes a transaction.
    pub(super) fn remove(&mut self, index: u32) {
        let Some(Slot { record, .. }) = self.slots.remove(index) else { return };
        self.by_key.remove(hash(record.key), index, hashes(&self.slots));
        if let Some(id) = record.deadline {
            self.deadlines.cancel(id);
        }
        let client = record.machine.is_client();
        if let Some(path) = record.path {
            if client {
                self.waiting.remove(&(path.mark, index));
            }
            if let Some(key) = path.merged
                && let Some(count) = self.merged.get_mut(&key)
            {
                *count -= 1;
                if *count == 0 {
                    self.merged.remove(&key);
                }
            }
        }
        if client {
            self.client_count -= 1;
        } else {
            self.server_count -= 1;
        }
    }

    /// What the TU has a transaction for.
    pub(super) fn tu(&self, index: u32) -> TuId {
        self.get(index).map_or(TuId::NONE, |record| record.tu)
    }

    pub(super) fn id(&self, index: u32) -> Id {
        Id { index, life: self.slots.get(index).map_or(0, |slot| slot.life) }
    }

    pub(super) fn is_own_cancel(&self, index: u32) -> bool {
        let record = self.get(index);
        record.and_then(|record| record.path.as_ref()).is_some_and(|path| path.own_cancel)
    }

    pub(super) fn record(&mut self, index: u32) -> Option<&mut Record> {
        self.slots.get_mut(index).map(|slot| &mut slot.record)
    }

    /// Every transaction, in the order of the places they have.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().map(|slot| &slot.record)
    }

    pub(super) fn checked(&self, id: Id) -> Option<&Record> {
        self.slots.get(id.index).filter(|slot| slot.life == id.life).map(|slot| &slot.record)
    }
}

fn hash(key: Key) -> u64 {
    Numbered::default().hash_one(key)
}

/// The hashes of all that have a place.
fn hashes(slots: &Places<Slot>) -> impl Fn(u32) -> u64 {
    |index| slots.get(index).map_or(0, |slot| hash(slot.record.key))
}

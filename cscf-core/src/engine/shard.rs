//! What the engines of one node hand over to each other: messages to their owner, what leaves by a
//! connection of another engine, which connections and security associations there are, and what
//! roles tell each other. An engine that is alone does none of it.

use bytes::Bytes;

use super::Output;
use super::owner::owner_of;
use super::state::{Core, Event};
use crate::cx::AskId;
use crate::ids::ShardId;
use crate::role::News;
use crate::time::Instant;
use crate::transport::ipsec::SaCommand;
use crate::transport::{ConnId, Flow, Packet};

/// Where the number of the engine stands in the numbers of its questions.
pub(super) const ASK_SHIFT: u32 = 56;
/// Where it stands in the count of the connections it opens; those to the HSS are numbered beyond.
const CONN_SHIFT: u32 = 32;
const CONN_END: u64 = 1 << 40;

/// What one engine of a node hands over to another.
#[derive(Clone, Debug)]
pub enum ShardEvent {
    /// A connection of the sender is up, or has ended.
    Connection {
        /// Which one.
        flow: Flow,
        /// Whether it is up.
        open: bool,
    },
    /// A whole message of which the receiver is the owner.
    Message(Packet),
    /// What the sender's role tells the receiver's.
    News(ShardId, News),
    /// Security associations that the owner of the registrations has installed or removed.
    Security(SaCommand),
    /// A message that is to leave by a connection of the receiver.
    Write {
        /// The flow of the connection.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
}

/// The engine whose connection this is: the one that opened it; engine 0 for those of peers, and
/// for those to the HSS.
#[must_use]
pub fn connection_owner(conn: ConnId) -> ShardId {
    let count = conn.0 >> 1;
    let opened = conn == ConnId::opened(count) && count < CONN_END;
    ShardId(if opened { u8::try_from(count >> CONN_SHIFT).unwrap_or_default() } else { 0 })
}

/// The engine that asked this question.
#[must_use]
pub fn question_owner(ask: AskId) -> ShardId {
    ShardId(u8::try_from(ask.0 >> ASK_SHIFT).unwrap_or_default())
}

/// The number before the first connection that an engine opens.
pub(super) fn first_connection(shard: ShardId) -> u64 {
    u64::from(shard.0) << CONN_SHIFT
}

impl Core {
    /// Hands a message over to its owner, if that is another engine; says whether it did.
    pub(super) fn hand_over(&mut self, now: Instant, flow: Flow, bytes: &Bytes) -> bool {
        let shard = self.settings.shard;
        let Some(owner) = owner_of(bytes, shard).filter(|owner| *owner != shard.id) else {
            return false;
        };
        let packet = Packet { flow, bytes: bytes.clone(), received_at: now };
        self.outlet.push(Output::Shard(owner, ShardEvent::Message(packet)));
        true
    }

    /// Hands something over to all other engines.
    pub(super) fn tell_others(&mut self, event: &ShardEvent) {
        for other in self.settings.shard.others() {
            self.outlet.push(Output::Shard(other, event.clone()));
        }
    }

    /// Tells the other engines of a connection.
    pub(super) fn tell_connection(&mut self, flow: Flow, open: bool) {
        if !self.settings.shard.is_alone() {
            self.tell_others(&ShardEvent::Connection { flow, open });
        }
    }

    /// Carries the news of the role over.
    pub(super) fn tell_news(&mut self, to: Option<ShardId>, news: &News) {
        let event = ShardEvent::News(self.settings.shard.id, news.clone());
        match to {
            None => self.tell_others(&event),
            Some(to) => self.outlet.push(Output::Shard(to, event)),
        }
    }

    /// Takes what another engine hands over.
    pub(super) fn on_shard(&mut self, now: Instant, event: ShardEvent) {
        match event {
            ShardEvent::Connection { flow, open } => {
                let Some(conn) = flow.conn else { return };
                self.outlet.note_other(conn, open);
                if !open {
                    self.layer.flow_failed(&flow, &mut self.outbox);
                }
            }
            ShardEvent::Message(Packet { flow, bytes, .. }) => self.take_whole(now, flow, &bytes),
            ShardEvent::News(from, news) => self.events.push_back(Event::News(from, news)),
            ShardEvent::Security(command) => self.on_secured(now, command),
            ShardEvent::Write { flow, bytes } => {
                let written =
                    flow.conn.is_some_and(|it| self.outlet.write_for_other(now, it, &bytes));
                // A request fails with its connection; a response finds another way.
                if !written && bytes.starts_with(b"SIP/2.0 ") {
                    self.send_elsewhere(now, &flow, &bytes);
                }
            }
        }
    }
}

//! What a rule does to a message on its way.

use bytes::Bytes;

use super::{FaultEdge, Held, Moving};
use crate::clause::own;
use crate::cx::CxCommand;
use crate::dialog::field::uri_of;
use crate::engine::{Input, Node, Output, route};
use crate::fault::{Action, Direction, Hit, Looked, Spoilt, answer, change};
use crate::operator::{HssMood, Order, OrderError};
use crate::sip::{HeaderName, LIMITS, Message, Method, Request};
use crate::time::{Duration, Instant};
use crate::trace::{Note, TraceEvent, TraceKind};
use crate::transport::via::ViaView;
use crate::transport::{Flow, Packet, Transport};

/// Messages held back at most; more go on.
const HELD_MAX: usize = 1_024;
/// Their bytes at most.
const HELD_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// How long a message waits for another to overtake it.
const OVERTAKEN_FOR: Duration = Duration::from_secs(2);
/// INVITEs whose ACK is waited for.
const REFUSED_MAX: usize = 256;
/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;

impl<N: Node> FaultEdge<N> {
    /// Asks the rules about a message and does what they say.
    pub(super) fn take(&mut self, mut moving: Moving) {
        let read =
            |moving: &Moving| Looked::read(moving.direction, moving.flow.remote, &moving.bytes);
        let Some(mut looked) = read(&moving) else { return self.pass(moving) };
        if self.is_ack_of_refused(&looked) {
            return self.trace(TraceKind::Received(moving.wire()));
        }
        for hit in self.table.decide(self.now, &mut looked) {
            let changed = match &hit.action {
                Action::Edit(edit) => change::edited(&looked, edit),
                Action::SpoilMac => change::with_spoilt_mac(&looked),
                _ => return self.act(&hit, moving, &looked),
            };
            let Some(bytes) = changed.filter(|bytes| may_travel(bytes, &moving.flow)) else {
                let text = hit.said("could change nothing in what fitted");
                self.trace(TraceKind::Note(Note::new(own("fault"), text, false)));
                continue;
            };
            moving.bytes = bytes;
            self.tell(&hit, "changed", &moving);
            let Some(again) = read(&moving) else { break };
            looked = again;
        }
        self.pass(moving);
    }

    fn act(&mut self, hit: &Hit, moving: Moving, looked: &Looked) {
        match &hit.action {
            Action::Answer(with) => match looked.sip() {
                Some(Message::Request(request)) => self.answer(hit, with, &moving, request),
                _ => self.pass(moving),
            },
            Action::Result(result) => {
                self.answer_diameter(hit, &moving, looked, HssMood::Answers(*result));
            }
            Action::Spoil(how) => {
                let mood = match how {
                    Spoilt::Garbage => HssMood::Garbage,
                    Spoilt::GarbledData => HssMood::Garbled,
                    Spoilt::OldSqn => HssMood::OldSqn,
                    Spoilt::WrongMac => HssMood::BadMac,
                };
                self.answer_diameter(hit, &moving, looked, mood);
            }
            Action::Copies(count) => {
                self.tell(hit, &format!("{count} copies"), &moving);
                for _ in 0..*count {
                    self.pass(moving.clone());
                }
            }
            Action::Corrupt => {
                let on_stream = moving.flow.conn.is_some();
                let bytes = change::corrupted(&moving.bytes, on_stream, &mut self.table.chance);
                let moving = Moving { bytes, ..moving };
                self.tell(hit, "corrupted", &moving);
                self.pass(moving);
            }
            Action::Crash { back_after } => {
                self.tell(hit, "crashed", &moving);
                self.crash(*back_after);
            }
            Action::Cut => {
                let conn = moving.flow.conn;
                let done = conn.map_or("no connection to cut", |_| "connection cut");
                self.tell(hit, done, &moving);
                self.pass(moving);
                if let Some(conn) = conn {
                    self.untrack(conn);
                    self.outputs.push_back(Output::Close(conn));
                    let cause = format!("cut by fault {}", hit.id);
                    self.node.handle_input(self.now, Input::Closed { conn, cause });
                }
            }
            Action::Delay(time) => {
                self.tell(hit, &format!("held back for {time:?}"), &moving);
                self.hold(self.now + *time, moving, false);
            }
            Action::Drop => self.tell(hit, "dropped", &moving),
            Action::Reorder if !self.overtaken(moving.direction, moving.flow).is_empty() => {
                self.tell(hit, "goes before the one that is held back", &moving);
                self.pass(moving);
            }
            Action::Reorder => {
                self.tell(hit, "held back until the next one has gone", &moving);
                self.hold(self.now + OVERTAKEN_FOR, moving, true);
            }
            Action::Edit(_) | Action::Overload(_) | Action::Policy(_) | Action::SpoilMac => {
                self.pass(moving);
            }
        }
    }

    /// Says in the trace what was done to a message.
    fn tell(&mut self, hit: &Hit, done: &str, moving: &Moving) {
        let (action, mut wire) = (hit.said(done), moving.wire());
        if moving.direction == Direction::Received {
            // A fault is told as the network tells it: from whom to whom.
            (wire.local, wire.remote) = (wire.remote, wire.local);
        }
        self.trace(TraceKind::Fault { action, wire });
    }

    fn refuse(&mut self, hit: &Hit, done: &str, about: &str) {
        let note = Note::new(own("fault"), hit.said(done), true);
        self.refusals.keep(self.now, about, &note);
        self.trace(TraceKind::Note(note));
    }

    fn hold(&mut self, due: Instant, moving: Moving, overtaken: bool) {
        let len = moving.bytes.len();
        if self.held.len() >= HELD_MAX || self.held_bytes + len > HELD_BYTES_MAX {
            // On a stream none goes before those that came before it.
            if moving.flow.conn.is_some() {
                let (direction, conn) = (moving.direction, moving.flow.conn);
                self.let_go(&self.held_where(|held| {
                    held.moving.direction == direction && held.moving.flow.conn == conn
                }));
            }
            return self.go_on(moving);
        }
        self.held_count += 1;
        self.held_bytes += len;
        self.held.insert((due, self.held_count), Held { moving, overtaken });
    }

    /// Lets a message go on, behind what is late on its stream; then what it was to overtake.
    pub(super) fn pass(&mut self, moving: Moving) {
        let Moving { direction, flow, .. } = moving;
        let same_way = |held: &Held| held.moving.direction == direction;
        let late =
            |held: &Held| !held.overtaken && same_way(held) && held.moving.flow.conn == flow.conn;
        let stream = flow.conn.is_some() && !self.held.is_empty();
        let last = self.held.iter().rfind(|(_, held)| stream && late(held));
        if let Some(((due, _), _)) = last {
            let due = *due;
            return self.hold(due, moving, false);
        }
        self.go_on(moving);
        self.let_go(&self.overtaken(direction, flow));
    }

    /// What is held back until a message goes this way.
    fn overtaken(&self, direction: Direction, flow: Flow) -> Vec<(Instant, u64)> {
        self.held_where(|held| {
            let Moving { direction: its, flow: Flow { remote, .. }, .. } = held.moving;
            held.overtaken && its == direction && remote == flow.remote
        })
    }

    fn held_where(&self, is_meant: impl Fn(&Held) -> bool) -> Vec<(Instant, u64)> {
        self.held.iter().filter(|(_, held)| is_meant(held)).map(|(key, _)| *key).collect()
    }

    fn let_go(&mut self, keys: &[(Instant, u64)]) {
        for key in keys {
            if let Some(held) = self.held.remove(key) {
                self.held_bytes = self.held_bytes.saturating_sub(held.moving.bytes.len());
                self.go_on(held.moving);
            }
        }
    }

    /// Hands a message to the node, or to the world.
    pub(super) fn go_on(&mut self, moving: Moving) {
        let wire = moving.wire();
        let Moving { direction, flow, bytes, received_at, sent } = moving;
        match direction {
            Direction::Received => {
                let input = match flow.conn {
                    Some(conn) => Input::Bytes { conn, bytes, received_at },
                    None => Input::Datagram(Packet { flow, bytes, received_at }),
                };
                self.node.handle_input(self.now, input);
            }
            Direction::Sent => {
                if let Some(event) = sent {
                    let (at, kind) = (self.now, TraceKind::Sent(wire));
                    self.outputs.push_back(Output::Trace(TraceEvent { at, kind, ..event }));
                }
                self.outputs.push_back(match flow.conn {
                    Some(conn) => Output::Write { conn, bytes },
                    None => Output::Datagram(Packet { flow, bytes, received_at }),
                });
            }
        }
    }

    /// Gives a request an answer in the place of the node, without a transaction.
    fn answer(
        &mut self,
        hit: &Hit,
        with: &crate::fault::Answer,
        moving: &Moving,
        request: &Request,
    ) {
        let mut request = request.clone();
        route::stamp(&mut request, &moving.flow);
        let tag = tag_of(&request);
        let response = answer::response(&request, with, &tag);
        let about = request.headers.get(HeaderName::From).map(uri_of).unwrap_or_default();
        let Some(flow) = self.way_back(&request, moving.flow) else { return };
        if request.method == Method::Invite && with.status >= 300 {
            if self.refused.len() == REFUSED_MAX {
                self.refused.pop_front();
            }
            self.refused.push_back(acked_by(&request));
        }
        self.trace(TraceKind::Received(moving.wire()));
        self.refuse(hit, &format!("{} gets {}", request.method, with.status), about);
        self.reply(flow, response.to_bytes());
    }

    /// Gives a request of Diameter another answer: the HSS gives it itself, so that its store does
    /// what belongs to it; for others it is made here.
    fn answer_diameter(&mut self, hit: &Hit, moving: &Moving, looked: &Looked, mood: HssMood) {
        let label = looked.label().into_owned();
        let done = format!("{label} is answered wrongly");
        let command = CxCommand::ALL.iter().find(|(word, _)| *word == label).map(|(_, it)| *it);
        let told = match command {
            None => Err(OrderError::NotHere),
            to => self.node.order(self.now, &Order::Hss { mood, to, times: Some(1) }),
        };
        if told.is_ok() {
            self.tell(hit, &done, moving);
            return self.pass(moving.clone());
        }
        let (crate::fault::Content::Diameter(request, _), HssMood::Answers(result)) =
            (&looked.content, mood)
        else {
            return self.pass(moving.clone());
        };
        let bytes = answer::result(request, result).encode();
        self.trace(TraceKind::Received(moving.wire()));
        self.refuse(hit, &done, "");
        self.reply(moving.flow, bytes);
    }

    fn reply(&mut self, flow: Flow, bytes: Bytes) {
        let (direction, received_at) = (Direction::Sent, Instant::EPOCH);
        let moving = Moving { direction, flow, bytes, received_at, sent: None };
        let kind = TraceKind::Sent(moving.wire());
        let sent = TraceEvent { at: self.now, node: std::sync::Arc::clone(&self.name), kind };
        self.pass(Moving { sent: Some(sent), ..moving });
    }

    /// The flow of the answers to a request: its connection, its security associations, else where
    /// its Via says (RFC 3261 §18.2.2, TS 33.203 §7.1).
    fn way_back(&self, request: &Request, flow: Flow) -> Option<Flow> {
        if flow.conn.is_some() {
            return Some(flow);
        }
        if let Some(sa) = flow.sa {
            return self.sets.get(&sa).map(crate::transport::ipsec::SaSet::datagram_flow);
        }
        let top = request.headers.first_value(HeaderName::Via).and_then(ViaView::parse);
        let remote = top.and_then(|via| via.response_addr(false, |_| None));
        Some(Flow { remote: remote.unwrap_or(flow.remote), ..flow })
    }

    /// Whether it acknowledges an answer that a rule gave.
    fn is_ack_of_refused(&self, looked: &Looked) -> bool {
        match looked.sip() {
            Some(Message::Request(request))
                if request.method == Method::Ack && looked.direction == Direction::Received =>
            {
                let acked = acked_by(request);
                self.refused.contains(&acked)
            }
            _ => false,
        }
    }
}

/// What an INVITE and the ACK of its refusal have in common (RFC 3261 §17.1.1.3).
fn acked_by(request: &Request) -> String {
    let text = |name| request.headers.get(name).unwrap_or_default();
    let number = text(HeaderName::CSeq).split_whitespace().next().unwrap_or_default();
    let branch = request.top_branch().unwrap_or_default();
    format!("{branch} {} {number}", text(HeaderName::CallId))
}

/// The To tag of an answer: the same for each copy of a request.
fn tag_of(request: &Request) -> String {
    let call_id = request.headers.get(HeaderName::CallId).unwrap_or_default();
    let branch = request.top_branch().unwrap_or_default();
    let hash =
        call_id.bytes().chain(branch.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("fault{hash:016x}")
}

/// Whether a message of this length gets through where it travels.
fn may_travel(bytes: &Bytes, flow: &Flow) -> bool {
    let max = match flow.transport {
        Transport::Udp => DATAGRAM_BYTES_MAX,
        _ => LIMITS.message_bytes_max,
    };
    bytes.len() <= max
}

//! One connection to one peer: capabilities exchange, watchdog, disconnection, and what every
//! request must fulfil before an application sees it (RFC 6733 §5, §6.1).
//!
//! ```text
//!  we opened it ── CER> ── WaitCea ──<CEA 2001──┐                 ┌──── <DPR, DPA> ────┐
//!                                               ├──> Open ────────┤                    ├──> Closed
//!  peer opened it ──────── WaitCer ──<CER, CEA>─┘                 └─ DPR> ─ Closing ───┘
//! ```
//! Every wait has a deadline; any failure closes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clause::{Clause, own, rfc6733};
use crate::diameter::capabilities::{LocalPeer, Timing, cx_application, peer_of, shares_cx};
use crate::diameter::codec::{Avp, Fault, Flags, Header, Message};
use crate::diameter::dictionary::{self as avp, APPLICATION_COMMON, APPLICATION_CX, result};
use crate::diameter::frame::Framer;
use crate::diameter::reply::{Refusal, RequestHead};
use crate::diameter::watchdog::{Act, Health, Watchdog};
use crate::ids::Ids;
use crate::time::Instant;
use crate::trace::Note;

/// Auth-Session-State: the server keeps no session (TS 29.229 §5.3).
const NO_STATE_MAINTAINED: u32 = 1;

/// Room for the AVPs of a Cx message; most have fewer.
const USUAL_AVPS: usize = 16;

/// Which commands a side serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// An I- or S-CSCF: RTR, PPR.
    Client,
    /// An HSS: UAR, SAR, LIR, MAR.
    Server,
}

impl Side {
    const fn serves(self, command: u32) -> bool {
        match self {
            Self::Client => matches!(command, avp::REGISTRATION_TERMINATION | avp::PUSH_PROFILE),
            Self::Server => matches!(
                command,
                avp::USER_AUTHORIZATION
                    | avp::SERVER_ASSIGNMENT
                    | avp::LOCATION_INFO
                    | avp::MULTIMEDIA_AUTH
            ),
        }
    }
}

/// What a connection tells its owner.
#[derive(Debug)]
pub(super) enum Event {
    /// An answer to a request of ours.
    Answer(Message),
    /// The connection is of no use any more; the owner closes it.
    Down(String),
    /// A decision.
    Note(Note),
    /// A message came, whole.
    Received(Bytes),
    /// A Cx request of the peer, checked for application, command and destination.
    Request(Message),
    /// An answer came that cannot be read.
    Spoiled { hop_by_hop: u32, fault: Fault },
    /// The connection may be used from now on.
    Usable,
    /// Send this.
    Write(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Closing,
    Open,
    WaitCea,
    WaitCer,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Our address.
    pub(super) local: SocketAddr,
    /// The peer's address.
    pub(super) remote: SocketAddr,
    /// Origin-Host and Origin-Realm of the peer, once exchanged.
    pub(super) peer: Option<(String, String)>,
    us: Arc<LocalPeer>,
    /// What every Cx message carries behind its Session-Id (TS 29.229 §6.1).
    common: Vec<Avp>,
    side: Side,
    timing: Timing,
    state: State,
    deadline: Option<Instant>,
    framer: Framer,
    reopen: bool,
    watchdog: Option<Watchdog>,
    next_hop_by_hop: u32,
    next_end_to_end: u32,
    events: VecDeque<Event>,
}

/// What a [`Link`] is made of.
pub(super) struct LinkSettings {
    pub(super) us: Arc<LocalPeer>,
    pub(super) side: Side,
    pub(super) timing: Timing,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Link {
    /// A connection that we opened: sends the CER. `reopen` says that the one before failed.
    pub(super) fn initiate(
        settings: LinkSettings,
        reopen: bool,
        now: Instant,
        ids: &mut Ids,
    ) -> Self {
        let mut link = Self::new(settings, State::WaitCea, now, ids);
        link.reopen = reopen;
        let avps = link.us.capabilities(link.local.ip());
        link.request(APPLICATION_COMMON, avp::CAPABILITIES_EXCHANGE, avps);
        link
    }

    /// A connection that the peer opened: waits for its CER.
    pub(super) fn accept(settings: LinkSettings, now: Instant, ids: &mut Ids) -> Self {
        Self::new(settings, State::WaitCer, now, ids)
    }

    fn new(settings: LinkSettings, state: State, now: Instant, ids: &mut Ids) -> Self {
        let LinkSettings { us, side, timing, local, remote } = settings;
        // The high 12 bits are time, the rest chance (RFC 6733 §3, End-to-End Identifier).
        let seconds = u32::try_from((now.as_nanos() / 1_000_000_000) & 0xfff).unwrap_or(0);
        let chance = u32::try_from(ids.below(1 << 20)).unwrap_or(0);
        let mut common = vec![cx_application()];
        common.push(Avp::number(&avp::AUTH_SESSION_STATE, NO_STATE_MAINTAINED));
        common.extend(us.origin());
        Self {
            local,
            remote,
            peer: None,
            us,
            common,
            side,
            timing,
            state,
            deadline: Some(now + timing.handshake_within),
            framer: Framer::default(),
            reopen: false,
            watchdog: None,
            next_hop_by_hop: u32::try_from(ids.below(1 << 32)).unwrap_or(0),
            next_end_to_end: seconds << 20 | chance,
            events: VecDeque::new(),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref().map(Watchdog::at);
        self.deadline.into_iter().chain(watchdog).min()
    }

    /// Whether requests may be sent.
    pub(super) fn is_usable(&self) -> bool {
        self.state == State::Open
            && self.watchdog.as_ref().is_some_and(|dog| dog.health() == Health::Okay)
    }

    /// Whether the capabilities exchange is done and nobody disconnects.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Sends a Cx request; gives its hop-by-hop identifier.
    pub(super) fn send_request(&mut self, command: u32, avps: Vec<Avp>) -> u32 {
        self.request(APPLICATION_CX, command, avps)
    }

    /// Session-Id is first, then what every Cx message carries (TS 29.229 §6.1).
    pub(super) fn cx_avps(&self, session: String) -> Vec<Avp> {
        let mut avps = Vec::with_capacity(USUAL_AVPS);
        avps.push(Avp::octets(&avp::SESSION_ID, session.into_bytes()));
        avps.extend_from_slice(&self.common);
        avps
    }

    /// Answers a Cx request; `avps` begin with the result.
    pub(super) fn send_answer(&mut self, to: &RequestHead, avps: Vec<Avp>) {
        let mut all = Vec::with_capacity(USUAL_AVPS);
        all.extend(to.session.clone());
        all.extend_from_slice(&self.common);
        all.extend(avps);
        all.extend_from_slice(&to.proxies);
        self.write(Message { header: to.header.answer(), avps: all });
    }

    /// Answers with AVPs that are none, for tests of the peer.
    pub(super) fn send_garbage(&mut self, to: &RequestHead, noise: &[u8]) {
        let message = Message { header: to.header.answer(), avps: Vec::new() };
        let mut bytes = message.encode().to_vec();
        bytes.extend_from_slice(noise);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        // The length is in the last three bytes of the first word.
        for (to, from) in bytes.iter_mut().zip(length).skip(1) {
            *to = from;
        }
        self.events.push_back(Event::Write(bytes.into()));
    }

    /// Refuses a request in the form that needs no application (RFC 6733 §7.2).
    pub(super) fn refuse(&mut self, to: &RequestHead, fault: &Refusal) {
        let code = fault.code;
        let mut header = to.header.answer();
        // Only protocol errors carry the E bit (RFC 6733 §7.1.3).
        header.flags.error = (3000..4000).contains(&code);
        let mut avps: Vec<Avp> = to.session.iter().cloned().collect();
        if header.application == APPLICATION_CX && !header.flags.error {
            avps.extend_from_slice(&self.common);
        } else {
            avps.extend(self.us.origin());
        }
        avps.push(Avp::number(&avp::RESULT_CODE, code));
        avps.push(Avp::text(&avp::ERROR_MESSAGE, &fault.text));
        if let Some(failed) = &fault.failed {
            avps.push(Avp::group(&avp::FAILED_AVP, std::slice::from_ref(failed)));
        }
        avps.extend(to.proxies.iter().cloned());
        let name = avp::command_name(header.command, true).unwrap_or("request");
        self.note(rfc6733("7.1"), true, format!("{name}: {}: answer {code}", fault.text));
        self.write(Message { header, avps });
    }

    /// Begins to end the connection in order (RFC 6733 §5.4).
    pub(super) fn disconnect(&mut self, now: Instant) {
        if self.state != State::Open {
            self.fail("closed by us before the capabilities exchange".to_owned());
            return;
        }
        let mut avps = self.us.origin();
        avps.push(Avp::number(&avp::DISCONNECT_CAUSE, 0));
        self.request(APPLICATION_COMMON, avp::DISCONNECT_PEER, avps);
        self.state = State::Closing;
        self.watchdog = None;
        self.deadline = Some(now + self.timing.handshake_within);
    }

    /// Takes bytes of the connection.
    pub(super) fn on_bytes(&mut self, now: Instant, ids: &mut Ids, bytes: &[u8]) {
        self.framer.push(bytes);
        while self.state != State::Closed {
            match self.framer.next_message() {
                Ok(Some(message)) => {
                    self.events.push_back(Event::Received(message.clone()));
                    self.on_frame(now, ids, &message);
                }
                Ok(None) => return,
                Err(fault) => {
                    if let Some(header) = self.framer.broken_header()
                        && header.flags.request
                    {
                        let head = RequestHead::unreadable(header);
                        self.refuse(&head, &Refusal::from(&fault));
                    }
                    self.fail(format!("the byte stream is broken: {fault}"));
                }
            }
        }
    }

    /// The time of [`Link::poll_timeout`] has come.
    pub(super) fn on_timeout(&mut self, now: Instant, ids: &mut Ids) {
        if self.deadline.is_some_and(|at| at <= now) {
            let waited = self.timing.handshake_within.as_secs();
            let what = match self.state {
                State::WaitCea => "CEA",
                State::WaitCer => "CER",
                State::Closing | State::Open | State::Closed => "end of the connection",
            };
            self.fail(format!("no {what} within {waited} s"));
        }
        if let Some(dog) = &mut self.watchdog
            && dog.at() <= now
        {
            let act = dog.on_timer(now, ids);
            self.act(act);
        }
    }

    fn on_frame(&mut self, now: Instant, ids: &mut Ids, bytes: &Bytes) {
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(fault) => return self.on_unreadable(bytes, &fault),
        };
        let is_watchdog_answer = !message.header.flags.request
            && message.header.command == avp::DEVICE_WATCHDOG
            && message.header.application == APPLICATION_COMMON;
        if let Some(dog) = &mut self.watchdog {
            let act = dog.on_received(is_watchdog_answer, now, ids);
            self.act(act);
        }
        if message.header.flags.request {
            self.on_request(now, ids, message);
        } else {
            self.on_answer(now, ids, message);
        }
    }

    fn on_unreadable(&mut self, bytes: &Bytes, fault: &Fault) {
        let Some(header) = Header::decode_loosely(bytes) else { return };
        if self.state == State::WaitCea || self.state == State::WaitCer {
            self.fail(format!("the capabilities exchange cannot be read: {fault}"));
        } else if header.flags.request {
            self.refuse(&RequestHead::unreadable(header), &Refusal::from(fault));
        } else {
            let fault = fault.clone();
            self.events.push_back(Event::Spoiled { hop_by_hop: header.hop_by_hop, fault });
        }
    }

    fn on_request(&mut self, now: Instant, ids: &mut Ids, request: Message) {
        let Header { application, command, .. } = request.header;
        match (self.state, application, command) {
            (State::Closed, ..) => {}
            (State::WaitCer, APPLICATION_COMMON, avp::CAPABILITIES_EXCHANGE) => {
                self.on_cer(now, ids, &request);
            }
            (State::WaitCer | State::WaitCea, ..) => {
                let name = request.name();
                self.fail(format!("{name} before the capabilities exchange"));
            }
            (_, APPLICATION_COMMON, avp::CAPABILITIES_EXCHANGE) => self.send_cea(&request),
            (_, APPLICATION_COMMON, avp::DEVICE_WATCHDOG) => {
                let mut avps = vec![Avp::number(&avp::RESULT_CODE, result::SUCCESS)];
                avps.extend(self.us.origin());
                avps.push(self.us.origin_state());
                self.write(Message { header: request.header.answer(), avps });
            }
            (_, APPLICATION_COMMON, avp::DISCONNECT_PEER) => self.on_dpr(now, &request),
            // Requests that cross our DPR are lost, as the peer must expect (RFC 6733 §5.4.3).
            (State::Closing, ..) => {}
            _ => self.on_application_request(request),
        }
    }

    fn on_application_request(&mut self, request: Message) {
        let Header { application, command, .. } = request.header;
        let head = RequestHead::of(&request);
        if application != APPLICATION_CX && application != APPLICATION_COMMON {
            let text = format!("application {application} is not served");
            return self.refuse(&head, &Refusal::new(result::APPLICATION_UNSUPPORTED, text));
        }
        if application == APPLICATION_COMMON || !self.side.serves(command) {
            let text = format!("command {command} is not served");
            return self.refuse(&head, &Refusal::new(result::COMMAND_UNSUPPORTED, text));
        }
        if let Some(host) = request.text(&avp::DESTINATION_HOST)
            && !host.eq_ignore_ascii_case(&self.us.origin_host)
        {
            let text = format!("Destination-Host {host} is not us");
            return self.refuse(&head, &Refusal::new(result::UNABLE_TO_DELIVER, text));
        }
        if let Some(realm) = request.text(&avp::DESTINATION_REALM)
            && !realm.eq_ignore_ascii_case(&self.us.origin_realm)
        {
            let text = format!("Destination-Realm {realm} is not ours");
            return self.refuse(&head, &Refusal::new(result::REALM_NOT_SERVED, text));
        }
        self.events.push_back(Event::Request(request));
    }

    fn on_answer(&mut self, now: Instant, ids: &mut Ids, answer: Message) {
        match (self.state, answer.header.application, answer.header.command) {
            (State::WaitCea, APPLICATION_COMMON, avp::CAPABILITIES_EXCHANGE) => {
                self.on_cea(now, ids, &answer);
            }
            (State::WaitCea | State::WaitCer, ..) => {
                let name = answer.name();
                self.fail(format!("{name} before the capabilities exchange"));
            }
            (State::Closing, APPLICATION_COMMON, avp::DISCONNECT_PEER) => {
                self.fail("disconnected by us".to_owned());
            }
            (_, APPLICATION_COMMON, avp::DEVICE_WATCHDOG | avp::CAPABILITIES_EXCHANGE) => {}
            (State::Open | State::Closing, ..) => self.events.push_back(Event::Answer(answer)),
            (State::Closed, ..) => {}
        }
    }

    fn on_cer(&mut self, now: Instant, ids: &mut Ids, cer: &Message) {
        let head = RequestHead::of(cer);
        let peer = match peer_of(cer) {
            Ok(peer) => peer,
            Err(fault) => {
                self.refuse(&head, &Refusal::from(&fault));
                return self.fail(format!("the CER is wrong: {fault}"));
            }
        };
        if !shares_cx(cer) {
            let text = "no application in common: we speak Cx".to_owned();
            self.refuse(&head, &Refusal::new(result::NO_COMMON_APPLICATION, text.clone()));
            return self.fail(text);
        }
        let mut security = cer.all(&avp::INBAND_SECURITY_ID).map(Avp::as_u32).peekable();
        if security.peek().is_some() && !security.any(|id| id == Ok(0)) {
            let text = "no security mechanism in common: we speak none inband".to_owned();
            self.refuse(&head, &Refusal::new(result::NO_COMMON_SECURITY, text.clone()));
            return self.fail(text);
        }
        self.send_cea(cer);
        self.open(now, ids, peer);
    }

    fn send_cea(&mut self, cer: &Message) {
        let mut avps = vec![Avp::number(&avp::RESULT_CODE, result::SUCCESS)];
        avps.extend(self.us.capabilities(self.local.ip()));
        self.write(Message { header: cer.header.answer(), avps });
    }

    fn on_cea(&mut self, now: Instant, ids: &mut Ids, cea: &Message) {
        match cea.number(&avp::RESULT_CODE) {
            Some(result::SUCCESS) => {}
            Some(code) => {
                let text = cea.text(&avp::ERROR_MESSAGE).unwrap_or("no Error-Message");
                return self.fail(format!("the peer refuses us: {code}, {text}"));
            }
            None => return self.fail("CEA without Result-Code".to_owned()),
        }
        match peer_of(cea) {
            Err(fault) => self.fail(format!("the CEA is wrong: {fault}")),
            Ok(_) if !shares_cx(cea) => self.fail("the peer does not speak Cx".to_owned()),
            Ok(peer) => self.open(now, ids, peer),
        }
    }

    fn open(&mut self, now: Instant, ids: &mut Ids, peer: (String, String)) {
        self.note(rfc6733("5.3"), false, format!("connected to {} ({})", peer.0, self.remote));
        self.state = State::Open;
        self.deadline = None;
        self.peer = Some(peer);
        self.watchdog = Some(Watchdog::start(self.timing.watchdog, self.reopen, now, ids));
        if self.reopen {
            self.send_dwr();
        } else {
            self.events.push_back(Event::Usable);
        }
    }

    /// The sender of the DPR closes once it has our DPA; if it does not, we do.
    fn on_dpr(&mut self, now: Instant, dpr: &Message) {
        let cause = match dpr.number(&avp::DISCONNECT_CAUSE) {
            Some(0) => "REBOOTING",
            Some(1) => "BUSY",
            Some(2) => "DO_NOT_WANT_TO_TALK_TO_YOU",
            _ => "no cause we know",
        };
        self.note(rfc6733("5.4"), false, format!("the peer disconnects: {cause}"));
        let mut avps = vec![Avp::number(&avp::RESULT_CODE, result::SUCCESS)];
        avps.extend(self.us.origin());
        self.write(Message { header: dpr.header.answer(), avps });
        self.state = State::Closing;
        self.watchdog = None;
        self.deadline = Some(now + self.timing.handshake_within);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Nothing => {}
            Act::Send => self.send_dwr(),
            Act::FailBack => {
                self.note(own("watchdog"), false, "the peer answers again: in use".to_owned());
                self.events.push_back(Event::Usable);
            }
            Act::FailOver => {
                let text = "the peer is silent: suspect (RFC 3539 §3.4.1)".to_owned();
                self.note(own("watchdog"), true, text);
            }
            Act::Close => self.fail("the peer is silent: down (RFC 3539 §3.4.1)".to_owned()),
        }
    }

    fn send_dwr(&mut self) {
        let mut avps = self.us.origin();
        avps.push(self.us.origin_state());
        self.request(APPLICATION_COMMON, avp::DEVICE_WATCHDOG, avps);
    }

    fn fail(&mut self, cause: String) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.deadline = None;
            self.watchdog = None;
            self.events.push_back(Event::Down(cause));
        }
    }

    fn request(&mut self, application: u32, command: u32, avps: Vec<Avp>) -> u32 {
        let hop_by_hop = self.next_hop_by_hop;
        let end_to_end = self.next_end_to_end;
        self.next_hop_by_hop = hop_by_hop.wrapping_add(1);
        self.next_end_to_end = end_to_end.wrapping_add(1);
        let proxiable = application != APPLICATION_COMMON;
        let flags = Flags { request: true, proxiable, ..Flags::default() };
        let header = Header { flags, command, application, hop_by_hop, end_to_end };
        self.write(Message { header, avps });
        hop_by_hop
    }

    fn write(&mut self, message: Message) {
        let bytes = message.encode();
        drop(message);
        self.events.push_back(Event::Write(bytes));
    }

    fn note(&mut self, clause: Clause, refusal: bool, text: String) {
        self.events.push_back(Event::Note(Note::new(clause, text, refusal)));
    }
}

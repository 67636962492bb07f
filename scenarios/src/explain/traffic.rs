//! The messages of a capture with what the rules want to know of them: who is what, which response
//! belongs to which request, what was only repeated, what its sender has made itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use cscf_core::sip::{self, HeaderName, Headers, Message, Method, Request, Response, Sdp};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::Protocol;
use cscf_core::transport::Transport;

use crate::capture::{Capture, Captured};
use crate::report::pcapng::Names;

/// Messages looked at, at most.
pub(crate) const MESSAGES_MAX: usize = 200_000;
/// The same bytes on the same way again within this time are a retransmission: longer than 64 times
/// the T1 of a UE on the air interface (TS 24.229 §7.7).
const REPEATED_WITHIN: Duration = Duration::from_secs(200);
/// Responses to one request that are looked at, at most.
const RESPONSES_MAX: usize = 1_000;
/// Messages of a call that are looked at after one of it, at most.
const NEAR_MAX: usize = 1_000;

/// What a device is, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A P-CSCF or what stands in its place: UEs register through it.
    Edge,
    /// Another element of the network.
    Network,
    /// Registers, and forwards nothing.
    Ue,
    /// Cannot be told.
    Unknown,
}

/// Somebody who sends or receives.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub name: String,
    pub kind: Kind,
}

/// A message that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub frame: u64,
    pub from: usize,
    pub why: String,
    /// Whether its body is shorter than Content-Length says.
    pub short_body: bool,
}

/// One SIP message.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its place in the traffic.
    pub index: usize,
    pub frame: u64,
    pub at: Instant,
    /// The devices at both ends.
    pub from: usize,
    pub to: usize,
    pub from_addr: SocketAddr,
    pub to_addr: SocketAddr,
    pub transport: Transport,
    /// Whether it came over a security association.
    pub protected: bool,
    pub bytes: Bytes,
    pub message: Message,
    /// Of the request; a response has it in CSeq.
    pub method: Method,
    pub call_id: String,
    pub cseq: u32,
    pub from_tag: String,
    pub to_tag: String,
    /// Of the topmost Via.
    pub branch: String,
    pub vias: usize,
    /// The request that a response answers on this hop.
    pub request: Option<usize>,
    /// Whether the sender made it, instead of passing it on.
    pub own: bool,
    /// The message of which this is a retransmission.
    pub repeats: Option<usize>,
    /// The session description in its body.
    pub sdp: Option<Sdp>,
}

impl Item {
    pub(crate) const fn headers(&self) -> &Headers {
        self.message.headers()
    }

    pub(crate) const fn as_request(&self) -> Option<&Request> {
        match &self.message {
            Message::Request(request) => Some(request),
            Message::Response(_) => None,
        }
    }

    pub(crate) const fn as_response(&self) -> Option<&Response> {
        match &self.message {
            Message::Request(_) => None,
            Message::Response(response) => Some(response),
        }
    }

    /// The status of a response; zero for a request.
    pub(crate) fn status(&self) -> u16 {
        self.as_response().map_or(0, |response| response.status)
    }

    pub(crate) fn header(&self, name: HeaderName) -> &str {
        self.headers().get(name).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: HeaderName) -> bool {
        self.headers().contains(name)
    }

    pub(crate) fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.headers().has_token(name, token)
    }

    /// Whether it begins something: a request without a To tag that is neither ACK nor CANCEL.
    pub(crate) fn is_initial(&self) -> bool {
        self.as_request().is_some()
            && self.to_tag.is_empty()
            && !matches!(self.method, Method::Ack | Method::Cancel)
    }

    /// Whether it is an earlier request, tried once more at another address or over another
    /// transport, which keeps CSeq and changes the branch (RFC 3263 §4.3, RFC 3261 §18.1.1).
    pub(crate) fn tries_elsewhere(&self, before: &Self) -> bool {
        let elsewhere = (self.to_addr, self.transport) != (before.to_addr, before.transport);
        elsewhere
            && self.cseq == before.cseq
            && self.method == before.method
            && self.call_id == before.call_id
            && self.branch != before.branch
    }

    /// Whether an end repeats it by itself on any transport, because it has to arrive at the other
    /// end: the responses to INVITE (RFC 3261 §13.3.1.4, RFC 3262 §3) and the ACK that each 2xx
    /// brings about.
    fn comes_again_on_streams(&self) -> bool {
        match self.method {
            Method::Invite => self.status() > 0,
            Method::Ack => true,
            _ => false,
        }
    }

    /// What it is, e.g. `INVITE` or `200 to INVITE`.
    pub(crate) fn label(&self) -> String {
        match self.status() {
            0 => self.method.to_string(),
            status => format!("{status} to {}", self.method),
        }
    }
}

/// All SIP of a capture.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub items: Vec<Item>,
    pub devices: Vec<Device>,
    /// The name of the device at each address.
    pub names: Names,
    pub unreadable: Vec<Unreadable>,
    /// The responses to each request, by its index.
    responses: BTreeMap<usize, Vec<usize>>,
    /// The messages of each Call-ID, by their indices.
    calls: BTreeMap<String, Vec<usize>>,
    /// When the last message was seen.
    pub until: Instant,
}

impl Traffic {
    pub(crate) fn of(capture: &Capture) -> Self {
        let sip = |it: &&Captured| it.protocol == Protocol::Sip;
        let captured: Vec<&Captured> =
            capture.messages.iter().filter(sip).take(MESSAGES_MAX).collect();
        let parsed: Vec<_> = captured.iter().map(|it| sip::parse(&it.bytes)).collect();
        let people = People::of(capture, &captured, &parsed);
        let named = people.by_addr.iter().filter_map(|(addr, index)| {
            people.devices.get(*index).map(|device| (*addr, device.name.clone()))
        });
        let names = named.collect();
        let mut traffic = Self { devices: people.devices, names, ..Self::default() };
        let protected_ports = protected_ports(&captured, &parsed);
        for (captured, parsed) in captured.iter().zip(parsed) {
            let device = |addr| people.by_addr.get(addr).copied().unwrap_or_default();
            let (from, to) = (device(&captured.from), device(&captured.to));
            traffic.until = traffic.until.max(captured.at);
            match parsed {
                Ok(message) => {
                    let mut item = item(traffic.items.len(), captured, message, (from, to));
                    item.protected |= [captured.from, captured.to]
                        .iter()
                        .all(|it| protected_ports.contains(&(it.ip(), it.port())));
                    traffic.items.push(item);
                }
                Err(fault) => {
                    traffic.unreadable.push(Unreadable {
                        frame: captured.frame,
                        from,
                        why: fault.to_string(),
                        short_body: fault.reason.contains("Content-Length"),
                    });
                }
            }
        }
        traffic.link();
        traffic
    }

    pub(crate) fn device(&self, index: usize) -> &Device {
        const NOBODY: &Device = &Device { name: String::new(), kind: Kind::Unknown };
        self.devices.get(index).unwrap_or(NOBODY)
    }

    pub(crate) fn is_ue(&self, device: usize) -> bool {
        self.device(device).kind == Kind::Ue
    }

    /// Everything that was not only repeated.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.repeats.is_none())
    }

    /// Requests that their senders made, retransmissions left out.
    pub(crate) fn own_requests(&self) -> impl Iterator<Item = (&Item, &Request)> {
        self.fresh().filter(|item| item.own).filter_map(|item| Some((item, item.as_request()?)))
    }

    /// Responses that their senders made, retransmissions left out.
    pub(crate) fn own_responses(&self) -> impl Iterator<Item = (&Item, &Response)> {
        self.fresh().filter(|item| item.own).filter_map(|item| Some((item, item.as_response()?)))
    }

    pub(crate) fn item(&self, index: usize) -> Option<&Item> {
        self.items.get(index)
    }

    /// The responses to a request on its hop, retransmissions left out.
    pub(crate) fn responses(&self, request: &Item) -> impl Iterator<Item = &Item> {
        let indices = self.responses.get(&request.index).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(|index| self.item(*index)).filter(|it| it.repeats.is_none())
    }

    /// The request that a response answers on its hop.
    pub(crate) fn request_of(&self, response: &Item) -> Option<&Item> {
        self.item(response.request?)
    }

    /// The next messages with the Call-ID of a message, retransmissions too; a bounded number.
    pub(crate) fn after(&self, item: &Item) -> impl Iterator<Item = &Item> {
        let indices = self.calls.get(&item.call_id).map(Vec::as_slice).unwrap_or_default();
        let later = indices.partition_point(|index| *index <= item.index);
        let indices = indices.get(later..).unwrap_or_default();
        indices.iter().take(NEAR_MAX).filter_map(|index| self.item(*index))
    }

    /// Whether so much was captured after this moment that what is missing never came.
    pub(crate) fn goes_on(&self, after: Instant, time: Duration) -> bool {
        self.until.since(after) > time
    }

    /// Joins responses to requests, finds what was repeated and what was made where it was sent.
    fn link(&mut self) {
        let mut asked: BTreeMap<(usize, usize, String, String), usize> = BTreeMap::new();
        let mut before: BTreeMap<(SocketAddr, SocketAddr, Bytes), (usize, Instant)> =
            BTreeMap::new();
        let mut forwarded: BTreeSet<(usize, String, u32, String, String)> = BTreeSet::new();
        for index in 0..self.items.len() {
            let Some(item) = self.items.get_mut(index) else { return };
            self.calls.entry(item.call_id.clone()).or_default().push(index);
            let again = !item.transport.is_reliable() || item.comes_again_on_streams();
            let key = (item.from_addr, item.to_addr, item.bytes.clone());
            match before.get(&key) {
                Some((first, at)) if again && item.at.since(*at) <= REPEATED_WITHIN => {
                    let first = *first;
                    item.repeats = Some(first);
                    before.insert(key, (first, item.at));
                }
                _ => {
                    before.insert(key, (index, item.at));
                }
            }
            let method = item.method.to_string();
            let whole = |it: &Item, device| {
                (device, it.call_id.clone(), it.cseq, it.from_tag.clone(), it.method.to_string())
            };
            if item.as_request().is_some() {
                item.own = item.vias == 1;
                if item.vias > 1 {
                    forwarded.insert(whole(item, item.from));
                }
                if item.repeats.is_none() {
                    asked.insert((item.from, item.to, item.branch.clone(), method), index);
                }
                continue;
            }
            let request = asked.get(&(item.to, item.from, item.branch.clone(), method)).copied();
            item.request = request;
            let is_ue = self.devices.get(item.from).is_some_and(|it| it.kind == Kind::Ue);
            // A message from nowhere is a text: there is nobody but its writer.
            let is_text = item.from_addr.port() == 0;
            item.own = is_ue
                || is_text
                || (request.is_some()
                    && (item.status() == 100
                        || item.method == Method::Cancel
                        || !forwarded.contains(&whole(item, item.from))));
            if let Some(request) = request {
                let responses = self.responses.entry(request).or_default();
                if responses.len() < RESPONSES_MAX {
                    responses.push(index);
                }
            }
        }
    }
}

fn item(index: usize, captured: &Captured, message: Message, (from, to): (usize, usize)) -> Item {
    let headers = message.headers();
    let cseq = message.cseq().ok();
    let method = match &message {
        Message::Request(request) => request.method.clone(),
        Message::Response(_) => {
            cseq.as_ref().map_or_else(|| Method::from_token("?"), |cseq| cseq.method.clone())
        }
    };
    let is_sdp = headers
        .get(HeaderName::ContentType)
        .is_some_and(|it| it.trim_start().to_ascii_lowercase().starts_with("application/sdp"));
    let sdp = is_sdp.then(|| Sdp::parse(message.body()).ok()).flatten();
    Item {
        index,
        frame: captured.frame,
        at: captured.at,
        from,
        to,
        from_addr: captured.from,
        to_addr: captured.to,
        transport: captured.transport,
        protected: captured.protected,
        bytes: captured.bytes.clone(),
        method,
        call_id: message.call_id().unwrap_or_default().to_owned(),
        cseq: cseq.map_or(0, |cseq| cseq.number),
        from_tag: message.from_tag().unwrap_or_default().to_owned(),
        to_tag: message.to_tag().unwrap_or_default().to_owned(),
        branch: message.top_branch().unwrap_or_default().to_owned(),
        vias: headers.values(HeaderName::Via).count(),
        request: None,
        own: false,
        repeats: None,
        sdp,
        message,
    }
}

type Parsed = Result<Message, sip::ParseError>;

/// Who there is.
struct People {
    devices: Vec<Device>,
    by_addr: BTreeMap<SocketAddr, usize>,
}

/// What an address was seen doing.
#[derive(Clone, Copy, Debug, Default)]
struct Deeds {
    registers: bool,
    forwards: bool,
    gets_register: bool,
    /// It says what only a UE says.
    speaks_as_ue: bool,
}

impl Deeds {
    const fn with(self, other: Self) -> Self {
        Self {
            registers: self.registers || other.registers,
            forwards: self.forwards || other.forwards,
            gets_register: self.gets_register || other.gets_register,
            speaks_as_ue: self.speaks_as_ue || other.speaks_as_ue,
        }
    }

    const fn is_ue(self) -> bool {
        (self.registers || self.speaks_as_ue) && !self.forwards && !self.gets_register
    }
}

impl People {
    fn of(capture: &Capture, captured: &[&Captured], parsed: &[Parsed]) -> Self {
        let mut deeds: BTreeMap<SocketAddr, Deeds> = BTreeMap::new();
        for (it, parsed) in captured.iter().zip(parsed) {
            deeds.entry(it.from).or_default();
            deeds.entry(it.to).or_default();
            let Ok(Message::Request(request)) = parsed else { continue };
            let vias = request.headers.values(HeaderName::Via).count();
            let register = request.method == Method::Register;
            let of_ue = [HeaderName::PPreferredIdentity, HeaderName::SecurityVerify]
                .iter()
                .any(|name| request.headers.contains(*name));
            if let Some(sender) = deeds.get_mut(&it.from) {
                sender.registers |= register && vias == 1;
                sender.forwards |= vias > 1;
                sender.speaks_as_ue |= of_ue && vias == 1;
            }
            if let Some(receiver) = deeds.get_mut(&it.to) {
                receiver.gets_register |= register;
            }
        }
        let names = names(capture, &deeds);
        let mut people = Self { devices: Vec::new(), by_addr: BTreeMap::new() };
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        let mut whole: Vec<Deeds> = Vec::new();
        for (addr, own) in &deeds {
            let Some(name) = names.get(addr) else { continue };
            let index = *by_name.entry(name).or_insert_with(|| {
                people.devices.push(Device { name: name.clone(), kind: Kind::Unknown });
                whole.push(Deeds::default());
                whole.len() - 1
            });
            people.by_addr.insert(*addr, index);
            if let Some(all) = whole.get_mut(index) {
                *all = all.with(*own);
            }
        }
        people.tell_kinds(&whole, captured, parsed);
        people
    }

    fn tell_kinds(&mut self, deeds: &[Deeds], captured: &[&Captured], parsed: &[Parsed]) {
        let is_ue = |device: usize| deeds.get(device).copied().unwrap_or_default().is_ue();
        let ends = |it: &Captured| Some((*self.by_addr.get(&it.from)?, *self.by_addr.get(&it.to)?));
        let is_register = |parsed: &Parsed| {
            matches!(parsed, Ok(Message::Request(request))
            if request.method == Method::Register)
        };
        let edges: BTreeSet<usize> = captured
            .iter()
            .zip(parsed)
            .filter(|(_, parsed)| is_register(parsed))
            .filter_map(|(it, _)| ends(it))
            .filter_map(|(from, to)| is_ue(from).then_some(to))
            .collect();
        // Who speaks with a P-CSCF and forwards nothing is a UE that had registered before.
        let quiet =
            |device: usize| deeds.get(device).is_some_and(|it| !it.forwards && !it.gets_register);
        let ways = captured.iter().filter_map(|it| ends(it));
        let pairs: BTreeSet<(usize, usize)> = ways.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        let mut peers: BTreeMap<usize, usize> = BTreeMap::new();
        for (device, _) in &pairs {
            *peers.entry(*device).or_default() += 1;
        }
        let beside_edge: BTreeSet<usize> = pairs
            .iter()
            .filter(|(device, peer)| edges.contains(peer) && quiet(*device))
            .filter(|(device, _)| peers.get(device) == Some(&1))
            .map(|(device, _)| *device)
            .collect();
        for (index, device) in self.devices.iter_mut().enumerate() {
            let own = deeds.get(index).copied().unwrap_or_default();
            device.kind = if edges.contains(&index) {
                Kind::Edge
            } else if own.is_ue() || beside_edge.contains(&index) {
                Kind::Ue
            } else if own.forwards || own.gets_register {
                Kind::Network
            } else {
                Kind::Unknown
            };
        }
    }
}

/// Names of all addresses: that of the file, else the host, else (where a UE and the network share
/// a host) host and port.
fn names(capture: &Capture, deeds: &BTreeMap<SocketAddr, Deeds>) -> BTreeMap<SocketAddr, String> {
    let mut hosts: BTreeMap<IpAddr, Deeds> = BTreeMap::new();
    for (addr, own) in deeds {
        let host = hosts.entry(addr.ip()).or_default();
        *host = host.with(*own);
    }
    let name = |addr: &SocketAddr| {
        let known = capture.name_of(addr);
        if known != addr.to_string() {
            return known;
        }
        let host = hosts.get(&addr.ip()).copied().unwrap_or_default();
        let shared = host.registers && (host.forwards || host.gets_register);
        if shared { known } else { addr.ip().to_string() }
    };
    deeds.keys().map(|addr| (*addr, name(addr))).collect()
}

/// The ports of security associations, as they were agreed (TS 33.203 §7.1).
fn protected_ports(captured: &[&Captured], parsed: &[Parsed]) -> BTreeSet<(IpAddr, u16)> {
    let mut ports = BTreeSet::new();
    for (it, parsed) in captured.iter().zip(parsed) {
        let Ok(message) = parsed else { continue };
        let name = match message {
            Message::Request(_) => HeaderName::SecurityClient,
            Message::Response(_) => HeaderName::SecurityServer,
        };
        for mechanism in message.headers().security(name).unwrap_or_default() {
            let both = [mechanism.port_c(), mechanism.port_s()];
            ports.extend(both.into_iter().flatten().map(|port| (it.from.ip(), port)));
        }
    }
    ports
}

//! Rules of any SIP message: form, transactions, CANCEL and ACK (RFC 3261).

use std::collections::BTreeMap;

use cscf_core::clause::rfc3261;
use cscf_core::sip::{self, HeaderName, Method, Via};
use cscf_core::time::Duration;

use super::rule::{Found, Raw, rules};
use super::traffic::{Item, Traffic, Unreadable};
use super::trail::Trails;

rules! {
    UNREADABLE = Error "SIP-010" rfc3261("25"),
        "the message is no SIP",
        "nobody can read it; a receiver drops it or answers 400",
        "write it by the grammar; the offset says where reading stopped";
    MANDATORY = Error "SIP-020" rfc3261("8.1.1"),
        "a header that every message needs is missing, malformed or repeated",
        "the receiver answers 400 or drops the message",
        "write Via, From with a tag, To, Call-ID and CSeq once each, and Contact in an INVITE";
    LENGTH = Error "SIP-030" rfc3261("18.3"),
        "Content-Length and body do not fit",
        "a body that is shorter than it says is thrown away; on a stream the next message is lost",
        "count the bytes of the body after the last change to it; on TCP the header is mandatory";
    COOKIE = Error "SIP-040" rfc3261("8.1.1.7"),
        "the branch does not begin with z9hG4bK",
        "its receiver matches it by the old rules and may join transactions that are two",
        "begin each branch with z9hG4bK";
    BRANCH_AGAIN = Error "SIP-050" rfc3261("8.1.1.7"),
        "a branch is used for a second request",
        "the second request is taken for a retransmission of the first and never answered",
        "make a new branch for each request; only CANCEL and the ACK of a failure keep theirs";
    NO_MAX_FORWARDS = Error "SIP-060" rfc3261("8.1.1.6"),
        "Max-Forwards is missing",
        "a loop is not stopped",
        "write Max-Forwards: 70";
    MAX_FORWARDS_KEPT = Error "SIP-070" rfc3261("16.6"),
        "Max-Forwards was not lowered by one on the way",
        "a loop goes on for ever",
        "lower Max-Forwards by one whenever a request is forwarded";
    MIRROR = Error "SIP-080" rfc3261("8.2.6.2"),
        "a response does not repeat Via, From, To or Call-ID as they came",
        "it does not find its way, or its request is not found",
        "copy these headers from the request byte for byte; To may only get a tag";
    NO_TO_TAG = Error "SIP-090" rfc3261("8.2.6.2"),
        "a response has no To tag",
        "the caller cannot tell who of several answered, and makes no dialog",
        "put a tag into To of every response but 100";
    ACK_BRANCH = Error "SIP-100" rfc3261("17.1.1.3"),
        "ACK has the wrong branch",
        "the ACK of a failure is matched by the branch of its INVITE; that of a 2xx is a request \
         of its own",
        "repeat the branch of the INVITE in the ACK of a 3xx to 6xx, make a new one for a 2xx";
    CANCEL_DIFFERS = Error "SIP-110" rfc3261("9.1"),
        "CANCEL does not repeat the request it cancels",
        "it cancels nothing: the phone of the callee rings on",
        "copy Request-URI, Call-ID, From, To, the number of CSeq and the topmost Via";
    CANCEL_EARLY = Error "SIP-120" rfc3261("9.1"),
        "CANCEL was sent before any provisional response",
        "it may overtake its INVITE and get 481, while the INVITE goes on",
        "wait for a 1xx before CANCEL is sent";
    CSEQ_OLD = Error "SIP-130" rfc3261("12.2.1.1"),
        "CSeq does not rise",
        "the peer answers 500 or takes the request for a retransmission",
        "count CSeq up by one for each request of a dialog but ACK and CANCEL; only what is tried \
         at another address keeps it";
    NO_CONTACT = Error "SIP-140" rfc3261("12.1.1"),
        "a message that makes a dialog has no Contact",
        "the peer knows no address for what comes next: ACK, BYE and re-INVITE go nowhere",
        "put the Contact of the device into INVITE, SUBSCRIBE and REFER and their 2xx";
    NO_TYPE = Error "SIP-150" rfc3261("20.15"),
        "a body has no Content-Type",
        "its receiver does not know what it is",
        "name the type, e.g. application/sdp";
    NO_ACK = Error "SIP-170" rfc3261("13.2.2.4"),
        "a 2xx was never acknowledged",
        "the callee repeats it for 32 seconds and ends the call then",
        "send an ACK for each 2xx to INVITE, also when it comes again";
    CALL_ID_AGAIN = Error "SIP-190" rfc3261("8.1.1.4"),
        "a Call-ID is used for a second call",
        "traces and records join calls that are two, and a late message of one is taken for the \
         other's",
        "make a new Call-ID for each call";
    NO_ALLOW = Hint "SIP-180" rfc3261("13.2.1"),
        "INVITE or its 2xx has no Allow",
        "the peer does not know whether UPDATE, PRACK or INFO may be sent",
        "list the methods the device takes in Allow";
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    for it in &traffic.unreadable {
        unreadable(it, found);
    }
    for item in traffic.fresh().filter(|item| item.own) {
        form(item, found);
    }
    branches(traffic, found);
    forwarded(traffic, found);
    responses(traffic, found);
    let invites = Invites::of(traffic);
    acks(traffic, &invites, found);
    cancels(traffic, &invites, found);
    numbers(traffic, found);
}

fn unreadable(it: &Unreadable, found: &mut Found) {
    let rule = if it.short_body { &LENGTH } else { &UNREADABLE };
    let detail = it.why.clone();
    found.0.push(Raw { rule, item: None, device: it.from, frames: vec![it.frame], detail });
}

fn form(item: &Item, found: &mut Found) {
    if let Err(fault) = sip::check(&item.message) {
        found.add(&MANDATORY, item, format!("{}: {}", fault.reason, fault.detail));
        return;
    }
    if item.transport.is_reliable() && !item.has(HeaderName::ContentLength) {
        found.add(&LENGTH, item, "on TCP without Content-Length");
    }
    if !item.message.body().is_empty() && !item.has(HeaderName::ContentType) {
        found.add(&NO_TYPE, item, format!("{} bytes of body", item.message.body().len()));
    }
    let in_dialog = !item.to_tag.is_empty();
    let success = (200..300).contains(&item.status());
    let makes_dialog = match item.method {
        // An INVITE without Contact is no INVITE at all: the rule of mandatory headers says so.
        Method::Invite => success,
        Method::Subscribe | Method::Refer => item.status() == 0 && !in_dialog,
        _ => false,
    };
    if makes_dialog && !item.has(HeaderName::Contact) {
        found.add(&NO_CONTACT, item, item.label());
    }
    let is_offer = item.status() == 0 || success;
    if item.method == Method::Invite && is_offer && !item.has(HeaderName::Allow) {
        found.add(&NO_ALLOW, item, item.label());
    }
    if item.status() > 0 {
        return;
    }
    if !item.branch.starts_with("z9hG4bK") {
        found.add(&COOKIE, item, format!("branch={}", item.branch));
    }
    if !item.has(HeaderName::MaxForwards) {
        found.add(&NO_MAX_FORWARDS, item, item.label());
    }
}

/// What makes a request another one.
fn identity(item: &Item) -> (&str, u32, &str) {
    (&item.call_id, item.cseq, item.method.as_str())
}

fn branches(traffic: &Traffic, found: &mut Found) {
    let mut first: BTreeMap<(usize, &str), &Item> = BTreeMap::new();
    for (item, _) in traffic.own_requests() {
        if matches!(item.method, Method::Ack | Method::Cancel) || item.branch.is_empty() {
            continue;
        }
        let before = *first.entry((item.from, &item.branch)).or_insert(item);
        if identity(before) != identity(item) {
            let detail = format!("branch={} of {} again", item.branch, before.label());
            found.against(&BRANCH_AGAIN, item, &[before], detail);
        }
    }
}

fn forwarded(traffic: &Traffic, found: &mut Found) {
    let mut came: BTreeMap<(usize, &str, &str), &Item> = BTreeMap::new();
    for item in traffic.fresh() {
        let Some(request) = item.as_request() else { continue };
        came.insert((item.to, &item.branch, item.method.as_str()), item);
        // An ACK of a failure and a CANCEL are made anew at each hop.
        if item.vias < 2 || matches!(item.method, Method::Ack | Method::Cancel) {
            continue;
        }
        let second =
            request.headers.values(HeaderName::Via).nth(1).and_then(|it| Via::parse(it).ok());
        let Some(branch) = second.as_ref().and_then(Via::branch) else { continue };
        let key = (item.from, branch, item.method.as_str());
        let Some(before) = came.get(&key).copied() else { continue };
        let (had, has) = (before.message.max_forwards(), item.message.max_forwards());
        if let (Some(had), Some(has)) = (had, has)
            && had.checked_sub(1) != Some(has)
        {
            let detail = format!("came {had}, went on with {has}");
            found.against(&MAX_FORWARDS_KEPT, item, &[before], detail);
        }
    }
}

fn responses(traffic: &Traffic, found: &mut Found) {
    let trails = Trails::of(traffic);
    for (item, response) in traffic.own_responses() {
        let Some(request) = traffic.request_of(item) else { continue };
        if let Some(detail) = differs(request, item) {
            found.against(&MIRROR, item, &[request], detail);
        }
        if response.status > 100 && item.to_tag.is_empty() {
            found.add(&NO_TO_TAG, item, item.label());
        }
        let success = (200..300).contains(&response.status) && item.method == Method::Invite;
        // Where no proxy wants to stay on the way, ACK may go by another one.
        let is_here = request.vias == 1 || item.has(HeaderName::RecordRoute);
        if success
            && is_here
            && traffic.goes_on(item.at, Duration::from_secs(32))
            && !trails.acknowledged(item)
        {
            found.0.push(lost_ack(traffic, &trails, item));
        }
    }
}

/// Where the way of a 2xx and its ACK ends: who got the 2xx and sends no ACK, or who got the ACK
/// and does not pass it on.
fn lost_ack<'a>(traffic: &'a Traffic, trails: &Trails<'a>, item: &'a Item) -> Raw {
    let last = trails.end(item);
    let ack = trails.ack_of(last).map(|ack| trails.end(ack));
    let end = ack.unwrap_or(last);
    let whither = match ack {
        Some(ack) => {
            format!("; the ACK came to {} and went no further", traffic.device(ack.to).name)
        }
        None => String::new(),
    };
    Raw {
        rule: &NO_ACK,
        item: Some(item.index),
        device: end.to,
        frames: [item, end].iter().map(|it| it.frame).collect(),
        detail: format!("no ACK to the {} of CSeq {}{whither}", item.status(), item.cseq),
    }
}

/// What a response does not repeat as its request had it.
fn differs(request: &Item, response: &Item) -> Option<String> {
    let without_tag = |text: &str| text.split(";tag=").next().unwrap_or_default().trim().to_owned();
    if request.vias != response.vias {
        return Some(format!("{} Via in the request, {} here", request.vias, response.vias));
    }
    let (had, has) = (request.header(HeaderName::From), response.header(HeaderName::From));
    if had != has {
        return Some(format!("From was {had}, is {has}"));
    }
    let (had, has) = (request.header(HeaderName::To), response.header(HeaderName::To));
    if without_tag(had) != without_tag(has) || (!request.to_tag.is_empty() && had != has) {
        return Some(format!("To was {had}, is {has}"));
    }
    (request.call_id != response.call_id)
        .then(|| format!("Call-ID was {}, is {}", request.call_id, response.call_id))
}

/// The INVITEs that devices sent themselves.
#[derive(Default)]
struct Invites<'a> {
    /// The last one by sender, Call-ID and CSeq.
    last: BTreeMap<(usize, &'a str, u32), &'a Item>,
    /// By the branch besides.
    by_branch: BTreeMap<(usize, &'a str, u32, &'a str), &'a Item>,
    /// The last one by sender and Call-ID.
    of_call: BTreeMap<(usize, &'a str), &'a Item>,
}

impl<'a> Invites<'a> {
    fn of(traffic: &'a Traffic) -> Self {
        let mut invites = Self::default();
        for (item, _) in traffic.own_requests().filter(|(it, _)| it.method == Method::Invite) {
            let (from, call, cseq) = (item.from, item.call_id.as_str(), item.cseq);
            invites.last.insert((from, call, cseq), item);
            invites.by_branch.entry((from, call, cseq, &item.branch)).or_insert(item);
            invites.of_call.insert((from, call), item);
        }
        invites
    }

    /// The last with Call-ID and CSeq of a request.
    fn last(&self, item: &Item) -> Option<&'a Item> {
        self.last.get(&(item.from, item.call_id.as_str(), item.cseq)).copied()
    }

    /// That with the branch of a request, else the last one.
    fn cancelled(&self, item: &Item) -> Option<&'a Item> {
        let key = (item.from, item.call_id.as_str(), item.cseq, item.branch.as_str());
        self.by_branch.get(&key).copied().or_else(|| self.last(item))
    }

    /// The last of the call.
    fn of_call(&self, item: &Item) -> Option<&'a Item> {
        self.of_call.get(&(item.from, item.call_id.as_str())).copied()
    }
}

fn acks(traffic: &Traffic, invites: &Invites<'_>, found: &mut Found) {
    for (item, _) in traffic.own_requests() {
        if item.method != Method::Ack {
            continue;
        }
        let Some(invite) = invites.last(item) else { continue };
        let answered = traffic.responses(invite).filter(|it| it.to_tag == item.to_tag);
        let Some(last) = answered.filter(|it| it.status() >= 200).last() else { continue };
        let same = invite.branch == item.branch;
        match (last.status() < 300, same) {
            (true, true) => {
                let detail = "the ACK of a 2xx has the branch of its INVITE";
                found.against(&ACK_BRANCH, item, &[invite], detail);
            }
            (false, false) => {
                let detail = format!("branch={}, the INVITE has {}", item.branch, invite.branch);
                found.against(&ACK_BRANCH, item, &[invite], detail);
            }
            _ => {}
        }
    }
}

fn cancels(traffic: &Traffic, invites: &Invites<'_>, found: &mut Found) {
    for (item, request) in traffic.own_requests() {
        if item.method != Method::Cancel {
            continue;
        }
        let Some(invite) = invites.cancelled(item) else {
            if let Some(other) = invites.of_call(item) {
                let detail = format!("CSeq {}, the INVITE has {}", item.cseq, other.cseq);
                found.against(&CANCEL_DIFFERS, item, &[other], detail);
            }
            continue;
        };
        let uri = invite.as_request().map(|it| &*it.request_uri).unwrap_or_default();
        let pairs = [
            ("branch", item.branch.as_str(), invite.branch.as_str()),
            ("Request-URI", &*request.request_uri, uri),
            ("From", item.header(HeaderName::From), invite.header(HeaderName::From)),
            ("To", item.header(HeaderName::To), invite.header(HeaderName::To)),
        ];
        if let Some((what, has, had)) = pairs.into_iter().find(|(_, has, had)| has != had) {
            let detail = format!("{what} is {has}, of the INVITE {had}");
            found.against(&CANCEL_DIFFERS, item, &[invite], detail);
        }
        if !traffic.responses(invite).any(|it| it.index < item.index) {
            found.against(&CANCEL_EARLY, item, &[invite], "no 1xx had come");
        }
    }
}

fn numbers(traffic: &Traffic, found: &mut Found) {
    type Dialog<'a> = (usize, &'a str, u32, &'a str, &'a str);
    // How often each Call-ID has begun a call again.
    let mut rounds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut last: BTreeMap<Dialog<'_>, &Item> = BTreeMap::new();
    let mut ended: BTreeMap<&str, &Item> = BTreeMap::new();
    for (item, _) in traffic.own_requests() {
        if item.method == Method::Bye {
            ended.insert(&item.call_id, item);
        }
        // Those of REGISTER have a rule of their own.
        if matches!(item.method, Method::Ack | Method::Cancel | Method::Register) {
            continue;
        }
        let call = item.call_id.as_str();
        let mut round = rounds.get(call).copied().unwrap_or_default();
        let dialog = |round, to_tag| (item.from, call, round, item.from_tag.as_str(), to_tag);
        if item.method == Method::Invite
            && item.is_initial()
            && last.contains_key(&dialog(round, ""))
            && let Some(bye) = ended.remove(call)
        {
            found.against(&CALL_ID_AGAIN, item, &[bye], format!("Call-ID {call}"));
            round += 1;
            rounds.insert(call, round);
        }
        let (key, first) = (dialog(round, &item.to_tag), dialog(round, ""));
        let before = last.get(&key).or_else(|| last.get(&first)).copied();
        if let Some(before) = before
            && item.cseq <= before.cseq
            && item.bytes != before.bytes
            && !item.tries_elsewhere(before)
        {
            let detail = format!("CSeq {} after {} of {}", item.cseq, before.cseq, before.label());
            found.against(&CSEQ_OLD, item, &[before], detail);
        }
        last.insert(key, item);
    }
}

//! Rules of reliable provisional responses and preconditions (RFC 3262, RFC 3312, TS 24.229 §5.1.3,
//! §5.1.4).

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::clause::{rfc3262, rfc3312, ts24229};
use cscf_core::sip::{HeaderName, Method, QosSegment, QosStrength, Sdp};
use cscf_core::time::Duration;

use super::offers::{Described, Part};
use super::rule::{Found, Raw, rules};
use super::traffic::{Item, Traffic};

const RELIABLE: &str = "100rel";

rules! {
    HALF_RELIABLE = Error "REL-010" rfc3262("3"),
        "a provisional response has only one of RSeq and Require: 100rel",
        "the caller does not know whether to send PRACK; the callee repeats the response in vain",
        "write both into a reliable response, and neither into another";
    RELIABLE_100 = Error "REL-020" rfc3262("3"),
        "a 100 is sent reliably",
        "100 goes one hop only; nobody may acknowledge it",
        "send 100 without RSeq and Require";
    NOT_SUPPORTED = Error "REL-030" rfc3262("3"),
        "a provisional response is sent reliably to a caller that has not offered 100rel",
        "the caller ignores it or ends the call; no PRACK comes",
        "send it unreliably, or refuse with 421 if it must be reliable";
    WRONG_RACK = Error "REL-040" rfc3262("7.2"),
        "RAck does not name a response that was sent",
        "the callee answers 481 and repeats its response until the call fails",
        "copy RSeq, and number and method of CSeq of the response";
    NO_PRACK = Error "REL-050" rfc3262("4"),
        "a reliable provisional response was not acknowledged",
        "the callee repeats it for 32 seconds and refuses the call then",
        "send PRACK for each new reliable response";
    SECOND_EARLY = Error "REL-060" rfc3262("3"),
        "a second reliable response was sent before the first was acknowledged",
        "the caller cannot tell in which order they were sent",
        "wait for the PRACK of the first";
    RSEQ_JUMPS = Error "REL-070" rfc3262("3"),
        "RSeq does not rise by one",
        "the caller waits for the response between and drops this one",
        "count RSeq up by one for each reliable response to an INVITE";
    FINAL_EARLY = Error "REL-080" rfc3262("3"),
        "the 2xx was sent before the PRACK of a response with a session description",
        "the caller may learn of the answer after the call is up",
        "hold the 2xx back until the description has been acknowledged";
    QOS_UNREQUIRED = Error "PRE-010" rfc3312("11"),
        "a description has preconditions and the message does not say so",
        "a peer that does not know them rings before there is a bearer",
        "put precondition into Require (into Supported if the strength is optional)";
    WEAKENED = Error "PRE-020" rfc3312("5.2"),
        "the answer weakens a precondition of the offer",
        "one side waits for what the other does not do",
        "keep the strength of the offer in the answer, or raise it";
    UNRELIABLE_ANSWER = Error "PRE-030" ts24229("5.1.4.1"),
        "a provisional response with preconditions is not sent reliably",
        "if it is lost the call hangs: the caller never reserves",
        "send the 183 with Require: 100rel and RSeq";
    RINGS_EARLY = Error "PRE-040" rfc3312("6"),
        "the callee is alerted before the mandatory preconditions are met",
        "the user answers a call that has no bearer",
        "send 180 only when curr covers des of every mandatory precondition";
    NOT_CONFIRMED = Warning "PRE-050" rfc3312("5"),
        "the answer asks for a confirmation (conf) that never came",
        "the callee does not learn that the caller's bearer is there, and rings late or never",
        "send UPDATE with the new curr as soon as the resources are reserved";
    DESIRE_WITHOUT_STATUS = Error "PRE-060" rfc3312("5"),
        "des or curr stands without the other",
        "the peer cannot tell whether the precondition is met",
        "write a curr for each segment that des names, and a des for each curr";
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, described: &[Described<'_>], found: &mut Found) {
    for (item, response) in traffic.own_responses() {
        if item.method == Method::Invite && response.is_provisional() {
            provisional(traffic, item, found);
        }
    }
    acknowledgements(traffic, found);
    let calls = Calls::of(traffic);
    let requests = traffic.fresh().filter(|it| it.status() == 0);
    for invite in requests.filter(|it| it.method == Method::Invite) {
        order(traffic, &calls, invite, found);
    }
    for it in described {
        preconditions(it, found);
    }
    confirmed(traffic, described, found);
}

fn is_reliable(item: &Item) -> bool {
    item.has(HeaderName::RSeq) && item.has_token(HeaderName::Require, RELIABLE)
}

fn provisional(traffic: &Traffic, item: &Item, found: &mut Found) {
    let (number, required) =
        (item.has(HeaderName::RSeq), item.has_token(HeaderName::Require, RELIABLE));
    if item.status() == 100 {
        if number || required {
            found.add(&RELIABLE_100, item, "100 with RSeq or Require: 100rel");
        }
        return;
    }
    if number != required {
        let detail = if number { "RSeq without Require: 100rel" } else { "100rel without RSeq" };
        found.add(&HALF_RELIABLE, item, format!("{}: {detail}", item.label()));
    }
    let has_qos = item.sdp.as_ref().is_some_and(has_preconditions);
    if has_qos && !(number && required) {
        found.add(&UNRELIABLE_ANSWER, item, item.label());
    }
    let Some(invite) = traffic.request_of(item) else { return };
    let offered = [HeaderName::Supported, HeaderName::Require]
        .into_iter()
        .any(|name| invite.has_token(name, RELIABLE));
    if number && required && !offered {
        found.against(&NOT_SUPPORTED, item, &[invite], item.label());
    }
}

/// The PRACKs of the traffic and who called.
#[derive(Default)]
struct Calls<'a> {
    /// By both ends of a hop, Call-ID, To tag and number.
    pracks: BTreeMap<(usize, usize, &'a str, &'a str, u32), Vec<usize>>,
    /// Where the last PRACK of a response went: by Call-ID, To tag and number.
    last: BTreeMap<(&'a str, &'a str, u32), &'a Item>,
    /// Who made an INVITE: by Call-ID, CSeq and From tag.
    callers: BTreeMap<(&'a str, u32, &'a str), usize>,
}

impl<'a> Calls<'a> {
    fn of(traffic: &'a Traffic) -> Self {
        let mut calls = Self::default();
        for item in traffic.items.iter().filter(|it| it.status() == 0) {
            let (call, tag) = (item.call_id.as_str(), item.to_tag.as_str());
            if item.method == Method::Invite && item.own {
                let key = (call, item.cseq, item.from_tag.as_str());
                calls.callers.entry(key).or_insert(item.from);
            }
            if item.method == Method::Prack
                && let Ok(rack) = item.message.rack()
            {
                let key = (item.from, item.to, call, tag, rack.rseq);
                calls.pracks.entry(key).or_default().push(item.index);
                calls.last.insert((call, tag, rack.rseq), item);
            }
        }
        calls
    }

    /// Whether a response was acknowledged on its hop before a place in the traffic.
    fn acknowledged(&self, item: &Item, before: usize) -> bool {
        let Some(rseq) = item.message.rseq() else { return false };
        let key = (item.to, item.from, item.call_id.as_str(), item.to_tag.as_str(), rseq);
        let pracks = self.pracks.get(&key).map(Vec::as_slice).unwrap_or_default();
        let next = pracks.get(pracks.partition_point(|index| *index < item.index));
        next.is_some_and(|index| *index < before)
    }

    /// Who is to blame for a PRACK that did not come: who got it last, else who called.
    fn silent(&self, item: &Item, invite: &Item) -> usize {
        let tags = (item.call_id.as_str(), item.to_tag.as_str());
        let rseq = item.message.rseq().unwrap_or_default();
        let last = self.last.get(&(tags.0, tags.1, rseq)).map(|prack| prack.to);
        let caller = self.callers.get(&(tags.0, invite.cseq, invite.from_tag.as_str()));
        last.or_else(|| caller.copied()).unwrap_or(invite.from)
    }
}

/// PRACKs against the reliable responses that came to who sends them.
fn acknowledgements(traffic: &Traffic, found: &mut Found) {
    let mut came: BTreeSet<(usize, &str, u32, Option<u32>)> = BTreeSet::new();
    let mut last: BTreeMap<(usize, &str), &Item> = BTreeMap::new();
    for item in traffic.fresh() {
        if item.method == Method::Invite && item.status() > 100 && is_reliable(item) {
            came.insert((item.to, &item.call_id, item.cseq, item.message.rseq()));
            last.insert((item.to, &item.call_id), item);
        }
    }
    for (item, request) in traffic.own_requests() {
        if item.method != Method::Prack {
            continue;
        }
        let call = (item.from, item.call_id.as_str());
        let Some(last) = last.get(&call).copied() else { continue };
        let fits = request.rack().is_ok_and(|rack| {
            rack.cseq.method == Method::Invite
                && came.contains(&(call.0, call.1, rack.cseq.number, Some(rack.rseq)))
        });
        if !fits {
            let rseq = last.message.rseq().unwrap_or_default();
            let detail =
                format!("RAck: {}, the last RSeq was {rseq}", item.header(HeaderName::RAck));
            found.against(&WRONG_RACK, item, &[last], detail);
        }
    }
}

/// The reliable responses to one INVITE and their PRACKs, on the hop of who made the responses.
fn order(traffic: &Traffic, calls: &Calls<'_>, invite: &Item, found: &mut Found) {
    let mut by_tag: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for it in traffic.responses(invite).filter(|it| it.status() > 100 && it.own) {
        by_tag.entry(&it.to_tag).or_default().push(it);
    }
    for responses in by_tag.into_values() {
        let mut last: Option<&Item> = None;
        let mut first_pending: Option<&Item> = None;
        for it in &responses {
            first_pending = first_pending.filter(|pending| !calls.acknowledged(pending, it.index));
            if (200..300).contains(&it.status()) {
                if let Some(pending) = first_pending.filter(|it| it.sdp.is_some()) {
                    found.against(&FINAL_EARLY, it, &[pending], it.label());
                }
                break;
            }
            if !is_reliable(it) {
                continue;
            }
            // The same again, changed on its way or on another one, is a retransmission.
            if last.is_some_and(|before| repeats(before, it)) {
                continue;
            }
            if let Some(before) = last {
                let (had, has) = (before.message.rseq(), it.message.rseq());
                if had.map(|it| it.wrapping_add(1)) != has {
                    let show = |it: Option<u32>| it.unwrap_or_default();
                    let detail = format!("RSeq {} after {}", show(has), show(had));
                    found.against(&RSEQ_JUMPS, it, &[before], detail);
                }
            } else {
                first_pending = Some(it);
            }
            if let Some(pending) = first_pending.filter(|pending| pending.index != it.index) {
                found.against(&SECOND_EARLY, it, &[pending], it.label());
                first_pending = None;
            }
            last = Some(it);
            let waited = traffic.goes_on(it.at, Duration::from_secs(32));
            if waited && !calls.acknowledged(it, traffic.items.len()) && !ended(traffic, it) {
                found.0.push(Raw {
                    rule: &NO_PRACK,
                    item: Some(it.index),
                    device: calls.silent(it, invite),
                    frames: vec![it.frame],
                    detail: format!("{}, RSeq {}", it.label(), it.header(HeaderName::RSeq)),
                });
            }
        }
    }
}

/// Whether a reliable response is an earlier one once more.
fn repeats(before: &Item, item: &Item) -> bool {
    before.message.rseq() == item.message.rseq()
        && before.status() == item.status()
        && before.message.body() == item.message.body()
}

/// Whether the INVITE was over within a second after this response, so that a PRACK was no use.
fn ended(traffic: &Traffic, item: &Item) -> bool {
    traffic
        .after(item)
        .take_while(|it| it.at.since(item.at) <= Duration::from_secs(1))
        .any(|it| it.status() >= 300 || matches!(it.method, Method::Cancel | Method::Bye))
}

fn has_preconditions(sdp: &Sdp) -> bool {
    sdp.media.iter().any(|media| !media.preconditions().is_empty())
}

fn preconditions(it: &Described<'_>, found: &mut Found) {
    let (item, sdp) = (it.item, it.sdp);
    for media in sdp.media.iter().filter(|media| media.port() != 0) {
        let own = media.preconditions();
        let desired: BTreeSet<QosSegment> = own.desired.iter().map(|(_, it, _)| *it).collect();
        let current: BTreeSet<QosSegment> = own.current.iter().map(|(it, _)| *it).collect();
        if desired != current {
            let lacking = desired.symmetric_difference(&current).next();
            let name = lacking.map(ToString::to_string).unwrap_or_default();
            found.add(&DESIRE_WITHOUT_STATUS, item, format!("segment {name} of {}", media.kind()));
        }
    }
    if !has_preconditions(sdp) {
        return;
    }
    let mandatory = sdp.media.iter().filter(|media| media.port() != 0).any(|media| {
        media.preconditions().desired.iter().any(|(how, ..)| *how == QosStrength::Mandatory)
    });
    let said = |name| item.has_token(name, "precondition");
    // An offer that also those without preconditions may answer names it in Supported
    // (TS 24.229 §5.1.3.1).
    let speaks = item.method == Method::Invite || (item.status() == 0 && it.part == Part::Offer);
    if speaks && !said(HeaderName::Require) && !said(HeaderName::Supported) {
        let how = if mandatory { "mandatory" } else { "optional" };
        found.add(&QOS_UNREQUIRED, item, format!("{}: {how} preconditions", item.label()));
    }
    if let (Part::Answer, Some((offer, offered))) = (it.part, it.peer) {
        weakened(item, sdp, offer, offered, found);
    }
}

fn weakened(item: &Item, sdp: &Sdp, offer: &Item, offered: &Sdp, found: &mut Found) {
    for (ours, theirs) in sdp.media.iter().zip(&offered.media) {
        if ours.port() == 0 {
            continue;
        }
        let seen = theirs.preconditions().reversed();
        for (strength, segment, _) in seen.desired {
            let own = ours.preconditions();
            let answer = own.desired.iter().filter(|(_, its, _)| *its == segment);
            let answer = answer.map(|(how, ..)| rank(*how)).max();
            if answer.is_some_and(|answer| answer < rank(strength)) {
                let detail = format!("{segment}: the offer has {strength}");
                found.against(&WEAKENED, item, &[offer], detail);
            }
        }
    }
}

const fn rank(strength: QosStrength) -> u8 {
    match strength {
        QosStrength::Mandatory => 2,
        QosStrength::Optional => 1,
        _ => 0,
    }
}

/// Confirmations that an answer asked for, and alerting before the preconditions are met.
fn confirmed(traffic: &Traffic, described: &[Described<'_>], found: &mut Found) {
    for it in described.iter().filter(|it| it.part == Part::Answer) {
        let Some((offer, _)) = it.peer else { continue };
        if it.item.method != Method::Invite {
            continue;
        }
        let asks = it.sdp.media.iter().any(|media| !media.preconditions().confirm.is_empty());
        let unmet = it.sdp.media.iter().any(|media| {
            let own = media.preconditions();
            media.port() != 0
                && own.desired.iter().any(|(how, segment, wanted)| {
                    *how == QosStrength::Mandatory && !own.current_on(*segment).covers(*wanted)
                })
        });
        if !unmet || !(101..200).contains(&it.item.status()) {
            continue;
        }
        let mut updated = false;
        for next in traffic.after(it.item) {
            let with_sdp = next.sdp.is_some() && next.status() == 0 && next.to == it.item.from;
            updated |= with_sdp && matches!(next.method, Method::Update | Method::Prack);
            let same_leg = next.from == it.item.from && next.to_tag == it.item.to_tag;
            if same_leg && next.method == Method::Invite && next.repeats.is_none() {
                let rings = next.status() == 180;
                let local_unmet = rings && !updated && remote_unmet(it.sdp);
                if local_unmet {
                    found.against(&RINGS_EARLY, next, &[it.item], "180 before any new curr");
                    break;
                }
                if (200..300).contains(&next.status()) && asks && !updated {
                    found.0.push(Raw {
                        rule: &NOT_CONFIRMED,
                        item: Some(next.index),
                        device: offer.from,
                        frames: vec![it.item.frame, next.frame],
                        detail: "no UPDATE before the 2xx".to_owned(),
                    });
                    break;
                }
            }
        }
    }
}

/// Whether the callee waits for the resources of the caller.
fn remote_unmet(sdp: &Sdp) -> bool {
    sdp.media.iter().filter(|media| media.port() != 0).any(|media| {
        let own = media.preconditions();
        own.desired.iter().any(|(how, segment, wanted)| {
            *how == QosStrength::Mandatory
                && *segment == QosSegment::Remote
                && !own.current_on(*segment).covers(*wanted)
        })
    })
}

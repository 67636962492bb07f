//! Rules of time: session timers, retransmissions, Retry-After (RFC 4028, RFC 3261 §17,
//! TS 24.229 §7.7).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::clause::{rfc3261, rfc4028, ts24229};
use cscf_core::sip::{HeaderName, Method, MinSe, RetryAfter, SessionExpires};
use cscf_core::time::{Duration, Instant};

use super::rule::{Found, rules};
use super::traffic::{Item, Traffic};

/// The least interval of a session timer (RFC 4028 §5).
const SESSION_MIN: u32 = 90;
/// T1 (RFC 3261 §17.1.1.1), less what a clock may lie.
const T1: Duration = Duration::from_millis(490);
/// Sooner than this no timer expires: it was captured twice.
const CAPTURED_TWICE: Duration = Duration::from_millis(50);
/// T1 on the air interface (TS 24.229 §7.7), less the same.
const T1_AIR: Duration = Duration::from_millis(1_980);
/// 64*T1 and the same on the air interface.
const GIVE_UP: Duration = Duration::from_secs(33);
const GIVE_UP_AIR: Duration = Duration::from_secs(129);

rules! {
    BELOW_LEAST = Error "TIM-010" rfc4028("5"),
        "Session-Expires is below Min-SE or below 90 seconds",
        "a proxy or the callee refuses with 422",
        "ask for at least Min-SE, 90 s where there is none; 1800 s is usual";
    NO_REFRESHER = Error "TIM-020" rfc4028("9"),
        "the 2xx has Session-Expires without refresher",
        "nobody refreshes, and the call is cut when the time is over",
        "say refresher=uac or refresher=uas in each 2xx with Session-Expires";
    NOT_REQUIRED = Error "TIM-030" rfc4028("9"),
        "the caller is to refresh and the 2xx does not require timer",
        "a caller that does not know session timers never refreshes",
        "write Require: timer into the 2xx when refresher is uac";
    NO_MIN_SE = Error "TIM-040" rfc4028("6"),
        "422 does not say Min-SE",
        "the caller does not know what would be long enough",
        "write Min-SE into each 422";
    BELOW_AGAIN = Error "TIM-050" rfc4028("7.3"),
        "the request after 422 asks for less than its Min-SE",
        "it is refused again",
        "repeat the request with Session-Expires and Min-SE of at least that of the 422";
    TOO_SOON = Warning "TIM-060" rfc3261("17.1.1.2"),
        "a request was retransmitted before T1 (500 ms)",
        "the network gets more load just when it is slow",
        "wait T1 and then twice as long each time";
    TOO_SOON_ON_AIR = Warning "TIM-070" ts24229("7.7"),
        "a UE on a radio access retransmitted before 2 s",
        "the radio access is slower than the timer: each message is sent several times",
        "use T1 = 2 s, T2 = 16 s and T4 = 17 s on a 3GPP access";
    TOO_LONG = Error "TIM-080" rfc3261("17.1.1.2"),
        "a request was retransmitted after 64*T1",
        "its transaction is over; the receiver takes it for a new request",
        "give up after 64*T1: 32 s, 128 s on a radio access";
    AFTER_IGNORED = Warning "TIM-090" rfc3261("21.5.4"),
        "a request was made again before Retry-After was over",
        "an overloaded network gets more load",
        "wait as long as Retry-After of the 503 says before the same is tried there again";
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    for item in traffic.fresh().filter(|item| item.own) {
        session(item, found);
    }
    refused_interval(traffic, found);
    repeated(traffic, found);
    retry_after(traffic, found);
}

fn session_expires(item: &Item) -> Option<SessionExpires> {
    item.headers().optional(HeaderName::SessionExpires, SessionExpires::parse).ok().flatten()
}

fn min_se(item: &Item) -> Option<u32> {
    let value = item.headers().optional(HeaderName::MinSe, MinSe::parse).ok().flatten();
    value.map(|it| it.seconds)
}

fn session(item: &Item, found: &mut Found) {
    if item.status() == 422 && !item.has(HeaderName::MinSe) {
        found.add(&NO_MIN_SE, item, item.label());
    }
    let Some(interval) = session_expires(item) else { return };
    let least = min_se(item).unwrap_or(SESSION_MIN).max(SESSION_MIN);
    if interval.seconds < least && item.status() < 300 {
        found.add(&BELOW_LEAST, item, format!("{} s, at least {least} s", interval.seconds));
    }
    if !(200..300).contains(&item.status()) {
        return;
    }
    match interval.refresher() {
        None => found.add(&NO_REFRESHER, item, item.header(HeaderName::SessionExpires)),
        Some("uac") if !item.has_token(HeaderName::Require, "timer") => {
            found.add(&NOT_REQUIRED, item, item.header(HeaderName::SessionExpires));
        }
        Some(_) => {}
    }
}

fn refused_interval(traffic: &Traffic, found: &mut Found) {
    let mut least: BTreeMap<(usize, &str), (u32, &Item)> = BTreeMap::new();
    for item in traffic.fresh() {
        if item.status() == 422
            && let Some(seconds) = min_se(item)
        {
            least.insert((item.to, &item.call_id), (seconds, item));
        }
        let asks = item.own && matches!(item.method, Method::Invite | Method::Update);
        if item.status() > 0 || !asks {
            continue;
        }
        let Some((seconds, refusal)) = least.remove(&(item.from, item.call_id.as_str())) else {
            continue;
        };
        if let Some(asked) = session_expires(item).filter(|it| it.seconds < seconds) {
            let detail = format!("{} s, the 422 asked for {seconds} s", asked.seconds);
            found.against(&BELOW_AGAIN, item, &[refusal], detail);
        }
    }
}

fn repeated(traffic: &Traffic, found: &mut Found) {
    let mut last: BTreeMap<usize, Instant> = BTreeMap::new();
    for item in &traffic.items {
        let Some(first) = item.repeats.and_then(|it| traffic.item(it)) else { continue };
        let before = last.insert(first.index, item.at).unwrap_or(first.at);
        // An ACK answers each retransmitted response, and who forwards one repeats it as it comes.
        if item.status() > 0 || item.method == Method::Ack || !item.own {
            continue;
        }
        let on_air = traffic.is_ue(item.from)
            && item.header(HeaderName::PAccessNetworkInfo).to_ascii_uppercase().starts_with("3GPP");
        let waited = item.at.since(before);
        let detail = format!("{} after {} ms", item.label(), waited.as_millis());
        if waited < CAPTURED_TWICE {
            continue;
        }
        if waited < T1 {
            found.against(&TOO_SOON, item, &[first], detail);
        } else if on_air && waited < T1_AIR {
            found.against(&TOO_SOON_ON_AIR, item, &[first], detail);
        }
        let give_up = if traffic.is_ue(item.from) { GIVE_UP_AIR } else { GIVE_UP };
        let whole = item.at.since(first.at);
        if whole > give_up {
            let detail = format!("{} after {} s", item.label(), whole.as_secs());
            found.against(&TOO_LONG, item, &[first], detail);
        }
    }
}

fn retry_after(traffic: &Traffic, found: &mut Found) {
    let mut until: BTreeMap<(usize, SocketAddr, &str), (Instant, &Item)> = BTreeMap::new();
    for item in traffic.fresh() {
        if item.status() == 503 && traffic.is_ue(item.to) {
            let value = item.headers().optional(HeaderName::RetryAfter, RetryAfter::parse);
            let Some(wait) = value.ok().flatten() else { continue };
            let end = item.at + Duration::from_secs(u64::from(wait.seconds));
            until.insert((item.to, item.from_addr, item.method.as_str()), (end, item));
        }
        let again = item.own && item.is_initial() && traffic.is_ue(item.from);
        if !again {
            continue;
        }
        let key = (item.from, item.to_addr, item.method.as_str());
        if let Some((end, refusal)) = until.get(&key)
            && item.at < *end
        {
            let left = end.since(item.at).as_secs();
            found.against(&AFTER_IGNORED, item, &[refusal], format!("{left} s too early"));
        }
    }
}

//! Rules of dialogs: the route set and the remote target (RFC 3261 §12).

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::clause::rfc3261;
use cscf_core::sip::{HeaderName, Method, NameAddr, Uri, uri_eq};

use super::rule::{Found, rules};
use super::traffic::{Item, Traffic};

/// Contacts of one peer that are remembered, the last ones.
const TARGETS_MAX: usize = 16;

rules! {
    ROUTE_SET = Error "DIA-010" rfc3261("12.2.1.1"),
        "Route of a request in a dialog is not its route set",
        "the request misses a node that wants to stay on the way: charging, security and bearers \
         lose the call",
        "take Record-Route of the response in reverse order (anew from the 2xx), of the request in \
         its order";
    TARGET = Error "DIA-020" rfc3261("12.2.1.1"),
        "the Request-URI in a dialog is not the Contact of the peer",
        "the request goes to somebody else, or nowhere",
        "send to the Contact of the last INVITE, UPDATE or response that brought one";
    TAGS = Error "DIA-030" rfc3261("12.2.1.1"),
        "a request names a dialog that the device has not",
        "the peer answers 481",
        "copy Call-ID and both tags from what made the dialog";
}

/// What a device knows of one dialog.
struct Dialog<'a> {
    made_by: &'a Item,
    route_set: Vec<String>,
    targets: Vec<String>,
    /// Whether a BYE has passed.
    ended: bool,
}

/// Looks at all messages of UEs.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    let mut dialogs: BTreeMap<(usize, &str, &str), Dialog<'_>> = BTreeMap::new();
    let mut calls: BTreeMap<(usize, &str), &Item> = BTreeMap::new();
    let mut invites: BTreeSet<(usize, &str)> = BTreeSet::new();
    for item in traffic.fresh() {
        let own = item.own && traffic.is_ue(item.from) && item.status() == 0;
        if own && item.method == Method::Invite {
            invites.insert((item.from, &item.branch));
        }
        // The ACK of a failure goes where its INVITE went (RFC 3261 §17.1.1.3), CANCEL too.
        let follows = item.method == Method::Cancel
            || (item.method == Method::Ack && invites.contains(&(item.from, item.branch.as_str())));
        if own && !item.to_tag.is_empty() && !follows {
            within(item, &dialogs, &calls, found);
        }
        for device in [item.from, item.to] {
            if traffic.is_ue(device) {
                learn(traffic, device, item, &mut dialogs, &mut calls);
            }
        }
    }
}

fn makes_dialog(item: &Item) -> bool {
    matches!(item.method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
}

fn uris(item: &Item, name: HeaderName) -> Vec<String> {
    let values = item.headers().values(name);
    values
        .map(|it| NameAddr::parse(it).map_or_else(|_| it.to_owned(), |it| it.uri.to_string()))
        .collect()
}

fn learn<'a>(
    traffic: &Traffic,
    device: usize,
    item: &'a Item,
    dialogs: &mut BTreeMap<(usize, &'a str, &'a str), Dialog<'a>>,
    calls: &mut BTreeMap<(usize, &'a str), &'a Item>,
) {
    let from_here = item.from == device;
    let ours = if item.status() == 0 { from_here } else { !from_here };
    let peer = if ours { item.to_tag.as_str() } else { item.from_tag.as_str() };
    let key = (device, item.call_id.as_str(), peer);
    if item.method == Method::Bye
        && let Some(dialog) = dialogs.get_mut(&key)
    {
        dialog.ended = true;
    }
    if peer.is_empty() || !(makes_dialog(item) || item.method == Method::Update) {
        return;
    }
    let contact = uris(item, HeaderName::Contact);
    let asked = if item.status() == 0 { Some(item) } else { traffic.request_of(item) };
    let begins = asked.is_some_and(|it| it.to_tag.is_empty());
    // A Call-ID may come again with the same tags, which another rule minds.
    if let Some(dialog) = dialogs.get_mut(&key).filter(|it| !(it.ended && begins)) {
        if !from_here && confirms(traffic, item) {
            dialog.route_set = route_set(item);
            dialog.made_by = item;
        }
        // Only what comes from the peer moves its target.
        if !from_here && item.status() < 300 {
            for target in contact {
                if !dialog.targets.contains(&target) {
                    dialog.targets.push(target);
                }
            }
            let over = dialog.targets.len().saturating_sub(TARGETS_MAX);
            dialog.targets.drain(..over);
        }
        return;
    }
    let made = match item.status() {
        // The peer's request: it has become a dialog once it is answered with a tag.
        0 => !from_here && makes_dialog(item),
        101..300 => !from_here && makes_dialog(item),
        _ => false,
    };
    if !made || contact.is_empty() {
        return;
    }
    // A dialog that was made before the capture began has no Record-Route any more.
    if !begins && item.method != Method::Notify {
        return;
    }
    calls.insert((device, &item.call_id), item);
    let route_set = route_set(item);
    let mut targets = contact;
    targets.truncate(TARGETS_MAX);
    dialogs.insert(key, Dialog { made_by: item, route_set, targets, ended: false });
}

/// The route set that a message gives to who receives it (RFC 3261 §12.1.1, §12.1.2).
fn route_set(item: &Item) -> Vec<String> {
    let mut route_set = uris(item, HeaderName::RecordRoute);
    if item.status() > 0 {
        route_set.reverse();
    }
    route_set
}

/// Whether it makes an early dialog a confirmed one: its route set is that of the 2xx from then on
/// (RFC 3261 §13.2.2.4); a NOTIFY may have come before that of its subscription (RFC 6665
/// §4.1.2.4).
fn confirms(traffic: &Traffic, item: &Item) -> bool {
    matches!(item.method, Method::Invite | Method::Subscribe)
        && (200..300).contains(&item.status())
        && traffic.request_of(item).is_some_and(|it| it.to_tag.is_empty())
}

fn within(
    item: &Item,
    dialogs: &BTreeMap<(usize, &str, &str), Dialog<'_>>,
    calls: &BTreeMap<(usize, &str), &Item>,
    found: &mut Found,
) {
    let key = (item.from, item.call_id.as_str(), item.to_tag.as_str());
    let Some(dialog) = dialogs.get(&key) else {
        if let Some(call) = calls.get(&(item.from, item.call_id.as_str()))
            && item.method != Method::Ack
        {
            let detail = format!("{} with To tag {}", item.label(), item.to_tag);
            found.against(&TAGS, item, &[call], detail);
        }
        return;
    };
    let route = uris(item, HeaderName::Route);
    if route != dialog.route_set {
        let show = |list: &[String]| {
            if list.is_empty() { "none".to_owned() } else { list.join(", ") }
        };
        let detail = format!("Route {}, route set {}", show(&route), show(&dialog.route_set));
        found.against(&ROUTE_SET, item, &[dialog.made_by], detail);
    }
    let Some(request) = item.as_request() else { return };
    let same = |text: &String| match (Uri::parse(text), request.uri()) {
        (Ok(known), Ok(uri)) => uri_eq(&known, &uri),
        _ => request.request_uri == *text,
    };
    if !dialog.targets.iter().any(same) {
        let last = dialog.targets.last().map_or("nothing", String::as_str);
        let detail = format!("{}, Contact was {last}", request.request_uri);
        found.against(&TARGET, item, &[dialog.made_by], detail);
    }
}

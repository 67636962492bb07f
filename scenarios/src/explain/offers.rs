//! Offers and answers of each dialog as the device sees them that made them (RFC 3264, RFC 6337).

use std::collections::BTreeMap;

use cscf_core::sip::{Method, Sdp};

use super::traffic::{Item, Kind, Traffic};

/// Which part a description plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Answer,
    Offer,
}

/// A session description and what it is to be held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described<'a> {
    pub item: &'a Item,
    pub sdp: &'a Sdp,
    pub part: Part,
    /// The offer that an answer answers.
    pub peer: Option<(&'a Item, &'a Sdp)>,
    /// The last description of the same side in this dialog.
    pub before: Option<(&'a Item, &'a Sdp)>,
}

/// What a dialog has agreed so far.
#[derive(Clone, Copy, Default)]
struct State<'a> {
    offer: Option<(&'a Item, &'a Sdp)>,
    own: Option<(&'a Item, &'a Sdp)>,
    theirs: Option<(&'a Item, &'a Sdp)>,
}

/// Every new description that a device made itself.
pub(super) fn described(traffic: &Traffic) -> Vec<Described<'_>> {
    let mut out = Vec::new();
    let ends = (0..traffic.devices.len())
        .filter(|it| matches!(traffic.device(*it).kind, Kind::Ue | Kind::Unknown));
    let mut by_device: BTreeMap<usize, Vec<&Item>> = ends.map(|it| (it, Vec::new())).collect();
    for item in traffic.fresh() {
        let relevant = item.sdp.is_some() || item.status() >= 300 || item.method == Method::Bye;
        for device in [item.from, item.to] {
            if relevant && let Some(items) = by_device.get_mut(&device) {
                items.push(item);
            }
        }
    }
    for (device, items) in by_device {
        let mut dialogs: BTreeMap<(&str, &str), State<'_>> = BTreeMap::new();
        for item in items {
            follow(traffic, device, item, &mut dialogs, &mut out);
        }
    }
    out
}

fn follow<'a>(
    traffic: &'a Traffic,
    device: usize,
    item: &'a Item,
    dialogs: &mut BTreeMap<(&'a str, &'a str), State<'a>>,
    out: &mut Vec<Described<'a>>,
) {
    if item.method == Method::Bye {
        // What comes under this Call-ID is another call.
        let call = item.call_id.as_str();
        let of_call = dialogs.range((call, "")..).map(|(key, _)| *key);
        let keys: Vec<(&str, &str)> = of_call.take_while(|(id, _)| *id == call).collect();
        for key in keys {
            dialogs.remove(&key);
        }
        return;
    }
    if !matches!(item.method, Method::Invite | Method::Update | Method::Prack | Method::Ack) {
        return;
    }
    let from_here = item.from == device;
    // The tag of the other end: that of To in a request of ours and in its responses.
    let ours = if item.status() == 0 { from_here } else { !from_here };
    let peer = if ours { item.to_tag.as_str() } else { item.from_tag.as_str() };
    let start = dialogs.get(&(item.call_id.as_str(), "")).copied();
    let state = dialogs.entry((&item.call_id, peer)).or_insert_with(|| start.unwrap_or_default());
    if item.status() >= 300 {
        // What was offered in the request has no answer.
        if let Some(request) = item.request
            && state.offer.is_some_and(|(offer, _)| offer.index == request)
        {
            state.offer = None;
        }
        return;
    }
    let Some(sdp) = &item.sdp else { return };
    let before = if from_here { state.own } else { state.theirs };
    // The same again in a later response to the same INVITE is the same.
    if before
        .is_some_and(|(last, known)| known == sdp && (item.status() > 0 || last.cseq == item.cseq))
    {
        return;
    }
    let answers = state.offer.filter(|(offer, _)| (offer.from == device) != from_here);
    let (part, peer) = match answers {
        Some(offer) => (Part::Answer, Some(offer)),
        None => (Part::Offer, None),
    };
    state.offer = if part == Part::Offer { Some((item, sdp)) } else { None };
    if from_here {
        state.own = Some((item, sdp));
    } else {
        state.theirs = Some((item, sdp));
    }
    if from_here && (item.own || traffic.is_ue(device)) {
        out.push(Described { item, sdp, part, peer, before });
    }
}

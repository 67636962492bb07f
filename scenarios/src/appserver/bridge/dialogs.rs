//! The dialogs of a bridged call: which of the near side stands for which of the far side, and what
//! passes between them (RFC 3261 §12.2, RFC 3262; TS 24.229 §5.7.5.2.2).

use cscf_core::clause::{own, rfc3261, ts24229};
use cscf_core::dialog::{Dialog, DialogId};
use cscf_core::role::{Action, Actions, Env, Incoming, NextHop, OwnAnswered};
use cscf_core::sip::{CSeq, HeaderName, Method, RAck, Request, Response};
use cscf_core::time::Duration;

use super::super::{AppServer, ServerTimer};
use super::messages::copy_end_to_end;
use super::{Bridge, Numbers, Pair, Relay, final_of, originate};

/// Early dialogs of a call; further forks of the far side are not told apart.
const PAIRS_MAX: usize = 16;
/// Requests inside a call that may wait for their answers.
const RELAYS_MAX: usize = 64;
/// INVITEs of a pair whose numbers are remembered, for late ACK and PRACK.
const INVITES_MAX: usize = 4;

impl Pair {
    fn is_of(&self, id: &DialogId) -> bool {
        self.near.id == *id || self.far.id == *id
    }

    fn numbers(&mut self, from_near: bool, came: u32) -> Option<&mut Numbers> {
        self.invites.iter_mut().find(|it| it.from_near == from_near && it.came == came)
    }

    fn remember(&mut self, numbers: Numbers) {
        if self.invites.len() >= INVITES_MAX {
            self.invites.remove(0);
        }
        self.invites.push(numbers);
    }
}

impl Bridge {
    fn pair_mut(&mut self, id: &DialogId) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.is_of(id))
    }
}

impl AppServer {
    /// A response to the first INVITE of a call.
    pub(super) fn on_first_response(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) {
        let response = &answered.response;
        if response.status >= 300 {
            return self.on_first_failure(env, number, response, out);
        }
        let pair = self.pair_for(env, number, response);
        let Some(bridge_tag) = self.bridges.calls.get(&number).map(|it| it.tag.clone()) else {
            return;
        };
        let near_tag = pair.as_ref().map_or(bridge_tag, |id| id.local_tag.clone());
        if response.is_success() && self.acknowledge_again(number, pair.as_ref(), out) {
            return;
        }
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        if response.is_success() {
            bridge.answered = true;
            bridge.idle = idle_of(response).unwrap_or(bridge.idle);
            env.note(ts24229("5.7.5.2.1"), || "the other leg is answered".to_owned());
            out.push(Action::State("call up".to_owned()));
            if let Some(pair) = pair.as_ref().and_then(|id| bridge.pair_mut(id)) {
                pair.confirmed = true;
                pair.far.confirm(response);
            }
        }
        let (context, near) = (bridge.context, bridge.near.clone());
        let response = self.near_response(&near, response, &near_tag);
        let success = response.is_success();
        if let Some(pair) = pair.as_ref()
            && success
            && let Some(bridge) = self.bridges.calls.get_mut(&number)
            && let Some(pair) = bridge.pair_mut(pair)
        {
            pair.near.confirm(&response);
        }
        out.push(Action::Reply { context, response: Box::new(response) });
    }

    /// The pair for a response that has a tag and a contact, made if it is new.
    fn pair_for(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        response: &Response,
    ) -> Option<DialogId> {
        let bridge = self.bridges.calls.get_mut(&number)?;
        let far_id = DialogId::of_response(response);
        if let Some(pair) = bridge.pair_mut(&far_id) {
            return Some(pair.near.id.clone());
        }
        let (_, request) = bridge.far.as_ref()?;
        let far = Dialog::at_caller(request, response).ok()?;
        if bridge.pairs.len() >= PAIRS_MAX {
            env.refuse(own("limits"), || format!("{PAIRS_MAX} dialogs of a call are told apart"));
            return None;
        }
        let near = Dialog::at_callee(&bridge.near, &env.ids.tag()).ok()?;
        let cseq = |request: &Request| request.cseq().map_or(1, |cseq| cseq.number);
        let first =
            Numbers { from_near: true, came: cseq(&bridge.near), sent: cseq(request), ack: None };
        let id = near.id.clone();
        self.bridges.dialogs.insert(near.id.clone(), number);
        self.bridges.dialogs.insert(far.id.clone(), number);
        bridge.pairs.push(Pair { near, far, invites: vec![first], confirmed: false });
        Some(id)
    }

    /// A 2xx that comes again after its ACK was sent has that ACK again.
    fn acknowledge_again(
        &mut self,
        number: u32,
        pair: Option<&DialogId>,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let bridge = self.bridges.calls.get_mut(&number);
        let pair = bridge.zip(pair).and_then(|(bridge, id)| bridge.pair_mut(id));
        let ack = pair
            .and_then(|pair| pair.invites.first())
            .and_then(|it| (it.from_near).then(|| it.ack.clone()).flatten());
        let Some(ack) = ack else { return false };
        out.push(Action::SendAck { request: Box::new(ack), to: NextHop::AsRouted });
        true
    }

    fn on_first_failure(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        response: &Response,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(bridge) = self.bridges.calls.get(&number) else { return };
        if bridge.answered {
            return;
        }
        let mut response = response.clone();
        if bridge.cancelled && response.status == 408 {
            response.status = 487;
            response.reason = cscf_core::sip::reason_phrase(487).into();
        }
        let tag = match bridge.pairs.as_slice() {
            [only] => only.near.id.local_tag.clone(),
            _ => bridge.tag.clone(),
        };
        env.note(ts24229("5.7.5.2.1"), || format!("the other leg failed: {}", response.status));
        let (context, near) = (bridge.context, bridge.near.clone());
        let response = self.near_response(&near, &response, &tag);
        out.push(Action::Reply { context, response: Box::new(response) });
        self.forget_call(number, out);
    }

    /// A request inside a dialog, or an ACK; says whether it is one of a bridge.
    pub(in super::super) fn on_bridged(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let request = &incoming.request;
        let id = DialogId::of_request(request);
        let Some(number) = self.bridges.dialogs.get(&id).copied() else { return false };
        self.touch(env, number, out);
        if request.method == Method::Ack {
            self.pass_ack(number, &id, request, out);
        } else if let Err(status) = self.pass_within(env, number, incoming, out) {
            self.answer(incoming, request.reply(status), out);
        }
        true
    }

    fn pass_ack(
        &mut self,
        number: u32,
        id: &DialogId,
        ack: &Request,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        let Some(pair) = bridge.pair_mut(id) else { return };
        let from_near = pair.near.id == *id;
        let came = ack.cseq().map_or(0, |cseq| cseq.number);
        let Some(sent) = pair.numbers(from_near, came).map(|it| it.sent) else { return };
        let other = if from_near { &pair.far } else { &pair.near };
        let mut request = other.ack(sent);
        request.headers.remove(HeaderName::ContentLength);
        copy_end_to_end(&ack.headers, &mut request.headers);
        request.headers.push(HeaderName::ContentLength, &ack.body.len().to_string());
        request.body = ack.body.clone();
        if let Some(numbers) = pair.numbers(from_near, came) {
            numbers.ack = Some(request.clone());
        }
        out.push(Action::SendAck { request: Box::new(request), to: NextHop::AsRouted });
    }

    /// Passes a request inside a dialog on; the status to refuse it with otherwise.
    fn pass_within(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> Result<(), u16> {
        let request = &incoming.request;
        let id = DialogId::of_request(request);
        let contact = format!("<{}>", self.uri);
        let forwards = request.max_forwards().unwrap_or(70).checked_sub(1).ok_or(483_u16)?;
        let tag = self.next_tag();
        let bridge = self.bridges.calls.get_mut(&number).ok_or(481_u16)?;
        if bridge.relays.len() >= RELAYS_MAX {
            env.refuse(own("limits"), || format!("{RELAYS_MAX} requests of a call wait"));
            return Err(503);
        }
        let pair = bridge.pair_mut(&id).ok_or(481_u16)?;
        let from_near = pair.near.id == id;
        let target_refresh = matches!(request.method, Method::Invite | Method::Update);
        let (this, that) = match from_near {
            true => (&mut pair.near, &mut pair.far),
            false => (&mut pair.far, &mut pair.near),
        };
        this.take_cseq(request).map_err(|order| {
            env.refuse(rfc3261("12.2.2"), || order.to_string());
            500_u16
        })?;
        if target_refresh {
            this.refresh_target(&request.headers);
        }
        let mut passed = that.request(request.method.clone());
        let sent = passed.cseq().map_or(0, |cseq| cseq.number);
        let came = request.cseq().map_or(0, |cseq| cseq.number);
        let headers = &mut passed.headers;
        headers.remove(HeaderName::ContentLength);
        headers.set(HeaderName::MaxForwards, &forwards.to_string());
        if request.headers.contains(HeaderName::Contact) {
            headers.push(HeaderName::Contact, &contact);
        }
        if let Some(rack) = request.headers.get(HeaderName::RAck) {
            headers.push(HeaderName::RAck, &mapped(pair, from_near, rack));
        }
        copy_end_to_end(&request.headers, headers);
        headers.push(HeaderName::ContentLength, &request.body.len().to_string());
        passed.body = request.body.clone();
        if request.method == Method::Invite {
            pair.remember(Numbers { from_near, came, sent, ack: None });
        }
        let relay = Relay {
            from_near,
            pair: pair.near.id.clone(),
            context: incoming.context,
            request: request.clone(),
            sent,
        };
        bridge.relays.insert(tag, relay);
        self.bridges.tags.insert(tag, number);
        self.charge_request(&mut passed.headers);
        originate(tag, passed, NextHop::AsRouted, out);
        Ok(())
    }

    /// The answer to a request that was passed on inside a dialog.
    pub(super) fn on_relayed_response(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) {
        let tag = answered.tag;
        let response = final_of(answered);
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        let Some(relay) = bridge.relays.get(&tag) else { return };
        let (from_near, sent, id) = (relay.from_near, relay.sent, relay.pair.clone());
        let (context, request) = (relay.context, relay.request.clone());
        let invite = request.method == Method::Invite;
        let success = response.is_success();
        if let Some(pair) = bridge.pair_mut(&id) {
            if success && matches!(request.method, Method::Invite | Method::Update) {
                let that = if from_near { &mut pair.far } else { &mut pair.near };
                that.refresh_target(&response.headers);
            }
            let again = pair.invites.iter().find(|it| it.from_near == from_near && it.sent == sent);
            if let Some(ack) = again.and_then(|it| it.ack.clone())
                && invite
                && success
            {
                return out.push(Action::SendAck { request: Box::new(ack), to: NextHop::AsRouted });
            }
        }
        if success {
            bridge.idle = idle_of(&response).unwrap_or(bridge.idle);
        }
        // The 2xx to an INVITE may come again; what was passed on before is no longer needed.
        if response.status >= 200 {
            if !(invite && success) {
                bridge.relays.remove(&tag);
                self.bridges.tags.remove(&tag);
            }
            self.drop_old_invites(number, tag);
        }
        let near_tag = request.to_tag().unwrap_or_default().to_owned();
        let passed = self.near_response(&request, &response, &near_tag);
        let over = request.method == Method::Bye && passed.status >= 200;
        out.push(Action::Reply { context, response: Box::new(passed) });
        if over {
            self.end_pair(env, number, &id, out);
        }
    }

    /// Forgets re-INVITEs of a call that were answered before this one.
    fn drop_old_invites(&mut self, number: u32, newest: cscf_core::role::OwnTag) {
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        let old: Vec<_> = bridge
            .relays
            .iter()
            .filter(|(tag, relay)| **tag < newest && relay.request.method == Method::Invite)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in old {
            bridge.relays.remove(&tag);
            self.bridges.tags.remove(&tag);
        }
    }

    fn end_pair(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        id: &DialogId,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        if let Some(at) = bridge.pairs.iter().position(|pair| pair.is_of(id)) {
            let pair = bridge.pairs.remove(at);
            self.bridges.dialogs.remove(&pair.near.id);
            self.bridges.dialogs.remove(&pair.far.id);
        }
        if bridge.answered && !bridge.pairs.iter().any(|pair| pair.confirmed) {
            env.note(ts24229("5.7.5.2.2"), || "both legs are over".to_owned());
            out.push(Action::State("call over".to_owned()));
            self.forget_call(number, out);
        }
    }
}

/// A RAck with the number that the INVITE has on the other side.
fn mapped(pair: &mut Pair, from_near: bool, rack: &str) -> String {
    let Ok(rack) = RAck::parse(rack) else { return rack.to_owned() };
    let number = pair.numbers(from_near, rack.cseq.number).map(|it| it.sent);
    let number = number.unwrap_or(rack.cseq.number);
    RAck { rseq: rack.rseq, cseq: CSeq::new(number, rack.cseq.method) }.to_string()
}

/// How long a call may be without a message after this 2xx: twice its session interval.
fn idle_of(response: &Response) -> Option<Duration> {
    let text = response.headers.get(HeaderName::SessionExpires)?;
    let seconds: u32 = text.split(';').next()?.trim().parse().ok()?;
    Some(Duration::from_secs(u64::from(seconds).max(90) * 2))
}

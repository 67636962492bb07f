//! The subscription of an application server to the reg event of a user (TS 24.229 §5.7.1.1,
//! RFC 3680).

use cscf_core::clause::{rfc3261, rfc6665, ts24229};
use cscf_core::dialog::Dialog;
use cscf_core::role::{
    Action, Actions, Env, Incoming, NextHop, OwnAnswered, OwnTag, RequestKind, Side,
};
use cscf_core::sip::{ChargingVector, Event, HeaderName, Ioi, Method, Request, SubscriptionState};
use cscf_core::time::Duration;
use cscf_core::ua::timer_n;
use roxmltree::Document;

use super::{AppServer, ServerTimer, key_of};

/// Longest document read, in bytes.
const DOCUMENT_MAX: usize = 65_535;

/// A subscription, and the SUBSCRIBE that makes or refreshes it.
#[derive(Debug)]
pub(super) struct Subscription {
    request: Request,
    call_id: String,
    tag: String,
    icid: String,
    expires: Duration,
    dialog: Option<Dialog>,
    /// The version of the last document taken.
    version: Option<u32>,
}

impl AppServer {
    /// Subscribes, unless that is done already.
    pub(super) fn follow(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        expires: Duration,
        out: &mut Actions<ServerTimer>,
    ) {
        let (us, host) = (self.uri.clone(), self.domain.clone());
        let Some(user) = self.users.get_mut(key).filter(|user| user.subscription.is_none()) else {
            return;
        };
        let (tag, call_id) = (env.ids.tag(), env.ids.call_id(&host));
        let mut request = Request::new(Method::Subscribe, user.identity.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::Route, &format!("<{};lr>", user.scscf));
        headers.push(HeaderName::From, &format!("<{us}>;tag={tag}"));
        headers.push(HeaderName::To, &format!("<{}>", user.identity));
        headers.push(HeaderName::CallId, &call_id);
        headers.push(HeaderName::CSeq, "1 SUBSCRIBE");
        let icid = env.ids.token(16);
        user.subscription = Some(Subscription {
            request,
            call_id,
            tag,
            icid,
            expires,
            dialog: None,
            version: None,
        });
        env.note(ts24229("5.7.1.1"), || format!("follows the registration of {key}"));
        self.send_subscribe(env, key, out);
    }

    /// Sends the SUBSCRIBE; from now on a NOTIFY is awaited (RFC 6665 §4.1.2.4).
    fn send_subscribe(&mut self, env: &Env<'_>, key: &str, out: &mut Actions<ServerTimer>) {
        let Some(user) = self.users.get_mut(key) else { return };
        let Some(subscription) = &mut user.subscription else { return };
        let us = &self.uri;
        let headers = &mut subscription.request.headers;
        headers.push(HeaderName::Contact, &format!("<{us}>"));
        headers.push(HeaderName::PAssertedIdentity, &format!("<{us}>"));
        let mut vector = ChargingVector::new(&subscription.icid);
        vector.set_orig_ioi(Some(&Ioi::Type3((&*self.domain).into())));
        headers.push(HeaderName::PChargingVector, &vector.to_string());
        headers.push(HeaderName::Event, "reg");
        headers.push(HeaderName::Accept, "application/reginfo+xml");
        headers.push(HeaderName::Expires, &subscription.expires.as_secs().to_string());
        headers.set(HeaderName::ContentLength, "0");
        let request = Box::new(subscription.request.clone());
        self.sent += 1;
        let tag = OwnTag(self.sent);
        self.pending.insert(tag, key.to_owned());
        let timer = ServerTimer::Notify(key.to_owned());
        out.push(Action::SetTimer { timer, at: env.now + timer_n(self.t1) });
        out.push(Action::Originate {
            tag,
            request,
            to: NextHop::AsRouted,
            within: None,
            side: Side::Core,
        });
    }

    /// Refreshes a subscription in its dialog, or makes a new one.
    pub(super) fn refresh(&mut self, env: &mut Env<'_>, key: &str, out: &mut Actions<ServerTimer>) {
        let Some(user) = self.users.get_mut(key) else { return };
        let dialog = user.subscription.as_mut().and_then(|its| its.dialog.as_mut());
        let Some(request) = dialog.map(|dialog| dialog.request(Method::Subscribe)) else {
            let expires =
                user.subscription.take().map_or(Duration::from_secs(3600), |its| its.expires);
            return self.follow(env, key, expires, out);
        };
        if let Some(subscription) = &mut user.subscription {
            subscription.request = request;
        }
        self.send_subscribe(env, key, out);
    }

    /// No NOTIFY came in time: there is no subscription (RFC 6665 §4.1.2.4). The next third-party
    /// REGISTER makes another one.
    pub(super) fn on_notify_timer(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        out: &mut Actions<ServerTimer>,
    ) {
        let user = self.users.get_mut(key);
        if user.and_then(|user| user.subscription.take()).is_none() {
            return;
        }
        env.refuse(rfc6665("4.1.2.4"), || {
            format!("timer N: no NOTIFY followed the SUBSCRIBE for {key}, which has failed")
        });
        out.push(Action::ClearTimer { timer: ServerTimer::Subscription(key.to_owned()) });
        out.push(Action::State(format!("subscription failed {} without NOTIFY", self.name(key))));
    }

    pub(super) fn on_subscribe_response(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) {
        let response = &answered.response;
        if response.is_provisional() {
            return;
        }
        let Some(key) = self.pending.remove(&answered.tag) else { return };
        let name = self.name(&key).into_owned();
        let Some(user) = self.users.get_mut(&key) else { return };
        let gone = user.gone;
        let Some(subscription) = &mut user.subscription else { return };
        if response.call_id() != Some(subscription.call_id.as_str()) {
            return;
        }
        if !response.is_success() {
            let status = response.status;
            let lost = subscription.dialog.is_some() && status == 481;
            let expires = subscription.expires;
            user.subscription = None;
            out.push(Action::ClearTimer { timer: ServerTimer::Notify(key.clone()) });
            env.refuse(ts24229("5.7.1.1"), || {
                format!("the registration of {key} cannot be followed: {status}")
            });
            out.push(Action::State(format!("subscription failed {name} {status}")));
            if lost {
                self.follow(env, &key, expires, out);
            }
            return;
        }
        let first = subscription.dialog.is_none();
        match &mut subscription.dialog {
            Some(dialog) => dialog.refresh_target(&response.headers),
            None => match Dialog::at_caller(&subscription.request, response) {
                Ok(dialog) => subscription.dialog = Some(dialog),
                Err(fault) => env.refuse(rfc3261("12.1.2"), || format!("no dialog: {fault}")),
            },
        }
        let granted = Duration::from_secs(response.expires().unwrap_or(0).into());
        if !granted.is_zero() && !gone {
            let at = env.now + granted / 2;
            out.push(Action::SetTimer { timer: ServerTimer::Subscription(key), at });
        }
        if first {
            out.push(Action::State(format!("subscribed {name}")));
        }
    }

    /// A NOTIFY; its dialog may not be known yet, when it overtakes the 200 (RFC 6665 §4.1.2.4).
    pub(super) fn on_notify(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        let ours = |subscription: &&mut Subscription| {
            request.call_id() == Some(subscription.call_id.as_str())
                && request.to_tag() == Some(subscription.tag.as_str())
        };
        // The notifier speaks of whom we subscribed to: its From is our To.
        let key = request.from_addr().ok().and_then(|from| key_of(&from.uri.to_string()));
        let user = key.as_ref().and_then(|key| self.users.get_mut(key));
        let subscription = user.and_then(|user| user.subscription.as_mut()).filter(ours);
        let event = request.headers.get(HeaderName::Event).map(Event::parse);
        let is_reg = event.is_some_and(|event| event.is_ok_and(|event| event.token == "reg"));
        let (Some(key), Some(subscription)) = (key, subscription) else {
            env.refuse(rfc6665("4.1.3"), || "NOTIFY of no subscription of ours".to_owned());
            return self.answer(incoming, request.reply(481), out);
        };
        if !is_reg || incoming.kind != RequestKind::InDialog {
            env.refuse(rfc6665("8.2.1"), || "NOTIFY of an event never subscribed to".to_owned());
            return self.answer(incoming, request.reply(489), out);
        }
        if let Some(dialog) = &mut subscription.dialog {
            if let Err(order) = dialog.take_cseq(request) {
                env.refuse(rfc3261("12.2.2"), || order.to_string());
                return self.answer(incoming, request.reply(500), out);
            }
            dialog.refresh_target(&request.headers);
        }
        out.push(Action::ClearTimer { timer: ServerTimer::Notify(key.clone()) });
        let told = told(&request.body, &key);
        let news = match &told {
            Ok((version, _)) => subscription.version.is_none_or(|last| *version > last),
            Err(_) => false,
        };
        if let Ok((version, _)) = &told {
            subscription.version = subscription.version.max(Some(*version));
        }
        let state = request.headers.get(HeaderName::SubscriptionState);
        let state = state.and_then(|text| SubscriptionState::parse(text).ok());
        if state.is_some_and(|state| state.token == "terminated") {
            match self.users.get_mut(&key) {
                Some(user) if user.gone => self.forget(&key, out),
                Some(user) => user.subscription = None,
                None => {}
            }
            out.push(Action::ClearTimer { timer: ServerTimer::Subscription(key.clone()) });
        }
        self.answer(incoming, request.reply(200), out);
        let name = self.name(&key).into_owned();
        match told {
            Ok((_, state)) if news => {
                self.heed_sms(env, &key, &request.body, out);
                out.push(Action::State(format!("notified {name} {state}")));
            }
            Ok(_) => env.note(ts24229("5.7.1.1"), || "reginfo is older than the last".to_owned()),
            Err(why) => env.refuse(ts24229("5.7.1.1"), || format!("reginfo: {why}")),
        }
    }
}

/// The version of a reginfo document, and the state of an identity in it (RFC 3680 §5).
fn told(body: &[u8], key: &str) -> Result<(u32, String), String> {
    if body.len() > DOCUMENT_MAX {
        return Err(format!("longer than {DOCUMENT_MAX} bytes"));
    }
    let text = String::from_utf8_lossy(body);
    let document = Document::parse(&text).map_err(|fault| fault.to_string())?;
    let root = document.root_element();
    let version = root.attribute("version").and_then(|text| text.trim().parse().ok());
    let version = version.ok_or_else(|| "no version".to_owned())?;
    let of_user = root.children().find(|node| {
        node.tag_name().name() == "registration"
            && node.attribute("aor").and_then(key_of).as_deref() == Some(key)
    });
    let state = of_user.and_then(|node| node.attribute("state"));
    state.map(|state| (version, state.to_owned())).ok_or_else(|| format!("nothing of {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_identity_is_found() {
        let body = "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"4\" state=\"full\">\
             <registration aor=\"tel:+15550101\" id=\"a\" state=\"init\"/>\
             <registration aor=\"sip:alice@IMS.example\" id=\"b\" state=\"terminated\"/></reginfo>";
        let state = told(body.as_bytes(), "sip:alice@ims.example");
        assert_eq!(state, Ok((4, "terminated".to_owned())));
        assert!(told(body.as_bytes(), "sip:bob@ims.example").is_err());
        for wrong in [&b""[..], b"<reginfo/>", b"\xff<a", b"<!DOCTYPE a><reginfo version=\"1\"/>"] {
            assert!(told(wrong, "sip:alice@ims.example").is_err());
        }
    }
}

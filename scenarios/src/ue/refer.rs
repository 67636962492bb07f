//! Transfers: REFER in the dialog of a call or in one of its own (RFC 3515, RFC 4488, RFC 4538),
//! and what the one that is referred tells about its progress.

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::clause::{rfc3261, rfc3515, rfc4538, rfc6665};
use cscf_core::dialog::Dialog;
use cscf_core::role::{Action, Actions, ContextId, Env, Incoming};
use cscf_core::sip::{
    DialogRef, Event, HeaderName, Headers, Method, NameAddr, Request, Response, SubscriptionState,
    Tagged, Uri,
};
use cscf_core::ua::{RequestId, SessionPhase, media_type};

use super::calls::Start;
use super::config::Refers;
use super::headers::dialled;
use super::replaces::is_one_of;
use super::{CallOptions, Transfer, Ue, UeTimer};

/// Calls made for somebody else at a time.
const REFERRALS_MAX: usize = 16;
/// How long a subscription made by REFER lasts, in seconds: as long as a call may ring.
const LASTS: u32 = 180;
/// The event package of REFER, the only one of which this UE notifies.
const PACKAGE: &str = "refer";
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// What a UE knows of transfers, its own and others'.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// Calls that we make because somebody told us to, by their number.
    referrals: BTreeMap<u16, Referral>,
    /// Our own REFERs inside calls that are not answered yet.
    asked: BTreeMap<(u16, RequestId), bool>,
    /// Our calls whose other end was told to call somebody: a NOTIFY may come.
    expected: BTreeSet<u16>,
}

impl Transfers {
    /// Forgets what hung on a call that is gone: its dialog hears of nothing any more.
    pub(super) fn forget(&mut self, number: u16) {
        self.asked.retain(|(call, _), _| *call != number);
        self.expected.remove(&number);
    }
}

/// A call that we make for somebody.
#[derive(Debug)]
struct Referral {
    to: Listener,
    /// The CSeq of the REFER, which tells one subscription of a dialog from another.
    id: u32,
}

/// Who hears how it goes.
#[derive(Debug)]
enum Listener {
    /// The other end of this call.
    Call(u16),
    /// The other end of a dialog that the REFER made.
    Dialog(Box<Dialog>),
    /// Nobody (RFC 4488).
    Nobody,
}

/// What a REFER asks for.
struct Wish {
    target: String,
    headers: Vec<(HeaderName, String)>,
    quiet: bool,
    id: u32,
}

impl Ue {
    /// Transfers the other end of a call to somebody.
    pub(super) fn transfer(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        how: &Transfer,
        out: &mut Actions<UeTimer>,
    ) {
        let target = dialled(target, &self.config.domain);
        let Some(number) = self.meant(&[SessionPhase::Talking]) else {
            return out.push(Action::State("no call".to_owned()));
        };
        let Some(refer_to) = self.refer_to(&target, &how.replaces) else {
            return out.push(Action::State("no call".to_owned()));
        };
        let identity = self.identity();
        let quiet = how.quiet;
        let contact = self.session_contact();
        let dress = move |headers: &mut Headers| {
            headers.set(HeaderName::Contact, &contact);
            headers.push(HeaderName::ReferTo, &refer_to);
            headers.push(HeaderName::ReferredBy, &format!("<{identity}>"));
            headers.push(HeaderName::Supported, "norefersub");
            if quiet {
                headers.push(HeaderName::ReferSub, "false");
            }
        };
        env.note(rfc3515("2.4.1"), || format!("asks the other end to call {target}"));
        if how.outside {
            return self.refer_outside(env, number, dress, out);
        }
        let mut asked = None;
        self.drive(env, number, out, |session, turn| {
            asked = session.ask(turn, Method::Refer, |refer| dress(&mut refer.headers));
        });
        if let Some(id) = asked {
            self.transfers.asked.insert((number, id), quiet);
        }
    }

    /// REFER in a dialog of its own, with that of the call as its passport (RFC 4538).
    fn refer_outside(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        dress: impl FnOnce(&mut Headers),
        out: &mut Actions<UeTimer>,
    ) {
        let Some(call) = self.calls.get(&number) else { return };
        let Some(id) = call.session().dialog_id() else { return };
        let target_dialog =
            format!("{};local-tag={};remote-tag={}", id.call_id, id.local_tag, id.remote_tag);
        let peer = call.peer().to_owned();
        let mut refer = self.initial_request(env.ids, Method::Refer, &peer);
        dress(&mut refer.headers);
        refer.headers.push(HeaderName::TargetDialog, &target_dialog);
        refer.headers.push(HeaderName::Require, "tdialog");
        self.transfers.expected.insert(number);
        self.watch_request(env, refer, out);
    }

    /// The value of Refer-To; `None` when the call to be replaced is none.
    fn refer_to(&self, target: &str, replaces: &[String]) -> Option<String> {
        if replaces.is_empty() {
            return Some(format!("<{target}>"));
        }
        let call = self.newest(|call| {
            call.session().phase() == SessionPhase::Talking && is_one_of(call.peer(), replaces)
        });
        let call = self.calls.get(&call?)?;
        let id = call.session().dialog_id()?;
        // From the third party's point of view: its tag is To (RFC 3891 §3).
        let named = format!("{};to-tag={};from-tag={}", id.call_id, id.remote_tag, id.local_tag);
        Some(format!("<{target}?Replaces={}>", escaped(&named)))
    }

    /// The answer to a REFER of ours inside a call.
    pub(super) fn on_transfer_answered(
        &mut self,
        env: &mut Env<'_>,
        key: (u16, RequestId),
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(quiet) = self.transfers.asked.remove(&key) else { return };
        if !response.is_success() {
            env.note(rfc3515("2.4.2"), || format!("{}: no transfer", response.status));
            return out.push(Action::State(format!("transfer refused {}", response.status)));
        }
        out.push(Action::State("transfer accepted".to_owned()));
        let agreed = response.headers.get(HeaderName::ReferSub).is_some_and(|it| it == "false");
        if !(quiet && agreed) {
            self.transfers.expected.insert(key.0);
        }
    }

    /// A request in the dialog of a call that is not about the session.
    pub(super) fn on_asked(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        context: ContextId,
        request: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        match request.method {
            Method::Refer => self.on_refer_inside(env, number, context, request, out),
            Method::Notify => self.on_refer_notify(env, number, context, request, out),
            _ => {
                let response = refuse_event(env, request);
                self.answer(context, response, out);
            }
        }
    }

    fn answer(&self, context: ContextId, mut response: Response, out: &mut Actions<UeTimer>) {
        self.push_access(&mut response.headers);
        out.push(Action::Reply { context, response: Box::new(response) });
    }

    fn on_refer_inside(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        context: ContextId,
        request: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        let wish = match self.wish(env, request) {
            Ok(wish) => wish,
            Err(response) => return self.answer(context, response, out),
        };
        let accepted = self.accepted(request, wish.quiet);
        self.answer(context, accepted, out);
        let to = if wish.quiet { Listener::Nobody } else { Listener::Call(number) };
        self.call_for(env, to, wish, out);
    }

    /// REFER outside the dialogs of calls: a dialog of its own (RFC 3515 §2.4.4).
    pub(super) fn on_refer_outside(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        if !self.is_about_a_call(request) {
            env.refuse(rfc4538("4"), || "403: Target-Dialog names no call of ours".to_owned());
            return self.reply(incoming, request.reply(403), out);
        }
        let wish = match self.wish(env, request) {
            Ok(wish) => wish,
            Err(response) => return self.reply(incoming, response, out),
        };
        let tag = env.ids.tag();
        let mut accepted = self.accepted(request, wish.quiet);
        accepted.set_to_tag(&tag);
        let to = match Dialog::at_callee(request, &tag) {
            _ if wish.quiet => Listener::Nobody,
            Ok(mut dialog) => {
                dialog.confirm(&accepted);
                Listener::Dialog(Box::new(dialog))
            }
            Err(error) => {
                env.refuse(rfc3261("12.1.1"), || format!("400: {error}"));
                return self.reply(incoming, request.reply(400), out);
            }
        };
        self.reply(incoming, accepted, out);
        self.call_for(env, to, wish, out);
    }

    /// Whether the dialog that Target-Dialog names is a call of ours; true without one, for then
    /// the user decides as about every other REFER (RFC 4538 §4).
    fn is_about_a_call(&self, request: &Request) -> bool {
        let Some(value) = request.headers.get(HeaderName::TargetDialog) else { return true };
        let Ok(named) = DialogRef::parse(value) else { return false };
        let fits = |tag: &str, name: &str| named.params.get(name) == Some(tag);
        let found = self.newest(|call| {
            call.session().dialog_id().is_some_and(|id| {
                // The sender's local tag is our remote one.
                id.call_id == named.call_id
                    && fits(&id.remote_tag, "local-tag")
                    && fits(&id.local_tag, "remote-tag")
            })
        });
        found.is_some()
    }

    /// 202, with what makes or refreshes the dialog.
    fn accepted(&self, request: &Request, quiet: bool) -> Response {
        let mut response = request.reply(202);
        response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        response.headers.push(HeaderName::Contact, &self.session_contact());
        if quiet {
            response.headers.push(HeaderName::Supported, "norefersub");
            response.headers.push(HeaderName::ReferSub, "false");
        }
        response
    }

    /// What a REFER asks for, or the refusal (RFC 3515 §2.4.2).
    fn wish(&self, env: &mut Env<'_>, request: &Request) -> Result<Wish, Response> {
        let refuse = |env: &mut Env<'_>, status: u16, why: &str| {
            env.refuse(rfc3515("2.4.2"), || format!("{status}: {why}"));
            Err(request.reply(status))
        };
        let mut fields = request.headers.fields(HeaderName::ReferTo);
        let (first, second) = (fields.next(), fields.next());
        let (Some(first), None) = (first, second) else {
            return refuse(env, 400, "there must be exactly one Refer-To");
        };
        let Ok(address) = NameAddr::parse(first.value()) else {
            return refuse(env, 400, "Refer-To is unreadable");
        };
        match self.config.refers {
            Refers::Accepts => {}
            Refers::Declines => return refuse(env, 603, "the user does not want to"),
            Refers::Forbids => return refuse(env, 403, "nobody may send this UE elsewhere"),
        }
        if self.transfers.referrals.len() >= REFERRALS_MAX {
            return refuse(env, 480, "too many calls are made for others already");
        }
        let mut uri = address.uri;
        let mut headers = Vec::new();
        let method = uri.param("method").unwrap_or("INVITE");
        if !method.eq_ignore_ascii_case("INVITE") {
            return refuse(env, 501, "only a call can be asked for");
        }
        let _ = uri.remove_param("method");
        if let Uri::Sip(sip) = &mut uri {
            let replaces =
                sip.header_pairs().find(|(name, _)| name.eq_ignore_ascii_case("Replaces"));
            if let Some((_, value)) = replaces {
                headers.push((HeaderName::Replaces, value.into_owned()));
                headers.push((HeaderName::Require, "replaces".to_owned()));
            }
            sip.clear_headers();
        }
        if let Some(by) = request.headers.get(HeaderName::ReferredBy) {
            headers.push((HeaderName::ReferredBy, by.to_owned()));
        }
        let quiet = request.headers.get(HeaderName::ReferSub).is_some_and(|text| {
            Tagged::parse(text).is_ok_and(|it| it.token.eq_ignore_ascii_case("false"))
        });
        let id = request.cseq().map_or(0, |cseq| cseq.number);
        Ok(Wish { target: uri.to_string(), headers, quiet, id })
    }

    /// Makes the call that was asked for, and says that it does.
    fn call_for(
        &mut self,
        env: &mut Env<'_>,
        to: Listener,
        wish: Wish,
        out: &mut Actions<UeTimer>,
    ) {
        env.note(rfc3515("2.4.2"), || format!("202: calls {} as asked", wish.target));
        out.push(Action::State("referred".to_owned()));
        let number = self.next_call();
        let mut referral = Referral { to, id: wish.id };
        self.notify(env, &mut referral, None, out);
        self.transfers.referrals.insert(number, referral);
        let start = Start { options: CallOptions::default(), headers: wish.headers };
        self.begin_call(env, number, &wish.target, start, out);
    }

    /// A call has come to its final response: who asked for it hears of that.
    pub(super) fn tell_referrer(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        status: u16,
        out: &mut Actions<UeTimer>,
    ) {
        if let Some(mut referral) = self.transfers.referrals.remove(&number) {
            self.notify(env, &mut referral, Some(status), out);
        }
    }

    /// NOTIFY of the progress: 100 at once, the final status at the end (RFC 3515 §2.4.5).
    fn notify(
        &mut self,
        env: &mut Env<'_>,
        referral: &mut Referral,
        status: Option<u16>,
        out: &mut Actions<UeTimer>,
    ) {
        let (contact, id) = (self.session_contact(), referral.id);
        let dress = |notify: &mut Request| {
            let line = status.unwrap_or(100);
            let state = match status {
                None => format!("active;expires={LASTS}"),
                Some(_) => "terminated;reason=noresource".to_owned(),
            };
            notify.headers.set(HeaderName::Contact, &contact);
            notify.headers.push(HeaderName::Event, &format!("{PACKAGE};id={id}"));
            notify.headers.push(HeaderName::SubscriptionState, &state);
            let reason = notify.reply(line).reason;
            notify.set_body(SIPFRAG, format!("SIP/2.0 {line} {reason}\r\n"));
        };
        match &mut referral.to {
            Listener::Nobody => {}
            Listener::Call(number) => self.drive(env, *number, out, |session, turn| {
                let _ = session.ask(turn, Method::Notify, dress);
            }),
            Listener::Dialog(dialog) => {
                let mut notify = dialog.request(Method::Notify);
                dress(&mut notify);
                self.push_access(&mut notify.headers);
                self.send_notify(notify, out);
            }
        }
    }

    /// NOTIFY in the dialog of a call.
    fn on_refer_notify(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        context: ContextId,
        request: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        if !is_refer(request) {
            let response = refuse_event(env, request);
            return self.answer(context, response, out);
        }
        if !self.transfers.expected.contains(&number) {
            env.refuse(rfc6665("4.1.3"), || "481: NOTIFY for no subscription of ours".to_owned());
            return self.answer(context, request.reply(481), out);
        }
        let state = request.headers.get(HeaderName::SubscriptionState);
        let Some(Ok(state)) = state.map(SubscriptionState::parse) else {
            env.refuse(rfc6665("4.1.3"), || "400: no Subscription-State".to_owned());
            return self.answer(context, request.reply(400), out);
        };
        self.answer(context, request.reply(200), out);
        let over = state.token.eq_ignore_ascii_case("terminated");
        if over {
            self.transfers.expected.remove(&number);
        }
        self.heed_progress(env, number, request, out);
    }

    /// What a NOTIFY of a transfer says; a transfer that is done ends the call with the other end.
    fn heed_progress(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        notify: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(status) = status_of(notify) else { return };
        match status {
            ..=199 => out.push(Action::State(format!("transfer progress {status}"))),
            200..=299 => {
                out.push(Action::State("transfer done".to_owned()));
                env.note(rfc3515("2.4.5"), || "the transfer is done: ends the call".to_owned());
                self.drive(env, number, out, |session, turn| session.hang_up(turn));
            }
            _ => out.push(Action::State(format!("transfer failed {status}"))),
        }
    }

    /// The same for a REFER that made its own dialog: the call is the one it was about.
    pub(super) fn heed_outside(
        &mut self,
        env: &mut Env<'_>,
        refer: &Request,
        notify: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        let named = refer.headers.get(HeaderName::TargetDialog);
        let named = named.and_then(|value| DialogRef::parse(value).ok());
        let call_id = named.map(|named| named.call_id).unwrap_or_default();
        let of =
            self.newest(|call| call.session().dialog_id().is_some_and(|id| id.call_id == call_id));
        if let Some(number) = of {
            self.heed_progress(env, number, notify, out);
        }
    }

    /// SUBSCRIBE outside a dialog: this UE notifies of nothing but what REFER makes
    /// (RFC 6665 §4.2.1.1, RFC 3515 §2.4.4).
    pub(super) fn on_subscribe_request(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        if is_refer(request) {
            env.refuse(rfc3515("2.4.4"), || "403: only REFER makes such a subscription".to_owned());
            return self.reply(incoming, request.reply(403), out);
        }
        let response = refuse_event(env, request);
        self.reply(incoming, response, out);
    }
}

fn is_refer(request: &Request) -> bool {
    let event = request.headers.get(HeaderName::Event).and_then(|text| Event::parse(text).ok());
    event.is_some_and(|event| event.token.eq_ignore_ascii_case(PACKAGE))
}

/// 489 with what it knows (RFC 6665 §8.3.2).
fn refuse_event(env: &mut Env<'_>, request: &Request) -> Response {
    let event = request.headers.get(HeaderName::Event).unwrap_or("none").to_owned();
    env.refuse(rfc6665("8.3.2"), || format!("489: Event is {event}, only {PACKAGE} is known"));
    let mut response = request.reply(489);
    response.headers.push(HeaderName::AllowEvents, PACKAGE);
    response
}

/// The status in a `message/sipfrag` (RFC 3420).
fn status_of(notify: &Request) -> Option<u16> {
    let kind = notify.headers.get(HeaderName::ContentType).map(media_type)?;
    if !kind.eq_ignore_ascii_case("message/sipfrag") {
        return None;
    }
    let body = std::str::from_utf8(&notify.body).ok()?;
    let mut words = body.lines().next()?.split_whitespace();
    if words.next() != Some("SIP/2.0") {
        return None;
    }
    words.next()?.parse().ok()
}

/// A header value inside a URI (RFC 3261 §19.1.2).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

//! An IP-SM-GW (TS 24.341 §5.3.3) with a stub of a service centre behind it: takes short messages
//! from mobiles, says what became of them, and delivers them to mobiles that registered for it.
//! Queues and deliveries are in `lines`, who can be reached in `reach`, the centre in `centre`.
//!
//! States told to the trace (`WHO` a subscriber, `N` a status or an RP-Cause): `sms submitted WHO`,
//! `sms refused WHO N`, `sms delivered WHO`, `sms failed WHO N`, `sms rejected WHO N`,
//! `sms unreported WHO`, `sms held WHO`, `sms given up WHO`, `sms expired WHO`,
//! `sms report failed WHO N`, `status reported WHO`, `memory full WHO`, `memory free WHO`.

mod centre;
mod lines;
mod reach;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use cscf_core::clause::{own, rfc3428, ts24011, ts24341};
use cscf_core::config::{ServerBehaviour, Unauthorised};
use cscf_core::operator::{OrderAnswer, OrderError, OrderResult};
use cscf_core::role::{Action, Actions, Env, Incoming, OwnTag};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Uri};
use cscf_core::sms::{
    Address, CONTENT_TYPE, Direction, Rp, RpMessage, Tpdu, cause, failure, is_content_type,
    segments,
};

use super::{AppServer, ServerTimer, key_of};
use centre::{Held, Recent};
use lines::{Line, Sent};
use reach::Reach;

/// The timers of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SmsTimer {
    /// The validity period of a message ends.
    Expiry(u32),
    /// TR1N: no RP-ACK came from this user.
    Report(String),
    /// A delivery to this user is tried again.
    Retry(String),
}

/// What a gateway and its centre hold.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// Who is registered.
    reachable: BTreeMap<String, Reach>,
    /// What is under way, by subscriber.
    lines: BTreeMap<String, Line>,
    /// Messages that are not delivered.
    held: BTreeMap<u32, Held>,
    /// Requests that wait for their answer.
    sent: BTreeMap<OwnTag, (String, Sent)>,
    /// What was submitted last.
    recent: VecDeque<Recent>,
    /// The number of the last message.
    next: u32,
    /// The next RP-Message-Reference.
    reference: u8,
}

impl Gateway {
    /// What it still holds, by name.
    pub(super) fn remainders(&self) -> Vec<(&'static str, usize)> {
        vec![("short messages", self.held.len()), ("lines", self.lines.len())]
    }
}

/// The number in a tel URI, or in the user part of a SIP URI.
pub(super) fn number_in(uri: &Uri) -> Option<Address> {
    let user = uri.user()?;
    Address::number(user.split(';').next().unwrap_or(user))
}

/// Who a request is from.
struct Sender {
    name: String,
    /// The public identity to answer to.
    uri: String,
    number: Option<Address>,
}

impl AppServer {
    /// A request outside a dialog for a gateway.
    pub(super) fn on_short_message(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        let rp = match Self::readable(env, request) {
            Ok(rp) => rp,
            Err(status) => {
                let mut response = request.reply(status);
                match status {
                    405 => response.headers.push(HeaderName::Allow, "MESSAGE, NOTIFY, OPTIONS"),
                    415 => response.headers.push(HeaderName::Accept, CONTENT_TYPE),
                    _ => {}
                }
                return self.answer(incoming, response, out);
            }
        };
        let Some(sender) = self.sender(request) else {
            env.refuse(ts24341("5.3.3.4.1"), || {
                "403: P-Asserted-Identity names no subscriber of this gateway".to_owned()
            });
            return self.answer(incoming, request.reply(403), out);
        };
        let may = !self.is_without_sms(&sender.name);
        let begins = matches!(rp.what, Rp::Data { .. } | Rp::MemoryAvailable);
        let unauthorised = self.config.centre.unauthorised;
        if begins && !may && unauthorised == Unauthorised::Forbidden {
            env.refuse(ts24341("5.3.3.4.1"), || {
                format!("403: {} may not send short messages (without_sms)", sender.name)
            });
            out.push(Action::State(format!("sms refused {} 403", sender.name)));
            return self.answer(incoming, request.reply(403), out);
        }
        env.note(ts24341("5.3.3.4.1"), || format!("202: {} from {}", rp.what.name(), sender.name));
        self.answer(incoming, request.reply(202), out);
        let call_id = request.call_id().unwrap_or_default();
        let replies = request.headers.get(HeaderName::InReplyTo).unwrap_or_default();
        match (rp.what, unauthorised) {
            (Rp::Data { .. } | Rp::MemoryAvailable, Unauthorised::RpError(cause)) if !may => {
                let why = Refused { cause, failure: None, why: "may not send short messages" };
                self.refuse_submission(env, &sender, (rp.reference, call_id), &why, out);
            }
            (Rp::Data { tpdu, .. }, _) => {
                self.on_submission(env, &sender, (rp.reference, call_id), &tpdu, out);
            }
            (Rp::MemoryAvailable, _) => {
                self.on_memory(env, &sender, (rp.reference, call_id), out);
            }
            (Rp::Ack { .. }, _) => {
                self.on_delivery_report(env, &sender.name, (rp.reference, replies), None, out);
            }
            (Rp::Error { cause, .. }, _) => {
                let cause = Some(cause);
                self.on_delivery_report(env, &sender.name, (rp.reference, replies), cause, out);
            }
        }
    }

    /// The RP message of a request, or the status it is refused with.
    fn readable(env: &mut Env<'_>, request: &Request) -> Result<RpMessage, u16> {
        if request.method != Method::Message {
            env.refuse(own("behaviour"), || format!("405: {} is no MESSAGE", request.method));
            return Err(405);
        }
        let kind = request.headers.get(HeaderName::ContentType).unwrap_or_default();
        if !is_content_type(kind) {
            env.refuse(rfc3428("7"), || format!("415: `{kind}` is not {CONTENT_TYPE}"));
            return Err(415);
        }
        let rp = RpMessage::decode(&request.body).map_err(|fault| fault.to_string());
        let rp = rp.and_then(|rp| match rp.direction {
            Direction::ToNetwork => Ok(rp),
            Direction::ToMobile => Err("this message goes from the network to a mobile".to_owned()),
        });
        rp.map_err(|fault| {
            env.refuse(ts24011("7.3"), || format!("400: no RP message: {fault}"));
            400
        })
    }

    /// The subscriber whom P-Asserted-Identity names.
    fn sender(&self, request: &Request) -> Option<Sender> {
        let asserted = request.headers.values(HeaderName::PAssertedIdentity);
        let uris = asserted.filter_map(|value| NameAddr::parse(value).ok()).map(|it| it.uri);
        let uris: Vec<Uri> = uris.take(4).collect();
        let number = uris.iter().find_map(number_in);
        uris.iter().find_map(|uri| {
            let uri = uri.to_string();
            let name = self.people.with_key(&key_of(&uri)?)?.into_owned();
            let number = number.clone().or_else(|| self.number_of(&name));
            Some(Sender { name, uri, number })
        })
    }

    /// The number of a subscriber, from its default identity.
    fn number_of(&self, name: &str) -> Option<Address> {
        number_in(&Uri::parse(&self.people.identity(name)?).ok()?)
    }

    fn is_without_sms(&self, name: &str) -> bool {
        let of_name = |uri: &String| self.people.with_key(&key_of(uri)?);
        self.config.centre.without_sms.iter().any(|uri| of_name(uri).is_some_and(|it| it == name))
    }

    /// The subscriber of an address, international or not.
    fn recipient(&self, address: &Address) -> Option<String> {
        let text = address.to_string();
        let found = self.people.with_number(&text);
        let found = found.or_else(|| self.people.with_number(&format!("+{text}")));
        found.map(Cow::into_owned)
    }

    /// A request to a user's mobile with an RP message (TS 24.341 §5.3.3.4).
    fn rp_request(
        &self,
        env: &mut Env<'_>,
        (name, uri): (&str, Option<&str>),
        rp: &RpMessage,
        in_reply_to: Option<&str>,
    ) -> Request {
        let uri = uri.map(str::to_owned).or_else(|| Some(self.people.identity(name)?.into_owned()));
        let target = uri.unwrap_or_else(|| name.to_owned());
        let origin = super::orders::Origin {
            identity: self.uri.clone(),
            served: None,
            route: self.way_to(name).map(|scscf| format!("<{scscf};lr>")),
        };
        let mut request = self.own_request(env, Method::Message, &target, &origin);
        let headers = &mut request.headers;
        if let Some(call_id) = in_reply_to {
            headers.push(HeaderName::InReplyTo, call_id);
        }
        headers.push(HeaderName::RequestDisposition, "no-fork");
        headers.push(HeaderName::AcceptContact, "*;+g.3gpp.smsip;require;explicit");
        headers.push(HeaderName::ContentTransferEncoding, "binary");
        request.set_body(CONTENT_TYPE, rp.encode());
        request
    }

    /// The order `sms AS TARGET TEXT`: a message that begins at the centre.
    pub(super) fn send_short_message(
        &mut self,
        env: &mut Env<'_>,
        (target, text): (&str, &str),
        from: Option<&str>,
        out: &mut Actions<ServerTimer>,
    ) -> OrderResult {
        if self.config.behaviour != ServerBehaviour::ShortMessages {
            return Err(OrderError::refused("its behaviour is not ip-sm-gw"));
        }
        let to = self.target(target);
        let number = Uri::parse(&to).ok().and_then(|uri| number_in(&uri));
        let to = match self.people.identity(target).is_some() {
            true => Some(target.to_owned()),
            false => number.as_ref().and_then(|number| self.recipient(number)),
        };
        let to = to.ok_or_else(|| {
            OrderError::refused(format!("`{target}` is no subscriber, and no number of one"))
        })?;
        let from = from.unwrap_or(&self.config.centre.number);
        let originator = self.number_of(from).or_else(|| Address::number(from));
        let originator = originator.or_else(|| Address::letters(from)).ok_or_else(|| {
            OrderError::refused(format!("`{from}` is no number, and more than eleven letters"))
        })?;
        let pieces = segments(text, self.gateway.reference);
        let pieces = pieces.ok_or_else(|| OrderError::refused("more than 255 messages"))?;
        let count = pieces.len();
        for data in pieces {
            if !self.has_room(&to) {
                return Err(OrderError::refused("the centre is full"));
            }
            self.hold(env, Held::from_centre(env, (&to, &originator), data), out);
        }
        Ok(OrderAnswer::done(format!("{count} short messages for {to}")))
    }
}

/// Why a submission is not taken.
struct Refused {
    cause: u8,
    failure: Option<u8>,
    why: &'static str,
}

impl AppServer {
    /// RP-DATA of a mobile: what the centre says to it (TS 23.040 §9.2.2.2a).
    fn on_submission(
        &mut self,
        env: &mut Env<'_>,
        sender: &Sender,
        (reference, call_id): (u8, &str),
        tpdu: &[u8],
        out: &mut Actions<ServerTimer>,
    ) {
        let submit = match Tpdu::decode(tpdu, Direction::ToNetwork, false) {
            Ok(Tpdu::Submit(submit)) => submit,
            Ok(other) => {
                env.refuse(own("behaviour"), || format!("the centre takes no {}", other.name()));
                let why = "not this message";
                let refused = Refused { cause: cause::UNKNOWN_TYPE, failure: None, why };
                return self.refuse_submission(env, sender, (reference, call_id), &refused, out);
            }
            Err(fault) => {
                env.refuse(ts24011("8.2.5.4"), || format!("no TPDU: {fault}"));
                let failure = Some(failure::UNSPECIFIED);
                let why = "unreadable";
                let refused = Refused { cause: cause::INVALID_MANDATORY, failure, why };
                return self.refuse_submission(env, sender, (reference, call_id), &refused, out);
            }
        };
        match self.judge(env, sender, &submit) {
            Ok(None) => {}
            Ok(Some(held)) => {
                self.accept_submission(env, sender, (reference, call_id), held, out);
            }
            Err(refused) => {
                self.refuse_submission(env, sender, (reference, call_id), &refused, out);
            }
        }
    }
}

//! Short messages over IP at the UE (TS 24.341 §5.3.1, §5.3.2; the RP layer of TS 24.011 §5, §6):
//! submits, acknowledges, says when its memory is full and when it is free again.

use std::collections::{BTreeMap, VecDeque};

use cscf_core::clause::{rfc3261, ts23040, ts24011, ts24341};
use cscf_core::role::{Action, Actions, Env, Incoming};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Uri};
use cscf_core::sms::{
    Address, CONTENT_TYPE, Deliver, DeliverReport, Direction, Rp, RpMessage, StatusReport, Submit,
    Tpdu, Validity, cause, failure, is_content_type, segments, status,
};
use cscf_core::time::Duration;

use super::requests::What;
use super::{Ue, UeTimer};

/// Messages that wait to be submitted at most: one text of the greatest length.
const WAITING_MAX: usize = 255;
/// Long messages of which parts are missing at most.
const PARTIAL_MAX: usize = 16;
/// TR1M: how long a centre may take for its answer (TS 24.011 §10: 35 to 45 s).
const TR1M: Duration = Duration::from_secs(40);
/// A day (TS 23.040 §9.2.3.12.1).
const VALIDITY: Validity = Validity::Relative(167);
/// Most characters of a text in a state.
const TEXT_MAX: usize = 256;

/// What a UE has to do with short messages.
#[derive(Debug, Default)]
pub(super) struct Sms {
    waiting: VecDeque<Submit>,
    /// What the centre has not answered.
    open: Option<Open>,
    next_rp: u8,
    next_tp: u8,
    /// No memory is left.
    full: bool,
    /// It has refused a message for that.
    refused: bool,
    /// Parts of long messages: by sender, reference and count.
    partial: BTreeMap<(Address, u16, u8), BTreeMap<u8, String>>,
}

#[derive(Debug)]
struct Open {
    reference: u8,
    call_id: String,
    begins: Begins,
}

/// What a UE begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// RP-SMMA.
    Memory,
    /// RP-DATA with SMS-SUBMIT.
    Submit,
}

/// The number that a user means: digits, or those in a tel or SIP URI.
fn number_of(target: &str) -> Option<Address> {
    Address::number(target).or_else(|| {
        let uri = Uri::parse(target).ok()?;
        let user = uri.user()?;
        Address::number(user.split(';').next().unwrap_or(user))
    })
}

impl Ue {
    /// Sends a text, in as many messages as it needs.
    pub(super) fn send_sms(
        &mut self,
        env: &mut Env<'_>,
        (target, text): (&str, &str),
        status_report: bool,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(destination) = number_of(target) else {
            env.refuse(ts24341("5.3.1.2"), || format!("`{target}` has no number to send to"));
            return out.push(Action::State("sms failed no number".to_owned()));
        };
        let pieces = segments(text, self.sms.next_tp).unwrap_or_default();
        if pieces.is_empty() || self.sms.waiting.len() + pieces.len() > WAITING_MAX {
            env.refuse(ts23040("9.2.3.24.1"), || "the text needs too many messages".to_owned());
            return out.push(Action::State("sms failed too long".to_owned()));
        }
        for data in pieces {
            let reference = self.sms.next_tp;
            self.sms.next_tp = reference.wrapping_add(1);
            self.sms.waiting.push_back(Submit {
                reference,
                reject_duplicates: false,
                status_report,
                destination: destination.clone(),
                protocol: 0,
                validity: Some(VALIDITY),
                data,
            });
        }
        self.submit_next(env, out);
    }

    /// Submits what waits, one message at a time (TS 24.011 §5.3.1).
    fn submit_next(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        if self.sms.open.is_some() {
            return;
        }
        let Some(submit) = self.sms.waiting.pop_front() else { return };
        let centre = Address::number(&self.config.centre);
        let what = Rp::Data { centre, tpdu: Tpdu::Submit(submit).encode() };
        self.begin(env, Begins::Submit, what, out);
    }

    /// Sends an RP message that the centre answers.
    fn begin(&mut self, env: &mut Env<'_>, begins: Begins, what: Rp, out: &mut Actions<UeTimer>) {
        let reference = self.sms.next_rp;
        self.sms.next_rp = reference.wrapping_add(1);
        let psi = format!("sip:{}@{};user=phone", self.config.centre, self.config.domain);
        let mut request = self.initial_request(env.ids, Method::Message, &psi);
        let call_id = request.call_id().unwrap_or_default().to_owned();
        env.note(ts24341("5.3.1.2"), || format!("{} to {psi}, RP-MR {reference}", what.name()));
        let rp = RpMessage { direction: Direction::ToNetwork, reference, what };
        self.put_rp(&mut request, &rp);
        self.sms.open = Some(Open { reference, call_id, begins });
        out.push(Action::SetTimer { timer: UeTimer::Sms, at: env.now + TR1M });
        self.send_plain(What::Sms(begins), request, out);
    }

    fn put_rp(&self, request: &mut Request, rp: &RpMessage) {
        request.headers.push(HeaderName::ContentTransferEncoding, "binary");
        let wrong = self.config.mistakes.sms_as_text;
        request.set_body(if wrong { "text/plain" } else { CONTENT_TYPE }, rp.encode());
    }

    /// The final answer to a MESSAGE of ours that begins something.
    pub(super) fn on_sms_answer(
        &mut self,
        env: &mut Env<'_>,
        (begins, call_id, status): (Begins, &str, u16),
        out: &mut Actions<UeTimer>,
    ) {
        let ours = self.sms.open.as_ref().is_some_and(|open| open.call_id == call_id);
        if status < 300 {
            if begins == Begins::Submit {
                out.push(Action::State("sms accepted".to_owned()));
            }
            return;
        }
        out.push(Action::State(format!("sms failed {status}")));
        if ours {
            self.end_open(env, false, out);
        }
    }

    /// What waited for the centre is over; what waits behind it is tried or given up.
    fn end_open(&mut self, env: &mut Env<'_>, well: bool, out: &mut Actions<UeTimer>) {
        self.sms.open = None;
        out.push(Action::ClearTimer { timer: UeTimer::Sms });
        if !well {
            self.sms.waiting.clear();
        }
        self.submit_next(env, out);
    }

    /// TR1M: the centre has said nothing (TS 24.011 §5.3.1).
    pub(super) fn on_sms_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        env.refuse(ts24011("10"), || format!("TR1M: the centre has not answered in {TR1M:?}"));
        out.push(Action::State("sms unanswered".to_owned()));
        self.end_open(env, false, out);
    }

    /// A MESSAGE with an RP message.
    pub(super) fn on_sms(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        if self.config.mistakes.sms_unanswered {
            return out.push(Action::Discard { context: incoming.context });
        }
        let rp = RpMessage::decode(&request.body);
        let rp = match rp.map_err(|fault| fault.to_string()) {
            Ok(rp) if rp.direction == Direction::ToMobile => rp,
            other => {
                let fault = other.err().unwrap_or_else(|| "it goes to the network".to_owned());
                env.refuse(ts24011("7.3"), || format!("400: no RP message for us: {fault}"));
                return self.reply(incoming, request.reply(400), out);
            }
        };
        let answer = if self.config.mistakes.sms_refused { 500 } else { 200 };
        env.note(ts24341("5.3.2.3"), || format!("{answer}: {} is here", rp.what.name()));
        self.reply(incoming, request.reply(answer), out);
        if answer != 200 {
            return;
        }
        match rp.what {
            Rp::Data { tpdu, .. } => self.on_rp_data(env, request, (rp.reference, &tpdu), out),
            Rp::Ack { .. } => self.on_rp_answer(env, request, (rp.reference, None), out),
            Rp::Error { cause, .. } => {
                self.on_rp_answer(env, request, (rp.reference, Some(cause)), out);
            }
            Rp::MemoryAvailable => {}
        }
    }

    /// The answer of the centre, joined by In-Reply-To and RP-MR (TS 24.341 §5.3.1.3).
    fn on_rp_answer(
        &mut self,
        env: &mut Env<'_>,
        request: &Request,
        (reference, error): (u8, Option<u8>),
        out: &mut Actions<UeTimer>,
    ) {
        let replies = request.headers.get(HeaderName::InReplyTo).unwrap_or_default();
        let fits = |open: &&Open| open.reference == reference && open.call_id == replies;
        let Some(begins) = self.sms.open.as_ref().filter(fits).map(|open| open.begins) else {
            return env.refuse(ts24341("5.3.1.3"), || {
                format!("nothing of ours has RP-MR {reference} and Call-ID {replies}")
            });
        };
        match (error, begins) {
            (None, Begins::Submit) => {
                out.push(Action::State("sms submitted".to_owned()));
            }
            (None, Begins::Memory) => out.push(Action::State("sms memory told".to_owned())),
            (Some(cause), _) => {
                env.refuse(ts24341("5.3.1.3"), || format!("the centre says RP-ERROR {cause}"));
                out.push(Action::State(format!("sms rejected {cause}")));
            }
        }
        self.end_open(env, error.is_none(), out);
    }

    /// A message for the user, or what became of one of his.
    fn on_rp_data(
        &mut self,
        env: &mut Env<'_>,
        request: &Request,
        (reference, tpdu): (u8, &[u8]),
        out: &mut Actions<UeTimer>,
    ) {
        let refused = |cause, failure| (Some(cause), Some(failure));
        let (error, report) = match Tpdu::decode(tpdu, Direction::ToMobile, false) {
            Ok(Tpdu::Deliver(_)) if self.sms.full => {
                env.refuse(ts24011("6.3.3"), || "RP-ERROR 22: no memory is left".to_owned());
                self.sms.refused = true;
                out.push(Action::State("sms memory full".to_owned()));
                refused(cause::MEMORY_EXCEEDED, failure::MEMORY)
            }
            Ok(Tpdu::Deliver(deliver)) => {
                self.deliver_sms(&deliver, out);
                (None, None)
            }
            Ok(Tpdu::StatusReport(report)) => {
                Self::tell_status(&report, out);
                (None, None)
            }
            Ok(other) => {
                env.refuse(ts24011("8.2.5.4"), || format!("RP-ERROR 97: {}", other.name()));
                refused(cause::UNKNOWN_TYPE, failure::UNSPECIFIED)
            }
            Err(fault) => {
                env.refuse(ts24011("8.2.5.4"), || format!("RP-ERROR 96: no TPDU: {fault}"));
                refused(cause::INVALID_MANDATORY, failure::UNSPECIFIED)
            }
        };
        let tpdu = Some(Tpdu::DeliverReport(DeliverReport { failure: report }).encode());
        let what = match error {
            None => Rp::Ack { tpdu },
            Some(cause) => Rp::Error { cause, diagnostic: None, tpdu },
        };
        self.report_delivery(env, request, (reference, what), out);
    }

    /// The delivery report: a MESSAGE of our own to who sent it (TS 24.341 §5.3.2.4).
    fn report_delivery(
        &mut self,
        env: &mut Env<'_>,
        request: &Request,
        (reference, what): (u8, Rp),
        out: &mut Actions<UeTimer>,
    ) {
        let mistakes = self.config.mistakes;
        if mistakes.no_delivery_report {
            return;
        }
        let asserted = request.headers.values(HeaderName::PAssertedIdentity).next();
        let gateway = asserted.and_then(|value| NameAddr::parse(value).ok());
        let target = match gateway {
            Some(gateway) if !mistakes.report_to_centre => gateway.uri.to_string(),
            _ if mistakes.report_to_centre => {
                format!("sip:{}@{};user=phone", self.config.centre, self.config.domain)
            }
            _ => {
                env.refuse(rfc3261("8.1.1.1"), || {
                    "no delivery report: P-Asserted-Identity does not say whom to tell".to_owned()
                });
                return;
            }
        };
        env.note(ts24341("5.3.2.4"), || format!("{} to {target}, RP-MR {reference}", what.name()));
        let reference = if mistakes.wrong_rp_mr { reference.wrapping_add(1) } else { reference };
        let mut report = self.initial_request(env.ids, Method::Message, &target);
        if !mistakes.no_in_reply_to {
            report.headers.push(HeaderName::InReplyTo, request.call_id().unwrap_or_default());
        }
        let rp = RpMessage { direction: Direction::ToNetwork, reference, what };
        self.put_rp(&mut report, &rp);
        self.send_plain(What::SmsReport, report, out);
    }

    /// A message, or a part of one: told to the user when it is whole.
    fn deliver_sms(&mut self, deliver: &Deliver, out: &mut Actions<UeTimer>) {
        let text = deliver.data.text().unwrap_or("(octets)");
        let Some(part) = deliver.data.part() else {
            return out.push(received(text));
        };
        let key = (deliver.originator.clone(), part.reference, part.total);
        if !self.sms.partial.contains_key(&key) && self.sms.partial.len() >= PARTIAL_MAX {
            self.sms.partial.pop_first();
        }
        let parts = self.sms.partial.entry(key.clone()).or_default();
        parts.insert(part.number, text.to_owned());
        if parts.len() < usize::from(part.total) {
            return;
        }
        let whole: String = parts.values().map(String::as_str).collect();
        self.sms.partial.remove(&key);
        out.push(received(&whole));
    }

    fn tell_status(report: &StatusReport, out: &mut Actions<UeTimer>) {
        out.push(Action::State(match report.status {
            it if status::is_delivered(it) => "sms delivered".to_owned(),
            it if status::is_pending(it) => format!("sms pending {it:#04x}"),
            it => format!("sms undelivered {it:#04x}"),
        }));
    }

    /// The memory for messages is full, or free; the network is told the latter if it has to know
    /// (TS 24.011 §6.3.3).
    pub(super) fn sms_memory(&mut self, env: &mut Env<'_>, full: bool, out: &mut Actions<UeTimer>) {
        self.sms.full = full;
        if full || !std::mem::take(&mut self.sms.refused) {
            return;
        }
        if self.sms.open.is_some() {
            return env
                .refuse(ts24011("6.3.3"), || "no RP-SMMA: a message is under way".to_owned());
        }
        self.begin(env, Begins::Memory, Rp::MemoryAvailable, out);
    }

    /// Whether a request carries an RP message and this UE takes such.
    pub(super) fn is_sms(&self, request: &Request) -> bool {
        let kind = request.headers.get(HeaderName::ContentType).unwrap_or_default();
        self.config.sms && is_content_type(kind)
    }
}

fn received(text: &str) -> Action<UeTimer> {
    let text: String = text.chars().take(TEXT_MAX).collect();
    Action::State(format!("sms received {}", text.replace(['\r', '\n'], " ")))
}

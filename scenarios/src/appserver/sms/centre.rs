//! The service centre: what it takes, holds and gives up (TS 23.040 §3.2, §9.2.2).

use cscf_core::clause::{own, ts23040, ts24341};
use cscf_core::config::Submissions;
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sms::{
    Address, Deliver, Direction, Rp, RpMessage, StatusReport, Submit, SubmitReport, TimeStamp,
    Tpdu, UserData, cause, failure,
};
use cscf_core::time::{Duration, Instant};

use super::super::{AppServer, ServerTimer};
use super::lines::{Data, What};
use super::{Refused, Sender, SmsTimer};

/// Messages held at most.
const HELD_MAX: usize = 10_000;
/// Messages held for one user at most.
const OF_USER_MAX: usize = 300;
/// Submissions remembered, to know them again.
const RECENT_MAX: usize = 1000;
/// How long they are.
const RECENT_FOR: Duration = Duration::from_secs(120);
/// How long a message is kept where it does not say.
const KEPT_FOR: Duration = Duration::from_secs(86_400);

/// A message that is not delivered.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The subscriber it is for.
    pub(super) to: String,
    originator: Address,
    /// Who gets a status report, and about what: subscriber, TP-MR, TP-DA.
    report: Option<(String, u8, Address)>,
    protocol: u8,
    time: TimeStamp,
    pub(super) expires_at: Instant,
    data: UserData,
}

impl Held {
    /// A message that begins at the centre.
    pub(super) fn from_centre(
        env: &Env<'_>,
        (to, originator): (&str, &Address),
        data: UserData,
    ) -> Self {
        Self {
            to: to.to_owned(),
            originator: originator.clone(),
            report: None,
            protocol: 0,
            time: TimeStamp::at(env.unix_now()),
            expires_at: env.now + KEPT_FOR,
            data,
        }
    }

    /// The message as it goes to the mobile.
    pub(super) fn deliver(&self, more: bool) -> Tpdu {
        Tpdu::Deliver(Deliver {
            more,
            status_report: self.report.is_some(),
            originator: self.originator.clone(),
            protocol: self.protocol,
            time: self.time,
            data: self.data.clone(),
        })
    }
}

/// A submission that was taken.
#[derive(Debug)]
pub(super) struct Recent {
    sender: String,
    reference: u8,
    destination: Address,
    at: Instant,
}

impl AppServer {
    /// Whether there is room for one more message to this user.
    pub(super) fn has_room(&self, to: &str) -> bool {
        let line = self.gateway.lines.get(to).map_or(0, |line| line.data.len());
        self.gateway.held.len() < HELD_MAX && line < OF_USER_MAX
    }

    /// What becomes of a submission: held, refused, or nothing is said at all.
    pub(super) fn judge(
        &self,
        env: &Env<'_>,
        sender: &Sender,
        submit: &Submit,
    ) -> Result<Option<(Held, Recent)>, Refused> {
        let refused = |cause, why| Refused { cause, failure: None, why };
        match self.config.centre.submissions {
            Submissions::Accepted => {}
            Submissions::Rejected(cause) => {
                return Err(refused(cause, "the centre is told to refuse (submissions)"));
            }
            Submissions::Unanswered => return Ok(None),
        }
        let recent = Recent {
            sender: sender.name.clone(),
            reference: submit.reference,
            destination: submit.destination.clone(),
            at: env.now,
        };
        let known = |it: &Recent| {
            it.sender == recent.sender
                && it.reference == recent.reference
                && it.destination == recent.destination
                && it.at + RECENT_FOR > env.now
        };
        if submit.reject_duplicates && self.gateway.recent.iter().any(known) {
            let failure = Some(failure::DUPLICATE);
            let why = "the centre has this message already (TP-RD)";
            return Err(Refused { cause: cause::INTERWORKING, failure, why });
        }
        let Some(to) = self.recipient(&submit.destination) else {
            return Err(refused(cause::UNASSIGNED, "nobody in the lab has this number"));
        };
        if !self.has_room(&to) {
            return Err(refused(cause::CONGESTION, "the centre is full"));
        }
        let Some(originator) = sender.number.clone() else {
            return Err(refused(cause::INCORRECT, "the sender has no number"));
        };
        let lasts = submit.validity.and_then(|validity| validity.lasts(env.unix_now()));
        let report = (sender.name.clone(), submit.reference, submit.destination.clone());
        let held = Held {
            to,
            originator,
            report: submit.status_report.then_some(report),
            protocol: submit.protocol,
            time: TimeStamp::at(env.unix_now()),
            expires_at: env.now + lasts.unwrap_or(KEPT_FOR),
            data: submit.data.clone(),
        };
        Ok(Some((held, recent)))
    }

    /// RP-ACK to the sender, then the delivery (TS 24.341 §5.3.3.4.2).
    pub(super) fn accept_submission(
        &mut self,
        env: &mut Env<'_>,
        sender: &Sender,
        (reference, call_id): (u8, &str),
        (held, recent): (Held, Recent),
        out: &mut Actions<ServerTimer>,
    ) {
        env.note(ts24341("5.3.3.4.2"), || {
            format!("RP-ACK: the centre has the message of {} for {}", sender.name, held.to)
        });
        let report = SubmitReport { failure: None, time: held.time };
        let what = Rp::Ack { tpdu: Some(Tpdu::SubmitReport(report).encode()) };
        out.push(Action::State(format!("sms submitted {}", sender.name)));
        self.report_submission(env, sender, (reference, call_id), what, out);
        if self.gateway.recent.len() >= RECENT_MAX {
            self.gateway.recent.pop_front();
        }
        self.gateway.recent.push_back(recent);
        self.hold(env, held, out);
    }

    /// RP-ERROR to the sender.
    pub(super) fn refuse_submission(
        &mut self,
        env: &mut Env<'_>,
        sender: &Sender,
        (reference, call_id): (u8, &str),
        refused: &Refused,
        out: &mut Actions<ServerTimer>,
    ) {
        let Refused { cause, failure, why } = *refused;
        env.refuse(ts24341("5.3.3.4.2"), || format!("RP-ERROR {cause} to {}: {why}", sender.name));
        let time = TimeStamp::at(env.unix_now());
        let report = failure.map(|it| SubmitReport { failure: Some(it), time });
        let tpdu = report.map(|report| Tpdu::SubmitReport(report).encode());
        let what = Rp::Error { cause, diagnostic: None, tpdu };
        out.push(Action::State(format!("sms refused {} {cause}", sender.name)));
        self.report_submission(env, sender, (reference, call_id), what, out);
    }

    pub(super) fn report_submission(
        &mut self,
        env: &mut Env<'_>,
        sender: &Sender,
        (reference, call_id): (u8, &str),
        what: Rp,
        out: &mut Actions<ServerTimer>,
    ) {
        let rp = RpMessage { direction: Direction::ToMobile, reference, what };
        let to = (sender.name.as_str(), Some(sender.uri.as_str()));
        let request = self.rp_request(env, to, &rp, Some(call_id));
        self.report(env, &sender.name, request, out);
    }

    /// Keeps a message, and begins to deliver it.
    pub(super) fn hold(&mut self, env: &mut Env<'_>, held: Held, out: &mut Actions<ServerTimer>) {
        self.gateway.next = self.gateway.next.wrapping_add(1);
        let (number, to, at) = (self.gateway.next, held.to.clone(), held.expires_at);
        self.gateway.held.insert(number, held);
        let timer = ServerTimer::Sms(SmsTimer::Expiry(number));
        out.push(Action::SetTimer { timer, at });
        self.queue(env, &to, Data { what: What::Message(number), tries: 0 }, out);
    }

    /// A message is done with: delivered or not, as its TP-Status says.
    pub(super) fn discharge(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        status: u8,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(held) = self.gateway.held.remove(&number) else { return };
        let timer = ServerTimer::Sms(SmsTimer::Expiry(number));
        out.push(Action::ClearTimer { timer });
        let Some((sender, reference, recipient)) = held.report else { return };
        let line = self.gateway.lines.get(&sender).map_or(0, |line| line.data.len());
        if line >= OF_USER_MAX {
            return env.refuse(own("limits"), || format!("no status report: {sender} has many"));
        }
        env.note(ts23040("3.2.9"), || format!("{sender} wishes to know: status {status:#04x}"));
        let report = StatusReport {
            more: false,
            reference,
            recipient,
            time: held.time,
            discharge: TimeStamp::at(env.unix_now()),
            status,
        };
        self.queue(env, &sender, Data { what: What::Status(report), tries: 0 }, out);
    }
}

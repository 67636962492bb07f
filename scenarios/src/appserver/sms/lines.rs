//! What goes to one user: at most one MESSAGE without its answer (RFC 3428 §8), at most one RP-DATA
//! without its report (TS 24.011 §5.3), reports of submissions first.

use std::collections::VecDeque;

use cscf_core::clause::{own, rfc3428, ts24011, ts24341};
use cscf_core::role::{Action, Actions, Env, OwnAnswered, OwnTag, Side};
use cscf_core::sip::Request;
use cscf_core::sms::Address;
use cscf_core::sms::{Direction, Rp, RpMessage, StatusReport, Tpdu, cause, status};
use cscf_core::time::Duration;

use super::super::{AppServer, ServerTimer};
use super::{Sender, SmsTimer};

/// Reports of submissions that wait for one user at most.
const REPORTS_MAX: usize = 64;
/// How often a delivery is tried.
const TRIES_MAX: u32 = 3;
/// How long until it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// TR1N: how long a mobile may take for its report (TS 24.011 §10: 40 to 50 s).
const TR1N: Duration = Duration::from_secs(45);

/// What is under way to one user.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Reports of submissions.
    reports: VecDeque<Request>,
    /// What waits to be delivered.
    pub(super) data: VecDeque<Data>,
    /// The MESSAGE without its answer.
    sending: Option<OwnTag>,
    /// The RP-DATA without its report.
    open: Option<Open>,
    /// The mobile has no memory, until it says that it has.
    full: bool,
    /// It waits before it tries again.
    paused: bool,
}

/// Something to be delivered.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) what: What,
    pub(super) tries: u32,
}

/// What is delivered.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A message by its number.
    Message(u32),
    /// What became of a message.
    Status(StatusReport),
}

#[derive(Debug)]
struct Open {
    data: Data,
    reference: u8,
    call_id: String,
}

/// What kind of request waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Data,
    Report,
}

impl AppServer {
    /// A report of a submission goes out as soon as it can.
    pub(super) fn report(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        request: Request,
        out: &mut Actions<ServerTimer>,
    ) {
        let line = self.gateway.lines.entry(name.to_owned()).or_default();
        if line.reports.len() >= REPORTS_MAX {
            return env.refuse(own("limits"), || format!("{REPORTS_MAX} reports wait for {name}"));
        }
        line.reports.push_back(request);
        self.pump(env, name, out);
    }

    /// Something to be delivered goes out as soon as it can.
    pub(super) fn queue(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        data: Data,
        out: &mut Actions<ServerTimer>,
    ) {
        if let Err(why) = self.can_reach(name) {
            env.refuse(ts24341("5.3.3.4.3"), || {
                format!("480, not tried over IP: {name} {why}; the centre keeps the message")
            });
            out.push(Action::State(format!("sms held {name}")));
        }
        self.gateway.lines.entry(name.to_owned()).or_default().data.push_back(data);
        self.pump(env, name, out);
    }

    /// Sends what may go now.
    pub(super) fn pump(&mut self, env: &mut Env<'_>, name: &str, out: &mut Actions<ServerTimer>) {
        let reachable = self.can_reach(name).is_ok();
        loop {
            let Some(line) = self.gateway.lines.get_mut(name) else { return };
            if line.sending.is_some() {
                return;
            }
            if let Some(request) = line.reports.pop_front() {
                return self.originate_sms(name, request, Sent::Report, out);
            }
            if line.open.is_some() || line.full || line.paused {
                return;
            }
            let next = if reachable { line.data.pop_front() } else { None };
            let Some(data) = next else {
                if line.data.is_empty() {
                    self.gateway.lines.remove(name);
                }
                return;
            };
            let more = !line.data.is_empty();
            let Some(tpdu) = self.tpdu_of(env, &data, more, out) else { continue };
            return self.send_data(env, name, (data, tpdu), out);
        }
    }

    /// The TPDU of what is delivered; `None` when it is there no longer.
    fn tpdu_of(
        &mut self,
        env: &mut Env<'_>,
        data: &Data,
        more: bool,
        out: &mut Actions<ServerTimer>,
    ) -> Option<Tpdu> {
        let number = match &data.what {
            What::Status(report) => return Some(Tpdu::StatusReport(report.clone())),
            What::Message(number) => *number,
        };
        let held = self.gateway.held.get(&number)?;
        if held.expires_at > env.now {
            return Some(held.deliver(more));
        }
        let to = held.to.clone();
        out.push(Action::State(format!("sms expired {to}")));
        self.discharge(env, number, status::EXPIRED, out);
        None
    }

    fn send_data(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        (data, tpdu): (Data, Tpdu),
        out: &mut Actions<ServerTimer>,
    ) {
        let reference = self.gateway.reference;
        self.gateway.reference = reference.wrapping_add(1);
        let centre = Address::number(&self.config.centre.number);
        let what = Rp::Data { centre, tpdu: tpdu.encode() };
        let rp = RpMessage { direction: Direction::ToMobile, reference, what };
        let request = self.rp_request(env, (name, None), &rp, None);
        let call_id = request.call_id().unwrap_or_default().to_owned();
        env.note(ts24341("5.3.3.4.3"), || {
            format!("{} to {name}, RP-MR {reference}, try {}", tpdu.name(), data.tries + 1)
        });
        if let Some(line) = self.gateway.lines.get_mut(name) {
            line.open = Some(Open { data, reference, call_id });
        }
        let timer = ServerTimer::Sms(SmsTimer::Report(name.to_owned()));
        out.push(Action::SetTimer { timer, at: env.now + TR1N });
        self.originate_sms(name, request, Sent::Data, out);
    }

    fn originate_sms(
        &mut self,
        name: &str,
        request: Request,
        sent: Sent,
        out: &mut Actions<ServerTimer>,
    ) {
        let tag = self.next_tag();
        if let Some(line) = self.gateway.lines.get_mut(name) {
            line.sending = Some(tag);
        }
        self.gateway.sent.insert(tag, (name.to_owned(), sent));
        let to = self.first_hop(&request);
        let request = Box::new(request);
        out.push(Action::Originate { tag, request, to, within: None, side: Side::Core });
    }

    /// An answer; says whether it is to a message of this gateway.
    pub(in super::super) fn on_short_message_sent(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        if !self.gateway.sent.contains_key(&answered.tag) {
            return false;
        }
        let status = answered.response.status;
        if status < 200 {
            return true;
        }
        let Some((name, sent)) = self.gateway.sent.remove(&answered.tag) else { return true };
        if let Some(line) = self.gateway.lines.get_mut(&name) {
            line.sending = None;
        }
        match (sent, status) {
            (_, 200..=299) => {}
            (Sent::Report, _) => {
                env.refuse(ts24341("5.3.3.4.2"), || format!("{status} to a report for {name}"));
                out.push(Action::State(format!("sms report failed {name} {status}")));
            }
            (Sent::Data, _) => {
                let later = matches!(status, 408 | 480 | 486 | 500..=599);
                out.push(Action::State(format!("sms failed {name} {status}")));
                self.on_failure(env, &name, (later, &format!("{status} from {name}")), out);
            }
        }
        self.pump(env, &name, out);
        true
    }

    /// The report of a mobile: joined by its reference and In-Reply-To (TS 24.341 §5.3.3.4.4).
    pub(super) fn on_delivery_report(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        (reference, in_reply_to): (u8, &str),
        error: Option<u8>,
        out: &mut Actions<ServerTimer>,
    ) {
        let fits = |open: &Open| open.reference == reference && open.call_id == in_reply_to;
        let line = self.gateway.lines.get_mut(name);
        let Some(line) = line.filter(|line| line.open.as_ref().is_some_and(fits)) else {
            return env.refuse(ts24341("5.3.3.4.4"), || {
                format!("nothing to {name} waits for RP-MR {reference}, In-Reply-To {in_reply_to}")
            });
        };
        match error {
            None => {
                let Some(Open { data, .. }) = line.open.take() else { return };
                Self::stop_waiting(name, out);
                env.note(ts24341("5.3.3.4.4"), || format!("{name} has it: RP-MR {reference}"));
                match data.what {
                    What::Message(number) => {
                        out.push(Action::State(format!("sms delivered {name}")));
                        self.discharge(env, number, status::RECEIVED, out);
                    }
                    What::Status(_) => out.push(Action::State(format!("status reported {name}"))),
                }
            }
            Some(cause::MEMORY_EXCEEDED) => {
                let Some(Open { data, .. }) = line.open.take() else { return };
                line.full = true;
                line.data.push_front(data);
                Self::stop_waiting(name, out);
                env.note(ts24011("6.3.3"), || format!("{name} has no memory: waits for RP-SMMA"));
                out.push(Action::State(format!("memory full {name}")));
            }
            Some(cause) => {
                out.push(Action::State(format!("sms rejected {name} {cause}")));
                let later = matches!(cause, 38 | 41 | 42 | 47);
                self.on_failure(env, name, (later, &format!("RP-ERROR {cause} of {name}")), out);
            }
        }
        self.pump(env, name, out);
    }

    fn stop_waiting(name: &str, out: &mut Actions<ServerTimer>) {
        let timer = ServerTimer::Sms(SmsTimer::Report(name.to_owned()));
        out.push(Action::ClearTimer { timer });
    }

    /// A delivery has failed: again later, or given up.
    fn on_failure(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        (later, why): (bool, &str),
        out: &mut Actions<ServerTimer>,
    ) {
        let line = self.gateway.lines.get_mut(name);
        let Some((line, Open { mut data, .. })) =
            line.and_then(|line| line.open.take().map(|open| (line, open)))
        else {
            return;
        };
        data.tries += 1;
        if later && data.tries < TRIES_MAX {
            line.paused = true;
            line.data.push_front(data);
            Self::stop_waiting(name, out);
            env.note(rfc3428("8"), || format!("{why}: the centre tries again later"));
            let timer = ServerTimer::Sms(SmsTimer::Retry(name.to_owned()));
            return out.push(Action::SetTimer { timer, at: env.now + AGAIN_AFTER });
        }
        Self::stop_waiting(name, out);
        env.refuse(rfc3428("8"), || format!("{why}: the centre gives up"));
        out.push(Action::State(format!("sms given up {name}")));
        if let What::Message(number) = data.what {
            self.discharge(env, number, status::REFUSED, out);
        }
    }

    /// RP-SMMA: the mobile has memory again (TS 24.011 §6.3.3).
    pub(super) fn on_memory(
        &mut self,
        env: &mut Env<'_>,
        sender: &Sender,
        of: (u8, &str),
        out: &mut Actions<ServerTimer>,
    ) {
        env.note(ts24011("6.3.3"), || format!("{} has memory again: RP-ACK", sender.name));
        out.push(Action::State(format!("memory free {}", sender.name)));
        if let Some(line) = self.gateway.lines.get_mut(&sender.name) {
            line.full = false;
        }
        self.report_submission(env, sender, of, Rp::Ack { tpdu: None }, out);
    }

    /// Something may be tried again: the user has registered, or registered anew.
    pub(super) fn try_again(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(line) = self.gateway.lines.get_mut(name) else { return };
        (line.full, line.paused) = (false, false);
        let timer = ServerTimer::Sms(SmsTimer::Retry(name.to_owned()));
        out.push(Action::ClearTimer { timer });
        self.pump(env, name, out);
    }

    pub(in super::super) fn on_sms_timer(
        &mut self,
        env: &mut Env<'_>,
        timer: &SmsTimer,
        out: &mut Actions<ServerTimer>,
    ) {
        match timer {
            SmsTimer::Expiry(number) => self.on_expiry(env, *number, out),
            SmsTimer::Report(name) => {
                env.refuse(ts24011("10"), || format!("TR1N: no report of {name} in {TR1N:?}"));
                out.push(Action::State(format!("sms unreported {name}")));
                self.on_failure(env, name, (true, "no report"), out);
                self.pump(env, name, out);
            }
            SmsTimer::Retry(name) => {
                if let Some(line) = self.gateway.lines.get_mut(name) {
                    line.paused = false;
                }
                self.pump(env, name, out);
            }
        }
    }

    /// The validity period of a message is over; one that is under way is waited for.
    fn on_expiry(&mut self, env: &mut Env<'_>, number: u32, out: &mut Actions<ServerTimer>) {
        let Some(to) = self.gateway.held.get(&number).map(|held| held.to.clone()) else { return };
        let is_it = |data: &Data| matches!(data.what, What::Message(its) if its == number);
        if let Some(line) = self.gateway.lines.get_mut(&to) {
            if line.open.as_ref().is_some_and(|open| is_it(&open.data)) {
                return;
            }
            line.data.retain(|data| !is_it(data));
        }
        env.refuse(ts24341("5.3.3.4.3"), || format!("the message for {to} is too old"));
        out.push(Action::State(format!("sms expired {to}")));
        self.discharge(env, number, status::EXPIRED, out);
        self.pump(env, &to, out);
    }
}

//! How a UE keeps the flow of its registration alive, and what it does when that fails
//! (RFC 5626 §4.4, §4.5; RFC 6223; TS 24.229 §5.1.1.2.1). Pings, binding requests and the time of
//! their answers are the engine's.

use std::net::SocketAddr;

use cscf_core::clause::{rfc5626, rfc6223};
use cscf_core::role::{Action, Actions, Env, OwnAnswered};
use cscf_core::sip::{HeaderName, Response};
use cscf_core::time::Duration;
use cscf_core::trace::Diagnosis;
use cscf_core::transport::{Flow, FlowEvent};

use super::registration::Phase;
use super::{Ue, UeTimer};

/// The longest time between two keep-alives where the network names none: by datagram, and on a
/// connection (RFC 5626 §4.4).
const DATAGRAMS_EVERY: Duration = Duration::from_secs(29);
const CONNECTION_EVERY: Duration = Duration::from_secs(120);

/// How a UE keeps its flow alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlive {
    /// Not at all, even where it should.
    Never,
    /// It offers keep-alives in Via (RFC 6223) and sends them where that is taken up, or where its
    /// registration is for outbound; at least so often if there is a time.
    Offered(Option<Duration>),
    /// Where its registration is for outbound (RFC 5626 §4.4).
    #[default]
    Outbound,
}

impl KeepAlive {
    /// Whether Via offers keep-alives.
    #[must_use]
    pub const fn is_offered(self) -> bool {
        matches!(self, Self::Offered(_))
    }
}

/// The flow that is kept alive.
#[derive(Debug, Default)]
pub(super) struct Kept {
    flow: Option<Flow>,
    /// The longest time between two keep-alives.
    every: Duration,
    /// What the last response asked for in Via.
    asked: Option<Duration>,
    /// Our address as the network saw it first.
    seen_at: Option<SocketAddr>,
    /// A keep-alive was answered on it.
    proven: bool,
}

/// When the next keep-alive is due: after 80 to 100 percent of the longest time, by `chance`
/// (0 to 1000) (RFC 5626 §4.4).
fn next_after(every: Duration, chance: u64) -> Duration {
    let part = u32::try_from(chance.min(1000)).unwrap_or(1000);
    every * 4 / 5 + every / 5 * part / 1000
}

impl Ue {
    /// A 200 to REGISTER came: the flow it came by is kept alive, if the network or we want it.
    pub(super) fn keep_flow(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let asked = self.kept.asked.take();
        if self.registration.phase != Phase::On {
            return;
        }
        let every = answered.flow.and_then(|flow| {
            let every = self.keeps_every(&flow, &answered.response, asked)?;
            Some((flow, every))
        });
        let Some((flow, every)) = every else {
            self.recovery.proven();
            return self.forget_flow(out);
        };
        if self.kept.flow != Some(flow) {
            self.kept = Kept { flow: Some(flow), ..Kept::default() };
        }
        self.kept.every = every;
        env.note(rfc5626("4.4"), || {
            format!("keeps {flow} alive: at least every {} s", every.as_secs())
        });
        self.set_keep_alive(env, out);
    }

    /// The longest time between two keep-alives; none if there are to be none.
    fn keeps_every(
        &self,
        flow: &Flow,
        response: &Response,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let outbound = self.flow_number().is_some()
            && response.headers.has_token(HeaderName::Require, "outbound");
        let at_least = match self.config.keep_alive {
            KeepAlive::Never => return None,
            KeepAlive::Offered(at_least) => at_least,
            KeepAlive::Outbound => None,
        };
        let told = response.headers.get(HeaderName::FlowTimer).filter(|_| outbound);
        let told = told.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let by_stream = flow.transport.is_reliable();
        let usual = if by_stream { CONNECTION_EVERY } else { DATAGRAMS_EVERY };
        let named = told.or(asked).filter(|time| !time.is_zero());
        let every = match named {
            Some(time) => time,
            None if outbound || asked.is_some() => usual,
            None => return None,
        };
        Some(at_least.map_or(every, |least| least.min(every)))
    }

    fn set_keep_alive(&self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let at = env.now + next_after(self.kept.every, env.ids.below(1001));
        out.push(Action::SetTimer { timer: UeTimer::KeepAlive, at });
    }

    /// No flow is kept alive any more.
    pub(super) fn forget_flow(&mut self, out: &mut Actions<UeTimer>) {
        if self.kept.flow.is_some() {
            out.push(Action::ClearTimer { timer: UeTimer::KeepAlive });
        }
        self.kept = Kept::default();
    }

    pub(super) fn on_keep_alive_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let Some(flow) = self.kept.flow else { return };
        env.note(rfc5626("4.4"), || format!("sends a keep-alive on {flow}"));
        out.push(Action::KeepAlive { flow });
    }

    /// What has become of a flow, or is asked of it.
    pub(super) fn flow_news(
        &mut self,
        env: &mut Env<'_>,
        event: FlowEvent,
        out: &mut Actions<UeTimer>,
    ) {
        let ours = |flow: &Flow| self.kept.flow == Some(*flow);
        match event {
            FlowEvent::Keep { every, .. } => {
                env.note(rfc6223("4.3"), || format!("keep={} in Via", every.as_secs()));
                self.kept.asked = Some(every);
            }
            FlowEvent::Alive { flow, mapped } if ours(&flow) => {
                self.on_flow_alive(env, mapped, out);
            }
            FlowEvent::NotSecured { set, cause } => self.not_secured(env, set, cause, out),
            FlowEvent::Closed { flow, cause } | FlowEvent::Failed { flow, cause }
                if ours(&flow) =>
            {
                self.on_flow_failed(env, &cause, out);
            }
            _ => {}
        }
    }

    fn on_flow_alive(
        &mut self,
        env: &mut Env<'_>,
        mapped: Option<SocketAddr>,
        out: &mut Actions<UeTimer>,
    ) {
        if let (Some(before), Some(now)) = (self.kept.seen_at, mapped)
            && before != now
        {
            // Somebody on the way has forgotten us (RFC 5626 §4.4.2).
            let cause = format!("the network sees us at {now}, no longer at {before}");
            return self.on_flow_failed(env, &cause, out);
        }
        self.kept.seen_at = mapped.or(self.kept.seen_at);
        self.recovery.proven();
        if !std::mem::replace(&mut self.kept.proven, true) {
            out.push(Action::State("flow kept alive".to_owned()));
        }
        self.set_keep_alive(env, out);
    }

    /// The flow has failed: another one is opened by registering anew, at once if this one had
    /// worked, else after the back-off (RFC 5626 §4.5).
    fn on_flow_failed(&mut self, env: &mut Env<'_>, cause: &str, out: &mut Actions<UeTimer>) {
        let flow = self.kept.flow.map(|flow| flow.to_string()).unwrap_or_default();
        let proven = self.kept.proven;
        let next = if proven { "registers anew" } else { "it never worked: registers later" };
        let text = format!("the flow has failed: {next}");
        let diagnosis = Diagnosis::new(&*self.config.impi, "the answer to a keep-alive")
            .ours(flow)
            .theirs(cause)
            .change("whether the P-CSCF runs, and what is on the way to it (NAT, firewall)");
        env.diagnose(rfc5626("4.4"), text, diagnosis);
        self.forget_flow(out);
        out.push(Action::State("flow failed".to_owned()));
        if self.registration.leaves() {
            self.registration_gone("deregistered", out);
        } else if proven {
            self.recovery.forget(self.recovery.wish);
            self.register_initially(env, out);
        } else {
            self.registration_gone("registration lost", out);
            self.register_later(env, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_keep_alive_is_due_after_80_to_100_percent_of_the_longest_time() {
        for (chance, millis) in [(0, 16_000), (500, 18_000), (1000, 20_000), (9999, 20_000)] {
            let after = next_after(Duration::from_secs(20), chance);
            assert_eq!(after, Duration::from_millis(millis), "{chance}");
        }
    }
}

//! Flows of UEs that live, fail, and come back (TS 24.229 §5.2.2.1, §5.2.6.4; RFC 5626 §5.3.1,
//! §5.4; RFC 6223): who is told how often to send keep-alives, and what silence means. Pings and
//! binding requests are answered by the engine.

use cscf_core::clause::{rfc5626, ts24229};
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sip::{HeaderName, Request, Response};
use cscf_core::time::Duration;
use cscf_core::transport::via::kept;
use cscf_core::transport::{Flow, FlowEvent};

use crate::exchange::{Register, Wish};
use crate::tokens::UeId;
use crate::{Pcscf, Timer};

/// The least that a keep-alive may be late (RFC 5626 §5.4: a grace period).
const GRACE_MIN: Duration = Duration::from_secs(10);

/// How long a flow may be silent: half as long again as UEs were told, and 10 s at least.
fn silence(flow_timer: u32) -> Duration {
    let told = Duration::from_secs(flow_timer.into());
    told + (told / 2).max(GRACE_MIN)
}

/// Whether a request offers keep-alives and the offer was taken up (RFC 6223 §4.3).
pub(crate) fn offers(request: &Request) -> bool {
    request.headers.first_value(HeaderName::Via).and_then(kept).is_some()
}

impl Pcscf {
    /// Tells a UE that registered a flow how often to send keep-alives (RFC 5626 §5.4).
    pub(crate) fn tell_flow_timer(
        &self,
        env: &mut Env<'_>,
        exchange: &Register,
        response: &mut Response,
    ) {
        let binds = exchange.outbound && matches!(exchange.wish, Wish::Contact(_));
        let Some(seconds) = self.config.flow_timer.filter(|_| binds && response.is_success())
        else {
            return;
        };
        env.note(rfc5626("5.4"), || {
            let within = silence(seconds).as_secs();
            format!("Flow-Timer: {seconds}; a silence of {within} s is the end of the flow")
        });
        response.headers.set(HeaderName::FlowTimer, &seconds.to_string());
    }

    /// Watches the flow of a UE that sends keep-alives.
    pub(crate) fn watch_flow(&self, id: UeId, out: &mut Actions<Timer>) {
        let Some(seconds) = self.config.flow_timer else { return };
        let Some(ue) = self.bindings.get(id) else { return };
        let within = ue.kept.then(|| silence(seconds));
        out.push(Action::Watch { flow: ue.flow, within });
    }

    /// What has become of a flow. Only the end of a connection and a long silence are the end of a
    /// flow: a datagram that came back may be followed by one that arrives.
    pub(crate) fn flow_news(
        &mut self,
        env: &mut Env<'_>,
        event: FlowEvent,
        out: &mut Actions<Timer>,
    ) {
        match event {
            // A UE with security associations can be reached by a new connection.
            FlowEvent::Closed { flow, .. } if flow.sa.is_some() => {}
            FlowEvent::Closed { flow, cause } => {
                for id in self.ues_on(&flow) {
                    self.lose_flow(env, id, &format!("the connection of {flow} ended: {cause}"));
                }
            }
            FlowEvent::Failed { flow, cause } => {
                let ids = self.ues_on(&flow);
                if ids.is_empty() {
                    out.push(Action::Watch { flow, within: None });
                }
                for id in ids {
                    self.lose_flow(env, id, &format!("{flow} has failed: {cause}"));
                }
            }
            FlowEvent::Alive { flow, .. } => {
                for id in self.ues_on(&flow) {
                    let Some(ue) = self.bindings.get_mut(id) else { continue };
                    ue.flow_lost = false;
                    env.note(rfc5626("5.4"), || format!("{} is heard of again: {flow}", ue.impi()));
                }
            }
            FlowEvent::NotSecured { set, cause } => self.not_secured(env, set, &cause, out),
            FlowEvent::Keep { .. } | FlowEvent::Opened(_) | FlowEvent::Unreachable { .. } => {}
        }
    }

    fn lose_flow(&mut self, env: &mut Env<'_>, id: UeId, why: &str) {
        let Some(ue) = self.bindings.get_mut(id) else { return };
        ue.flow_lost = true;
        let status = if ue.outbound { 430 } else { 480 };
        env.note(ts24229("5.2.6.4"), || {
            format!("{}: {why}; what is to go there gets {status}", ue.impi())
        });
    }

    /// The UEs whose requests come and go by this flow.
    fn ues_on(&self, flow: &Flow) -> Vec<UeId> {
        match flow.sa {
            None => self.bindings.on_flow(flow),
            Some(sa) => {
                let record = self.associations.get(sa).map(|record| record.ue);
                let uses =
                    |id: &UeId| self.bindings.get(*id).is_some_and(|ue| ue.flow.sa == flow.sa);
                record.filter(uses).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_may_be_silent_half_as_long_again_and_ten_seconds_at_least() {
        for (told, seconds) in [(1, 11), (20, 30), (120, 180)] {
            assert_eq!(silence(told), Duration::from_secs(seconds));
        }
    }
}

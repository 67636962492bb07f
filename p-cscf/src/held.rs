//! A challenge with Security-Server is held until whoever runs the node has had its turn to refuse
//! the associations (TS 33.203 §7.1): where they do not hold the UE gets 500 in its place, for
//! nothing that it sent by them could be heard.

use cscf_core::clause::ts33203;
use cscf_core::role::{Action, Actions, BranchId, ContextId, Env};
use cscf_core::sip::{HeaderName, Response, reason_phrase};
use cscf_core::time::Duration;
use cscf_core::trace::Diagnosis;
use cscf_core::transport::SaId;

use crate::associations::{Record, State};
use crate::exchange::Exchange;
use crate::tokens::UeId;
use crate::{Pcscf, Timer};

/// The least time there is: a refusal is heard before anything else, and what is due now is done
/// with what comes now.
const A_TURN: Duration = Duration::from_micros(1);

/// A 401 that waits.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The associations it tells of.
    set: SaId,
    branch: BranchId,
    response: Response,
}

impl Pcscf {
    /// The associations that wait for the answer to the challenge of a UE.
    fn newest_waiting(&self, ue: UeId) -> Option<SaId> {
        let all = self.associations.of_ue(ue);
        all.filter(|it| it.state == State::Temporary).map(|it| it.set.id).max()
    }

    /// Passes a challenge on to a UE, behind the turn of whoever makes its associations hold.
    pub(crate) fn hold_challenge(
        &mut self,
        env: &Env<'_>,
        context: ContextId,
        (branch, response): (BranchId, Response),
        out: &mut Actions<Timer>,
    ) {
        let Some(Exchange::Register(exchange)) = self.exchanges.get(&context) else { return };
        let Some(set) = self.newest_waiting(exchange.ue) else {
            out.push(Action::PassUp { context, branch, response: Box::new(response) });
            return;
        };
        if let Some(Exchange::Register(exchange)) = self.exchanges.get_mut(&context) {
            exchange.held = Some(Box::new(Held { set, branch, response }));
            let at = env.now + A_TURN;
            out.push(Action::SetTimer { timer: Timer::Challenge(context), at });
        }
    }

    /// Nobody has refused the associations of a challenge: it goes on.
    pub(crate) fn on_challenge_timer(&mut self, context: ContextId, out: &mut Actions<Timer>) {
        let Some(Exchange::Register(exchange)) = self.exchanges.get_mut(&context) else { return };
        let Some(held) = exchange.held.take() else { return };
        let Held { branch, response, .. } = *held;
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// The associations of a challenge do not hold. If it still waits the UE gets 500; else what it
    /// answers by them cannot be heard, and its registration stalls here.
    pub(crate) fn not_secured(
        &mut self,
        env: &mut Env<'_>,
        id: SaId,
        cause: &str,
        out: &mut Actions<Timer>,
    ) {
        let Some(record) = self.associations.get(id).cloned() else { return };
        let waits = self.take_held(id);
        tell_refused(env, &record, cause, waits.is_some());
        self.drop_now(id, out);
        let Some((context, held)) = waits else { return };
        let Held { branch, mut response, .. } = *held;
        response.status = 500;
        response.reason = reason_phrase(500).into();
        for name in [HeaderName::WwwAuthenticate, HeaderName::SecurityServer, HeaderName::Require] {
            response.headers.remove(name);
        }
        out.push(Action::ClearTimer { timer: Timer::Challenge(context) });
        self.registration_failed(env, record.ue, 500, out);
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// The challenge that tells of these associations, if it still waits.
    fn take_held(&mut self, id: SaId) -> Option<(ContextId, Box<Held>)> {
        self.exchanges.iter_mut().find_map(|(context, exchange)| match exchange {
            Exchange::Register(exchange) => {
                Some((*context, exchange.held.take_if(|held| held.set == id)?))
            }
            Exchange::Call(_) => None,
        })
    }
}

fn tell_refused(env: &mut Env<'_>, record: &Record, cause: &str, waits: bool) {
    let set = &record.set;
    let diagnosis = Diagnosis::new(&*record.impi, "security associations of the challenge")
        .ours(cause)
        .theirs(format!("{} with {}", set.algorithms, set.remote.client()))
        .change("what keeps this machine from protecting packets; `cscf doctor` looks at it");
    let what = if waits { "gets 500" } else { "stalls after the 401" };
    let text = format!("{} {what}: its associations do not hold", record.impi);
    env.diagnose(ts33203("7.1"), text, diagnosis);
}

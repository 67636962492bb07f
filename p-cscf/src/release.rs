//! The end of sessions whose UE the network has deregistered (TS 24.229 §5.2.5.2, §5.2.8.1.2). The
//! S-CSCF ends them too, so they are given time; what is left then is released from here.

use cscf_core::clause::ts24229;
use cscf_core::role::{Action, Actions, Env, NextHop, OwnTag, Side};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Duration;

use crate::tokens::{self, DialogId, UeId};
use crate::{Pcscf, Timer, charging};

/// How long the BYEs of the S-CSCF may be on their way: 64 × T1.
const OTHERS_FIRST: Duration = Duration::from_secs(32);
/// Why the session ends (RFC 3326).
const REASON: &str = "SIP;cause=404;text=\"Not registered\"";

impl Pcscf {
    /// The sessions of a UE end soon.
    pub(crate) fn release_soon(&self, env: &Env<'_>, ue: UeId, out: &mut Actions<Timer>) {
        for id in self.dialogs.all_of(ue) {
            if self.dialogs.get(id).is_some_and(|dialog| dialog.between.is_some()) {
                let at = env.now + OTHERS_FIRST;
                out.push(Action::SetTimer { timer: Timer::Release(id), at });
            }
        }
    }

    /// Releases a session that nobody has ended: a BYE to each end, in the name of the other.
    pub(crate) fn on_release_timer(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        out: &mut Actions<Timer>,
    ) {
        // The dialogs of a UE that moved to another record stay with it.
        let gone = |ue| self.bindings.get(ue).is_none();
        let Some(dialog) = self.dialogs.get(id).filter(|it| gone(it.ue)) else { return };
        if !dialog.between.as_ref().is_some_and(|between| between.is_confirmed()) {
            return;
        }
        let Some(mut dialog) = self.dialogs.remove(id) else { return };
        out.push(Action::ClearTimer { timer: Timer::Dialog(id) });
        env.note(ts24229("5.2.8.1.2"), || {
            format!("releases the session {}: its user is deregistered", dialog.call_id)
        });
        let Some((to_caller, to_callee)) = dialog.between.as_mut().map(|it| it.byes()) else {
            return;
        };
        let (to_ue, to_core) = match dialog.direction {
            crate::dialogs::Direction::FromUe => (to_caller, to_callee),
            crate::dialogs::Direction::ToUe => (to_callee, to_caller),
        };
        if let Some(mut request) = to_core {
            let vector = charging::of_request(&self.config, &dialog.icid);
            request.headers.push(HeaderName::PChargingVector, &vector);
            out.push(bye(env, request, NextHop::AsRouted, Side::Core));
        }
        if let Some(request) = to_ue {
            out.push(bye(env, request, NextHop::Flow(dialog.flow), dialog.side));
        }
    }
}

/// A BYE of our own; whatever is answered, the session is over.
fn bye(env: &mut Env<'_>, mut request: Request, to: NextHop, side: Side) -> Action<Timer> {
    request.headers.push(HeaderName::Reason, REASON);
    request.headers.push(HeaderName::ContentLength, "0");
    let tag = OwnTag(tokens::number(env.ids));
    Action::Originate { tag, request: Box::new(request), to, within: None, side }
}

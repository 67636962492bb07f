//! Who a call is with, and INVITE with Replaces (RFC 3891).

use cscf_core::clause::{rfc3261, rfc3891};
use cscf_core::identity::Impu;
use cscf_core::role::{Actions, Env};
use cscf_core::sip::{HeaderName, NameAddr, Replaces, Request, Uri};
use cscf_core::ua::SessionPhase;

use super::headers::dialled;
use super::{Ue, UeTimer};

impl Ue {
    /// The call that an INVITE replaces, if it wants to; else the status it is refused with
    /// (RFC 3891 §3).
    pub(super) fn replaced_by(
        &self,
        env: &mut Env<'_>,
        invite: &Request,
    ) -> Result<Option<u16>, u16> {
        let mut fields = invite.headers.fields(HeaderName::Replaces);
        let Some(field) = fields.next() else { return Ok(None) };
        let Ok(named) = Replaces::parse(field.value()) else {
            env.refuse(rfc3891("3"), || "400: Replaces is unreadable".to_owned());
            return Err(400);
        };
        if fields.next().is_some() {
            env.refuse(rfc3891("3"), || "400: more than one Replaces".to_owned());
            return Err(400);
        }
        let found = self.newest(|call| {
            call.session().dialog_id().is_some_and(|id| {
                id.call_id == named.call_id
                    && Some(id.local_tag.as_str()) == named.to_tag()
                    && Some(id.remote_tag.as_str()) == named.from_tag()
            })
        });
        let call = found.and_then(|number| Some((number, self.calls.get(&number)?)));
        let Some((number, call)) = call else {
            env.refuse(rfc3891("3"), || "481: Replaces names no dialog of ours".to_owned());
            return Err(481);
        };
        match call.session().phase() {
            SessionPhase::Over | SessionPhase::Ending => {
                env.refuse(rfc3891("3"), || "603: the dialog to be replaced is over".to_owned());
                Err(603)
            }
            SessionPhase::Talking if named.is_early_only() => {
                env.refuse(rfc3891("3"), || "486: early-only, and the call is answered".into());
                Err(486)
            }
            SessionPhase::Incoming => {
                env.refuse(rfc3891("3"), || "481: that early dialog is not of our making".into());
                Err(481)
            }
            SessionPhase::Calling | SessionPhase::Talking => {
                env.note(rfc3891("3"), || {
                    format!("takes the place of the call with {}", call.peer())
                });
                Ok(Some(number))
            }
        }
    }

    /// Sends the caller elsewhere: 302 with the other address (RFC 3261 §21.3.3).
    pub(super) fn redirect(&mut self, env: &mut Env<'_>, target: &str, out: &mut Actions<UeTimer>) {
        let target = dialled(target, &self.config.domain);
        env.note(rfc3261("21.3.3"), || format!("302: {target} is to be called instead"));
        let contact = [(HeaderName::Contact, format!("<{target}>"))];
        self.order(env, &[SessionPhase::Incoming], out, |session, turn| {
            session.refuse(turn, 302, &contact);
        });
    }
}

/// Who calls: the network knows better than the caller (TS 24.229 §5.1.4.1).
pub(super) fn caller_of(invite: &Request) -> String {
    let asserted = invite.headers.first_value(HeaderName::PAssertedIdentity);
    let asserted = asserted.and_then(|value| NameAddr::parse(value).ok());
    let from = || invite.from_addr().ok();
    asserted.or_else(from).map(|address| address.uri.to_string()).unwrap_or_default()
}

/// Whether a URI is one of a person's public identities, in either form of a number.
pub(super) fn is_one_of(uri: &str, identities: &[String]) -> bool {
    let impu = |text: &str| Uri::parse(text).ok().and_then(|uri| Impu::from_uri(&uri).ok());
    let Some(this) = impu(uri) else { return identities.iter().any(|other| other == uri) };
    identities.iter().filter_map(|other| impu(other)).any(|other| {
        let number = this.global_number();
        this == other || (number.is_some() && number == other.global_number())
    })
}

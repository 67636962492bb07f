//! GIBA: a UE on a 3GPP access without credentials is known by its address, which the access
//! network gave it and the HSS knows (TS 33.203 Annex T; TS 24.229 §5.4.1.2.1; TS 29.228 §6.3).
//!
//! The address is asked for with every REGISTER, so that a UE whose address has changed is found
//! out when it refreshes.

use std::net::IpAddr;

use cscf_core::clause::ts24229;
use cscf_core::cx::{AuthItem, AuthScheme, CxAnswer, CxRequest, CxResult, Mar};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::trace::Diagnosis;
use cscf_core::transaction::timers::{AIR_ACCESS_TYPES, is_air_access};
use cscf_core::transport::via::ViaView;

use crate::ScscfActions;
use crate::owner::{Job, RegistrationOwner, Rounds};
use crate::refusal::Refusal;
use crate::register::Register;
use crate::secret::Proof;

/// Bytes of an IPv6 address that the access network gives.
const PREFIX_BYTES: usize = 8;

impl RegistrationOwner {
    /// Whether a REGISTER is to be judged by the address of its UE: no credentials at all, and
    /// nothing that says the access is none of 3GPP.
    pub(crate) fn is_giba(&self, register: &Register) -> bool {
        let headers = &register.request.headers;
        let access = headers.first_value(HeaderName::PAccessNetworkInfo);
        self.config.giba
            && !headers.contains(HeaderName::Authorization)
            && access.is_none_or(|access| is_air_access(access, AIR_ACCESS_TYPES))
    }

    /// Asks the HSS for the address of the user's UE (TS 29.228 §6.3.1).
    pub(crate) fn ask_address(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        out: &mut ScscfActions,
    ) {
        env.note(ts24229("5.4.1.2.1"), || {
            format!("no Authorization: asks the HSS for the address of {}", register.impi)
        });
        let question = Mar {
            impi: register.impi.clone(),
            impu: register.impu.clone(),
            server_name: self.config.uri.clone(),
            scheme: AuthScheme::EarlyIms,
            count: 1,
            resync: None,
        };
        let ask = env.next_ask();
        self.jobs.insert(ask, Job::Address(Box::new(register)));
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Mar(question)) });
    }

    /// Compares the address in the HSS with that of the UE (TS 24.229 §5.4.1.2.1).
    pub(crate) fn address_told(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        answer: CxAnswer,
        out: &mut ScscfActions,
    ) {
        let known = match answer {
            CxAnswer::Maa(maa) if maa.result == CxResult::AuthSchemeNotSupported => {
                env.note(ts24229("5.4.1.2.1"), || {
                    format!("{} has no GIBA: it is challenged", register.impi)
                });
                return self.challenge(env, register, Rounds::default(), None, out);
            }
            CxAnswer::Maa(maa) if maa.result.is_success() => match maa.items.first() {
                Some(AuthItem::Address(addr)) => Ok(*addr),
                _ => Err(Refusal::new(403, "5.4.1.2.1", "the HSS gives no address of the UE")),
            },
            CxAnswer::Maa(maa) => Err(self.negative(maa.result)),
            CxAnswer::Unreachable => Err(self.no_answer("the HSS does not answer the MAR")),
            _ => Err(self.no_answer("the HSS answers something else")),
        };
        let judged = known.and_then(|known| match source(&register.request) {
            Some(came) if same(known, came) => Ok(known),
            came => Err(elsewhere(&register.impi, known, came)),
        });
        match judged {
            Ok(addr) => {
                env.note(ts24229("5.4.1.2.1"), || {
                    format!("{} comes from {addr}, which the access network gave it", register.impi)
                });
                self.accept(env, register, Proof::elsewhere(), out);
            }
            Err(refusal) => refusal.send(env, register.context, &register.request, out),
        }
    }
}

fn elsewhere(impi: &str, known: IpAddr, came: Option<IpAddr>) -> Refusal {
    let came = came.map_or_else(|| "no address".to_owned(), |addr| addr.to_string());
    let why = format!("{impi} comes from {came}, the access network gave it {known}");
    let cause = Diagnosis::new(impi, "the address of the UE is that of its access (GIBA)")
        .ours(known.to_string())
        .theirs(came)
        .change("framed_ip of the subscriber, or the address the UE registers from");
    Refusal::new(403, "5.4.1.2.1", why).because(cause)
}

/// The address of the UE: `received` of its own Via, which the P-CSCF has checked, else the host
/// there. Whoever is on the way has put its Via on top.
fn source(request: &Request) -> Option<IpAddr> {
    let via = ViaView::parse(request.headers.values(HeaderName::Via).last()?)?;
    via.received.or_else(|| via.host.parse().ok())
}

/// Whether two addresses are the same; of IPv6 the access network gives only the prefix.
fn same(known: IpAddr, came: IpAddr) -> bool {
    match (known, came) {
        (IpAddr::V6(known), IpAddr::V6(came)) => {
            known.octets().iter().zip(came.octets()).take(PREFIX_BYTES).all(|(a, b)| *a == b)
        }
        _ => known == came,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_ipv6_address_the_prefix_counts() {
        let addr = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(same(addr("2001:db8::"), addr("2001:db8::7:1")));
        assert!(!same(addr("2001:db8::"), addr("2001:db8:0:1::1")));
        assert!(same(addr("10.0.0.1"), addr("10.0.0.1")));
        assert!(!same(addr("10.0.0.1"), addr("10.0.0.2")));
    }
}

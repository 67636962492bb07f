//! Numbers that callers ask for (TS 24.229 §5.4.3.2 steps 9 and 10): local ones become global by
//! the numbering plan, global ones the SIP URI that ENUM has for them; what nobody here has leaves
//! towards the telephone network.

use cscf_core::clause::ts24229;
use cscf_core::cx::AskId;
use cscf_core::identity::NumberFault;
use cscf_core::role::{Action, ContextId, Env, NextHop, Question};
use cscf_core::sip::{Request, Uri};
use cscf_core::transport::dns::{DnsAnswer, DnsKind, DnsQuestion, enum_name, enum_uri};

use crate::ScscfActions;
use crate::isc::Leg;
use crate::originating::Target;
use crate::refusal::Refusal;
use crate::sessions::Sessions;

/// A request whose number ENUM is asked about.
#[derive(Debug)]
pub(crate) struct Numbered {
    leg: Leg,
    /// The global number, `+` first.
    number: String,
}

impl Numbered {
    pub(crate) const fn context(&self) -> ContextId {
        self.leg.context
    }
}

impl Sessions {
    /// The global number that a request is for; none if it is for no number of this network.
    pub(crate) fn number_of(&self, request: &Request) -> Result<Option<String>, Refusal> {
        let Ok(uri) = request.uri() else { return Ok(None) };
        let tel = match &uri {
            Uri::Tel(tel) => tel.clone(),
            Uri::Sip(sip) if self.config.is_home(sip.host()) && is_phone(&uri) => {
                let user = uri.user_decoded().unwrap_or_default();
                match Uri::parse(&format!("tel:{user}")) {
                    Ok(Uri::Tel(tel)) => tel,
                    _ => return Err(refused(404, format!("{uri} holds no telephone number"))),
                }
            }
            Uri::Sip(_) | Uri::Other(_) => return Ok(None),
        };
        if tel.is_global() {
            return Ok(Some(tel.digits()));
        }
        let plan = &self.config.numbering;
        let context = tel.phone_context();
        let number = plan.global(&tel.digits(), context, |domain| self.config.is_home(domain));
        number.map(Some).map_err(|fault| match fault {
            NumberFault::Incomplete => {
                refused(484, format!("{uri} has less than {} digits", plan.digits_min))
            }
            NumberFault::NoTranslation => {
                refused(404, format!("no translation of the local number {uri}"))
            }
        })
    }

    /// Sends a request for a number on its way, after asking ENUM where the network uses it.
    pub(crate) fn route_number(
        &mut self,
        env: &mut Env<'_>,
        leg: Leg,
        number: String,
        out: &mut ScscfActions,
    ) {
        let Some(suffix) = &self.config.numbering.enum_suffix else {
            return self.without_enum(env, leg, &number, out);
        };
        let question = DnsQuestion::new(DnsKind::Naptr, &enum_name(&number, suffix));
        env.note(ts24229("5.4.3.2"), || format!("asks ENUM for {number}: {question}"));
        let ask = env.next_ask();
        self.numbered.insert(ask, Numbered { leg, number });
        out.push(Action::Ask { ask, question: Question::Dns(question) });
    }

    /// ENUM has answered, or did not.
    pub(crate) fn number_told(
        &mut self,
        env: &mut Env<'_>,
        ask: AskId,
        answer: &DnsAnswer,
        out: &mut ScscfActions,
    ) {
        let Some(Numbered { leg, number }) = self.numbered.remove(&ask) else { return };
        match enum_uri(&number, answer.records()) {
            Some(uri) => {
                env.note(ts24229("5.4.3.2"), || format!("ENUM: {number} is {uri}"));
                let home = Uri::parse(&uri)
                    .is_ok_and(|uri| uri.host().is_some_and(|host| self.config.is_home(host)));
                let to = match home {
                    true => NextHop::Uri(self.config.icscf.clone()),
                    false => self.abroad(),
                };
                self.forward_to(env, leg, Target { to, request_uri: Some(uri), home }, out);
            }
            None => {
                env.note(ts24229("5.4.3.2"), || match answer {
                    DnsAnswer::Unreachable => format!("ENUM does not answer for {number}"),
                    DnsAnswer::Records(_) => format!("ENUM does not know {number}"),
                });
                self.not_in_enum(env, leg, &number, out);
            }
        }
    }

    /// Without ENUM the numbering plan says whose number it is.
    fn without_enum(&mut self, env: &mut Env<'_>, leg: Leg, number: &str, out: &mut ScscfActions) {
        let away = self.config.break_out.is_some() && self.config.numbering.home.is_empty();
        if self.config.numbering.is_home(number) && !away {
            return self.route_home_number(env, leg, number, out);
        }
        self.break_out(env, leg, number, out);
    }

    /// What ENUM does not know is of this network only where the plan says so.
    fn not_in_enum(&mut self, env: &mut Env<'_>, leg: Leg, number: &str, out: &mut ScscfActions) {
        let plan = &self.config.numbering;
        if !plan.home.is_empty() && plan.is_home(number) {
            return self.route_home_number(env, leg, number, out);
        }
        self.break_out(env, leg, number, out);
    }

    fn route_home_number(
        &mut self,
        env: &mut Env<'_>,
        leg: Leg,
        number: &str,
        out: &mut ScscfActions,
    ) {
        let to = NextHop::Uri(self.config.icscf.clone());
        let request_uri = self.global_form(&leg.request, number);
        self.forward_to(env, leg, Target { to, request_uri, home: true }, out);
    }

    /// Nobody here has the number: it goes where a BGCF would find a gateway, if there is one.
    fn break_out(&mut self, env: &mut Env<'_>, leg: Leg, number: &str, out: &mut ScscfActions) {
        let Some(to) = self.config.break_out.clone() else {
            let why = format!("nobody has the number {number}, and nothing breaks out");
            return refused(404, why).send(env, leg.context, &leg.request, out);
        };
        env.note(ts24229("5.4.3.2"), || format!("{number} is not of this network: breaks out"));
        let request_uri = self.global_form(&leg.request, number);
        let target = Target { to: NextHop::Uri(to), request_uri, home: true };
        self.forward_to(env, leg, target, out);
    }

    /// The Request-URI with the global number; none where it has that form already.
    fn global_form(&self, request: &Request, number: &str) -> Option<String> {
        let home = self.config.realm();
        let global = request.uri().ok().filter(|uri| {
            uri.is_sip() && uri.user_decoded().is_some_and(|user| user.starts_with('+'))
        });
        global.is_none().then(|| format!("sip:{number}@{home};user=phone"))
    }
}

fn is_phone(uri: &Uri) -> bool {
    uri.param("user").is_some_and(|value| value.eq_ignore_ascii_case("phone"))
}

fn refused(status: u16, why: String) -> Refusal {
    Refusal::new(status, "5.4.3.2", why)
}

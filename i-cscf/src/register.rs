//! REGISTER at the I-CSCF (TS 24.229 §5.3.1): may this user register, at which S-CSCF, and which
//! one next when that one fails.

use cscf_core::auth::{Credentials, IntegrityProtected};
use cscf_core::clause::{own, ts24229};
use cscf_core::cx::{
    AuthorizationType, CxAnswer, CxRequest, CxResult, ServerAnswer, ServerCapabilities, Uar,
};
use cscf_core::dialog::field;
use cscf_core::registrar::identity_key;
use cscf_core::role::{
    Action, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, Side, Within,
};
use cscf_core::sip::{HeaderName, Headers, Request, Response, Uri, contact_expires};
use cscf_core::time::{Duration, Instant};

use crate::select::{candidates, same_server};
use crate::{Icscf, IcscfActions, Pending, Refusal, cause, pass_up, refuse, refuse_new_work};

/// A REGISTER on its way to an S-CSCF.
#[derive(Debug)]
pub(crate) struct Registering {
    request: Request,
    uar: Uar,
    /// The S-CSCF it came to must be the one the UE has keys with: no other is tried.
    protected: bool,
    /// S-CSCFs that failed, and the one tried now.
    tried: Vec<String>,
    give_up_at: Instant,
    /// What the last S-CSCF answered, if it did.
    last: Option<(BranchId, Response)>,
}

impl Icscf {
    /// Takes a REGISTER (TS 24.229 §5.3.1.2).
    pub(crate) fn register(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut IcscfActions,
    ) {
        let Incoming { context, request, flow, .. } = incoming;
        let checked = if self.config.trusts(flow.remote) {
            self.authorization_request(&request)
        } else {
            let why = format!("{} is no trusted peer", flow.remote);
            Err(Refusal::new(403, "5.3.1.2", why).because(cause::stranger(flow.remote)))
        };
        let (uar, protected) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return refuse(env, context, &request, refusal, out),
        };
        // Who has a registration, who leaves and who is in an emergency is let through.
        let new = uar.authorization_type == AuthorizationType::Registration && !uar.emergency;
        if let Some(refusal) = self.work.refusal().filter(|_| new && !protected) {
            return refuse_new_work(env, context, &request, refusal, out);
        }
        env.note(ts24229("5.3.1.2"), || {
            let Uar { impi, impu, .. } = &uar;
            format!("asks the HSS whether {impi} may register {impu}")
        });
        let question = CxRequest::Uar(uar.clone());
        let registering = Registering {
            request,
            uar,
            protected,
            tried: Vec::new(),
            give_up_at: env.now + self.config.candidates_for,
            last: None,
        };
        self.pending.insert(context, Pending::Register(Box::new(registering)));
        self.ask(env, context, question, out);
    }

    /// Reads the UAR out of a REGISTER, and whether the REGISTER came protected
    /// (TS 24.229 §5.3.1.2, TS 29.228 §6.1.1.1).
    fn authorization_request(&self, request: &Request) -> Result<(Uar, bool), Refusal> {
        let refused = |status, why: String| Refusal::new(status, "5.3.1.2", why);
        let target = request.uri().ok();
        let home = target
            .as_ref()
            .and_then(Uri::host)
            .is_some_and(|host| self.config.is_home(host) || same_host(host, &self.config.uri));
        if !home {
            let why = format!("Request-URI {} is not of this network", request.request_uri);
            let cause = cause::foreign(&request.request_uri, &self.config);
            return Err(refused(403, why).because(cause));
        }
        let to = request.to_uri().ok();
        let impu = to.as_ref().and_then(identity_key);
        let (Some(to), Some(impu)) = (to, impu) else {
            let cause = cause::no_identity(request.headers.get(HeaderName::To).unwrap_or_default());
            return Err(refused(400, "To holds no public user identity".into()).because(cause));
        };
        let credentials: Option<Credentials> =
            request.headers.get(HeaderName::Authorization).and_then(|text| text.parse().ok());
        let realm = credentials.as_ref().and_then(Credentials::realm);
        if let Some(realm) = realm
            && !self.config.is_home(&realm)
        {
            let cause = cause::wrong_realm(&realm, &self.config);
            let why = format!("realm {realm} is not of this network");
            return Err(refused(403, why).because(cause));
        }
        let username = credentials.as_ref().and_then(Credentials::username);
        let impi = match username {
            Some(username) if !username.is_empty() => username.into_owned(),
            _ => derived_impi(&to),
        };
        let visited = request.headers.visited_networks().unwrap_or_default();
        let visited_network = visited.into_iter().next().map(|its| its.network).unwrap_or_default();
        let uar = Uar {
            impi,
            impu,
            visited_network,
            authorization_type: if deregisters(&request.headers) {
                AuthorizationType::Deregistration
            } else {
                AuthorizationType::Registration
            },
            emergency: is_emergency(&request.headers),
        };
        let integrity = credentials.as_ref().and_then(Credentials::integrity_protected);
        // Of all values only "yes" keeps a REGISTER at its S-CSCF (TS 24.229 §5.3.1.3): without an
        // association another one can challenge anew.
        let protected = integrity == Some(IntegrityProtected::Yes);
        Ok((uar, protected))
    }

    /// Acts on the UAA (TS 24.229 §5.3.1.2, §5.3.1.3).
    pub(crate) fn authorized(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        answer: CxAnswer,
        out: &mut IcscfActions,
    ) {
        let Some(Pending::Register(registering)) = self.pending.get_mut(&context) else { return };
        let mut wanted = ServerCapabilities::default();
        let chosen = match judge(answer, &registering.uar) {
            Err(refusal) => Err(refusal),
            // Whom the HSS names again has failed already.
            Ok(ServerAnswer { server_name: Some(name), .. }) => {
                let failed = registering.tried.iter().any(|tried| same_server(tried, &name));
                Ok(Some(name).filter(|_| !failed))
            }
            Ok(ServerAnswer { capabilities, .. }) => {
                wanted = capabilities.unwrap_or_default();
                let mut list = candidates(&self.config, &wanted, &registering.tried);
                Ok(list.next().map(str::to_owned))
            }
        };
        match chosen {
            Ok(Some(name)) => self.try_scscf(env, context, name, out),
            Ok(None) if registering.tried.is_empty() => {
                let why = "no S-CSCF has the mandatory capabilities";
                let cause = cause::no_server(&self.config, &wanted);
                let refusal = Refusal::new(600, "5.3.1.3", why).because(cause);
                self.refuse_register(env, context, refusal, out);
            }
            Ok(None) => self.exhausted(env, context, out),
            Err(refusal) => self.refuse_register(env, context, refusal, out),
        }
    }

    /// Sends the REGISTER to one S-CSCF: Request-URI changed, no Route, no Record-Route
    /// (TS 24.229 §5.3.1.2).
    fn try_scscf(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        name: String,
        out: &mut IcscfActions,
    ) {
        let Some(Pending::Register(registering)) = self.pending.get_mut(&context) else { return };
        if same_server(&name, &self.config.uri) {
            let why = "the HSS names this I-CSCF as S-CSCF";
            let refusal = Refusal::new(482, "5.3.1.2", why).because(cause::no_server_name(&name));
            return self.refuse_register(env, context, refusal, out);
        }
        if !Uri::parse(&name).is_ok_and(|uri| uri.is_sip()) {
            let why = format!("S-CSCF name {name} is no SIP URI");
            let refusal = Refusal::new(480, "5.3.1.3", why).because(cause::no_server_name(&name));
            return self.refuse_register(env, context, refusal, out);
        }
        let left = registering.give_up_at.since(env.now);
        let others = self.config.scscfs.iter().any(|scscf| {
            let is = |tried: &String| same_server(tried, &scscf.uri);
            !same_server(&name, &scscf.uri) && !registering.tried.iter().any(is)
        });
        let retries = others && !registering.protected;
        let within = if retries { left.min(self.config.candidate_for) } else { left };
        env.note(ts24229("5.3.1.2"), || format!("REGISTER goes to S-CSCF {name}"));
        registering.tried.push(name.clone());
        let mut request = registering.request.clone();
        request.request_uri = name.into();
        out.push(Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route: None,
            within: Some(Within::Final(within)),
            side: Side::Core,
        });
    }

    /// Relays the S-CSCF's answer, or tries the next one: silence, 3xx and 480 mean that this
    /// S-CSCF cannot serve (TS 24.229 §5.3.1.3); 503 that it is overloaded (RFC 3263 §4.3).
    pub(crate) fn register_answered(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut IcscfActions,
    ) {
        let Answered { context, branch, response, cause, .. } = answered;
        let Some(Pending::Register(registering)) = self.pending.get_mut(&context) else { return };
        let silent = cause != Cause::Received;
        if !silent && !matches!(response.status, 300..=399 | 480 | 503) {
            return pass_up(context, branch, response, out);
        }
        let scscf = registering.tried.last().cloned().unwrap_or_default();
        let what = describe(cause, response.status);
        if !silent {
            registering.last = Some((branch, response));
        } else if registering.protected {
            let why = format!("{scscf} {what}, and the REGISTER is integrity protected");
            let cause = cause::silent_server(&scscf, true);
            let refusal = Refusal::new(504, "5.3.1.3", why).because(cause);
            return self.refuse_register(env, context, refusal, out);
        } else {
            registering.last = None;
        }
        if registering.protected || registering.give_up_at.since(env.now) == Duration::ZERO {
            return self.exhausted(env, context, out);
        }
        env.note(ts24229("5.3.1.3"), || format!("{scscf} {what}: chooses another S-CSCF"));
        registering.uar.authorization_type = AuthorizationType::RegistrationAndCapabilities;
        let question = CxRequest::Uar(registering.uar.clone());
        self.ask(env, context, question, out);
    }

    /// No S-CSCF is left: the last answer goes up, 504 if there was none (TS 24.229 §5.3.1.3).
    fn exhausted(&mut self, env: &mut Env<'_>, context: ContextId, out: &mut IcscfActions) {
        let Some(Pending::Register(registering)) = self.pending.get_mut(&context) else { return };
        match registering.last.take() {
            Some((branch, response)) => {
                env.note(own("s_cscf_selection"), || {
                    format!("no S-CSCF is left; the last one's {} goes up", response.status)
                });
                pass_up(context, branch, response, out);
            }
            None => {
                let tried = registering.tried.join(", ");
                let cause = cause::silent_server(&tried, false);
                let why = format!("no answer from {tried}");
                let refusal = Refusal::new(504, "5.3.1.3", why).because(cause);
                self.refuse_register(env, context, refusal, out);
            }
        }
    }

    fn refuse_register(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        refusal: Refusal,
        out: &mut IcscfActions,
    ) {
        if let Some(Pending::Register(registering)) = self.pending.remove(&context) {
            refuse(env, context, &registering.request, refusal, out);
        }
    }
}

/// What a UAA means for the REGISTER (TS 24.229 §5.3.1.3).
fn judge(answer: CxAnswer, uar: &Uar) -> Result<ServerAnswer, Refusal> {
    let (status, why, result) = match answer {
        CxAnswer::Server(answer) if answer.result.is_success() => return Ok(answer),
        CxAnswer::Server(ServerAnswer { result, .. }) => match result {
            CxResult::UserUnknown
            | CxResult::IdentitiesDontMatch
            | CxResult::RoamingNotAllowed
            | CxResult::AuthorizationRejected
            | CxResult::IdentityNotRegistered => (403, format!("the HSS says {result:?}"), result),
            result => (480, format!("the HSS says {result:?}"), result),
        },
        CxAnswer::Unreachable => {
            let refusal = Refusal::new(480, "5.3.1.3", "the HSS does not answer");
            return Err(refusal.because(cause::silent_hss()));
        }
        CxAnswer::Maa(_) | CxAnswer::Saa(_) => {
            return Err(Refusal::new(480, "5.3.1.3", "the HSS answers something else"));
        }
    };
    Err(Refusal::new(status, "5.3.1.3", why).because(cause::refused(result, uar)))
}

pub(crate) fn describe(cause: Cause, status: u16) -> String {
    match cause {
        Cause::Received => format!("answers {status}"),
        Cause::Budget | Cause::Timeout => "does not answer".to_owned(),
        Cause::Transport => "cannot be reached".to_owned(),
    }
}

/// The private identity where no Authorization names one: the public identity without scheme and
/// parameters (TS 24.229 §5.3.1.2).
fn derived_impi(to: &Uri) -> String {
    let user = to.user_decoded().unwrap_or_default();
    match to.host() {
        Some(host) if user.is_empty() => host.to_owned(),
        Some(host) => format!("{user}@{host}"),
        None => user.into_owned(),
    }
}

fn same_host(host: &str, own_uri: &str) -> bool {
    Uri::parse(own_uri)
        .is_ok_and(|own| own.host().is_some_and(|own| own.eq_ignore_ascii_case(host)))
}

/// Whether the REGISTER only takes contacts away: every contact's own expiry, else the Expires
/// header, is zero (TS 29.228 §6.1.1.1).
fn deregisters(headers: &Headers) -> bool {
    let zero = headers.expires() == Some(0);
    let gone = |contact: &str| contact_expires(contact).map_or(zero, |expires| expires == 0);
    let mut contacts = headers.values(HeaderName::Contact).peekable();
    contacts.peek().is_some() && contacts.all(gone)
}

/// Whether a contact asks for emergency registration (TS 24.229 §7.2A.13).
fn is_emergency(headers: &Headers) -> bool {
    let asks = |contact: &str| field::uri_has_param(field::uri_of(contact), "sos");
    headers.values(HeaderName::Contact).any(asks)
}

//! REGISTER both ways (TS 24.229 §5.2.2): Path, visited network and charging towards the home
//! network; keys and charging off the way back; what a 200 makes of the UE. The security agreement
//! is in `security`, what becomes of its associations in `renewal`.

use std::cell::RefCell;
use std::sync::Arc;

use cscf_core::auth::{Challenge, Credentials, IntegrityProtected, is_digest};
use cscf_core::clause::{own, rfc3261, ts24229, ts33203};
use cscf_core::dialog::field;
use cscf_core::operator::Refused;
use cscf_core::role::{
    Action, Actions, Answered, Cause, ContextId, Env, Incoming, NextHop, Side, Within,
};
use cscf_core::sip::{
    Contacts, HeaderName, Headers, Request, Response, SecurityMechanism, Uri, contact_expires,
    quote, reason_phrase,
};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::Diagnosis;
use cscf_core::transaction::timers::is_air_access;
use cscf_core::transport::Flow;

use crate::bindings::{Association, Registration, Ue};
use crate::exchange::{Exchange, Register, Wish};
use crate::identity::Identity;
use crate::mechanism::{Mechanism, is_tls_mechanism, tls_server};
use crate::shards::Told;
use crate::tokens::{self, Token, UeId};
use crate::{Pcscf, Timer, alive, cause, charging, edit, renewal, sent_by};

/// The longest identity, contact or route that is kept, in bytes.
const KEPT_MAX: usize = 1024;
/// Entries of a Service-Route or P-Associated-URI that are kept.
const LIST_MAX: usize = 32;

/// What a REGISTER says of its sender.
pub(crate) struct Facts {
    /// What the sender is recognised by.
    pub(crate) association: Association,
    aor: Arc<str>,
    wish: Wish,
    removes: bool,
    outbound: bool,
    /// Whether it will send keep-alives: for outbound, or because it offered them.
    kept: bool,
    emergency: bool,
    /// Whether it offers associations (or something that cannot be told from them).
    pub(crate) ipsec: bool,
    /// Whether it offers TLS.
    pub(crate) tls: bool,
    /// Whether there are credentials, with or without response.
    pub(crate) authorized: bool,
    /// How the registration is protected; known when [`Pcscf::mechanism`] has decided.
    pub(crate) mechanism: Mechanism,
    /// Whether there is a response in Authorization.
    pub(crate) answers: bool,
    /// Whether Authorization tells that the USIM is out of step.
    pub(crate) auts: bool,
    /// The nonce in Authorization.
    pub(crate) nonce: Option<Box<str>>,
    /// The credentials of Authorization in their order, until the request goes on.
    credentials: Vec<Credentials>,
    side: Side,
    /// Whether P-Access-Network-Info was there.
    access_told: bool,
}

impl Facts {
    /// Whether the UE is on a 3GPP access, or does not say where it is.
    pub(crate) const fn may_be_on_radio(&self) -> bool {
        !self.access_told || matches!(self.side, Side::Air)
    }
}

/// Status, clause and cause of a refusal.
pub(crate) type Refusal = (u16, &'static str, Box<Diagnosis>);

impl Pcscf {
    /// A REGISTER from a UE (TS 24.229 §5.2.2.1).
    pub(crate) fn register_from_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut Actions<Timer>,
    ) {
        let mut facts = match self.register_facts(&incoming) {
            Ok(facts) => facts,
            Err((status, section, cause)) => {
                let why = (ts24229(section), *cause);
                return Self::refuse_because(env, out, &incoming, status, why);
            }
        };
        let passage = match self.passage(env, &incoming, &facts, out) {
            Ok(passage) => passage,
            Err(stop) => return self.stop(env, &incoming, *stop, out),
        };
        if let Some(association) = passage.association.clone() {
            facts.association = association;
        }
        let known = passage.ue.filter(|id| self.bindings.get(*id).is_some());
        let known = known.or_else(|| self.bindings.of_association(&facts.association));
        let registered = known.filter(|id| self.bindings.get(*id).is_some_and(Ue::is_registered));
        facts.mechanism = match self.mechanism(env, &incoming, &facts, &passage, known) {
            Ok(mechanism) => mechanism,
            Err(stop) => return self.stop(env, &incoming, *stop, out),
        };
        if self.refused_by_load(env, &incoming, &facts, registered.is_some(), out) {
            return;
        }
        let ue = known.unwrap_or_else(|| UeId(tokens::number(env.ids)));
        if registered.is_none() {
            let until = env.now + self.config.reg_await_auth;
            self.await_registration(until, ue, &incoming.flow, &facts, out);
        }
        let flag = self.integrity(env, &incoming.flow, &facts, (registered.is_some(), &passage));
        let context = incoming.context;
        let tls = facts.mechanism == Mechanism::DigestTls && self.agrees_on_tls(&facts);
        let request = self.towards_home(env, incoming.request, ue, &mut facts, flag);
        let exchange = Register {
            ue,
            aor: facts.aor,
            wish: facts.wish,
            flow: incoming.flow,
            side: facts.side,
            outbound: facts.outbound,
            kept: facts.kept,
            request: (self.config.core_entries.len() > 1).then(|| Box::new(request.clone())),
            next_entry: 1,
            agreement: passage.agreement,
            tls,
            answers: passage.answers,
            held: None,
        };
        self.exchanges.insert(context, Exchange::Register(Box::new(exchange)));
        let entry = self.config.core_entries.first().cloned().unwrap_or_default();
        out.push(self.forward_to_entry(context, request, entry));
    }

    fn forward_to_entry(
        &self,
        context: ContextId,
        request: Request,
        entry: String,
    ) -> Action<Timer> {
        let share = u32::try_from(self.config.core_entries.len()).unwrap_or(u32::MAX).max(1);
        Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::Uri(entry),
            record_route: None,
            within: Some(Within::Final(self.config.core_within / share)),
            side: Side::Core,
        }
    }

    fn register_facts(&self, incoming: &Incoming) -> Result<Facts, Refusal> {
        let request = &incoming.request;
        let bad = |name, wanted: &str| {
            let came = request.headers.get(name).unwrap_or_default();
            (400, "5.2.2.1", Box::new(cause::unreadable(name, came, wanted)))
        };
        self.home_is_served(request)?;
        let to = request.headers.get(HeaderName::To).unwrap_or_default();
        let aor = Identity::read(to).ok_or_else(|| bad(HeaderName::To, "a SIP or tel URI"))?.key;
        let mut impi = None;
        let (mut answers, mut auts, mut nonce) = (false, false, None);
        let mut all = Vec::new();
        let lines = request.headers.fields(HeaderName::Authorization);
        // Credentials of a scheme that nobody here knows are none (RFC 4475 §3.3.7).
        for field in lines.filter(|field| is_digest(field.value())) {
            let credentials: Credentials = field
                .unfolded()
                .parse()
                .map_err(|fault| bad(HeaderName::Authorization, &format!("{fault}")))?;
            answers |= credentials.response().is_some();
            auts |= credentials.auts().is_some();
            nonce = nonce.or_else(|| credentials.nonce().map(Into::into));
            impi = impi.or_else(|| credentials.username().map(|name| name.into_owned()));
            all.push(credentials);
        }
        // Without credentials the private identity is the public one without scheme
        // (TS 24.229 §5.4.1.2.1).
        let impi = impi.unwrap_or_else(|| {
            field::uri_of(to).split_once(':').map_or("", |(_, rest)| rest).to_owned()
        });
        let sent_by = sent_by(request);
        if impi.len() > KEPT_MAX || aor.len() > KEPT_MAX || sent_by.len() > KEPT_MAX {
            return Err(bad(HeaderName::To, "identities of at most 1024 bytes"));
        }
        self.same_user(&incoming.flow, &impi)?;
        let contacts =
            request.contacts().map_err(|fault| bad(HeaderName::Contact, &fault.to_string()))?;
        let (wish, expires) = wish(&contacts, request);
        if matches!(&wish, Wish::Contact(uri) if uri.len() > KEPT_MAX) {
            return Err(bad(HeaderName::Contact, "a contact of at most 1024 bytes"));
        }
        let first = contacts.first();
        let has = |name: &str| first.is_some_and(|contact| contact.params.has(name));
        let client = request.headers.security(HeaderName::SecurityClient).unwrap_or_default();
        let access = request.headers.first_value(HeaderName::PAccessNetworkInfo);
        let on_air = access.is_some_and(|it| is_air_access(it, &self.config.air_access_types));
        let outbound = self.config.outbound && has("reg-id") && has("+sip.instance");
        Ok(Facts {
            association: Association {
                source: incoming.flow.remote,
                sent_by: sent_by.into(),
                impi: impi.into(),
            },
            aor,
            removes: expires == Some(0),
            outbound,
            kept: outbound || alive::offers(request),
            emergency: first.is_some_and(|contact| contact.uri.param("sos").is_some()),
            ipsec: !client.is_empty() && client.iter().any(|it| !is_tls_mechanism(it)),
            tls: client.iter().any(is_tls_mechanism),
            authorized: !all.is_empty(),
            mechanism: Mechanism::default(),
            answers,
            auts,
            nonce,
            credentials: all,
            side: if on_air { Side::Air } else { Side::Core },
            access_told: access.is_some(),
            wish,
        })
    }

    /// The Request-URI names a home network that is reached from here.
    fn home_is_served(&self, request: &Request) -> Result<(), Refusal> {
        let uri = &request.request_uri;
        let domains = &self.config.home_domains;
        let foreign = |status| (status, "5.2.2.1", Box::new(cause::foreign(uri, domains)));
        let home = Uri::parse(uri).ok();
        let home = home.as_ref().and_then(Uri::host).ok_or_else(|| foreign(400))?;
        let served = |domain: &String| domain.eq_ignore_ascii_case(home);
        if domains.is_empty() || domains.iter().any(served) { Ok(()) } else { Err(foreign(403)) }
    }

    /// Overload, draining and full tables. Who is registered already, who leaves and who is in an
    /// emergency is let through.
    fn refused_by_load(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
        registered: bool,
        out: &mut Actions<Timer>,
    ) -> bool {
        if facts.emergency && !self.config.emergency_registration && !facts.removes {
            let why = (ts24229("5.2.2.1"), cause::emergency());
            Self::refuse_because(env, out, incoming, 403, why);
            return true;
        }
        if facts.emergency || (registered && facts.removes) {
            return false;
        }
        if self.work.draining {
            let why = (ts24229("5.1.1.2.1"), cause::draining());
            Self::refuse_because(env, out, incoming, 305, why);
            return true;
        }
        if registered {
            return false;
        }
        let full = self.bindings.registered_count() >= self.config.limits.registered_max;
        let refusal = self.work.refusal().or(full.then_some(FULL));
        if let Some(refusal) = refusal {
            Self::refuse_new_work(env, out, incoming, refusal);
        }
        refusal.is_some()
    }

    /// Keeps the UE in mind until its first registration succeeds.
    fn await_registration(
        &mut self,
        until: Instant,
        id: UeId,
        flow: &Flow,
        facts: &Facts,
        out: &mut Actions<Timer>,
    ) {
        if self.bindings.get(id).is_some() {
            self.bindings.prolong(id, until);
            if let Some(ue) = self.bindings.get_mut(id) {
                ue.mechanism = facts.mechanism;
            }
            // The timer in place finds the new end when it fires.
            return;
        }
        let ue = Ue {
            association: facts.association.clone(),
            flow: *flow,
            flow_lost: false,
            signalling_lost: false,
            // The first REGISTER says nothing of the access. A UE on radio repeats its next one for
            // 128 s, and a repeated one must not pass for a new one.
            side: if facts.access_told { facts.side } else { Side::Air },
            outbound: facts.outbound,
            kept: facts.kept,
            registrations: Box::default(),
            pending_until: until,
            challenged: false,
            mechanism: facts.mechanism,
        };
        self.bindings.insert(id, ue, self.config.limits);
        self.arm_ue(id, out);
    }

    /// The REGISTER as it goes to the home network.
    fn towards_home(
        &self,
        env: &mut Env<'_>,
        mut request: Request,
        ue: UeId,
        facts: &mut Facts,
        flag: Option<IntegrityProtected>,
    ) -> Request {
        let headers = &mut request.headers;
        edit::strip_from_ue(headers);
        headers.remove(HeaderName::Route);
        let read = RefCell::new(std::mem::take(&mut facts.credentials).into_iter());
        headers.map_values(HeaderName::Authorization, |value| {
            let mut credentials = is_digest(value).then(|| read.borrow_mut().next()).flatten()?;
            if credentials.integrity_protected().is_none()
                && credentials.params.raw("integrity-protected").is_none()
                && flag.is_none()
            {
                return None;
            }
            credentials.set_integrity_protected(flag);
            Some(credentials.text())
        });
        let ob = if facts.outbound { ";ob" } else { "" };
        let token = Token::Ue(ue);
        let user = token.text(self.home_of(env, token));
        let path = ["<sip:", &user, "@", &self.config.uri, ";lr", ob, ">"].concat();
        headers.push_front(HeaderName::Path, &path);
        if !headers.has_token(HeaderName::Require, "path") {
            headers.push(HeaderName::Require, "path");
        }
        let visited = quote(&self.config.visited_network);
        headers.push(HeaderName::PVisitedNetworkId, &visited);
        let icid = charging::new_icid(&self.config, env.ids);
        let vector = charging::of_request(&self.config, &icid);
        headers.push(HeaderName::PChargingVector, &vector);
        env.note(ts24229("5.2.2.1"), || format!("REGISTER goes home with Path {path}, {icid}"));
        request
    }

    /// A response to a REGISTER (TS 24.229 §5.2.2.1), or its failure to come.
    pub(crate) fn register_response(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut Actions<Timer>,
    ) {
        let Some(Exchange::Register(exchange)) = self.exchanges.get_mut(&answered.context) else {
            return;
        };
        let Answered { context, branch, mut response, cause, .. } = answered;
        if cause != Cause::Received || response.status == 503 {
            let entry = self.config.core_entries.get(exchange.next_entry).cloned();
            if let (Some(entry), Some(request)) = (entry, exchange.request.clone()) {
                exchange.next_entry += 1;
                env.note(ts24229("5.2.2.1"), || format!("no answer; tries {entry}"));
                out.push(self.forward_to_entry(context, *request, entry));
                return;
            }
            if cause != Cause::Received {
                let text = "REGISTER gets 504: no entry point of the home network answers";
                let impi = self.bindings.get(exchange.ue).map_or(&*exchange.aor, Ue::impi);
                let cause = cause::no_entry(impi, &self.config.core_entries);
                env.diagnose(ts24229("5.2.2.1"), text.to_owned(), cause);
                response.status = 504;
                response.reason = reason_phrase(504).into();
            }
        }
        let exchange = exchange.clone();
        let mut server = Vec::new();
        match response.status {
            100..200 => {}
            200..300 => {
                self.registered(env, &exchange, &response, out);
                self.authenticated(env, &exchange, out);
            }
            401 | 407 => {
                server = self.challenged(env, &exchange, &mut response, out);
                if exchange.tls && server.is_empty() {
                    server = tls_server();
                }
            }
            _ => {
                self.not_authenticated(env, context, &exchange, out);
                self.registration_failed(env, exchange.ue, response.status, out);
            }
        }
        edit::strip_to_ue(&mut response.headers);
        let media = exchange.agreement.as_ref().is_some_and(|it| it.mediasec);
        renewal::add_server(&mut response.headers, &server, media && response.status < 402);
        let success = response.is_success();
        self.tell_flow_timer(env, &exchange, &mut response);
        if response.status == 401 && !server.is_empty() {
            return self.hold_challenge(env, context, (branch, response), out);
        }
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
        if success {
            self.subscribe_if_new(env, exchange.ue, &exchange.aor, out);
        }
    }

    /// Takes the keys off the challenge (TS 24.229 §5.2.2.1).
    fn challenged(
        &mut self,
        env: &mut Env<'_>,
        exchange: &Register,
        response: &mut Response,
        out: &mut Actions<Timer>,
    ) -> Vec<SecurityMechanism> {
        let until = env.now + self.config.reg_await_auth;
        self.bindings.prolong(exchange.ue, until);
        if let Some(ue) = self.bindings.get_mut(exchange.ue) {
            ue.challenged = true;
        }
        let headers = &mut response.headers;
        let read = |value: &str| value.parse::<Challenge>().ok();
        let read_all: Vec<_> = headers.values(HeaderName::WwwAuthenticate).map(read).collect();
        // A challenge that cannot be read could hide keys; it does not pass.
        if read_all.iter().any(Option::is_none) {
            headers.retain_values(HeaderName::WwwAuthenticate, |value| read(value).is_some());
            env.note(ts24229("5.2.2.1"), || "a challenge that cannot be read is dropped".into());
        }
        let mut taken = None;
        let without_keys = read_all.into_iter().flatten().map(|mut challenge| {
            let named = ["ck", "ik"].iter().any(|name| challenge.params.raw(name).is_some());
            let keys = named.then(|| challenge.take_keys()).flatten();
            if let (None, Some(keys)) = (&taken, keys) {
                taken = Some((keys, challenge.nonce().unwrap_or_default().to_owned()));
            }
            named.then(|| challenge.text())
        });
        let without_keys = RefCell::new(without_keys.collect::<Vec<_>>().into_iter());
        headers.map_values(HeaderName::WwwAuthenticate, |_| {
            without_keys.borrow_mut().next().flatten()
        });
        env.note(ts33203("6.1.1"), || "the challenge goes to the UE without CK and IK".into());
        let Some(agreement) = exchange.agreement.as_deref().filter(|_| self.secures()) else {
            return Vec::new();
        };
        let Some(((ck, ik), nonce)) = taken.filter(|(_, nonce)| nonce.len() <= KEPT_MAX) else {
            env.note(ts33203("7.1"), || "the challenge brings no keys: no associations".into());
            return Vec::new();
        };
        self.install(env, exchange, agreement, (ck, ik, &nonce), out)
    }

    /// A first registration that failed leaves nothing behind; a refresh that failed leaves the
    /// registration as it is (TS 24.229 §5.2.2.1).
    pub(crate) fn registration_failed(
        &mut self,
        env: &mut Env<'_>,
        id: UeId,
        status: u16,
        out: &mut Actions<Timer>,
    ) {
        let pending = self.bindings.get(id).is_some_and(|ue| !ue.is_registered());
        // 423 is an invitation to come again at once.
        if pending && status != 423 {
            self.remove_ue(env, id, &format!("its registration got {status}"), out);
        }
    }

    /// What a 200 makes of the UE (TS 24.229 §5.2.2.1).
    fn registered(
        &mut self,
        env: &mut Env<'_>,
        exchange: &Register,
        response: &Response,
        out: &mut Actions<Timer>,
    ) {
        let contact = match &exchange.wish {
            Wish::Query => return,
            Wish::RemoveAll => return self.remove_all(env, exchange, out),
            Wish::Contact(contact) => contact,
        };
        let granted = granted(response, contact);
        if granted.is_zero() {
            env.note(ts24229("5.2.5"), || format!("contact {contact} is deregistered"));
            if self.bindings.deregister(exchange.ue, |it| it.aor == exchange.aor) {
                self.after_removal(env, exchange.ue, out);
            } else {
                self.registration_failed(env, exchange.ue, response.status, out);
                self.arm_ue(exchange.ue, out);
            }
            return;
        }
        for old in self.bindings.superseded_by(exchange.ue, contact) {
            self.supersede(env, old, exchange, out);
        }
        let known = self.bindings.get(exchange.ue).map_or(exchange.flow, |ue| ue.flow);
        let flow = self.flow_after(known, exchange);
        let Some(ue) = self.bindings.get_mut(exchange.ue) else {
            return env.refuse(own("limits"), || {
                format!("registration of {contact} is lost: too many UEs were pending")
            });
        };
        (ue.flow, ue.flow_lost) = (flow, false);
        ue.signalling_lost = false;
        (ue.side, ue.outbound, ue.kept) = (exchange.side, exchange.outbound, exchange.kept);
        let headers = &response.headers;
        let registration = Registration {
            aor: exchange.aor.clone(),
            contact: contact.clone(),
            service_route: service_route(headers),
            associated: Identity::read_all(headers, HeaderName::PAssociatedUri, LIST_MAX).into(),
            term_ioi: charging::param(headers, "term-ioi").map(Arc::from),
            expires_at: env.now + granted,
        };
        env.note(ts24229("5.2.2.1"), || {
            let default = registration.associated.first().map_or("none", |first| &first.uri);
            let routes = registration.service_route.join(", ");
            let seconds = granted.as_secs();
            format!("registered for {seconds} s: default {default}, Service-Route {routes}")
        });
        self.bindings.register(exchange.ue, registration);
        self.arm_ue(exchange.ue, out);
        self.watch_flow(exchange.ue, out);
    }

    /// Another record gives way to a registration: of another user at the same address, or of the
    /// same contact on a flow of before, whose dialogs move along.
    fn supersede(
        &mut self,
        env: &mut Env<'_>,
        old: UeId,
        exchange: &Register,
        out: &mut Actions<Timer>,
    ) {
        let impi = |id| self.bindings.get(id).map(|ue| ue.association.impi.clone());
        if impi(old) == impi(exchange.ue) {
            let (new, flow, side) = (exchange.ue, exchange.flow, exchange.side);
            self.dialogs.move_to(old, new, flow, side);
            self.news.push((None, Told::Moved { old, new, flow, side }));
        }
        env.note(ts33203("N.2.1.1"), || "the new registration replaces this one".to_owned());
        self.drop_all(old, out);
        self.remove_ue(env, old, "another registration took its place", out);
    }

    fn remove_all(&mut self, env: &mut Env<'_>, exchange: &Register, out: &mut Actions<Timer>) {
        let impi = self.bindings.get(exchange.ue).map(|ue| ue.association.impi.clone());
        let ids: Vec<UeId> =
            impi.map_or_else(Vec::new, |impi| self.bindings.of_impi(&impi).collect());
        env.note(rfc3261("10.2.2"), || "all contacts of the identity are deregistered".into());
        for id in ids {
            if self.bindings.deregister(id, |it| it.aor == exchange.aor) {
                self.after_removal(env, id, out);
            }
        }
        self.registration_failed(env, exchange.ue, 200, out);
    }
}

/// Retry-After when the table of registrations is full, in seconds.
const FULL: (Refused, u32) = (Refused::Overloaded, 60);

/// What the contacts ask for, and for how many seconds if they say so.
fn wish(contacts: &Contacts, request: &Request) -> (Wish, Option<u32>) {
    match contacts {
        Contacts::Star => (Wish::RemoveAll, Some(0)),
        Contacts::List(list) => match list.first() {
            None => (Wish::Query, None),
            Some(first) => {
                let expires = first.expires().or_else(|| request.expires());
                (Wish::Contact(first.uri.text().into()), expires)
            }
        },
    }
}

/// How long the registrar bound our contact: its own `expires`, else Expires, else an hour
/// (RFC 3261 §10.2.4); zero when it is not among the bindings.
fn granted(response: &Response, contact: &str) -> Duration {
    let expires = |own: Option<u32>| own.or_else(|| response.expires()).unwrap_or(3600);
    let mut values = response.headers.values(HeaderName::Contact);
    if let (Some(only), None) = (values.next(), values.next())
        && field::uri_of(only) == contact
    {
        return Duration::from_secs(expires(contact_expires(only)).into());
    }
    let contact = Uri::parse(contact).ok();
    let contacts = response.contacts().unwrap_or(Contacts::List(Vec::new()));
    let ours = contacts.list().iter().find(|it| contact.as_ref() == Some(&it.uri));
    Duration::from_secs(ours.map_or(0, |it| expires(it.expires())).into())
}

fn service_route(headers: &Headers) -> Box<[Box<str>]> {
    let values = headers.values(HeaderName::ServiceRoute);
    values.filter(|value| value.len() <= KEPT_MAX).take(LIST_MAX).map(Into::into).collect()
}

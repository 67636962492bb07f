//! Third-party REGISTER (TS 24.229 §5.4.1.7, TS 23.218 §5.2.3, §6.3): application servers hear of
//! the registration, re-registration and deregistration of a user as the filter criteria ask for
//! it, and their silence or refusal has the effect that the criteria name.
//!
//! Invoking servers in sessions is `isc`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::{ts23218, ts24229};
use cscf_core::ifc::{
    DefaultHandling, Expressions, Filters, RegistrationType, ServiceProfile, SessionCase, Subject,
};
use cscf_core::registrar::{Binding, ContactEvent, PublicIdentity, Service};
use cscf_core::role::{Action, Cause, Env, NextHop, OwnAnswered, OwnTag, Side};
use cscf_core::sip::{ChargingFunctionAddresses, Contacts, HeaderName, Method, Request, Response};
use cscf_core::time::{Duration, Instant};

use crate::changes::{Became, ChangedBy, SetChange};
use crate::owner::{ImplicitSet, RegistrationOwner, SetId};
use crate::register::Register;
use crate::third_party_body::{Bodies, write_bodies};
use crate::{ScscfActions, Timer, charging, isc};

/// Servers that hear of one implicit registration set.
const SERVERS_MAX: usize = 64;
/// The shortest time between two REGISTERs that keep a binding at a server alive, whatever the
/// server grants.
const REFRESH_MIN: Duration = Duration::from_secs(30);
/// How long after its registration a user stays whom a server refuses: it subscribes to the reg
/// event in this time, and is told then why it has to go.
const STAYS_FOR: Duration = Duration::from_secs(2);
/// Our tags for third-party REGISTERs.
const TAGS: u64 = 1 << 62;

/// A server that hears of a set: which identity is told to it, and its SIP URI.
pub(crate) type ServerKey = (Box<str>, Box<str>);

/// What is known of the servers of all sets.
#[derive(Debug, Default)]
pub(crate) struct ThirdParties {
    expressions: Expressions,
    list: BTreeMap<(SetId, ServerKey), ThirdParty>,
    sent: BTreeMap<OwnTag, Sent>,
    sent_count: u64,
}

/// The registration of an identity at a server.
#[derive(Debug)]
struct ThirdParty {
    call_id: Box<str>,
    tag: Box<str>,
    cseq: u32,
    /// Charging: that of the last REGISTER of the user.
    icid: Box<str>,
    service_info: Option<Box<str>>,
    handling: DefaultHandling,
}

/// A third-party REGISTER that waits for its answer.
#[derive(Debug)]
struct Sent {
    set: SetId,
    key: ServerKey,
    does: RegistrationType,
    handling: DefaultHandling,
    expires: Duration,
    at: Instant,
}

/// A REGISTER to be sent to a server.
struct Order<'a> {
    set: SetId,
    does: RegistrationType,
    key: ServerKey,
    expires: Duration,
    /// The user's REGISTER, where one caused it.
    came: Option<&'a Register>,
    bodies: Bodies<'a>,
    charging_ccf: Option<Box<str>>,
}

/// What a matching filter criterion asks for.
struct Wanted {
    key: ServerKey,
    service_info: Option<Box<str>>,
    handling: DefaultHandling,
    request: bool,
    response: bool,
}

impl ThirdParties {
    pub(crate) const fn new() -> Self {
        Self {
            expressions: Expressions::new(),
            list: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_count: 0,
        }
    }

    /// The number of registrations at servers, and of REGISTERs that wait for their answer.
    pub(crate) fn len(&self) -> usize {
        self.list.len() + self.sent.len()
    }

    /// Forgets the servers of a set without telling them.
    pub(crate) fn forget(&mut self, set: SetId, out: &mut ScscfActions) {
        let keys = self.list.range((set, ServerKey::default())..);
        let keys = keys.map(|(key, _)| key.clone()).take_while(|(its, _)| *its == set);
        for (set, key) in keys.collect::<Vec<_>>() {
            out.push(Action::ClearTimer { timer: Timer::ThirdParty(set, Box::new(key.clone())) });
            self.list.remove(&(set, key));
        }
    }

    /// Makes the services of a set from its profile; what in it cannot be used is told
    /// (TS 29.228 §B.2.2).
    pub(crate) fn services(
        &mut self,
        env: &mut Env<'_>,
        (profiles, known): (&[ServiceProfile], &Arc<[PublicIdentity]>),
    ) -> Arc<[Service]> {
        let read = |uri: &str, barred| {
            let same = |its: &&PublicIdentity| *its.uri == *uri && its.barred == barred;
            let known = known.iter().find(same).cloned();
            known.or_else(|| PublicIdentity::new(uri, barred))
        };
        let mut services = Vec::new();
        for profile in profiles {
            let (filters, faults) = Filters::compile(profile, &mut self.expressions);
            for fault in faults {
                env.refuse(ts23218("5.2"), || fault);
            }
            let identities = profile.public_identities.iter();
            let identities = identities.filter_map(|its| read(&its.identity, its.barred));
            let media_profile = profile.subscribed_media_profile_id;
            let identities: Vec<PublicIdentity> = identities.collect();
            // Mostly one profile serves the whole set.
            let all = identities == **known;
            let identities = if all { Arc::clone(known) } else { identities.into() };
            services.push(Service { identities, filters, media_profile });
        }
        services.into()
    }
}

/// The identity that servers are told: the one of the REGISTER, else the first that is not barred
/// (TS 24.229 §5.4.1.7).
fn told<'a>(service: &'a Service, registered_with: Option<&str>) -> Option<&'a PublicIdentity> {
    let mut open = service.identities.iter().filter(|its| its.is_shown());
    let same = open.clone().find(|its| Some(&*its.key) == registered_with);
    same.or_else(|| open.next())
}

/// The servers that a service wants to hear of it.
fn wanted(service: &Service, env: &mut Env<'_>, told: &str, subject: &Subject<'_>) -> Vec<Wanted> {
    let mut out: Vec<Wanted> = Vec::new();
    for filter in service.filters.list() {
        let server = &filter.server;
        let why = filter.mismatch(subject);
        isc::note_filter(env, "5.2.3", filter, why.as_deref());
        let known = out.iter().any(|its| *its.key.1 == *server.server_name);
        if why.is_some() || known || out.len() >= SERVERS_MAX {
            continue;
        }
        out.push(Wanted {
            key: (told.into(), server.server_name.as_str().into()),
            service_info: server.service_info.as_deref().map(Into::into),
            handling: server.default_handling,
            request: server.include_register_request,
            response: server.include_register_response,
        });
    }
    out
}

impl RegistrationOwner {
    /// Tells the application servers of a set what became of it (TS 24.229 §5.4.1.7).
    pub(crate) fn tell_servers(
        &mut self,
        env: &mut Env<'_>,
        change: &SetChange<'_>,
        out: &mut ScscfActions,
    ) {
        let Some(does) = registration_type(change) else { return };
        let Some(set) = self.sets.get(&change.set) else { return };
        let came = match change.by {
            ChangedBy::User(register) => Some(register),
            _ => None,
        };
        let gone = change.removed.first().map(|binding| &*binding.registered_with);
        let with = came.map(|register| register.impu.as_str()).or(gone);
        let made;
        let request = if let Some(register) = came {
            &register.request
        } else {
            made = synthetic(&self.config.uri, with.unwrap_or_default());
            &made
        };
        let subject = Subject {
            request,
            session_case: SessionCase::Originating,
            registration: Some(does),
            registered: true,
        };
        let mut list = Vec::new();
        for service in &*set.services {
            let Some(identity) = told(service, with) else { continue };
            list.extend(wanted(service, env, &identity.uri, &subject));
        }
        let (expires, ccf) = (granted(set, does, env.now), set.charging_ccf.clone());
        // Copied for servers only; most users have none that hears of it.
        let answered = came.filter(|_| !list.is_empty());
        let answered = answered.and_then(|register| reply_to(register, out));
        for Wanted { key, service_info, handling, request, response } in list {
            let fresh = does != RegistrationType::Deregistration;
            let party = self.third_parties.list.entry((change.set, key.clone()));
            let party = party.or_insert_with(|| ThirdParty {
                call_id: env.ids.token(16).into(),
                tag: env.ids.token(8).into(),
                cseq: 0,
                icid: env.ids.token(16).into(),
                service_info: None,
                handling,
            });
            if let Some(icid) = came.and_then(|its| charging::icid(&its.request.headers)) {
                party.icid = icid.into();
            }
            party.handling = handling;
            party.service_info.clone_from(&service_info);
            let bodies = Bodies {
                service_info: service_info.as_deref().filter(|_| fresh),
                request: came.map(|its| &its.request).filter(|_| fresh && request),
                response: answered.as_ref().filter(|_| fresh && response),
            };
            let charging_ccf = ccf.clone();
            let set = change.set;
            self.send_third_party(
                env,
                Order { set, does, key, expires, came, bodies, charging_ccf },
                out,
            );
        }
        if does == RegistrationType::Deregistration {
            self.third_parties.forget(change.set, out);
        }
    }

    /// Sends a third-party REGISTER (TS 24.229 §5.4.1.7).
    fn send_third_party(&mut self, env: &mut Env<'_>, order: Order<'_>, out: &mut ScscfActions) {
        let Order { set, does, key, expires, came, bodies, charging_ccf } = order;
        let (identity, server) = &key;
        let trusted = self.config.is_trusted_server(server);
        let config = Arc::clone(&self.config);
        let ioi = charging::to_server(&config);
        let Some(party) = self.third_parties.list.get_mut(&(set, key.clone())) else { return };
        party.cseq = party.cseq.saturating_add(1);
        let us = &self.config.uri;
        let mut request = Request::new(Method::Register, &**server);
        let headers = &mut request.headers;
        headers.push(HeaderName::From, &format!("<{us}>;tag={}", party.tag));
        headers.push(HeaderName::To, &format!("<{identity}>"));
        headers.push(HeaderName::CallId, &party.call_id);
        headers.push(HeaderName::CSeq, &format!("{} REGISTER", party.cseq));
        headers.push(HeaderName::Contact, &format!("<{us}>"));
        headers.push(HeaderName::Expires, &expires.as_secs().to_string());
        if let Some(came) = came.filter(|_| trusted) {
            headers.copy_from(&came.request.headers, HeaderName::PAccessNetworkInfo);
            headers.copy_from(&came.request.headers, HeaderName::PVisitedNetworkId);
        }
        charging::set_request(headers, &party.icid, &ioi);
        if let Some(ccf) = charging_ccf.filter(|_| trusted) {
            let addresses = ChargingFunctionAddresses::new(&[&ccf], &[]).to_string();
            headers.push(HeaderName::PChargingFunctionAddresses, &addresses);
        }
        write_bodies(&mut request, &bodies, &env.ids.token(16));
        let handling = party.handling;
        env.note(ts24229("5.4.1.7"), || {
            format!("tells {server}: {does:?} of {identity} for {} s", expires.as_secs())
        });
        let parties = &mut self.third_parties;
        parties.sent_count += 1;
        let tag = OwnTag(TAGS | parties.sent_count);
        out.push(Action::ClearTimer { timer: Timer::ThirdParty(set, Box::new(key.clone())) });
        parties.sent.insert(tag, Sent { set, key, does, handling, expires, at: env.now });
        out.push(Action::Originate {
            tag,
            request: Box::new(request),
            to: NextHop::AsRouted,
            within: None,
            side: Side::Core,
        });
    }

    /// Acts on the answer to a third-party REGISTER; says whether it was one (TS 24.229 §5.4.1.7).
    pub(crate) fn server_answered(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut ScscfActions,
    ) -> bool {
        if answered.tag.0 & TAGS == 0 {
            return false;
        }
        if answered.response.is_provisional() {
            return true;
        }
        let Some(sent) = self.third_parties.sent.remove(&answered.tag) else { return true };
        let status = answered.response.status;
        if answered.response.is_success() {
            self.server_accepts(env, sent, &answered.response, out);
            return true;
        }
        let silent = answered.cause != Cause::Received;
        let server = &sent.key.1;
        let what = || if silent { "is silent".to_owned() } else { format!("answers {status}") };
        let counts = silent || status == 408 || (500..600).contains(&status);
        if sent.does == RegistrationType::Deregistration {
            env.note(ts24229("5.4.1.7"), || format!("{server} {}: nothing to be done", what()));
        } else if !counts {
            // Only 408, 5xx and silence are a failure of the server.
            env.refuse(ts24229("5.4.1.7"), || {
                format!("{server} {}: the user stays registered, without this server", what())
            });
        } else if sent.handling == DefaultHandling::SessionContinued {
            env.refuse(ts24229("5.4.1.7"), || {
                format!("{server} {}, default handling SESSION_CONTINUED: goes on", what())
            });
        } else {
            env.refuse(ts24229("5.4.1.7"), || {
                format!(
                    "{server} {}, default handling SESSION_TERMINATED: deregisters {}",
                    what(),
                    sent.key.0
                )
            });
            let at = sent.at + STAYS_FOR;
            if at <= env.now {
                self.server_deregisters(env, sent.set, out);
            } else {
                out.push(Action::SetTimer { timer: Timer::ServerFailed(sent.set), at });
            }
        }
        true
    }

    /// A server that grants less time than the user has is told again in time
    /// (RFC 3261 §10.2.4: who registers refreshes).
    fn server_accepts(
        &mut self,
        env: &mut Env<'_>,
        sent: Sent,
        response: &Response,
        out: &mut ScscfActions,
    ) {
        let Sent { set, key, does, expires, .. } = sent;
        let known = self.third_parties.list.contains_key(&(set, key.clone()));
        if does == RegistrationType::Deregistration || !known {
            return;
        }
        let contact = response.headers.contacts().ok();
        let contact = contact.as_ref().and_then(Contacts::first).and_then(|its| its.expires());
        let Some(granted) = contact.or(response.expires()) else { return };
        let granted = Duration::from_secs(granted.into());
        if granted.is_zero() || granted >= expires {
            return;
        }
        let after = (granted / 2).max(REFRESH_MIN);
        env.note(ts24229("5.4.1.7"), || {
            format!(
                "{} keeps {} for {} s of {} s: tells it again in {} s",
                key.1,
                key.0,
                granted.as_secs(),
                expires.as_secs(),
                after.as_secs()
            )
        });
        out.push(Action::SetTimer {
            timer: Timer::ThirdParty(set, Box::new(key)),
            at: env.now + after,
        });
    }

    /// Tells a server again that its user is registered.
    pub(crate) fn refresh_server(
        &mut self,
        env: &mut Env<'_>,
        set: SetId,
        key: ServerKey,
        out: &mut ScscfActions,
    ) {
        let does = RegistrationType::ReRegistration;
        let Some(its) = self.sets.get(&set) else { return };
        let (expires, charging_ccf) = (granted(its, does, env.now), its.charging_ccf.clone());
        let Some(party) = self.third_parties.list.get(&(set, key.clone())) else { return };
        let info = party.service_info.clone();
        let bodies = Bodies { service_info: info.as_deref(), request: None, response: None };
        let order = Order { set, does, key, expires, came: None, bodies, charging_ccf };
        self.send_third_party(env, order, out);
    }
}

/// What an application server hears of a change, if anything: not of a profile, of a contact that
/// went while others stay, or of emergencies.
fn registration_type(change: &SetChange<'_>) -> Option<RegistrationType> {
    if change.is_emergency() {
        return None;
    }
    match (change.became, change.by) {
        (Became::Registered, _) => Some(RegistrationType::Initial),
        (Became::Reregistered, ChangedBy::User(register)) if !register.wish.deregisters() => {
            Some(RegistrationType::ReRegistration)
        }
        (Became::Deregistered, _) => Some(RegistrationType::Deregistration),
        _ => None,
    }
}

/// How long the set is registered; zero once it is not.
fn granted(set: &ImplicitSet, does: RegistrationType, now: Instant) -> Duration {
    if does == RegistrationType::Deregistration {
        return Duration::ZERO;
    }
    let normal = set.bindings.list().iter().filter(|binding| !binding.is_emergency());
    let longest = normal.map(|binding: &Binding| binding.expires_at).max();
    Duration::from_secs(longest.map_or(0, |at| at.since(now).as_secs()))
}

/// The 200 that a REGISTER has just got.
fn reply_to(register: &Register, out: &ScscfActions) -> Option<Response> {
    out.iter().rev().find_map(|action| match action {
        Action::Reply { context, response } if *context == register.context => {
            Some((**response).clone())
        }
        _ => None,
    })
}

/// The REGISTER that a user would have sent to deregister, for the filter criteria
/// (TS 23.218 §5.2.3).
fn synthetic(us: &str, identity: &str) -> Request {
    let mut request = Request::new(Method::Register, us);
    request.headers.push(HeaderName::From, &format!("<{identity}>"));
    request.headers.push(HeaderName::To, &format!("<{identity}>"));
    request.headers.push(HeaderName::Expires, "0");
    request
}

/// The reason that subscribers hear when a server ends a registration: coming back at once would
/// end the same way (TS 24.229 §5.4.1.5).
pub(crate) const ENDED_BY_SERVER: ContactEvent = ContactEvent::Rejected;

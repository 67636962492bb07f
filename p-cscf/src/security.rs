//! The security agreement of a REGISTER (TS 33.203 §6.1, §7.2, §7.3; TS 24.229 §5.2.2.2; RFC 3329):
//! what its headers and the associations it came by allow, and what its flag is. What answers make
//! of the associations is in `renewal`.

use std::net::IpAddr;

use cscf_core::auth::IntegrityProtected;
use cscf_core::clause::{Clause, own, rfc3329, ts24229, ts33203};
use cscf_core::config::SecAgree;
use cscf_core::role::{Action, Actions, Env, Incoming};
use cscf_core::sip::{HeaderName, Request, SecurityMechanism, reason_phrase};
use cscf_core::trace::Diagnosis;
use cscf_core::transport::SaId;
use cscf_core::transport::ipsec::{Algorithms, Mode, Offer, Ports, difference, offers, preferred};

use crate::associations::{Record, State};
use crate::bindings;
use crate::mechanism::tls_server;
use crate::register::Facts;
use crate::tokens::UeId;
use crate::{Pcscf, Timer};

/// Sets of associations of one private identity: six associations each way (TS 33.203 §7.1).
const SETS_MAX: usize = 3;
/// Mechanisms of a header that are read.
const MECHANISMS_MAX: usize = 64;
/// The longest list of mechanisms that is read, in bytes: that of the UE is kept while its
/// associations last.
const MECHANISMS_BYTES_MAX: usize = 8 * 1024;

/// What a UE has asked for and we can agree to, until the challenge brings the keys.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    /// Security-Client without media plane security.
    pub(crate) client: Vec<SecurityMechanism>,
    /// What was chosen of it.
    pub(crate) chosen: Offer,
    /// Whether it asks for media plane security as well.
    pub(crate) mediasec: bool,
}

/// How a REGISTER goes on.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// Its flag, where associations or an offer of some decide it.
    pub(crate) flag: Option<IntegrityProtected>,
    /// The record it belongs to, where its association names it.
    pub(crate) ue: Option<UeId>,
    /// What the UE is recognised by, where it is not address and Via.
    pub(crate) association: Option<bindings::Association>,
    /// What to install when the challenge comes.
    pub(crate) agreement: Option<Box<Agreement>>,
    /// The associations it confirms: those of the challenge it answers.
    pub(crate) answers: Option<SaId>,
}

/// Why a REGISTER does not go on.
pub(crate) struct Stop {
    /// The answer; none at all without.
    status: Option<u16>,
    clause: Clause,
    text: String,
    diagnosis: Diagnosis,
    /// The Security-Server of the answer, with `Require: sec-agree`.
    server: Vec<SecurityMechanism>,
    /// Associations that end with it.
    ends: Option<SaId>,
}

impl Stop {
    pub(crate) fn new(status: u16, clause: Clause, diagnosis: Diagnosis) -> Box<Self> {
        let text = diagnosis.to_string();
        let (server, ends) = (Vec::new(), None);
        Box::new(Self { status: Some(status), clause, text, diagnosis, server, ends })
    }

    fn silent(clause: Clause, diagnosis: Diagnosis) -> Box<Self> {
        Box::new(Self { status: None, ..*Self::new(0, clause, diagnosis) })
    }

    pub(crate) fn with_server(mut self: Box<Self>, server: Vec<SecurityMechanism>) -> Box<Self> {
        self.server = server;
        self
    }

    /// The waiting associations it came by end with it.
    fn ending(mut self: Box<Self>, record: &Record) -> Box<Self> {
        self.ends = (record.state == State::Temporary).then_some(record.set.id);
        self
    }
}

impl Pcscf {
    /// Whether this node agrees on security at all.
    pub(crate) fn secures(&self) -> bool {
        self.config.security.is_on()
    }

    /// Whether it agrees on security with this user.
    pub(crate) fn secures_user(&self, impi: &str) -> bool {
        self.secures() && self.config.security.wish_for(impi) != SecAgree::Off
    }

    /// What the security agreement makes of a REGISTER.
    pub(crate) fn passage(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
        out: &mut Actions<Timer>,
    ) -> Result<Passage, Box<Stop>> {
        if !self.secures() {
            // Who has to be protected is not served in clear because nothing here can protect.
            if !self.by_tls(incoming, facts) {
                self.agreement_missing(&incoming.request, facts)?;
            }
            return Ok(Passage::default());
        }
        match incoming.flow.sa {
            Some(sa) => self.protected_register(env, incoming, facts, sa, out),
            None if !self.secures_user(&facts.association.impi) => Ok(Passage::default()),
            None => self.clear_register(env, incoming, facts, out),
        }
    }

    fn protected_register(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
        sa: SaId,
        out: &mut Actions<Timer>,
    ) -> Result<Passage, Box<Stop>> {
        let impi = &facts.association.impi;
        let live = self.associations.get(sa).filter(|it| it.state != State::Closing).cloned();
        let Some(record) = live else {
            let diagnosis = Diagnosis::new(&**impi, "security associations of the REGISTER")
                .theirs("associations that have ended")
                .ours("associations of a registration, or of a challenge that waits")
                .change("the phone registers anew in the clear");
            return Err(Stop::silent(ts33203("7.4.2a"), diagnosis));
        };
        if record.impi != *impi {
            let diagnosis = Diagnosis::new(&**impi, "private identity of a protected REGISTER")
                .ours(&*record.impi)
                .theirs(&**impi)
                .change("the username of Authorization: associations are made for one user");
            return Err(Stop::new(403, ts24229("5.2.2.2"), diagnosis));
        }
        self.via_is_source(incoming, facts, &record)?;
        let mut passage = Passage {
            ue: Some(record.ue),
            association: Some(association(&record, impi)),
            ..Passage::default()
        };
        if record.state == State::Temporary {
            same_headers(&incoming.request, impi, &record)?;
            let right = facts.nonce.as_deref() == Some(&*record.nonce);
            let answers = right && facts.answers && !facts.auts;
            passage.answers = answers.then_some(sa);
            passage.flag = Some(yes_or_no(answers));
            // A second challenge uses what was offered before the first.
            passage.agreement = Some(Box::new(again(&record)));
        } else {
            let pending = self.pending_of(impi, facts.nonce.as_deref());
            let answers = pending.is_some() && facts.answers && !facts.auts;
            if !answers {
                self.end_pending(env, pending, out);
            }
            let latest = record.state == State::Established;
            passage.flag = Some(yes_or_no(latest && !answers));
            passage.agreement = self.agree(env, incoming, facts)?;
        }
        env.note(ts33203("6.1.5"), || {
            let kind = format!("{:?}", record.state).to_lowercase();
            let answer = if facts.answers { "with" } else { "without" };
            format!("REGISTER of {impi} by {kind} associations, {answer} a response")
        });
        Ok(passage)
    }

    /// The address in Via is the source of the packet (TS 33.203 §7.1 rule 2).
    fn via_is_source(
        &self,
        incoming: &Incoming,
        facts: &Facts,
        record: &Record,
    ) -> Result<(), Box<Stop>> {
        let source = incoming.flow.remote.ip();
        let Some(said) = via_address(&incoming.request).filter(|said| *said != source) else {
            return Ok(());
        };
        let diagnosis = Diagnosis::new(&*facts.association.impi, "Via against the packet's source")
            .ours(source.to_string())
            .theirs(said.to_string())
            .change("the address in Via; a translation (NAT) on the way needs mod=UDP-enc-tun");
        let status = self.config.security.gm.reject.via;
        Err(Stop::new(status, ts33203("7.1"), diagnosis).ending(record))
    }

    fn clear_register(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
        out: &mut Actions<Timer>,
    ) -> Result<Passage, Box<Stop>> {
        self.first_hop(incoming, facts)?;
        // A MAC failure or AUTS ends what its challenge has made (TS 33.203 §7.3.1.2, §7.3.1.3).
        if !facts.answers || facts.auts {
            let pending = self.pending_of(&facts.association.impi, facts.nonce.as_deref());
            self.end_pending(env, pending, out);
        }
        let agreement = self.agree(env, incoming, facts)?;
        if agreement.is_none() && !self.by_tls(incoming, facts) {
            self.agreement_missing(&incoming.request, facts)?;
        }
        let association = agreement.as_ref().map(|agreement| {
            let addr = incoming.flow.remote.ip();
            let source = std::net::SocketAddr::new(addr, agreement.chosen.ports.server);
            let impi = facts.association.impi.clone();
            bindings::Association { source, sent_by: "".into(), impi }
        });
        let ue = association.as_ref().and_then(|it| self.bindings.of_association(it));
        Ok(Passage { ue, association, agreement, ..Passage::default() })
    }

    /// The agreement is between neighbours: nobody stands between UE and P-CSCF (RFC 3329 §2.3.1).
    fn first_hop(&self, incoming: &Incoming, facts: &Facts) -> Result<(), Box<Stop>> {
        let headers = &incoming.request.headers;
        let vias = headers.values(HeaderName::Via).take(2).count();
        let needs = self.requires(facts) || demands(&incoming.request);
        if vias < 2 || !needs {
            return Ok(());
        }
        let diagnosis = Diagnosis::new(&*facts.association.impi, "security agreement, first hop")
            .ours("one Via")
            .theirs("more than one Via")
            .change("send the REGISTER to the P-CSCF directly");
        Err(Stop::new(502, rfc3329("2.3.1"), diagnosis))
    }

    /// Whether this user has to agree on security.
    fn requires(&self, facts: &Facts) -> bool {
        self.config.security.wish_for(&facts.association.impi) == SecAgree::Required
    }

    /// A UE without agreement where one is required (RFC 3329 §2.3.1).
    fn agreement_missing(&self, request: &Request, facts: &Facts) -> Result<(), Box<Stop>> {
        if !self.requires(facts) {
            return Ok(());
        }
        let supports = request.headers.has_token(HeaderName::Supported, "sec-agree");
        let (status, said) = match supports || demands(request) {
            true => (494, "sec-agree without a Security-Client of use"),
            false => (421, "no sec-agree"),
        };
        let (ours, change, server) = match self.config.security.esp {
            true => (
                "sec_agree: required",
                "Require and Proxy-Require: sec-agree with Security-Client, or the lab's choice",
                self.mechanisms(Mode::Transport),
            ),
            false => (
                "sec_agree: required, and no ESP here",
                "see `cscf doctor` for what can protect packets here, or the lab's choice",
                self.config.security.gm.tls.then(tls_server).unwrap_or_default(),
            ),
        };
        let diagnosis = Diagnosis::new(&*facts.association.impi, "security agreement required")
            .ours(ours)
            .theirs(said)
            .change(change);
        Err(Stop::new(status, rfc3329("2.3.1"), diagnosis).with_server(server))
    }

    /// The associations that wait for the answer to this challenge.
    fn pending_of(&self, impi: &str, nonce: Option<&str>) -> Option<SaId> {
        let nonce = nonce.filter(|nonce| !nonce.is_empty())?;
        let ids = self.associations.of_impi(impi).map(|it| it.ue);
        ids.into_iter().find_map(|ue| self.associations.pending(ue, nonce))
    }

    fn end_pending(&mut self, env: &mut Env<'_>, id: Option<SaId>, out: &mut Actions<Timer>) {
        let Some(id) = id else { return };
        env.note(ts33203("7.3.1.2"), || "the challenge failed at the UE: its set ends".to_owned());
        self.drop_now(id, out);
    }

    /// What can be agreed on (TS 33.203 §7.2, §7.3.2.1); none where nothing of ours is offered.
    fn agree(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
    ) -> Result<Option<Box<Agreement>>, Box<Stop>> {
        let impi = &*facts.association.impi;
        let (client, media) = read(&incoming.request, HeaderName::SecurityClient, impi)?;
        if client.is_empty() {
            return Ok(None);
        }
        let gm = &self.config.security.gm;
        let source = incoming.flow.remote.ip();
        let behind = via_address(&incoming.request).is_some_and(|said| said != source);
        let pairs = pairs(&gm.offered(), gm.nat_traversal, behind);
        let Some(chosen) = preferred(&pairs, &offers(&client)) else {
            if self.agrees_on_tls(facts) {
                return Ok(None);
            }
            if !client.iter().any(SecurityMechanism::is_ipsec_3gpp) {
                let names: Vec<&str> = client.iter().map(|it| it.name.as_str()).collect();
                let names = names.join(", ");
                env.note(ts24229("5.2.2"), || format!("none of {names} is available here"));
                return Ok(None);
            }
            return Err(self.nothing_common(&client, &pairs, impi));
        };
        let server = chosen.ports.server;
        self.room_for(&chosen, source, impi, server)?;
        env.note(ts33203("7.2"), || {
            let Offer { algorithms, mode, .. } = &chosen;
            format!("{algorithms} {} is the first of ours that {impi} offers", mode.as_str())
        });
        Ok(Some(Box::new(Agreement { client, chosen, mediasec: media && gm.mediasec })))
    }

    fn nothing_common(
        &self,
        client: &[SecurityMechanism],
        pairs: &[(Algorithms, Mode)],
        impi: &str,
    ) -> Box<Stop> {
        let text = |it: &SecurityMechanism| match Offer::of(it) {
            Ok(offer) => format!("{} {}", offer.algorithms, offer.mode.as_str()),
            Err(fault) => fault.to_string(),
        };
        let theirs: Vec<String> =
            client.iter().filter(|it| it.is_ipsec_3gpp()).take(8).map(text).collect();
        let ours: Vec<String> =
            pairs.iter().map(|(pair, mode)| format!("{pair} {}", mode.as_str())).collect();
        let diagnosis = Diagnosis::new(impi, "algorithms of Security-Client")
            .ours(ours.join(", "))
            .theirs(theirs.join(", "))
            .change("one pair of algorithms that both have");
        let status = self.config.security.gm.reject.algorithms;
        let server = if status == 494 { self.mechanisms(Mode::Transport) } else { Vec::new() };
        Stop::new(status, ts33203("7.3.2.1"), diagnosis).with_server(server)
    }

    /// Rule 3 of TS 33.203 §7.1: the UE's protected client port and SPIs are new, and its user has
    /// not too many associations.
    fn room_for(
        &self,
        chosen: &Offer,
        source: IpAddr,
        impi: &str,
        server: u16,
    ) -> Result<(), Box<Stop>> {
        let status = self.config.security.gm.reject.ports;
        let mut used = self.associations.with_ports(source, chosen.ports);
        if let Some(other) = used.find(|it| !it.gives_way_to(impi)) {
            let ports = other.set.remote.ports;
            let its = |it: &Ports| {
                format!("port-c={};spi-c={};spi-s={}", it.client, it.spi_client, it.spi_server)
            };
            let diagnosis = Diagnosis::new(impi, "protected client port and SPIs of the UE")
                .ours(format!("{source} {} is in use by {}", its(&ports), other.impi))
                .theirs(its(&chosen.ports))
                .change("a new port-c, spi-c and spi-s for each agreement");
            return Err(Stop::new(status, ts33203("7.1"), diagnosis));
        }
        // Those that wait for this UE give way to the next ones.
        let replaced =
            |it: &&Record| it.state == State::Temporary && it.set.remote.ports.server == server;
        let holds = |it: &&Record| it.state != State::Closing && !replaced(it);
        if self.associations.of_impi(impi).filter(holds).count() >= SETS_MAX {
            let diagnosis = Diagnosis::new(impi, "number of security associations")
                .ours("six each way at most")
                .theirs("two more each way")
                .change("deregister what is no longer used");
            return Err(Stop::new(status, ts33203("7.1"), diagnosis));
        }
        let full = self.associations.len() >= self.config.limits.associations_max
            && self.associations.oldest_temporary().is_none();
        let ports = self.config.security.gm.port_pc.len();
        if full || ports == 0 {
            let diagnosis = Diagnosis::new(impi, "table of security associations").ours("full");
            return Err(Stop::new(503, own("limits"), diagnosis));
        }
        Ok(())
    }

    /// Our capabilities, without ports and SPIs of a set.
    fn mechanisms(&self, mode: Mode) -> Vec<SecurityMechanism> {
        let offered = self.config.security.gm.offered().into_iter().enumerate();
        offered.map(|(index, pair)| mechanism(index, pair, mode)).collect()
    }

    /// Answers a REGISTER that does not go on, or leaves it.
    pub(crate) fn stop(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        stop: Stop,
        out: &mut Actions<Timer>,
    ) {
        let Stop { status, clause, text, diagnosis, server, ends } = stop;
        let remote = incoming.flow.remote;
        let Some(status) = status else {
            env.diagnose(clause, format!("REGISTER from {remote} dropped: {text}"), diagnosis);
            out.push(Action::Discard { context: incoming.context });
            return;
        };
        env.diagnose(clause, format!("REGISTER from {remote} gets {status}: {text}"), diagnosis);
        let mut response = incoming.request.response(status, reason_phrase(status));
        if !server.is_empty() {
            response.headers.push(HeaderName::Require, "sec-agree");
            for mechanism in &server {
                response.headers.push(HeaderName::SecurityServer, &mechanism.to_string());
            }
        }
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
        if let Some(id) = ends {
            self.close(env, id, out);
        }
    }
}

/// Whether a request must not go on without an agreement.
fn demands(request: &Request) -> bool {
    [HeaderName::Require, HeaderName::ProxyRequire]
        .into_iter()
        .any(|name| request.headers.has_token(name, "sec-agree"))
}

/// The address in the topmost Via, where it is one.
fn via_address(request: &Request) -> Option<IpAddr> {
    let via = request.via().ok()?;
    via.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

const fn yes_or_no(yes: bool) -> IntegrityProtected {
    if yes { IntegrityProtected::Yes } else { IntegrityProtected::No }
}

/// What a UE with associations is recognised by: its protected server port, which stays.
fn association(record: &Record, impi: &str) -> bindings::Association {
    let source = record.set.remote.server();
    bindings::Association { source, sent_by: "".into(), impi: impi.into() }
}

fn again(record: &Record) -> Agreement {
    let set = &record.set;
    let chosen = Offer { algorithms: set.algorithms, mode: set.mode, ports: set.remote.ports };
    Agreement { client: record.client.clone(), chosen, mediasec: record.mediasec }
}

/// The pairs we take, most preferred first; tunnels first for a UE behind a translation.
fn pairs(offered: &[Algorithms], nat: bool, behind: bool) -> Vec<(Algorithms, Mode)> {
    let modes: &[Mode] = match (nat, behind) {
        (false, _) => &[Mode::Transport],
        (true, false) => &[Mode::Transport, Mode::UdpEncapsulatedTunnel],
        (true, true) => &[Mode::UdpEncapsulatedTunnel, Mode::Transport],
    };
    let with = |mode: &Mode| offered.iter().map(|pair| (*pair, *mode)).collect::<Vec<_>>();
    modes.iter().flat_map(with).collect()
}

/// One entry of Security-Server; the first is the most preferred.
pub(crate) fn mechanism(index: usize, pair: Algorithms, mode: Mode) -> SecurityMechanism {
    let q = 99_usize.saturating_sub(index).max(1);
    let mut it = SecurityMechanism::new(cscf_core::sip::IPSEC_3GPP);
    it.params.set("q", &format!("0.{q:02}"));
    it.params.set("alg", pair.integrity().as_str());
    it.params.set("ealg", pair.encryption().as_str());
    it.params.set("prot", "esp");
    it.params.set("mod", mode.as_str());
    it
}

/// The mechanisms of a header without those of media, and whether there are such.
pub(crate) fn read(
    request: &Request,
    name: HeaderName,
    impi: &str,
) -> Result<(Vec<SecurityMechanism>, bool), Box<Stop>> {
    let unreadable = |fault: String| {
        let diagnosis = Diagnosis::new(impi, format!("{} can be read", name.as_str()))
            .theirs(fault)
            .ours("mechanisms as in RFC 3329 §2.2, 64 and 8 KiB at most")
            .change(format!("{} of the phone", name.as_str()));
        Stop::new(400, rfc3329("2.2"), diagnosis)
    };
    let bytes: usize = request.headers.fields(name).map(|field| field.value().len()).sum();
    if bytes > MECHANISMS_BYTES_MAX {
        return Err(unreadable(format!("{bytes} bytes")));
    }
    let mut list = request.headers.security(name).map_err(|fault| unreadable(fault.to_string()))?;
    if list.len() > MECHANISMS_MAX {
        return Err(unreadable(format!("{} mechanisms", list.len())));
    }
    let all = list.len();
    list.retain(|it| !it.is_mediasec());
    let media = list.len() < all;
    Ok((list, media))
}

/// The second REGISTER repeats Security-Client and mirrors Security-Server (TS 33.203 §7.2,
/// §7.3.2.3; RFC 3329 §2.3.1).
fn same_headers(request: &Request, impi: &str, record: &Record) -> Result<(), Box<Stop>> {
    for (name, expected) in
        [(HeaderName::SecurityVerify, &record.server), (HeaderName::SecurityClient, &record.client)]
    {
        let (got, _) = read(request, name, impi).map_err(|stop| stop.ending(record))?;
        let diagnosis = match name {
            HeaderName::SecurityVerify => {
                Diagnosis::new(impi, "Security-Verify against the Security-Server sent")
            }
            _ => Diagnosis::new(impi, "Security-Client against that of the first REGISTER"),
        };
        if got.is_empty() {
            let diagnosis = diagnosis
                .ours(text(expected))
                .change(format!("{} in the answer to the challenge", name.as_str()));
            return Err(Stop::new(400, ts33203("7.2"), diagnosis).ending(record));
        }
        if let Some(differs) = difference(expected, &got) {
            let diagnosis = diagnosis
                .ours(text(expected))
                .theirs(differs)
                .change("copy the list unchanged, parameter by parameter");
            let stop = Stop::new(494, ts33203("7.3.2.3"), diagnosis);
            return Err(stop.with_server(record.server.clone()).ending(record));
        }
    }
    Ok(())
}

fn text(list: &[SecurityMechanism]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

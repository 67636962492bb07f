//! Which mechanism protects a registration (TS 33.203 Annex P.3; TS 24.229 §5.2.2): IMS AKA with
//! security associations, SIP digest over TLS, SIP digest alone, or the address that the access
//! network gave the UE (GIBA). What the first REGISTER chose holds for those that refresh it. And
//! the flag that tells the home network of it (TS 24.229 §7.2A.2).
//!
//! Whether a flow is TLS is told by its transport; the handshake is the host's.

use cscf_core::auth::IntegrityProtected;
use cscf_core::clause::{own, rfc3329, ts24229, ts33203};
use cscf_core::role::{Env, Incoming};
use cscf_core::sip::{HeaderName, SecurityMechanism};
use cscf_core::trace::Diagnosis;
use cscf_core::transport::Flow;
use cscf_core::transport::ipsec::{Mode, difference};

use crate::bindings::Ue;
use crate::register::{Facts, Refusal};
use crate::security::{Passage, Stop, read};
use crate::tokens::UeId;
use crate::{Pcscf, cause};

/// The name of TLS in Security-Client and Security-Server (RFC 3329 §2.2).
const TLS: &str = "tls";

/// How a registration is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// IMS AKA with associations in transport mode.
    Aka,
    /// IMS AKA with associations in UDP, for a UE behind a translation (TS 33.203 Annex M).
    AkaInUdp,
    /// SIP digest without TLS; also what a UE without any agreement gets.
    #[default]
    Digest,
    /// SIP digest over TLS (TS 33.203 Annex O).
    DigestTls,
    /// The UE's address against that of the access network (TS 33.203 Annex T).
    Giba,
}

impl Mechanism {
    /// Its name in tables and notes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Aka => "aka",
            Self::AkaInUdp => "aka-udp-enc-tun",
            Self::Digest => "digest",
            Self::DigestTls => "digest-tls",
            Self::Giba => "giba",
        }
    }

    const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Transport => Self::Aka,
            Mode::UdpEncapsulatedTunnel => Self::AkaInUdp,
        }
    }
}

impl Pcscf {
    /// Chooses the mechanism of a REGISTER, or takes that of the registration it refreshes.
    pub(crate) fn mechanism(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        facts: &Facts,
        passage: &Passage,
        known: Option<UeId>,
    ) -> Result<Mechanism, Box<Stop>> {
        let set = incoming.flow.sa.and_then(|sa| self.associations.get(sa)).map(|it| it.set.mode);
        let agreed = passage.agreement.as_ref().map(|it| it.chosen.mode);
        if let Some(mode) = set.or(agreed) {
            return Ok(Mechanism::of(mode));
        }
        let ue = known.and_then(|id| self.bindings.get(id));
        self.not_in_clear(incoming, facts, ue)?;
        if let Some(kept) = ue.filter(|ue| ue.is_registered()).map(|ue| ue.mechanism) {
            env.note(ts33203("P.3"), || format!("the mechanism stays {}", kept.as_str()));
            self.tls_kept(incoming, facts, kept)?;
            return Ok(kept);
        }
        let chosen = if incoming.flow.transport.is_secure() || self.agrees_on_tls(facts) {
            self.tls_kept(incoming, facts, Mechanism::DigestTls)?;
            Mechanism::DigestTls
        } else if !facts.authorized && self.config.security.gm.giba && facts.may_be_on_radio() {
            first_hop_only(incoming, facts)?;
            Mechanism::Giba
        } else {
            self.digest_allowed(facts)?;
            Mechanism::Digest
        };
        env.note(ts33203("P.3"), || {
            let client =
                if facts.tls { "Security-Client: tls" } else { "no Security-Client of use" };
            let by = incoming.flow.transport;
            let with = if facts.authorized { "with" } else { "without" };
            format!("{}: {client}, {with} Authorization, over {by}", chosen.as_str())
        });
        Ok(chosen)
    }

    /// Whether TLS is what we and the UE agree on.
    pub(crate) const fn agrees_on_tls(&self, facts: &Facts) -> bool {
        facts.tls && self.config.security.gm.tls
    }

    /// Whether a REGISTER has, or is about to get, the protection of TLS.
    pub(crate) const fn by_tls(&self, incoming: &Incoming, facts: &Facts) -> bool {
        incoming.flow.transport.is_secure() || self.agrees_on_tls(facts)
    }

    /// What was agreed on TLS is kept: the answer to the challenge comes over it, and mirrors our
    /// Security-Server (RFC 3329 §2.3.1, TS 33.203 §O.2.1).
    fn tls_kept(
        &self,
        incoming: &Incoming,
        facts: &Facts,
        mechanism: Mechanism,
    ) -> Result<(), Box<Stop>> {
        if mechanism != Mechanism::DigestTls || !self.agrees_on_tls(facts) {
            return Ok(());
        }
        let impi = &*facts.association.impi;
        let server = tls_server();
        // What tells that the sequence number was not fresh proves nothing, and may go in clear.
        if facts.answers && !facts.auts && !incoming.flow.transport.is_secure() {
            return Err(self.needs_tls(incoming, impi));
        }
        let (verify, _) = read(&incoming.request, HeaderName::SecurityVerify, impi)?;
        if verify.is_empty() && (!facts.answers || facts.auts) {
            return Ok(());
        }
        let differs = match verify.is_empty() {
            true => Some("no Security-Verify".to_owned()),
            false => difference(&server, &verify),
        };
        let Some(differs) = differs else { return Ok(()) };
        let diagnosis = Diagnosis::new(impi, "Security-Verify against the Security-Server sent")
            .ours("tls")
            .theirs(differs)
            .change("copy the list unchanged");
        Err(Stop::new(494, rfc3329("2.3.1"), diagnosis).with_server(server))
    }

    /// What has registered over TLS, or is asked to answer over it, does not go on in clear from
    /// the same address (TS 33.203 §O.2.1): only a new beginning that offers TLS may.
    fn not_in_clear(
        &self,
        incoming: &Incoming,
        facts: &Facts,
        ue: Option<&Ue>,
    ) -> Result<(), Box<Stop>> {
        let Some(ue) = ue.filter(|ue| !ue.may_speak_by(&incoming.flow)) else { return Ok(()) };
        let begins =
            (!facts.answers || facts.auts) && (self.agrees_on_tls(facts) || !ue.is_registered());
        if begins { Ok(()) } else { Err(self.needs_tls(incoming, ue.impi())) }
    }

    fn needs_tls(&self, incoming: &Incoming, impi: &str) -> Box<Stop> {
        let diagnosis = Diagnosis::new(impi, "TLS for a REGISTER of a user with TLS")
            .ours("TLS")
            .theirs(format!("a REGISTER over {}", incoming.flow.transport))
            .change("a TLS connection before the challenge is answered, and from then on");
        match self.config.security.gm.tls {
            true => Stop::new(494, rfc3329("2.3.1"), diagnosis).with_server(tls_server()),
            false => Stop::new(403, ts33203("O.2.1"), diagnosis),
        }
    }

    /// Whether the access may use SIP digest (TS 33.203 §N.1: not a 3GPP one, if the operator
    /// keeps to it).
    fn digest_allowed(&self, facts: &Facts) -> Result<(), Box<Stop>> {
        if self.config.security.gm.digest_on_radio || !facts.may_be_on_radio() {
            return Ok(());
        }
        let diagnosis = Diagnosis::new(&*facts.association.impi, "SIP digest by access")
            .ours("digest_on_radio: refuse")
            .theirs("a 3GPP access, and no security agreement")
            .change("sec-agree with ipsec-3gpp, or the lab's choice");
        Err(Stop::new(403, ts33203("N.1"), diagnosis))
    }

    /// The value of `integrity-protected` (TS 24.229 §7.2A.2).
    pub(crate) fn integrity(
        &self,
        env: &mut Env<'_>,
        flow: &Flow,
        facts: &Facts,
        (registered, passage): (bool, &Passage),
    ) -> Option<IntegrityProtected> {
        use IntegrityProtected as Flag;
        let flag = match facts.mechanism {
            _ if passage.flag.is_some() => passage.flag,
            Mechanism::Aka | Mechanism::AkaInUdp => Some(Flag::No),
            _ if facts.ipsec => Some(Flag::No),
            Mechanism::Giba => None,
            _ if flow.transport.is_secure() => {
                let impi = &facts.association.impi;
                let bound = self.bindings.registered_on(flow).any(|ue| ue.impi() == &**impi);
                Some(if bound { Flag::TlsYes } else { Flag::TlsPending })
            }
            // A new beginning: the address does not stand for a user who has TLS.
            Mechanism::DigestTls => None,
            _ if registered => Some(Flag::IpAssocYes),
            _ if facts.answers => Some(Flag::IpAssocPending),
            Mechanism::Digest => None,
        };
        env.note(ts24229("7.2A.2"), || {
            let said = flag.map_or("no integrity-protected".to_owned(), |flag| {
                format!("integrity-protected=\"{}\"", flag.as_str())
            });
            format!("{said}: {}", why(flag, flow, facts.mechanism))
        });
        if facts.ipsec && !self.secures_user(&facts.association.impi) {
            env.note(own("ipsec: off"), || {
                let why = if self.config.security.esp { "ipsec: off" } else { "no ESP here" };
                format!("the offered security agreement is not taken up: {why}")
            });
        }
        flag
    }

    /// On a flow that protects what it carries, the private identity is the one it was made for
    /// (TS 24.229 §5.2.2.2).
    pub(crate) fn same_user(&self, flow: &Flow, impi: &str) -> Result<(), Refusal> {
        if !flow.transport.is_secure() {
            return Ok(());
        }
        match self.bindings.registered_on(flow).find(|ue| ue.impi() != impi) {
            None => Ok(()),
            Some(owner) => {
                let cause = Box::new(cause::other_user(impi, owner.impi()));
                Err((403, "5.2.2.2", cause))
            }
        }
    }
}

fn why(flag: Option<IntegrityProtected>, flow: &Flow, mechanism: Mechanism) -> &'static str {
    use IntegrityProtected as Flag;
    match flag {
        None if mechanism == Mechanism::Giba => "the address stands for the user",
        None => "first REGISTER without security agreement",
        Some(Flag::No) if flow.sa.is_some() => {
            "not by the associations of its challenge, nor by the latest ones"
        }
        Some(Flag::No) => "clear-text REGISTER that offers a security agreement",
        Some(Flag::IpAssocPending) => "a response, and no IP association yet",
        Some(Flag::IpAssocYes) => "from the address of the registration",
        Some(Flag::TlsPending) => "over TLS, not yet bound to this user",
        Some(Flag::TlsYes) => "over the TLS connection of this user",
        Some(Flag::Yes) => "over the security association of this user",
    }
}

/// Nobody stands between the UE and us: the Via whose address will stand for the user is the one
/// we have checked (TS 33.203 Annex T).
fn first_hop_only(incoming: &Incoming, facts: &Facts) -> Result<(), Box<Stop>> {
    if incoming.request.headers.values(HeaderName::Via).take(2).count() < 2 {
        return Ok(());
    }
    let diagnosis = Diagnosis::new(&*facts.association.impi, "the address of the UE, first hop")
        .ours("one Via")
        .theirs("more than one Via")
        .change("send the REGISTER to the P-CSCF directly");
    Err(Stop::new(403, ts33203("T.7"), diagnosis))
}

/// Our Security-Server where TLS is agreed on.
pub(crate) fn tls_server() -> Vec<SecurityMechanism> {
    let mut it = SecurityMechanism::new(TLS);
    it.params.set("q", "0.10");
    vec![it]
}

/// Whether a mechanism of Security-Client is TLS.
pub(crate) fn is_tls_mechanism(mechanism: &SecurityMechanism) -> bool {
    mechanism.name.eq_ignore_ascii_case(TLS)
}

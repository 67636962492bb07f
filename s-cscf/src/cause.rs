//! What to tell whoever was refused at an S-CSCF: the value that came, the value wanted, and what
//! to change. Each is made where the decision is, of the values that decided it.

use std::net::{IpAddr, SocketAddr};

use cscf_core::auth::Credentials;
use cscf_core::cx::CxResult;
use cscf_core::registrar::Wish;
use cscf_core::sip::{HeaderName, Request};
use cscf_core::trace::Diagnosis;

use crate::register::Register;

/// The answer to a challenge was not right.
pub(crate) fn wrong_answer(register: &Register, why: &str) -> Diagnosis {
    if !register.has_response() {
        return Diagnosis::new(register.impi.as_str(), "the card accepts the MAC of our challenge")
            .theirs("an answer without response: to the card the MAC is wrong")
            .ours("a challenge made with K and OPc of the HSS")
            .change("K, or OP/OPc: those of the card and of the subscriber in the lab must be one; `cscf aka` says which differs");
    }
    let credentials = register.credentials.as_ref();
    let came = credentials.and_then(Credentials::response).map(|it| it.to_string());
    Diagnosis::new(register.impi.as_str(), "the response fits the challenge")
        .theirs(format!("response {}", came.unwrap_or_default()))
        .ours(why)
        .change("the password, or what the phone computes its response from: nonce, uri, algorithm, RES as binary")
}

/// The card was out of step again and again.
pub(crate) fn out_of_step(impi: &str, resyncs: u8, max: u8) -> Diagnosis {
    Diagnosis::new(impi, "the card accepts the sequence number after a resynchronisation")
        .theirs(format!("AUTS {resyncs} times in a row"))
        .ours(format!("at most {max}"))
        .change("the freshness check of the card (its limit and IND), or its SQN; the HSS notes both numbers")
}

/// Nobody answered the challenge.
pub(crate) fn no_answer(impi: &str, seconds: u64) -> Diagnosis {
    Diagnosis::new(impi, "an answer to the 401")
        .theirs(format!("nothing within {seconds} s"))
        .ours("a REGISTER with Authorization")
        .change("see what the P-CSCF got after the 401 (SYN, ESP, clear text on a protected port?), and whether the phone reports an authentication failure")
}

/// An extension is required that nobody here has.
pub(crate) fn unknown_extension(impu: &str, required: &str, known: &str) -> Diagnosis {
    Diagnosis::new(impu, "every option tag in Require is known")
        .theirs(format!("Require: {required}"))
        .ours(known)
        .change("Require of the phone's REGISTER: say it in Supported, if it can do without")
}

/// The time asked for is too short.
pub(crate) fn too_brief(impu: &str, asked: &u32, min: &u32) -> Diagnosis {
    Diagnosis::new(impu, "the time asked for is long enough")
        .theirs(format!("{asked} s"))
        .ours(format!("at least {min} s"))
        .change("Expires in the phone (it should come again with Min-Expires), or `expires_min` in the lab")
}

/// A protected REGISTER names a contact that was not registered over its security association.
pub(crate) fn new_contact(register: &Register, bound: &str) -> Diagnosis {
    let came = register.request.headers.get(HeaderName::Contact);
    Diagnosis::new(register.impi.as_str(), "Contact is the one that was authenticated")
        .theirs(came.unwrap_or_default())
        .ours(bound)
        .change("the phone: register a new address in the clear first, or use outbound (reg-id)")
}

/// A header of a REGISTER cannot be used.
pub(crate) fn unreadable(name: HeaderName, came: &str, why: &str) -> Diagnosis {
    let name = name.as_str();
    Diagnosis::new("", format!("{name} can be read"))
        .theirs(format!("{name}: {came}"))
        .ours(why)
        .change(format!("{name} of the phone's REGISTER"))
}

/// The source is nobody the lab knows.
pub(crate) fn stranger(source: SocketAddr) -> Diagnosis {
    Diagnosis::new("", "the REGISTER comes from the trust domain")
        .theirs(format!("from {source}"))
        .ours("the nodes of the lab, but those under `untrusted`")
        .change(
            "register at the P-CSCF; an I-CSCF must send from the address that the lab file gives",
        )
}

/// Nobody says that Path is understood.
pub(crate) fn path_not_known() -> Diagnosis {
    Diagnosis::new("", "the UE, or somebody on the way, knows Path")
        .theirs("a Path, and no `path` in Supported or Require")
        .ours("strict_path")
        .change("Supported: path in the phone's REGISTER")
}

/// A secure contact behind a hop that is not.
pub(crate) fn not_all_secure(impu: &str, open: &str) -> Diagnosis {
    Diagnosis::new(impu, "all of the way to a sips Contact is by TLS")
        .theirs("Contact: sips:…")
        .ours(format!("{open}, which is no sips URI"))
        .change("a sip Contact with `transport=tls` in the phone's REGISTER")
}

/// There is no roaming agreement with the network that the REGISTER came through.
pub(crate) fn no_roaming(visited: &str, allowed: &[String]) -> Diagnosis {
    Diagnosis::new("", "there is a roaming agreement with the visited network")
        .theirs(visited)
        .ours(format!("only {}", allowed.join(", ")))
        .change("`visited_networks` of the S-CSCF, or the network of the P-CSCF")
}

/// Several flows in one REGISTER.
pub(crate) fn several_flows(count: usize) -> Diagnosis {
    Diagnosis::new("", "one flow in a REGISTER")
        .theirs(format!("{count} contacts with reg-id"))
        .ours("one contact with reg-id")
        .change("the phone: a REGISTER for each flow")
}

/// The hop next to the UE cannot keep flows.
pub(crate) fn first_hop(path: &str) -> Diagnosis {
    Diagnosis::new("", "the first hop knows outbound")
        .theirs(if path.is_empty() { "no Path".to_owned() } else { format!("Path {path}") })
        .ours("`ob` in the Path value that was added first")
        .change("a first hop that knows RFC 5626, or no reg-id in the phone's Contact")
}

/// One more flow than an instance may have.
pub(crate) fn too_many_flows(count: usize, max: usize) -> Diagnosis {
    Diagnosis::new("", "the instance has not too many flows")
        .theirs(format!("flow number {count} of one +sip.instance"))
        .ours(format!("{max} flows of one instance"))
        .change("use a reg-id again, or end a flow first (Expires 0)")
}

/// One more contact than a registration may have.
pub(crate) fn too_many_contacts(count: usize, max: usize) -> Diagnosis {
    Diagnosis::new("", "the identity has not too many contacts")
        .theirs(format!("{count} contacts with this one"))
        .ours(format!("{max} contacts of one identity"))
        .change("end contacts that are no longer used: `cscf ctl show registrations` lists them")
}

/// A REGISTER came after a later one.
pub(crate) fn out_of_order(cseq: u32, why: &str) -> Diagnosis {
    Diagnosis::new("", "CSeq rises within a Call-ID")
        .theirs(format!("CSeq {cseq}"))
        .ours(why)
        .change("the CSeq of the phone; nothing if a node that has started anew let a repeated REGISTER through twice")
}

/// The HSS refuses the user.
pub(crate) fn refused_by_hss(result: CxResult) -> Diagnosis {
    Diagnosis::new("", "the HSS serves the user at this S-CSCF")
        .theirs("the user's MAR or SAR")
        .ours(format!("the HSS says {result}"))
        .change("the subscriber in the lab file (the HSS notes its reason); an HSS that has started anew forgets who serves whom: the phone registers anew")
}

/// The HSS cannot be asked.
pub(crate) fn no_use_of_hss(why: &str) -> Diagnosis {
    Diagnosis::new("", "the HSS answers MAR and SAR")
        .theirs(why)
        .ours("an answer that can be used")
        .change("whether the HSS runs and is reached (its address in the lab, `hss` in the trace)")
}

/// The HSS gives nothing to challenge with.
pub(crate) fn no_vector() -> Diagnosis {
    Diagnosis::new("", "the HSS gives authentication data")
        .theirs("none that this S-CSCF can use")
        .ours("a vector of IMS AKA, or a digest of the password")
        .change("`aka` or `digest` of the subscriber in the lab file")
}

/// The user profile is of no use.
pub(crate) fn unusable_profile(why: &str) -> Diagnosis {
    Diagnosis::new("", "the user profile can be used")
        .theirs(why)
        .ours("a profile that holds the registered identity")
        .change("`profile_xml` or `impus` of the subscriber; `cscf profile NAME` prints what the HSS sends")
}

/// All identities of the set are barred.
pub(crate) fn barred(impu: &str) -> Diagnosis {
    Diagnosis::new("", "an identity of the implicit registration set is not barred")
        .theirs(impu)
        .ours("all identities of the user profile are barred")
        .change("`impus` of the subscriber in the lab file: one that is not `barred`")
}

/// A protected REGISTER of a user that is not registered here: the state was lost.
pub(crate) fn not_known(register: &Register) -> Diagnosis {
    let change = if register.wish.deregisters() {
        "nothing: there is nothing to end"
    } else {
        "the phone registers anew; an S-CSCF that has lost its state cannot go on with the old \
         security association"
    };
    Diagnosis::new(register.impi.as_str(), "the registration is known at this S-CSCF")
        .theirs("REGISTER over a security association (integrity-protected=\"yes\")")
        .ours(format!("no registration of {} with {}", register.impi, register.impu))
        .change(change)
}

/// Nothing is kept that could be restored.
pub(crate) fn nothing_kept(why: &str) -> Diagnosis {
    Diagnosis::new("", "the HSS keeps what can be restored")
        .theirs(why)
        .ours("Restoration-Info of the user")
        .change("nothing: the user registers anew, and the HSS keeps it from then on")
}

/// Too many users are under challenge.
pub(crate) fn too_many_challenges(max: usize) -> Diagnosis {
    Diagnosis::new("", "there is room for one more challenge")
        .theirs("a REGISTER to be challenged")
        .ours(format!("{max} users are under challenge"))
        .change("wait: who does not answer is forgotten")
}

/// An AKA answer that the P-CSCF flags with `no`.
pub(crate) fn in_the_clear(register: &Register) -> Diagnosis {
    Diagnosis::new(register.impi.as_str(), "the AKA response came over its security association")
        .theirs("integrity-protected=\"no\"")
        .ours("integrity-protected=\"yes\"")
        .change("the phone: answer the challenge over the associations that its 401 made (port_ps)")
}

/// An AKA answer of a UE that made no security agreement.
pub(crate) fn without_sec_agree(register: &Register) -> Diagnosis {
    Diagnosis::new(register.impi.as_str(), "IMS AKA with a security agreement")
        .theirs("an AKA response, and no security agreement")
        .ours("aka_without_sec_agree: refuse")
        .change(
            "Security-Client in the phone's REGISTER, or `aka_without_sec_agree` in the lab file",
        )
}

/// The address in Contact, if it is one: what is kept of a REGISTER that is challenged.
pub(crate) fn contact_host(register: &Register) -> Option<IpAddr> {
    let Wish::Update(wishes) = &register.wish else { return None };
    let host = wishes.first()?.address.uri.host()?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// The answer to a challenge names another address in Contact than what was challenged.
pub(crate) fn moved(register: &Register, challenged: Option<IpAddr>) -> Option<Diagnosis> {
    let (now, challenged) = contact_host(register).zip(challenged)?;
    if now == challenged {
        return None;
    }
    let impi = register.impi.as_str();
    let diagnosis = Diagnosis::new(impi, "Contact is that of the REGISTER that was challenged")
        .theirs(format!("Contact at {now}"))
        .ours(format!("Contact at {challenged}"))
        .change(
            "the phone: one address in all its REGISTERs; what is sent to it goes to the last one",
        );
    Some(diagnosis)
}

/// A request other than REGISTER whose user has to prove it.
pub(crate) fn not_proven(impi: &str, request: &Request, why: &str) -> Diagnosis {
    let came = request.headers.get(HeaderName::ProxyAuthorization);
    Diagnosis::new(impi, "the request is proven")
        .theirs(came.map_or("no Proxy-Authorization".to_owned(), |it| {
            format!("Proxy-Authorization: {it}")
        }))
        .ours(why)
        .change("the answer to the 407: realm, nonce and password; the first 407 of a request is no fault")
}

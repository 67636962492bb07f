//! What to tell whoever was refused at an I-CSCF: the value that came, the value wanted, and what
//! to change.

use std::net::SocketAddr;

use cscf_core::cx::{CxResult, ServerCapabilities, Uar};
use cscf_core::trace::Diagnosis;

use crate::Config;

/// The source is nobody the lab knows.
pub(crate) fn stranger(source: SocketAddr) -> Diagnosis {
    Diagnosis::new("", "the REGISTER comes from the trust domain")
        .theirs(format!("from {source}"))
        .ours("the nodes of the lab, but those under `untrusted`")
        .change(
            "register at the P-CSCF; a P-CSCF must send from the address that the lab file gives",
        )
}

/// The Request-URI is of another network.
pub(crate) fn foreign(request_uri: &str, config: &Config) -> Diagnosis {
    Diagnosis::new("", "Request-URI is of this network")
        .theirs(request_uri)
        .ours(config.home_domains.join(" or "))
        .change("the home network domain in the phone, or `domain` in the lab file")
}

/// To names nobody who could be registered.
pub(crate) fn no_identity(to: &str) -> Diagnosis {
    Diagnosis::new("", "To holds a public identity")
        .theirs(format!("To: {to}"))
        .ours("a SIP URI with a user, or a tel URI")
        .change("the public identity (IMPU) in the phone")
}

/// The realm is of another network.
pub(crate) fn wrong_realm(realm: &str, config: &Config) -> Diagnosis {
    Diagnosis::new("", "the realm is this network's")
        .theirs(format!("realm {realm}"))
        .ours(format!("realm {}", config.home_domains.join(" or ")))
        .change("the realm (home network domain) in the phone")
}

/// The HSS does not answer.
pub(crate) fn silent_hss() -> Diagnosis {
    Diagnosis::new("", "the HSS answers")
        .theirs("nothing")
        .ours("a UAR, and the time for its answer is over")
        .change("whether the HSS runs and is reached (its address in the lab, `hss` in the trace)")
}

/// The HSS says no.
pub(crate) fn refused(result: CxResult, uar: &Uar) -> Diagnosis {
    let Uar { impi, impu, visited_network, .. } = uar;
    let diagnosis = Diagnosis::new(impi, "the HSS lets the user register");
    let (came, change) = match result {
        CxResult::UserUnknown => (
            format!("{impi} with {impu}"),
            "IMPI and IMPU in the phone, or add the subscriber to the lab file",
        ),
        CxResult::IdentitiesDontMatch => {
            (format!("{impi} with {impu}"), "IMPI or IMPU in the phone, or `impus` in the lab file")
        }
        CxResult::RoamingNotAllowed => {
            let change = "`visited_networks` of the subscriber in the lab file, or the network \
                          that the P-CSCF is in";
            (format!("from {visited_network}"), change)
        }
        CxResult::AuthorizationRejected => {
            let change = "`barred` of the subscriber or of its identities in the lab file";
            (format!("{impi} with {impu}"), change)
        }
        CxResult::IdentityNotRegistered => {
            (format!("an end of the registration of {impu}"), "nothing: it was not registered")
        }
        _ => (format!("{impi} with {impu}"), "see what the HSS says of it (`hss` in the trace)"),
    };
    diagnosis.theirs(came).ours(format!("the HSS says {result}")).change(change)
}

/// No S-CSCF of the lab can serve the user.
pub(crate) fn no_server(config: &Config, wanted: &ServerCapabilities) -> Diagnosis {
    let text = |list: &[u32]| list.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let have: Vec<String> = config
        .scscfs
        .iter()
        .map(|scscf| format!("{} has [{}]", scscf.uri, text(&scscf.capabilities)))
        .collect();
    Diagnosis::new("", "an S-CSCF has the mandatory capabilities")
        .theirs(format!("the subscriber needs [{}]", text(&wanted.mandatory)))
        .ours(have.join("; "))
        .change("`capabilities` of an S-CSCF or of the subscriber in the lab file")
}

/// No S-CSCF answers.
pub(crate) fn silent_server(tried: &str, protected: bool) -> Diagnosis {
    let change = if protected {
        "whether that S-CSCF runs; the phone registers anew without its associations"
    } else {
        "whether an S-CSCF runs, and its address in the lab file"
    };
    Diagnosis::new("", "an S-CSCF answers")
        .theirs("nothing")
        .ours(format!("REGISTER to {tried}"))
        .change(change)
}

/// The HSS names an S-CSCF that is none.
pub(crate) fn no_server_name(name: &str) -> Diagnosis {
    Diagnosis::new("", "the HSS names an S-CSCF")
        .theirs(name)
        .ours("the SIP URI of another node")
        .change("the Server-Name that the HSS keeps of the user")
}

//! What to tell whoever was refused at a P-CSCF, or was challenged and did not come back: the value
//! that came, the value wanted, and what to change.

use std::net::SocketAddr;

use cscf_core::operator::Refused;
use cscf_core::sip::{HeaderName, MediaPolicy, NotPermitted};
use cscf_core::trace::Diagnosis;

use crate::bindings::Ue;

/// Nothing came after the 401. Where the UE writes another address into Via than it sends from,
/// that is the likely cause: between them is an address translation.
pub(crate) fn no_packet(ue: &Ue, seconds: u64) -> Diagnosis {
    let source = ue.association.source;
    let written = &*ue.association.sent_by;
    if is_elsewhere(written, source) {
        return Diagnosis::new(ue.impi(), "the address in Via is the packet's source")
            .theirs(format!("Via {written}"))
            .ours(format!("packets come from {source}"))
            .change("NAT or the phone's address: the 401 went to the source of the packet; the phone should write its real address or rport, or use TCP");
    }
    Diagnosis::new(ue.impi(), "a packet after the 401")
        .theirs(format!("nothing from {source} within {seconds} s: no SYN, no ESP, no clear text"))
        .ours(format!("the 401 went to {source} by {}", ue.flow.transport))
        .change("whether the 401 reaches the phone (firewall, address), and what the phone says of its authentication")
}

/// A header of a REGISTER cannot be used.
pub(crate) fn unreadable(name: HeaderName, came: &str, wanted: &str) -> Diagnosis {
    let name = name.as_str();
    Diagnosis::new("", format!("{name} can be read"))
        .theirs(format!("{name}: {came}"))
        .ours(wanted)
        .change(format!("{name} of the phone's REGISTER"))
}

/// The Request-URI names no home network served here.
pub(crate) fn foreign(request_uri: &str, domains: &[String]) -> Diagnosis {
    Diagnosis::new("", "the home network is reached from here")
        .theirs(format!("REGISTER {request_uri}"))
        .ours(domains.join(" or "))
        .change("the home network domain in the phone, or `domain` in the lab file")
}

/// A protected flow belongs to somebody else.
pub(crate) fn other_user(impi: &str, owner: &str) -> Diagnosis {
    Diagnosis::new(impi, "private identity of a REGISTER on a protected flow")
        .theirs(impi)
        .ours(owner)
        .change("the username of Authorization, or register over a connection of its own")
}

/// An offer has what the network does not permit.
pub(crate) fn media(wrong: &NotPermitted, policy: &MediaPolicy) -> Diagnosis {
    Diagnosis::new("", "the media of the offer are permitted")
        .theirs(wrong.to_string())
        .ours(policy.in_words())
        .change(
            "the media the phone offers, or `allowed_media` and `allowed_codecs` in the lab file",
        )
}

/// The policy function grants no resources.
pub(crate) fn resources(why: &str, acceptable: Option<u64>, overloaded: bool) -> Diagnosis {
    let ours = match acceptable {
        Some(kbps) => format!("the policy function: {why}, {kbps} kbit/s would do"),
        None if overloaded => format!("the policy function: {why}, and the node is overloaded"),
        None => format!("the policy function: {why}"),
    };
    Diagnosis::new("", "there are resources for the media")
        .theirs("an offer that needs bearers")
        .ours(ours)
        .change("`policy` and `policy_of` in the lab file, or the bandwidth the phone asks for")
}

/// Emergency registrations are not let through.
pub(crate) fn emergency() -> Diagnosis {
    Diagnosis::new("", "emergency registrations are served")
        .theirs("a Contact with sos")
        .ours("emergency_registration: off")
        .change("call without registering for it, or the policy of this P-CSCF")
}

/// New UEs are sent elsewhere.
pub(crate) fn draining() -> Diagnosis {
    Diagnosis::new("", "new UEs are taken")
        .theirs("a first REGISTER")
        .ours("this P-CSCF is being emptied (`drain`)")
        .change("another P-CSCF in the phone, or `cscf ctl drain NODE --off`")
}

/// New work is not taken.
pub(crate) fn no_new_work(why: Refused, retry_after: u32) -> Diagnosis {
    let ours = match why {
        Refused::Overloaded => "overload, or a full table",
        Refused::Drained => "this P-CSCF is being emptied",
    };
    Diagnosis::new("", "new work is taken")
        .theirs("a new request")
        .ours(format!("{ours}: come again after {retry_after} s"))
        .change(format!("wait, or `cscf ctl {} NODE --off`", why.order()))
}

/// No entry point of the home network answers.
pub(crate) fn no_entry(impi: &str, entries: &[String]) -> Diagnosis {
    Diagnosis::new(impi, "an I-CSCF answers")
        .theirs("nothing")
        .ours(format!("REGISTER to {}", entries.join(", ")))
        .change("whether the I-CSCF runs, and its address in the lab file")
}

/// REGISTER comes from where no UE is.
pub(crate) fn from_core(source: SocketAddr) -> Diagnosis {
    Diagnosis::new("", "REGISTER comes from a UE")
        .theirs(format!("from {source}, an address of a node of the lab"))
        .ours("any other address")
        .change("the phone's own address or port: it has that of a node")
}

/// Whether a sent-by names an address other than the source; a host name tells nothing.
fn is_elsewhere(sent_by: &str, source: SocketAddr) -> bool {
    if let Ok(addr) = sent_by.parse::<SocketAddr>() {
        return addr != source;
    }
    sent_by.parse::<std::net::IpAddr>().is_ok_and(|ip| ip != source.ip())
}

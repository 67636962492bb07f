//! What to tell about a UE that was challenged and did not come back.

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

/// Whether a sent-by names an address other than the source; a host name tells nothing.
fn is_elsewhere(sent_by: &str, source: std::net::SocketAddr) -> bool {
    if let Ok(addr) = sent_by.parse::<std::net::SocketAddr>() {
        return addr != source;
    }
    sent_by.parse::<std::net::IpAddr>().is_ok_and(|ip| ip != source.ip())
}

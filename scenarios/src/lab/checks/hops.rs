//! What may be in a message at which hop: headers that stay at one interface, and who stands in
//! Record-Route. The role of a node is known by its address.

use cscf_core::config::NodeRole;
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Uri};

use super::{Cast, Item, Message, Seen, Violations, method_of};

/// Who is at an end of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Node(NodeRole),
    Ue,
    /// Nobody of the lab: a peer that a test plays.
    Other,
}

/// A message that was sent, with both ends of its hop.
struct Hop<'a> {
    item: &'a Item<'a>,
    from: End,
    to: End,
}

impl Hop<'_> {
    /// Whether it goes from one role to another.
    fn is(&self, from: NodeRole, to: NodeRole) -> bool {
        self.from == End::Node(from) && self.to == End::Node(to)
    }

    fn is_inside(&self) -> bool {
        matches!((self.from, self.to), (End::Node(_), End::Node(_)))
    }

    fn has(&self, name: HeaderName) -> bool {
        self.item.message.headers().contains(name)
    }
}

/// All of them.
pub(super) fn all(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    let end = |ip: std::net::IpAddr| match cast.roles.get(&ip) {
        Some(role) => End::Node(*role),
        None if cast.ue_addresses.iter().any(|ue| ue.ip() == ip) => End::Ue,
        None => End::Other,
    };
    for item in seen.0.iter().filter(|item| item.sent) {
        let (from, to) = (end(item.wire.local.ip()), end(item.wire.remote.ip()));
        let hop = Hop { item, from, to };
        let faults = [
            called_party(&hop),
            served_user(&hop),
            answers_to_register(&hop),
            security_agreement(&hop),
            integrity(&hop),
            record_route(&hop, cast),
        ];
        for fault in faults.into_iter().flatten() {
            let (at, node) = (item.event.at, &item.event.node);
            out.push(format!("{at} {node} {}: {fault}", item.cseq));
        }
    }
}

/// P-Called-Party-ID goes from the S-CSCF of the callee to its P-CSCF and on (RFC 7315 §4.2), and
/// to an application server that the terminating S-CSCF has told it.
fn called_party(hop: &Hop<'_>) -> Option<String> {
    use NodeRole::{As, Pcscf, Scscf};
    let request = matches!(hop.item.message, Message::Request(_));
    let to_ue = hop.from == End::Node(Pcscf) && hop.to == End::Ue;
    let fine = to_ue || hop.is(Scscf, Pcscf) || hop.is(Scscf, As) || hop.is(As, Scscf);
    let ours = hop.is_inside() || to_ue;
    (request && ours && !fine && hop.has(HeaderName::PCalledPartyId))
        .then(|| "P-Called-Party-ID where nobody is called".to_owned())
}

/// P-Served-User stays on ISC (TS 24.229 §4.4.12).
fn served_user(hop: &Hop<'_>) -> Option<String> {
    let isc = hop.is(NodeRole::Scscf, NodeRole::As) || hop.is(NodeRole::As, NodeRole::Scscf);
    (!isc && hop.has(HeaderName::PServedUser)).then(|| "P-Served-User beyond ISC".to_owned())
}

/// Service-Route and P-Associated-URI are in 200 to REGISTER only (RFC 3608 §5, RFC 7315 §4.1).
fn answers_to_register(hop: &Hop<'_>) -> Option<String> {
    let right = match &hop.item.message {
        Message::Response(response) => {
            response.is_success() && method_of(&hop.item.cseq) == "REGISTER"
        }
        Message::Request(_) => false,
    };
    let names = [HeaderName::ServiceRoute, HeaderName::PAssociatedUri];
    let found = names.into_iter().find(|name| hop.has(*name) && !right)?;
    (hop.from != End::Other).then(|| format!("{found} in something else than 200 to REGISTER"))
}

/// The security agreement is between UE and P-CSCF (RFC 3329 §2.3.1, TS 24.229 §5.2.2.2).
fn security_agreement(hop: &Hop<'_>) -> Option<String> {
    if !hop.is_inside() {
        return None;
    }
    let headers = hop.item.message.headers();
    let names =
        [HeaderName::SecurityClient, HeaderName::SecurityServer, HeaderName::SecurityVerify];
    if let Some(found) = names.into_iter().find(|name| headers.contains(*name)) {
        return Some(format!("{found} inside the network"));
    }
    let asks = [HeaderName::Require, HeaderName::ProxyRequire];
    let asks = asks.into_iter().any(|name| headers.has_token(name, "sec-agree"));
    (asks && matches!(hop.item.message, Message::Request(_)))
        .then(|| "sec-agree is asked of the network".to_owned())
}

/// `integrity-protected` is the P-CSCF's word for the S-CSCF (TS 24.229 §5.2.2.2).
fn integrity(hop: &Hop<'_>) -> Option<String> {
    let at_ue = hop.from == End::Ue || hop.to == End::Ue;
    let said = hop.item.message.headers().get(HeaderName::Authorization);
    let said = said.is_some_and(|value| value.contains("integrity-protected"));
    (at_ue && said).then(|| "integrity-protected on Gm".to_owned())
}

/// What reaches a UE from another one has passed both P-CSCFs and an S-CSCF, which stay on the way
/// of dialogs, and of nothing else; an I-CSCF never stays (TS 24.229 §5.2.6.3.3, §5.3.2.1).
fn record_route(hop: &Hop<'_>, cast: &Cast) -> Option<String> {
    let Message::Request(request) = &hop.item.message else { return None };
    let roles = recorded(request, cast);
    if roles.contains(&NodeRole::Icscf) {
        return Some("an I-CSCF in Record-Route".to_owned());
    }
    let alone = matches!(
        request.method,
        Method::Message | Method::Options | Method::Publish | Method::Register
    );
    if alone && hop.from != End::Other && !roles.is_empty() {
        return Some("Record-Route where no dialog is made".to_owned());
    }
    let initial = request.to_tag().is_none();
    let arrives = hop.from == End::Node(NodeRole::Pcscf) && hop.to == End::Ue;
    if request.method != Method::Invite || !initial || !arrives {
        return None;
    }
    let count = |role| roles.iter().filter(|one| **one == role).count();
    let (edges, servers) = (count(NodeRole::Pcscf), count(NodeRole::Scscf));
    // A call that an application server makes has no P-CSCF of a caller.
    let (least, made) = if count(NodeRole::As) > 0 || edges == 1 { (1, 1) } else { (2, 2) };
    let right = (made..=2).contains(&edges) && servers >= least;
    (!right).then(|| format!("{edges} P-CSCFs and {servers} S-CSCFs in Record-Route"))
}

/// The roles of the nodes in Record-Route, top to bottom.
fn recorded(request: &Request, cast: &Cast) -> Vec<NodeRole> {
    let values = request.headers.values(HeaderName::RecordRoute);
    let uris = values.filter_map(|value| NameAddr::parse(value).ok());
    let role = |uri: &Uri| match uri.host_ip() {
        Some(ip) => cast.roles.get(&ip).copied(),
        None => cast.hosts.get(uri.as_sip()?.host()).copied(),
    };
    uris.filter_map(|route| role(&route.uri)).collect()
}

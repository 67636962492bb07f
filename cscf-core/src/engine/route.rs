//! Which URIs and Vias mean this node, where packets leave, and all ways to a next hop (RFC 3261
//! §16.6 step 7, RFC 3263).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

use super::settings::{Listen, Settings};
use crate::ids::{Seed, push_hex};
use crate::role::NextHop;
use crate::sip::{HeaderName, Request};
use crate::time::Duration;
use crate::transport::locate::Locating;
use crate::transport::target::{Place, Target};
use crate::transport::via::{self, Receipt, ViaView, numeric};
use crate::transport::{Flow, Transport};

/// One way to the next hop, tried in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Along a flow a role named.
    Flow(Flow),
    /// To an address; the transport may still change with the size.
    Target(Target),
    /// To an address over UDP whatever the size: TCP was refused (RFC 3261 §18.1.1).
    UdpOnly {
        /// Our address.
        local: SocketAddr,
        /// The peer's address.
        remote: SocketAddr,
    },
}

/// What the settings say about addresses, made ready for each message.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    listen: Vec<Listen>,
    /// Their sent-by, in the same order.
    sent_by: Vec<String>,
    /// The addresses of IPv4 as they are written, in the same order: only one text is read as one.
    dotted: Vec<Option<String>>,
    own_hosts: Vec<String>,
    ports: Vec<u16>,
    /// Protected server ports of security associations, with the number of these.
    protected: BTreeMap<SocketAddr, usize>,
}

impl Addresses {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut own_hosts: Vec<String> =
            settings.own_hosts.iter().map(|host| bare(host).to_ascii_lowercase()).collect();
        own_hosts.extend(
            settings.listen.iter().map(|listen| bare(&listen.advertise.0).to_ascii_lowercase()),
        );
        let mut ports: Vec<u16> =
            settings.listen.iter().flat_map(|it| [it.addr.port(), it.advertise.1]).collect();
        ports.sort_unstable();
        ports.dedup();
        let sent_by = settings.listen.iter().map(Listen::sent_by).collect();
        let dotted = settings.listen.iter().map(|it| it.addr.ip()).map(|ip| match ip {
            IpAddr::V4(ip) => Some(ip.to_string()),
            IpAddr::V6(_) => None,
        });
        let (dotted, protected) = (dotted.collect(), BTreeMap::new());
        Self { listen: settings.listen.clone(), sent_by, dotted, own_hosts, ports, protected }
    }

    /// From now on, or no longer, one more set of security associations has this server port.
    pub(super) fn protect(&mut self, server: SocketAddr, on: bool) {
        let count = self.protected.entry(server).or_default();
        *count = if on { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.protected.remove(&server);
        }
    }

    /// Whether a SIP URI names this node. A name without port does; an address, or a name with a
    /// port, only together with one of our ports: on a bench several nodes share an address.
    pub(super) fn is_own(&self, place: &Place<'_>) -> bool {
        let port = place.effective_port();
        let bound = || self.is_bound(place.host, port) || self.is_protected(place.host, port);
        let port_fits = place.port.is_none() && numeric(place.host).is_none()
            || self.ports.contains(&port)
            || bound();
        let named = || self.own_hosts.iter().any(|own| own.eq_ignore_ascii_case(place.host));
        port_fits && (named() || bound())
    }

    /// Whether a host is an address that we listen on with this port.
    fn is_bound(&self, host: &str, port: u16) -> bool {
        self.listen.iter().zip(&self.dotted).any(|(listen, dotted)| {
            listen.addr.port() == port
                && match dotted {
                    Some(dotted) => dotted == host,
                    None => numeric(host) == Some(listen.addr.ip()),
                }
        })
    }

    /// Whether a host is an address that has this port for security associations.
    fn is_protected(&self, host: &str, port: u16) -> bool {
        !self.protected.is_empty()
            && numeric(host)
                .is_some_and(|ip| self.protected.contains_key(&SocketAddr::new(ip, port)))
    }

    /// Where a request to this peer leaves: the first of our addresses with this transport that can
    /// reach the peer.
    pub(super) fn local_for(&self, transport: Transport, remote: &SocketAddr) -> Option<&Listen> {
        let fits = |listen: &&Listen| {
            listen.transport == transport && listen.addr.is_ipv4() == remote.is_ipv4()
        };
        let same_scope = |listen: &&Listen| {
            fits(listen) && listen.addr.ip().is_loopback() == remote.ip().is_loopback()
        };
        self.listen.iter().find(same_scope).or_else(|| self.listen.iter().find(fits))
    }

    /// The sent-by of a Via for packets that leave from this address. Packets from a port that is
    /// not listened on (a protected client port, TS 33.203 §7.1) name the port that is.
    pub(super) fn sent_by(&self, transport: Transport, local: &SocketAddr) -> Cow<'_, str> {
        let mut all = self.listen.iter().zip(&self.sent_by);
        let exact = all.find(|(it, _)| it.transport == transport && it.addr == *local);
        let same_ip = || {
            self.listen.iter().find(|it| it.transport == transport && it.addr.ip() == local.ip())
        };
        match exact {
            Some((_, sent_by)) => Cow::Borrowed(sent_by),
            None if self.protected.contains_key(local) => {
                let host = same_ip().map(|listen| listen.advertise.0.as_str());
                let named = |host| format!("{host}:{}", local.port());
                Cow::Owned(host.map_or_else(|| local.to_string(), named))
            }
            None => Cow::Owned(same_ip().map_or_else(|| local.to_string(), Listen::sent_by)),
        }
    }

    /// Whether we listen for this transport on an address.
    pub(super) fn listens(&self, transport: Transport, local: &SocketAddr) -> bool {
        self.listen.iter().any(|it| it.transport == transport && it.addr == *local)
    }

    /// Whether a Via is one of ours.
    pub(super) fn is_own_via(&self, via: &ViaView<'_>) -> bool {
        self.is_own_sent_by(via.host, via.effective_port())
    }

    /// Whether sent-by is one of ours.
    pub(super) fn is_own_sent_by(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        self.is_bound(host, port)
            || self.is_protected(host, port)
            || self.listen.iter().any(|listen| {
                let (name, advertised) = &listen.advertise;
                let protected = || SocketAddr::new(listen.addr.ip(), port);
                bare(name).eq_ignore_ascii_case(host)
                    && (*advertised == port || self.protected.contains_key(&protected()))
            })
    }
}

fn bare(host: &str) -> &str {
    match host.as_bytes() {
        [b'[', ..] | [.., b']'] => host.trim_start_matches('[').trim_end_matches(']'),
        _ => host,
    }
}

/// All ways to the next hop.
pub(super) enum Ways {
    /// They are known.
    Known(Vec<Hop>),
    /// The DNS has to be asked.
    Look(Locating),
}

/// All ways to the next hop; `routed` is where the request itself says it goes. The text of the
/// error says what did not resolve.
pub(super) fn ways(settings: &Settings, to: &NextHop, routed: &str) -> Result<Ways, String> {
    let uri = match to {
        NextHop::Flow(flow) => return Ok(Ways::Known(vec![Hop::Flow(*flow)])),
        NextHop::Uri(uri) => uri.as_str(),
        NextHop::AsRouted => routed,
    };
    let place = Place::of_uri(uri).ok_or_else(|| format!("{uri} is no address of SIP"))?;
    match settings.hosts.resolve(&place) {
        Ok(targets) => Ok(Ways::Known(hops(within_reach(settings, targets)))),
        // A name that the table of the lab does not have may be one of the DNS.
        Err(fault) if settings.zone.is_none() && !settings.resolver => Err(fault.to_string()),
        Err(_) => Ok(Ways::Look(Locating::new(&place))),
    }
}

/// Without targets of a version of IP that we have no address of, unless there are no others: those
/// are tried, and say that they cannot be reached (RFC 3263 §4.2).
pub(super) fn within_reach(settings: &Settings, mut targets: Vec<Target>) -> Vec<Target> {
    let ours = |target: &Target| {
        settings.listen.iter().any(|listen| listen.addr.is_ipv4() == target.addr.is_ipv4())
    };
    if targets.iter().any(ours) {
        targets.retain(ours);
    }
    targets
}

pub(super) fn hops(targets: Vec<Target>) -> Vec<Hop> {
    targets.into_iter().map(Hop::Target).collect()
}

/// Completes the topmost Via of a request with where it came from (RFC 3261 §18.2.1, RFC 3581 §4).
/// Gives the address that answers by datagram go to (RFC 3261 §18.2.2), unless `maddr` or nothing
/// says it.
pub(super) fn stamp(request: &mut Request, flow: &Flow) -> Option<SocketAddr> {
    let top = request.headers.first_value(HeaderName::Via)?;
    let Receipt { value, back } = via::received(top, flow.remote)?;
    if let Some(value) = value {
        request.headers.replace_front_value(HeaderName::Via, &value);
    }
    back
}

/// How often a UE shall send keep-alives by datagram: translations forget after 30 s
/// (RFC 5626 §4.4.2).
const KEEP_DATAGRAM_SECS: u32 = 29;
/// The same by stream (RFC 5626 §4.4.1).
const KEEP_STREAM_SECS: u32 = 120;

/// Takes up the offer of keep-alives in a request that registers or begins a dialog
/// (RFC 6223 §4.3, §4.4): every response will tell it.
pub(super) fn take_keep(request: &mut Request, flow: &Flow, every: Option<Duration>) {
    if request.to_tag().is_some() {
        return;
    }
    let usual = if flow.conn.is_some() { KEEP_STREAM_SECS } else { KEEP_DATAGRAM_SECS };
    let secs = every.map_or(usual, |it| u32::try_from(it.as_secs()).unwrap_or(usual));
    let top = request.headers.first_value(HeaderName::Via);
    if let Some(value) = top.and_then(|top| via::with_keep(top, secs)) {
        request.headers.replace_front_value(HeaderName::Via, &value);
    }
}

/// The To tags of answers made without a transaction: a hash of what an ACK has in common with its
/// INVITE, so that such an ACK can be told from that of a 2xx.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatelessTags {
    keys: (u64, u64),
}

impl StatelessTags {
    pub(super) fn new(seed: &Seed) -> Self {
        let (a, b) = seed.map_keys();
        // Other keys than the hash maps have: tags are seen by everybody.
        Self { keys: (a ^ 0x5441_4721, b.rotate_left(17)) }
    }

    pub(super) fn tag(&self, branch: &str, call_id: &str) -> String {
        let mut hash = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hash.write(branch.as_bytes());
        hash.write_u8(0);
        hash.write(call_id.as_bytes());
        let mut tag = String::with_capacity(17);
        tag.push('x');
        push_hex(&mut tag, &hash.finish().to_be_bytes());
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let addr = "127.0.0.1:5062".parse().expect("address");
        let mut settings = Settings::new(Listen::both(addr));
        settings.own_hosts = vec!["p1.ims.example".to_owned()];
        Addresses::new(&settings)
    }

    #[test]
    fn a_via_is_ours_by_sent_by() {
        let listen = ["127.0.0.1:5062", "[2001:db8::1]:5062"]
            .map(|text| Listen::both(text.parse().expect("address")))
            .concat();
        let mut settings = Settings::new(listen);
        for listen in settings.listen.iter_mut().filter(|it| it.addr.is_ipv4()) {
            listen.advertise = ("P1.ims.example".to_owned(), 5070);
        }
        let mut addresses = Addresses::new(&settings);
        let check = |addresses: &Addresses, via: &str, own: bool| {
            let via = ViaView::parse(via).expect(via);
            assert_eq!(addresses.is_own_via(&via), own, "{via:?}");
        };
        for (sent_by, own) in [
            ("127.0.0.1:5062", true),
            ("127.0.0.1", false),
            ("127.0.0.1:6062", false),
            ("127.0.0.2:5062", false),
            ("p1.IMS.example:5070", true),
            ("p1.ims.example:5062", false),
            ("[2001:DB8:0::1]:5062", true),
            ("[2001:db8::2]:5062", false),
        ] {
            check(&addresses, &format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK1"), own);
        }
        addresses.protect("127.0.0.1:6062".parse().expect("address"), true);
        for (sent_by, own) in [
            ("127.0.0.1:6062", true),
            ("p1.ims.example:6062", true),
            ("127.0.0.2:6062", false),
            ("127.0.0.1:6063", false),
        ] {
            check(&addresses, &format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK1"), own);
        }
    }

    #[test]
    fn a_uri_is_ours_by_name_or_by_address_and_port() {
        let check = |uri: &str, own: bool| {
            let place = Place::of_uri(uri).expect(uri);
            assert_eq!(addresses().is_own(&place), own, "{uri}");
        };
        check("sip:tok@P1.ims.example;lr", true);
        check("sip:p1.ims.example:5062", true);
        check("sip:p1.ims.example:5070", false);
        check("sip:127.0.0.1:5062", true);
        check("sip:127.0.0.1", false);
        check("sip:127.0.0.1:5060", false);
        check("sip:i1.ims.example", false);
    }
}

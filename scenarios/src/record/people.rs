//! Who takes part: devices of the trace under the names of the lab, and how their phones differ.

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::config::{Lab, Part, SubscriberRange};
use cscf_core::sip::{HeaderName, Method, Sdp};

use crate::explain::traffic::{Item, Kind, Traffic};

/// The devices of a trace by their names in the scenario.
#[derive(Clone, Debug, Default)]
pub(super) struct People {
    phones: BTreeMap<usize, Phone>,
    nodes: BTreeMap<usize, String>,
    /// Who could not be named as the trace names them.
    pub losses: Vec<String>,
}

/// One phone.
#[derive(Clone, Debug, Default)]
struct Phone {
    name: String,
    identities: BTreeSet<String>,
    values: Vec<String>,
}

/// The name of the first subscriber that has the name or an identity of a device.
fn known(lab: &Lab, name: &str, identities: &BTreeSet<String>) -> Option<String> {
    lab.subscribers.parts().find_map(|part| match part {
        Part::Listed(listed) => {
            let found = listed.iter().find(|it| {
                let own = it.impus.iter().map(|impu| bare(&impu.uri));
                let mut own = own.chain([format!("sip:{}", it.impi)]);
                it.name == name || own.any(|it| identities.contains(&it))
            });
            found.map(|it| it.name.clone())
        }
        Part::Range(SubscriberRange { imsis, .. }) => {
            let by_identity = identities.iter().filter_map(|it| imsis.of_key(it));
            by_identity.chain(imsis.of_imsi(name)).min().map(|member| imsis.imsi(member))
        }
    })
}

impl People {
    pub(super) fn of(traffic: &Traffic, lab: &Lab) -> Result<Self, String> {
        let mut people = Self::default();
        let phones: Vec<usize> =
            (0..traffic.devices.len()).filter(|it| traffic.is_ue(*it)).collect();
        let mut taken = BTreeSet::new();
        let mut later = Vec::new();
        for device in phones {
            let identities = identities(traffic, device);
            let known = known(lab, &traffic.device(device).name, &identities);
            let values = values(traffic, device);
            let phone = Phone { name: String::new(), identities, values };
            match known.filter(|it| !taken.contains(it)) {
                Some(name) => {
                    taken.insert(name.clone());
                    people.phones.insert(device, Phone { name, ..phone });
                }
                None => later.push((device, phone)),
            }
        }
        let mut free = lab.subscribers.names();
        for (device, phone) in later {
            let Some(name) = free.find(|name| !taken.contains(name.as_ref())) else {
                return Err("more phones than the lab has subscribers".to_owned());
            };
            let was = phone.identities.iter().next().cloned().unwrap_or_default();
            let place = &traffic.device(device).name;
            people.losses.push(format!("{name} plays {was} at {place}, who is not of the lab"));
            people.phones.insert(device, Phone { name: name.into_owned(), ..phone });
        }
        let mut edge = lab.nodes.iter().filter(|it| it.name.starts_with('p'));
        for index in 0..traffic.devices.len() {
            let device = traffic.device(index);
            let known = lab.nodes.iter().find(|it| it.name == device.name);
            if let Some(node) = known {
                people.nodes.insert(index, node.name.clone());
            } else if device.kind == Kind::Edge
                && let Some(node) = edge.next()
            {
                people.nodes.insert(index, node.name.clone());
            }
        }
        Ok(people)
    }

    /// The name of a phone.
    pub(super) fn phone(&self, device: usize) -> Option<&str> {
        self.phones.get(&device).map(|it| it.name.as_str())
    }

    /// The name of a node of the lab.
    pub(super) fn node(&self, device: usize) -> Option<&str> {
        self.nodes.get(&device).map(String::as_str)
    }

    /// The phone with this identity.
    pub(super) fn with_identity(&self, uri: &str) -> Option<&str> {
        let of = self.phones.values().find(|it| it.identities.contains(&bare(uri)));
        of.map(|it| it.name.as_str())
    }

    /// The parties that differ from what the lab makes of a subscriber: name and values.
    pub(super) fn parties(&self) -> Vec<(&str, String)> {
        let mut out: Vec<(&str, String)> = self
            .phones
            .values()
            .filter(|it| !it.values.is_empty())
            .map(|it| (it.name.as_str(), it.values.join(", ")))
            .collect();
        out.sort_unstable();
        out
    }

    pub(super) fn uses_associations(&self) -> bool {
        self.phones.values().any(|it| it.values.iter().any(|value| value == "security: on"))
    }
}

/// An identity without parameters that only say how it is written.
fn bare(uri: &str) -> String {
    uri.split(';').next().unwrap_or_default().to_owned()
}

/// Under which identities a device speaks, and is told that it may.
fn identities(traffic: &Traffic, device: usize) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for item in traffic.fresh() {
        let own = item.own && item.from == device && item.status() == 0 && item.is_initial();
        if own && let Ok(from) = item.message.from_addr() {
            out.insert(bare(&from.uri.to_string()));
        }
        let granted = item.to == device && item.status() == 200 && item.method == Method::Register;
        if granted {
            let list = item.headers().addresses(HeaderName::PAssociatedUri).unwrap_or_default();
            out.extend(list.iter().map(|it| bare(&it.uri.to_string())));
        }
    }
    out
}

/// How a phone differs from what it would be by itself.
fn values(traffic: &Traffic, device: usize) -> Vec<String> {
    let own: Vec<&Item> =
        traffic.fresh().filter(|it| it.own && it.from == device && it.status() == 0).collect();
    let mut out = Vec::new();
    let offers: Vec<&str> =
        own.iter().filter_map(|it| it.headers().get(HeaderName::SecurityClient)).collect();
    let by_tls = !offers.is_empty() && offers.iter().all(|it| it.trim() == "tls");
    if by_tls {
        out.push("security: tls".to_owned());
    } else if !offers.is_empty() {
        out.push("security: on".to_owned());
    }
    if !by_tls && own.iter().any(|it| it.transport.is_reliable()) {
        out.push("transport: tcp".to_owned());
    }
    let calls: Vec<&&Item> =
        own.iter().filter(|it| it.method == Method::Invite && it.is_initial()).collect();
    let says = |tag: &str| {
        calls.iter().any(|it| {
            it.has_token(HeaderName::Supported, tag) || it.has_token(HeaderName::Require, tag)
        })
    };
    if !calls.is_empty() && !says("precondition") {
        out.push("preconditions: off".to_owned());
    }
    if !calls.is_empty() && !says("100rel") {
        out.push("reliable_provisionals: off".to_owned());
    }
    let interval = calls.iter().find_map(|it| {
        let value = it.header(HeaderName::SessionExpires).split(';').next()?.trim();
        value.parse::<u32>().ok()
    });
    if let Some(seconds) = interval {
        out.push(format!("session_expires: {seconds}s"));
    }
    let described = traffic.fresh().filter(|it| it.own && it.from == device);
    if let Some(codecs) = described.filter_map(|it| it.sdp.as_ref()).find_map(codecs) {
        out.push(format!("codecs: {codecs}"));
    }
    out
}

/// The word for the codecs of an offer that are not those of VoLTE.
fn codecs(sdp: &Sdp) -> Option<&'static str> {
    let audio = sdp.media.iter().find(|it| it.kind() == "audio")?;
    let maps: Vec<String> = audio.rtpmaps().map(|it| it.encoding.to_ascii_uppercase()).collect();
    let evs = audio.rtpmaps().find(|it| it.encoding.eq_ignore_ascii_case("EVS"));
    if let Some(evs) = evs {
        let fmtp = audio.fmtp(&evs.payload.to_string()).unwrap_or_default();
        return Some(match fmtp {
            it if it.contains("br=5.9-13.2") => "evs-a1",
            it if it.contains("br=13.2") => "evs-b0",
            it if it.contains("br=9.6-13.2") => "evs-b1",
            it if it.contains("br=9.6-24.4") => "evs-b2",
            _ => "evs-a2",
        });
    }
    let has = |name: &str| maps.iter().any(|it| it == name);
    if has("AMR-WB") {
        None
    } else if has("AMR") {
        Some("amr")
    } else {
        Some("narrow")
    }
}

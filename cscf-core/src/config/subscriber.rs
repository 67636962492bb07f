//! The subscribers of a lab: identities and credentials.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::criteria::filter_criteria;
use super::lab::{choice, domain_name, numbers};
use super::problem::Problems;
use super::range::{SubscriberRange, range};
use super::security::{SecAgree, sec_agree};
use super::subscribers::Subscribers;
use super::tree::{Entry, Node, Position, Reader, TakePieces, Value, scalar};
use crate::auth::{AkaKeys, ResLength, TuakKey, derive_opc, derive_topc};
use crate::cx::ServerCapabilities;
use crate::identity::{ImsiRange, imsi_value};
use crate::ids::Seed;
use crate::ifc::{InitialFilterCriteria, UserProfile};
use crate::map::{Map, map};

/// How requests reach a UE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriberTransport {
    /// As it registered.
    #[default]
    AsRegistered,
    /// By TCP.
    Tcp,
    /// By UDP.
    Udp,
}

/// A public identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impu {
    /// `sip:` or `tel:` URI.
    pub uri: String,
    /// Only usable to register (TS 23.003 §13.4).
    pub barred: bool,
}

/// How a subscriber authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// IMS AKA with Milenage.
    Aka {
        /// Subscriber key.
        k: [u8; 16],
        /// Operator variant key, derived from OP if the file has OP.
        opc: [u8; 16],
        /// Authentication management field.
        amf: [u8; 2],
        /// The sequence number the HSS starts with (48 bits).
        sqn: u64,
    },
    /// IMS AKA with another algorithm set than Milenage.
    Card {
        /// The keys with their algorithm set.
        keys: AkaKeys,
        /// Authentication management field.
        amf: [u8; 2],
        /// The sequence number the HSS starts with (48 bits).
        sqn: u64,
    },
    /// SIP digest.
    Digest {
        /// The password.
        password: String,
        /// Algorithms offered, most preferred first.
        algorithms: Vec<String>,
    },
}

/// One subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberConfig {
    /// Name in scenarios and traces.
    pub name: String,
    /// Private identity.
    pub impi: String,
    /// Public identities of the implicit registration set, the default first among the unbarred.
    pub impus: Vec<Impu>,
    /// How it authenticates.
    pub auth: Auth,
    /// Whether its UE agrees on security; none: as the lab says.
    pub ipsec: Option<SecAgree>,
    /// How requests reach its UE.
    pub transport: SubscriberTransport,
    /// Which application servers serve it, and when; a server is named as in the file: by the name
    /// of a node, or by SIP URI.
    pub filter_criteria: Vec<InitialFilterCriteria>,
    /// What else the HSS knows.
    pub hss: HssData,
}

/// What the HSS knows of a subscriber besides identities and credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HssData {
    /// May not use IMS at all.
    pub barred: bool,
    /// What its S-CSCF must or should have (TS 29.228 §6.7).
    pub capabilities: Option<ServerCapabilities>,
    /// The `IMSSubscription` document that is sent as it is (TS 29.228 Annex E).
    pub profile_xml: Option<String>,
    /// Visited networks it may register from; empty means any.
    pub visited_networks: Vec<String>,
    /// The address that the access network gave its UE, for GIBA (TS 29.228 §6.3); of an IPv6
    /// address the first 64 bits count.
    pub framed_ip: Option<IpAddr>,
    /// The media profile it has subscribed to (TS 29.228 §B.2.1A); an S-CSCF says what is in it.
    pub media_profile: Option<u32>,
    /// Where its charging data go: the primary charging collection function.
    pub charging_ccf: Option<String>,
}

impl SubscriberConfig {
    /// The default public identity: the first that is not barred.
    #[must_use]
    pub fn default_impu(&self) -> Option<&str> {
        self.impus.iter().find(|impu| !impu.barred).map(|impu| impu.uri.as_str())
    }
}

/// The subscribers of a lab, each read as it comes.
#[derive(Debug)]
pub(super) struct ReadSubscribers {
    all: Subscribers,
    /// Where among those listed an IMPI stands.
    seen: Map<String, usize>,
    /// The same of those that a range may meet, by width and value of the IMSI.
    cards: BTreeMap<(usize, u64), usize>,
    /// The ranges by width and value of their first IMSI.
    ranges: BTreeMap<(usize, u64), ImsiRange>,
    domain: String,
    problems: Problems,
}

impl ReadSubscribers {
    pub(super) fn new() -> Self {
        Self {
            all: Subscribers::default(),
            seen: map(&Seed([0; 32])),
            cards: BTreeMap::new(),
            ranges: BTreeMap::new(),
            domain: String::new(),
            problems: Problems::default(),
        }
    }

    /// The subscribers by name, or a list in which each item is one by name or a `range`.
    pub(super) fn read(&mut self, node: &Node, domain: &str) {
        domain.clone_into(&mut self.domain);
        match &node.value {
            Value::Seq(items) => items.iter().for_each(|item| self.item(item)),
            Value::Map(entries) => entries.iter().for_each(|entry| self.entry(entry)),
            Value::Scalar(_) => {
                self.problems.push(node.at, "subscribers must be a mapping by name", None);
            }
        }
    }

    /// What was read; what was wrong goes to `problems`.
    pub(super) fn end(self, problems: &mut Problems) -> Subscribers {
        problems.0.extend(self.problems.0);
        self.all
    }

    fn take(&mut self, subscriber: SubscriberConfig, at: Position) {
        let number = self.all.listed().len();
        let card = subscriber.impi.strip_suffix(&self.domain).and_then(|it| it.strip_suffix('@'));
        let card = card.and_then(imsi_value);
        if let Some(other) = self.seen.insert(subscriber.impi.clone(), number) {
            let other = self.all.listed().get(other).map_or("", |other| other.name.as_str());
            let other = other.to_owned();
            self.twice(&subscriber.impi, &other, at);
        } else if let Some(range) = card.and_then(|card| self.range_up_to(card))
            && let Some(member) = range.of_impi(&subscriber.impi)
        {
            let other = range.imsi(member);
            self.twice(&subscriber.impi, &other, at);
        }
        if let Some(card) = card {
            self.cards.insert(card, number);
        }
        self.all.push(subscriber);
    }

    /// A range has no IMPI of somebody else; one is told of where there are several.
    fn take_range(&mut self, range: SubscriberRange, at: Position) {
        let imsis = &range.imsis;
        let (first, last) = imsis.values().into_inner();
        let (first, last) = ((imsis.width(), first), (imsis.width(), last));
        let card = self.cards.range(first..=last).next().map(|(_, number)| *number);
        let card = card.and_then(|number| self.all.listed().get(number));
        let other = self.range_up_to(last);
        let met = other.and_then(|other| Some((other, imsis.meets(other)?)));
        if let Some(one) = card {
            let (impi, name) = (one.impi.clone(), one.name.clone());
            self.twice(&impi, &name, at);
        } else if let Some((other, member)) = met {
            let impi = imsis.impi(member);
            let name = other.of_impi(&impi).map(|it| other.imsi(it)).unwrap_or_default();
            self.twice(&impi, &name, at);
        }
        self.ranges.insert(first, imsis.clone());
        self.all.push_range(range);
    }

    /// The last range that begins at or before an IMSI.
    fn range_up_to(&self, imsi: (usize, u64)) -> Option<&ImsiRange> {
        self.ranges.range(..=imsi).next_back().map(|(_, range)| range)
    }

    fn twice(&mut self, impi: &str, other: &str, at: Position) {
        self.problems.push(at, format!("{impi} is the IMPI of `{other}` already"), None);
    }
}

impl TakePieces for ReadSubscribers {
    /// The domain must be known.
    fn wants(&mut self, key: &str, before: &[Entry]) -> bool {
        if key != "subscribers" {
            return false;
        }
        let domain = before.iter().find(|entry| entry.key == "domain");
        let domain = domain.and_then(|entry| domain_name(entry.node.text()?).ok());
        domain.map(|domain| self.domain = domain).is_some()
    }

    fn entry(&mut self, Entry { at, key, node }: &Entry) {
        if key == "range" {
            if let Some(range) = range(node, &self.domain, &mut self.problems) {
                self.take_range(range, *at);
            }
        } else if let Some(one) = read_subscriber(key, node, &self.domain, &mut self.problems) {
            self.take(one, *at);
        }
    }

    fn item(&mut self, item: &Node) {
        match &item.value {
            Value::Map(entries) if entries.len() == 1 => {
                entries.iter().for_each(|entry| self.entry(entry));
            }
            _ => self.problems.push(item.at, "write `- NAME: {…}` or `- range: {…}`", None),
        }
    }
}

/// Reads one subscriber; what is wrong goes to `problems`.
pub fn read_subscriber(
    name: &str,
    node: &Node,
    domain: &str,
    problems: &mut Problems,
) -> Option<SubscriberConfig> {
    let mut reader = Reader::new(node, "a subscriber", problems);
    let impi = reader.required("impi", problems).and_then(|node| {
        scalar(node, problems, |text| {
            let full =
                if text.contains('@') { text.to_owned() } else { format!("{text}@{domain}") };
            let fine = full.split('@').count() == 2 && !full.contains(char::is_whitespace);
            fine.then_some(full).ok_or_else(|| format!("`{text}` is no private identity"))
        })
    });
    let impus = reader.required("impus", problems).map(|node| impus(node, problems));
    let transport = reader.or("transport", SubscriberTransport::AsRegistered, problems, |text| {
        choice(
            text,
            &[
                ("as-registered", SubscriberTransport::AsRegistered),
                ("tcp", SubscriberTransport::Tcp),
                ("udp", SubscriberTransport::Udp),
            ],
        )
    });
    let agreement = reader.optional("ipsec");
    let ipsec = agreement.and_then(|node| scalar(node, problems, sec_agree));
    let hss = hss_data(&mut reader, problems);
    let aka = reader.optional("aka");
    let digest = reader.optional("digest");
    let criteria = reader.optional("filter_criteria");
    reader.finish(problems);
    if let (Some(at), Some(SecAgree::Required), Some(_)) = (agreement, ipsec, digest) {
        let text = format!("`{name}` authenticates by digest, and only AKA gives keys for IPsec");
        let help = "leave out `ipsec`, or give `aka` instead of `digest`; a client with a password \
                    is protected by TLS (docs/tls.md)";
        problems.push(at.at, text, Some(help.to_owned()));
    }
    let auth = match (aka, digest) {
        (Some(node), None) => self::aka(node, problems),
        (None, Some(node)) => self::digest(node, problems),
        _ => {
            let text = format!("`{name}` needs either `aka` or `digest`");
            problems.push(node.at, text, None);
            None
        }
    };
    Some(SubscriberConfig {
        name: name.to_owned(),
        impi: impi?,
        impus: impus?,
        auth: auth?,
        ipsec,
        transport,
        filter_criteria: criteria.map(|node| filter_criteria(node, problems)).unwrap_or_default(),
        hss,
    })
}

fn hss_data(reader: &mut Reader<'_>, problems: &mut Problems) -> HssData {
    let capabilities = reader.optional("capabilities").map(|node| {
        let mut inside = Reader::new(node, "capabilities", problems);
        let mut list = |key, problems: &mut Problems| {
            inside.optional(key).map(|node| numbers(node, problems)).unwrap_or_default()
        };
        let (mandatory, optional) = (list("mandatory", problems), list("optional", problems));
        let server_names = inside.optional("servers");
        let server_names = server_names.map(|it| texts(it, problems)).unwrap_or_default();
        inside.finish(problems);
        ServerCapabilities { mandatory, optional, server_names }
    });
    let visited = reader.optional("visited_networks");
    HssData {
        barred: reader.or("barred", false, problems, |text| {
            choice(text, &[("true", true), ("false", false)])
        }),
        capabilities,
        profile_xml: reader.optional("profile_xml").and_then(|node| {
            scalar(node, problems, |text| match UserProfile::parse(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(fault) => Err(format!("no IMSSubscription document: {fault}")),
            })
        }),
        visited_networks: visited.map(|node| texts(node, problems)).unwrap_or_default(),
        framed_ip: reader.or("framed_ip", None, problems, |text| {
            let addr = text.parse().map(Some);
            addr.map_err(|_| format!("`{text}` is no IPv4 or IPv6 address"))
        }),
        media_profile: reader.or("media_profile", None, problems, |text| {
            text.parse().map(Some).map_err(|_| format!("`{text}` is no number"))
        }),
        charging_ccf: reader.or("charging_ccf", None, problems, |text| {
            let fine = text.starts_with("aaa://") && !text.contains(char::is_whitespace);
            fine.then(|| Some(text.to_owned()))
                .ok_or_else(|| format!("`{text}` is no address, e.g. aaa://ccf.ims.example"))
        }),
    }
}

fn texts(node: &Node, problems: &mut Problems) -> Vec<String> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "here must be a list", None);
        return Vec::new();
    };
    items.iter().filter_map(|it| scalar(it, problems, |text| Ok(text.to_owned()))).collect()
}

fn impus(node: &Node, problems: &mut Problems) -> Vec<Impu> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "impus must be a list of sip: and tel: URIs", None);
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in items {
        let (uri, barred) = match &item.value {
            Value::Map(_) => {
                let mut reader = Reader::new(item, "an identity", problems);
                let uri = reader.optional("barred");
                if uri.is_none() {
                    let text = "write the URI alone, or `barred: URI`";
                    problems.push(item.at, text, None);
                }
                reader.finish(problems);
                (uri, true)
            }
            Value::Scalar(_) | Value::Seq(_) => (Some(item), false),
        };
        let Some(uri) = uri.and_then(|node| scalar(node, problems, impu)) else { continue };
        out.push(Impu { uri, barred });
    }
    if out.iter().all(|impu| impu.barred) {
        problems.push(node.at, "at least one identity must not be barred", None);
    }
    out
}

fn impu(text: &str) -> Result<String, String> {
    let sip = text.strip_prefix("sip:").is_some_and(|rest| rest.contains('@'));
    let tel = text.strip_prefix("tel:").is_some_and(|rest| !rest.is_empty());
    if (sip || tel) && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no public identity, e.g. sip:alice@ims.example or tel:+15550100"))
    }
}

fn aka(node: &Node, problems: &mut Problems) -> Option<Auth> {
    let mut reader = Reader::new(node, "aka", problems);
    let auth = card(&mut reader, node, problems);
    reader.finish(problems);
    auth
}

/// Reads keys, AMF and SQN of a card.
pub(super) fn card(reader: &mut Reader<'_>, node: &Node, problems: &mut Problems) -> Option<Auth> {
    let keys = keys(reader, node, problems);
    let amf = reader.or("amf", [0x80, 0], problems, hex::<2>);
    let sqn = reader.or("sqn", 0, problems, |text| {
        hex::<6>(text).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    });
    Some(match keys? {
        AkaKeys::Milenage { k, opc } => Auth::Aka { k, opc, amf, sqn },
        keys @ (AkaKeys::Tuak { .. } | AkaKeys::Xor { .. }) => Auth::Card { keys, amf, sqn },
    })
}

/// The algorithm sets by their names in the file.
#[derive(Clone, Copy)]
enum SetName {
    Milenage,
    Tuak,
    Xor,
}

/// Reads `algorithm` and the keys it needs.
fn keys(reader: &mut Reader<'_>, node: &Node, problems: &mut Problems) -> Option<AkaKeys> {
    let names = [("milenage", SetName::Milenage), ("tuak", SetName::Tuak), ("xor", SetName::Xor)];
    let set = reader.or("algorithm", SetName::Milenage, problems, |text| choice(text, &names));
    let k = reader.required("k", problems);
    match set {
        SetName::Milenage => {
            let k = k.and_then(|node| scalar(node, problems, hex::<16>));
            let op = reader.optional("op").and_then(|node| scalar(node, problems, hex::<16>));
            let opc = reader.optional("opc").and_then(|node| scalar(node, problems, hex::<16>));
            let opc = match (op, opc) {
                (Some(op), None) => k.map(|k| derive_opc(k, op)),
                (None, opc @ Some(_)) => opc,
                _ => {
                    problems.push(node.at, "aka needs either `op` or `opc`", None);
                    None
                }
            };
            Some(AkaKeys::Milenage { k: k?, opc: opc? })
        }
        SetName::Xor => {
            Some(AkaKeys::Xor { k: k.and_then(|node| scalar(node, problems, hex::<16>))? })
        }
        SetName::Tuak => {
            let k = k.and_then(|node| scalar(node, problems, tuak_key));
            let iterations = reader.or("keccak_iterations", 1, problems, |text| {
                let fault = || format!("`{text}` is no count from 1 to 255");
                text.parse().ok().filter(|count| *count > 0).ok_or_else(fault)
            });
            let lengths =
                [("32", ResLength::Bits32), ("64", ResLength::Bits64), ("128", ResLength::Bits128)];
            let res =
                reader.or("res_bits", ResLength::Bits64, problems, |text| choice(text, &lengths));
            let top = reader.optional("top").and_then(|node| scalar(node, problems, hex::<32>));
            let topc = reader.optional("topc").and_then(|node| scalar(node, problems, hex::<32>));
            let topc = match (top, topc) {
                (Some(top), None) => k.map(|k| derive_topc(&k, top, iterations)),
                (None, topc @ Some(_)) => topc,
                _ => {
                    problems.push(node.at, "aka with tuak needs either `top` or `topc`", None);
                    None
                }
            };
            Some(AkaKeys::Tuak { k: k?, topc: topc?, res, iterations })
        }
    }
}

fn tuak_key(text: &str) -> Result<TuakKey, String> {
    let fault = || format!("`{text}` is neither 32 nor 64 hexadecimal digits");
    if text.len() == 64 {
        hex::<32>(text).map(TuakKey::Bits256).map_err(|_| fault())
    } else {
        hex::<16>(text).map(TuakKey::Bits128).map_err(|_| fault())
    }
}

fn digest(node: &Node, problems: &mut Problems) -> Option<Auth> {
    let mut reader = Reader::new(node, "digest", problems);
    let password = reader.required("password", problems);
    let password = password.and_then(|node| scalar(node, problems, |text| Ok(text.to_owned())));
    let algorithms = match reader.optional("algorithms") {
        None => vec!["MD5".to_owned()],
        Some(node) => algorithms(node, problems),
    };
    reader.finish(problems);
    Some(Auth::Digest { password: password?, algorithms })
}

fn algorithms(node: &Node, problems: &mut Problems) -> Vec<String> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "algorithms must be a list, e.g. [SHA-256, MD5]", None);
        return Vec::new();
    };
    let known = [("MD5", "MD5"), ("SHA-256", "SHA-256")];
    items
        .iter()
        .filter_map(|item| scalar(item, problems, |text| choice(text, &known).map(str::to_owned)))
        .collect()
}

pub(super) fn hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let fault = || format!("`{text}` is not {} hexadecimal digits", 2 * N);
    if text.len() != 2 * N || !text.is_ascii() {
        return Err(fault());
    }
    let mut out = [0; N];
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        let digits = text.get(at..at + 2).ok_or_else(fault)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| fault())?;
    }
    Ok(out)
}

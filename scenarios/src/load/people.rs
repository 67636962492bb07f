//! Who the UEs of a fleet are: identities and keys, counted up from a first one or listed in a lab,
//! and the address that each sends from.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use cscf_core::auth::{
    AkaFunctions as _, AkaKeys, AkaNonce, AkaSet, Answer, Challenge, Credentials, Sqn, aka_password,
};
use cscf_core::config::{Auth, SubscriberConfig, Subscribers};

/// What a UE proves itself with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A card.
    Card(AkaSet),
    /// A password.
    Password(String),
}

/// The private identities of a fleet that are counted up: `sip:` and the IMPI is the IMPU.
#[derive(Clone, Debug)]
pub struct Range {
    /// The user part before the number.
    prefix: String,
    first: u64,
    width: usize,
    domain: String,
}

impl Range {
    /// Reads the first IMPI; the digits at the end of its user part are counted up.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(impi: &str) -> Result<Self, String> {
        let fault =
            || format!("`{impi}` is no IMPI to count up: write e.g. 00101000001@ims.example");
        let (user, domain) = impi.split_once('@').ok_or_else(fault)?;
        let prefix = user.trim_end_matches(|char: char| char.is_ascii_digit());
        let digits = user.get(prefix.len()..).unwrap_or_default();
        if digits.is_empty() || domain.is_empty() || impi.contains(char::is_whitespace) {
            return Err(fault());
        }
        let first = digits.parse().map_err(|_| fault())?;
        let (prefix, domain) = (prefix.to_owned(), domain.to_owned());
        Ok(Self { prefix, first, width: digits.len(), domain })
    }
}

/// One listed person.
#[derive(Clone, Debug)]
struct Person {
    impi: Box<str>,
    impu: Box<str>,
    auth: Auth,
}

#[derive(Clone, Debug)]
enum Kind {
    Range(Range, Secret),
    Listed(Vec<Person>),
}

/// The users of a fleet.
#[derive(Clone, Debug)]
pub struct People {
    kind: Kind,
    count: u32,
    domain: String,
}

impl People {
    /// So many users that are counted up and all have this secret.
    #[must_use]
    pub fn counted(range: Range, secret: Secret, count: u32) -> Self {
        let domain = range.domain.clone();
        Self { kind: Kind::Range(range, secret), count, domain }
    }

    /// The subscribers of a lab in their order, at most `max`.
    #[must_use]
    pub fn listed(subscribers: &Subscribers, domain: &str, max: Option<u32>) -> Self {
        let max = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let person = |one: &SubscriberConfig| {
            let impu = one.impus.iter().find(|impu| !impu.barred && impu.uri.starts_with("sip:"));
            let impu = impu.map(|impu| impu.uri.as_str().into())?;
            Some(Person { impi: one.impi.as_str().into(), impu, auth: one.auth.clone() })
        };
        let list: Vec<Person> =
            subscribers.iter().filter_map(|one| person(&one)).take(max).collect();
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        Self { kind: Kind::Listed(list), count, domain: domain.to_owned() }
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Their home domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Writes the private identity.
    pub fn write_impi(&self, ue: u32, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Range(range, _) => {
                write_user(range, ue, out);
                out.push(b'@');
                out.extend_from_slice(range.domain.as_bytes());
            }
            Kind::Listed(list) => {
                let person = list.get(ue as usize);
                out.extend_from_slice(person.map_or("", |it| &it.impi).as_bytes());
            }
        }
    }

    /// Writes the public identity, a SIP URI.
    pub fn write_impu(&self, ue: u32, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Range(..) => {
                out.extend_from_slice(b"sip:");
                self.write_impi(ue, out);
            }
            Kind::Listed(list) => {
                let person = list.get(ue as usize);
                out.extend_from_slice(person.map_or("", |it| &it.impu).as_bytes());
            }
        }
    }

    /// The credentials that answer a challenge to a REGISTER. Whether an SQN is fresh is not asked:
    /// that would be state of each UE.
    ///
    /// # Errors
    ///
    /// What is wrong with the challenge.
    pub fn answer(
        &self,
        ue: u32,
        value: &[u8],
        uri: &str,
        cnonce: &str,
    ) -> Result<Credentials, &'static str> {
        let challenge = std::str::from_utf8(value).ok().and_then(|it| it.parse::<Challenge>().ok());
        let challenge = challenge.ok_or("challenge unreadable")?;
        let mut username = Vec::with_capacity(64);
        self.write_impi(ue, &mut username);
        let username = String::from_utf8(username).unwrap_or_default();
        let password = match &self.kind {
            Kind::Range(_, Secret::Card(set)) => card(set, &challenge)?,
            Kind::Range(_, Secret::Password(text)) => text.clone().into_bytes(),
            Kind::Listed(list) => match list.get(ue as usize).map(|it| &it.auth) {
                Some(Auth::Aka { k, opc, .. }) => {
                    card(&AkaKeys::Milenage { k: *k, opc: *opc }.functions(), &challenge)?
                }
                Some(Auth::Card { keys, .. }) => card(&keys.functions(), &challenge)?,
                Some(Auth::Digest { password, .. }) => password.clone().into_bytes(),
                None => return Err("nobody"),
            },
        };
        let answer = Answer {
            username: &username,
            password: &password,
            method: "REGISTER",
            uri,
            cnonce,
            nc: "00000001",
            body: b"",
        };
        Credentials::answer(&challenge, &answer).map_err(|_| "challenge cannot be answered")
    }
}

fn write_user(range: &Range, ue: u32, out: &mut Vec<u8>) {
    let (number, width) = (range.first + u64::from(ue), range.width);
    out.extend_from_slice(range.prefix.as_bytes());
    let _ = write!(out, "{number:0width$}");
}

/// RES as the password of digest AKA; the network must have the same key (TS 33.102 §6.3.3).
fn card(set: &AkaSet, challenge: &Challenge) -> Result<Vec<u8>, &'static str> {
    let nonce = challenge.nonce().and_then(|nonce| AkaNonce::decode(nonce).ok());
    let nonce = nonce.ok_or("challenge without RAND and AUTN")?;
    let algorithm = challenge.algorithm().map_err(|_| "challenge with an unknown algorithm")?;
    let out = set.f2345(&nonce.rand);
    let mut sqn = nonce.autn.concealed_sqn;
    sqn.iter_mut().zip(out.ak).for_each(|(byte, ak)| *byte ^= ak);
    if set.f1(&nonce.rand, Sqn::from_bytes(sqn), nonce.autn.amf) != nonce.autn.mac_a {
        return Err("challenge with a wrong MAC (other K, OP or OPc)");
    }
    Ok(aka_password(algorithm, &out.res, &out.ik, &out.ck))
}

/// The addresses that UEs send from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Each UE has an address of its own, counted up from the first; the last three octets run from
    /// 1 to 250 each. All have the same port.
    Addresses {
        /// The address of the first UE.
        first: Ipv4Addr,
        /// The port of all; 0: one that is free.
        port: u16,
    },
    /// All have one address; they share its ports in turn.
    Ports {
        /// The address.
        address: Ipv4Addr,
        /// The first port.
        first: u16,
        /// How many ports.
        count: u16,
    },
}

/// The values of the octets that are counted.
const OCTET_VALUES: u32 = 250;

impl Sources {
    /// Reads `127.1.1.1`, `127.1.1.1:5070` (an address for each UE) or `192.0.2.7:20000-29999`
    /// (ports of one address).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "`{text}` is no range of sources: write 127.1.1.1:5070 or 192.0.2.7:20000-29999"
            )
        };
        let (address, ports) = text.split_once(':').unwrap_or((text, "0"));
        let address: Ipv4Addr = address.parse().map_err(|_| fault())?;
        let port = |text: &str| text.parse::<u16>().map_err(|_| fault());
        let Some((first, last)) = ports.split_once('-') else {
            let [_, octets @ ..] = address.octets();
            if !octets.iter().all(|octet| (1..=OCTET_VALUES).contains(&u32::from(*octet))) {
                return Err(format!("the last three octets of {address} must be 1 to 250"));
            }
            return Ok(Self::Addresses { first: address, port: port(ports)? });
        };
        let (first, last) = (port(first)?, port(last)?);
        let count = last.checked_sub(first).and_then(|it| it.checked_add(1)).ok_or_else(fault)?;
        if first == 0 { Err(fault()) } else { Ok(Self::Ports { address, first, count }) }
    }

    /// Where this UE sends from.
    #[must_use]
    pub fn of(&self, ue: u32) -> SocketAddrV4 {
        match *self {
            Self::Addresses { first, port } => {
                let [network, octets @ ..] = first.octets();
                let start = octets
                    .iter()
                    .fold(0, |sum, octet| sum * OCTET_VALUES + u32::from(*octet).saturating_sub(1));
                let place = start.wrapping_add(ue);
                let octet = |place: u32| u8::try_from(place % OCTET_VALUES + 1).unwrap_or(1);
                let (b, c) = (place / OCTET_VALUES / OCTET_VALUES, place / OCTET_VALUES);
                let address = Ipv4Addr::new(network, octet(b), octet(c), octet(place));
                SocketAddrV4::new(address, port)
            }
            Self::Ports { address, first, count } => SocketAddrV4::new(
                address,
                first + u16::try_from(ue % u32::from(count)).unwrap_or(0),
            ),
        }
    }

    /// The same with the port that the system gave.
    #[must_use]
    pub const fn on_port(self, given: u16) -> Self {
        match self {
            Self::Addresses { first, .. } => Self::Addresses { first, port: given },
            ports @ Self::Ports { .. } => ports,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cscf_core::auth::{Algorithm, AuthVector, Milenage};

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn identities_and_addresses_are_counted_up() {
        let range = Range::new("001010000000099@ims.example").expect("a range");
        let people = People::counted(range, Secret::Password("x".to_owned()), 3);
        assert_eq!(text(|out| people.write_impi(1, out)), "001010000000100@ims.example");
        assert_eq!(text(|out| people.write_impu(0, out)), "sip:001010000000099@ims.example");
        let sources = Sources::parse("127.1.1.2:5070").expect("sources");
        let of = |ue| sources.of(ue).to_string();
        assert_eq!(of(0), "127.1.1.2:5070");
        assert_eq!(of(249), "127.1.2.1:5070");
        assert_eq!(of(62_499), "127.2.1.1:5070");
        let ports = Sources::parse("192.0.2.7:20000-20001").expect("sources");
        assert_eq!(ports.of(3).to_string(), "192.0.2.7:20001");
        for wrong in ["", "127.0.0.1:5070", "127.1.1.1:x", "1.2.3.4:9-8", "1.2.3.4:0-8", "::1"] {
            assert!(Sources::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "alice@x", "1", "1@", "99999999999999999999999@x"] {
            assert!(Range::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_card_answers_its_own_network_and_no_other() {
        let key = |byte| AkaKeys::Milenage { k: [byte; 16], opc: [byte; 16] }.functions();
        let vector = AuthVector::generate(
            &Milenage::new([1; 16], [1; 16]),
            [7; 16],
            Sqn::from_bytes([0, 0, 0, 0, 0, 33]),
            [0x80, 0],
        );
        let nonce = vector.nonce().encode();
        let challenge = Challenge::new("ims.example", &nonce, Algorithm::AKAV1_MD5);
        let value = challenge.to_string();
        let answer = |byte| {
            let range = Range::new("1@ims.example").expect("a range");
            let people = People::counted(range, Secret::Card(key(byte)), 1);
            people.answer(0, value.as_bytes(), "sip:ims.example", "c")
        };
        let right = answer(1).expect("answers");
        let ha1 = right.ha1(Algorithm::AKAV1_MD5, vector.xres.as_bytes());
        let verdict = right.verify(&ha1, Algorithm::AKAV1_MD5, "REGISTER", b"");
        assert!(verdict.is_ok());
        assert!(answer(2).expect_err("refuses").contains("wrong MAC"));
    }
}

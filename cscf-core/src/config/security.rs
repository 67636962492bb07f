//! The security agreement on Gm in the lab file (TS 33.203 §7; RFC 3329): whether there is one, the
//! algorithms in order of preference, the protected ports, and the P-CSCF's choices.

use super::lab::{choice, on_off};
use super::problem::Problems;
use super::tree::{Node, Reader, Value, scalar};
use crate::transport::ipsec::Algorithms;

/// Most pairs of algorithms a list may have.
const ALGORITHMS_MAX: usize = 16;
/// Most ports the pool may have.
const POOL_MAX: usize = 1024;

/// Whether UEs and P-CSCF agree on security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecAgree {
    /// Never: what a UE offers is not taken up.
    Off,
    /// With UEs that offer it.
    Optional,
    /// A UE without it is refused (RFC 3329 §2.3.1: 421, 494).
    Required,
}

/// Whether packets are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidentiality {
    /// Never: only integrity is offered.
    Off,
    /// As the preferences have it.
    Optional,
    /// Always: pairs without encryption are not offered (TS 33.203 §6.2).
    Required,
}

/// What protects packets where both ends have agreed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EspBackend {
    /// The first that this machine allows: the kernel, raw sockets, UDP.
    #[default]
    Auto,
    /// The kernel's ESP (XFRM).
    Kernel,
    /// ESP of this program on raw sockets.
    Raw,
    /// ESP of this program in UDP (RFC 3948).
    Udp,
}

impl EspBackend {
    /// All with their names in the lab file.
    pub const ALL: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("kernel", Self::Kernel), ("raw", Self::Raw), ("udp", Self::Udp)];

    /// The one of this name.
    ///
    /// # Errors
    ///
    /// The text names none.
    pub fn named(text: &str) -> Result<Self, String> {
        choice(text, &Self::ALL)
    }

    /// Its name in the lab file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(word, _)| word)
    }
}

/// What the P-CSCF answers where the standard leaves the code open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaReject {
    /// The Via of a protected REGISTER is not its source (TS 33.203 §7.1 rule 2).
    pub via: u16,
    /// Ports in use, or too many associations (TS 33.203 §7.1 rule 3).
    pub ports: u16,
    /// No algorithm in common (TS 33.203 §7.3.2.1); 494 carries Security-Server.
    pub algorithms: u16,
}

/// The security agreement on Gm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GmSecurity {
    /// Whether there is one.
    pub sec_agree: SecAgree,
    /// What protects packets.
    pub backend: EspBackend,
    /// The port of ESP in UDP datagrams.
    pub esp_port: u16,
    /// The pairs of algorithms, most preferred first.
    pub algorithms: Vec<Algorithms>,
    /// Whether packets are encrypted.
    pub confidentiality: Confidentiality,
    /// The P-CSCF's protected server port.
    pub port_ps: u16,
    /// The P-CSCF's protected client ports: a UE gets another one with each new agreement.
    pub port_pc: Vec<u16>,
    /// Whether an unprotected request of a UE with associations is dropped instead of refused.
    pub discard_unprotected: bool,
    /// Whether UEs behind a translation may have tunnels in UDP (TS 33.203 Annex M).
    pub nat_traversal: bool,
    /// Whether media plane security is offered as well (TS 24.229 §4.2B).
    pub mediasec: bool,
    /// Whether a UE that offers TLS gets SIP digest over TLS (TS 33.203 Annex O).
    pub tls: bool,
    /// Whether a UE on a 3GPP access may register by its address alone (GIBA, TS 33.203 Annex T).
    pub giba: bool,
    /// Whether a UE on a 3GPP access may register without security agreement (TS 33.203 §N.1 has
    /// SIP digest for other accesses only).
    pub digest_on_radio: bool,
    /// The codes of refusals.
    pub reject: SaReject,
}

impl Default for GmSecurity {
    fn default() -> Self {
        let pairs = [
            ("hmac-sha-1-96", "null"),
            ("hmac-sha-1-96", "aes-cbc"),
            ("hmac-sha-1-96", "des-ede3-cbc"),
            ("hmac-md5-96", "null"),
            ("hmac-md5-96", "aes-cbc"),
            ("hmac-md5-96", "des-ede3-cbc"),
            ("aes-gmac", "null"),
            ("null", "aes-gcm"),
        ];
        let pairs = pairs.into_iter().filter_map(|(alg, ealg)| Algorithms::named(alg, ealg));
        Self {
            sec_agree: SecAgree::Optional,
            backend: EspBackend::Auto,
            esp_port: 4500,
            algorithms: pairs.collect(),
            confidentiality: Confidentiality::Optional,
            port_ps: 5062,
            port_pc: (5100..=5131).collect(),
            discard_unprotected: false,
            nat_traversal: true,
            mediasec: false,
            tls: false,
            giba: false,
            digest_on_radio: true,
            reject: SaReject { via: 403, ports: 403, algorithms: 403 },
        }
    }
}

impl GmSecurity {
    /// The pairs of algorithms that the confidentiality policy leaves, most preferred first.
    #[must_use]
    pub fn offered(&self) -> Vec<Algorithms> {
        let fits = |it: &&Algorithms| match self.confidentiality {
            Confidentiality::Off => !it.is_confidential(),
            Confidentiality::Optional => true,
            Confidentiality::Required => it.is_confidential(),
        };
        self.algorithms.iter().filter(fits).copied().collect()
    }

    /// Takes out the pairs that Release 13 took out of the standard (TS 33.203 Annex H).
    pub fn drop_legacy(&mut self) {
        self.algorithms.retain(|it| !it.is_legacy());
    }
}

/// Reads `ipsec`, `security` and `gm_security` of a lab.
pub(super) fn gm_security(lab: &mut Reader<'_>, problems: &mut Problems) -> GmSecurity {
    let mut gm = GmSecurity::default();
    // `ipsec` is what the field says; `sec_agree` means the same.
    let before = lab.or("sec_agree", None, problems, |text| sec_agree(text).map(Some));
    if let Some(node) = lab.optional("ipsec") {
        if before.is_some() {
            let help = "leave out `sec_agree`".to_owned();
            problems.push(node.at, "`ipsec` and `sec_agree` are the same", Some(help));
        }
        gm.sec_agree = scalar(node, problems, sec_agree).unwrap_or(gm.sec_agree);
    }
    gm.sec_agree = before.unwrap_or(gm.sec_agree);
    gm.backend = lab.or("ipsec_backend", gm.backend, problems, EspBackend::named);
    gm.esp_port = lab.or("ipsec_port", gm.esp_port, problems, protected_port);
    let strict = lab.or("security", false, problems, |text| {
        choice(text, &[("strict", true), ("phones", false)])
    });
    let listed = lab.optional("gm_security");
    if let Some(node) = listed {
        read_gm(&mut gm, node, problems);
    }
    if strict {
        gm.drop_legacy();
    }
    if let Some(node) = listed.filter(|_| gm.offered().is_empty()) {
        let left = "confidentiality, or `security: strict`, leaves none of the algorithms";
        problems.push(node.at, left, None);
    }
    gm
}

/// Reads whether there is a security agreement.
pub(super) fn sec_agree(text: &str) -> Result<SecAgree, String> {
    let names = [SecAgree::Off, SecAgree::Optional, SecAgree::Required];
    if matches!(text, "on" | "yes" | "true") {
        return Err(format!(
            "`{text}` does not say with whom; write `optional` (with UEs that offer it) or \
             `required` (others are refused)"
        ));
    }
    choice(text, &names.map(|it| (it.as_str(), it)))
}

fn read_gm(gm: &mut GmSecurity, node: &Node, problems: &mut Problems) {
    let mut reader = Reader::new(node, "gm_security", problems);
    if let Some(list) = reader.optional("algorithms") {
        gm.algorithms = algorithms(list, problems);
    }
    gm.confidentiality = reader.or("confidentiality", gm.confidentiality, problems, |text| {
        let names = [Confidentiality::Off, Confidentiality::Optional, Confidentiality::Required];
        choice(text, &names.map(|it| (it.as_str(), it)))
    });
    gm.port_ps = reader.or("port_ps", gm.port_ps, problems, protected_port);
    gm.port_pc = reader.or("port_pc", gm.port_pc.clone(), problems, pool);
    gm.discard_unprotected = reader.or("unprotected", false, problems, |text| {
        choice(text, &[("refuse", false), ("discard", true)])
    });
    gm.nat_traversal = reader.or("nat_traversal", gm.nat_traversal, problems, on_off);
    gm.mediasec = reader.or("mediasec", gm.mediasec, problems, on_off);
    gm.tls = reader.or("tls", gm.tls, problems, on_off);
    gm.giba = reader.or("giba", gm.giba, problems, on_off);
    gm.digest_on_radio = reader.or("digest_on_radio", gm.digest_on_radio, problems, |text| {
        choice(text, &[("allow", true), ("refuse", false)])
    });
    if let Some(node) = reader.optional("reject") {
        let mut codes = Reader::new(node, "reject", problems);
        gm.reject.via = codes.or("via", gm.reject.via, problems, code);
        gm.reject.ports = codes.or("ports", gm.reject.ports, problems, code);
        gm.reject.algorithms = codes.or("algorithms", gm.reject.algorithms, problems, code);
        codes.finish(problems);
    }
    reader.finish(problems);
    if gm.port_pc.contains(&gm.port_ps) {
        problems.push(node.at, "port_ps is one of port_pc; they must differ", None);
    }
}

impl SecAgree {
    /// Its name in the lab file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl Confidentiality {
    /// Its name in the lab file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

fn algorithms(node: &Node, problems: &mut Problems) -> Vec<Algorithms> {
    let Value::Seq(items) = &node.value else {
        let help = "here must be a list of pairs, e.g. [hmac-sha-1-96/null, hmac-md5-96/aes-cbc]";
        problems.push(node.at, help, None);
        return Vec::new();
    };
    if items.len() > ALGORITHMS_MAX {
        problems.push(node.at, format!("more than {ALGORITHMS_MAX} pairs"), None);
    }
    let pair = |text: &str| {
        let pair = text.split_once('/').and_then(|(alg, ealg)| Algorithms::named(alg, ealg));
        pair.ok_or_else(|| {
            format!(
                "`{text}` is no pair of algorithms; write integrity/encryption: hmac-sha-1-96 or \
                 hmac-md5-96 with null, aes-cbc or des-ede3-cbc, aes-gmac/null, null/aes-gcm"
            )
        })
    };
    items.iter().filter_map(|item| scalar(item, problems, pair)).collect()
}

fn protected_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| !matches!(port, 0 | 5060 | 5061));
    port.ok_or_else(|| format!("`{text}` is no protected port: 1 to 65535, but 5060 and 5061"))
}

/// Ports and ranges: `5100-5131`, `5064, 5100-5131`.
fn pool(text: &str) -> Result<Vec<u16>, String> {
    let mut out = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (protected_port(first.trim())?, protected_port(last.trim())?);
        out.extend(first..=last);
        if first > last || out.len() > POOL_MAX {
            return Err(format!("`{text}` is no pool of 1 to {POOL_MAX} ports, e.g. 5100-5131"));
        }
    }
    let reserved = |port: &u16| matches!(port, 5060 | 5061);
    if out.iter().any(reserved) {
        return Err("5060 and 5061 are never protected ports".to_owned());
    }
    Ok(out)
}

fn code(text: &str) -> Result<u16, String> {
    let code = text.parse().ok().filter(|code| (400..500).contains(code));
    code.ok_or_else(|| format!("`{text}` is no status code from 400 to 499"))
}

/// A pool as it stands in the file.
pub(super) fn pool_text(ports: &[u16]) -> String {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match out.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => out.push((*port, *port)),
        }
    }
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    out.iter().map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_lab;

    const LAB: &str = "domain: ims.example\nnodes:\n  p: {role: p-cscf, listen: 127.0.0.1:5060}\n  \
        i: {role: i-cscf, listen: 127.0.0.2:5060}\n  s: {role: s-cscf, listen: 127.0.0.3:5060}\n  \
        h: {role: hss, listen: 127.0.0.4:3868}\n";

    #[test]
    fn every_choice_can_be_written() {
        let lab = read_lab(&format!(
            "{LAB}sec_agree: required\ngm_security:\n  algorithms: [hmac-md5-96/null, \
             hmac-sha-1-96/aes-cbc]\n  confidentiality: required\n  port_ps: 6000\n  port_pc: \
             7000, 7002-7004\n  unprotected: discard\n  giba: on\n  digest_on_radio: refuse\n  reject: {{algorithms: 494}}\n"
        ))
        .expect("right");
        let gm = &lab.gm;
        assert_eq!(gm.sec_agree, SecAgree::Required);
        assert_eq!(gm.port_pc, [7000, 7002, 7003, 7004]);
        assert_eq!(pool_text(&gm.port_pc), "7000, 7002-7004");
        assert_eq!(gm.offered().len(), 1);
        assert_eq!((gm.reject.algorithms, gm.reject.via), (494, 403));
        assert!(gm.discard_unprotected && gm.giba && !gm.tls && !gm.digest_on_radio);
        let ports = lab.protected_ports(&lab.nodes[0]);
        assert_eq!((ports.len(), ports[0].to_string()), (5, "127.0.0.1:6000".to_owned()));
    }

    #[test]
    fn ipsec_is_said_in_one_way_and_old_algorithms_can_go() {
        let lab = read_lab(&format!(
            "{LAB}ipsec: required\nipsec_backend: udp\nipsec_port: 14500\nsecurity: strict\n"
        ));
        let gm = lab.expect("right").gm;
        assert_eq!((gm.sec_agree, gm.backend), (SecAgree::Required, EspBackend::Udp));
        assert_eq!(gm.esp_port, 14_500);
        assert!(!gm.algorithms.is_empty() && gm.algorithms.iter().all(|it| !it.is_legacy()));
        for (lines, said) in [
            ("ipsec: off\nsec_agree: off", "are the same"),
            ("ipsec_backend: tun", "`tun`"),
            ("ipsec: on", "write `optional` (with UEs that offer it) or `required`"),
            ("ipsec_port: 99999", "1 to 65535, but 5060 and 5061"),
            ("security: strict\ngm_security: {algorithms: [hmac-md5-96/null]}", "leaves none"),
        ] {
            let problems = read_lab(&format!("{LAB}{lines}\n")).expect_err(lines);
            assert!(problems.0.iter().any(|it| it.text.contains(said)), "{lines}: {problems:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (line, said) in [
            ("port_ps: 5061", "no protected port"),
            ("port_pc: 5050-5070", "never protected"),
            ("port_pc: 9-8", "no pool"),
            ("port_ps: 5100", "must differ"),
            ("algorithms: [aes-gmac/aes-cbc]", "no pair"),
            ("reject: {via: 503}", "400 to 499"),
            ("algorithms: [hmac-md5-96/null]\n  confidentiality: required", "leaves none"),
        ] {
            let problems = read_lab(&format!("{LAB}gm_security:\n  {line}\n")).expect_err(line);
            assert!(problems.0.iter().any(|it| it.text.contains(said)), "{line}: {problems:?}");
        }
    }
}

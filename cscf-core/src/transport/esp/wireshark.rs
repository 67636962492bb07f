//! Keys for Wireshark: what it needs to decrypt the ESP of Gm and to check it, a line of its table
//! `esp_sa` for each association, as Wireshark 4.0 spells algorithms (a file `esp_sa` in its
//! profile, or `-o uat:esp_sa:…`).

use std::fmt::Write as _;

use super::super::ipsec::{Encryption, Integrity, SaSet};
use crate::auth::to_hex;

/// The lines of the four associations of a set, inbound ones first, each with its line end. Where
/// Wireshark knows no such algorithms, a comment says so.
///
/// AES-GMAC is such a one: no entry of the table makes Wireshark step over the initialization
/// vector that stands before the clear text (RFC 4543 §3.1).
#[must_use]
pub fn esp_sa(set: &SaSet) -> String {
    let (local, remote) = (set.local, set.remote);
    let lines = [
        (remote.addr, local.addr, local.ports.spi_client),
        (remote.addr, local.addr, local.ports.spi_server),
        (local.addr, remote.addr, remote.ports.spi_client),
        (local.addr, remote.addr, remote.ports.spi_server),
    ];
    let mut out = String::new();
    for (from, to, spi) in lines {
        let _ = match algorithms(set) {
            Some(algorithms) => {
                let family = if from.is_ipv4() { "IPv4" } else { "IPv6" };
                writeln!(out, "\"{family}\",\"{from}\",\"{to}\",\"0x{spi:08x}\",{algorithms}")
            }
            None => writeln!(
                out,
                "# {from} to {to}, SPI 0x{spi:08x}: Wireshark cannot decode {}",
                set.algorithms
            ),
        };
    }
    out
}

/// The columns of the algorithms and their keys.
fn algorithms(set: &SaSet) -> Option<String> {
    let encryption = match set.algorithms.encryption() {
        Encryption::Null => "NULL",
        Encryption::AesCbc => "AES-CBC [RFC3602]",
        Encryption::DesEde3Cbc => "TripleDES-CBC [RFC2451]",
        Encryption::AesGcm => "AES-GCM with 16 octet ICV [RFC4106]",
    };
    let integrity = match set.algorithms.integrity() {
        Integrity::Null => "NULL",
        Integrity::HmacMd5 => "HMAC-MD5-96 [RFC2403]",
        Integrity::HmacSha1 => "HMAC-SHA-1-96 [RFC2404]",
        Integrity::AesGmac => return None,
    };
    let key =
        |key: &[u8]| if key.is_empty() { String::new() } else { format!("0x{}", to_hex(key)) };
    let (encryption_key, integrity_key) = (key(&set.keys.encryption), key(&set.keys.integrity));
    Some(format!("\"{encryption}\",\"{encryption_key}\",\"{integrity}\",\"{integrity_key}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SaId;
    use crate::transport::ipsec::{Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports};

    fn lines(alg: &str, ealg: &str, ours: &str, theirs: &str) -> Vec<String> {
        let end = |addr: &str, spi| End {
            addr: addr.parse().expect("an address"),
            ports: Ports { client: 5_100, server: 5_101, spi_client: spi, spi_server: spi + 1 },
        };
        let algorithms = Algorithms::named(alg, ealg).expect("go together");
        let set = SaSet {
            id: SaId(1),
            local: end(ours, 4_096),
            remote: end(theirs, 8_192),
            algorithms,
            mode: Mode::Transport,
            keys: EspKeys::expand(algorithms, &[1; 16], &[2; 16]),
            lifetime: IPSEC_LIFETIME,
        };
        esp_sa(&set).lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_association_has_its_line() {
        let (ck, ik) = ("01".repeat(16), "02".repeat(16));
        let keys = format!(
            "\"AES-CBC [RFC3602]\",\"0x{ck}\",\"HMAC-SHA-1-96 [RFC2404]\",\"0x{ik}00000000\""
        );
        assert_eq!(
            lines("hmac-sha-1-96", "aes-cbc", "10.0.0.10", "10.0.0.1"),
            [
                format!("\"IPv4\",\"10.0.0.1\",\"10.0.0.10\",\"0x00001000\",{keys}"),
                format!("\"IPv4\",\"10.0.0.1\",\"10.0.0.10\",\"0x00001001\",{keys}"),
                format!("\"IPv4\",\"10.0.0.10\",\"10.0.0.1\",\"0x00002000\",{keys}"),
                format!("\"IPv4\",\"10.0.0.10\",\"10.0.0.1\",\"0x00002001\",{keys}"),
            ]
        );
        let v6 = lines("hmac-md5-96", "null", "2001:db8::10", "2001:db8::1");
        assert_eq!(
            v6[3],
            format!(
                "\"IPv6\",\"2001:db8::10\",\"2001:db8::1\",\"0x00002001\",\
                 \"NULL\",\"\",\"HMAC-MD5-96 [RFC2403]\",\"0x{ik}\""
            )
        );
        let gmac = lines("aes-gmac", "null", "10.0.0.10", "10.0.0.1");
        assert_eq!(
            gmac[0],
            "# 10.0.0.1 to 10.0.0.10, SPI 0x00001000: Wireshark cannot decode aes-gmac/null"
        );
    }
}

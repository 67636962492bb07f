//! Keys as Wireshark reads them.

use crate::transport::ipsec::{Encryption, Integrity, SaSet};

/// The four associations of a set as lines of Wireshark's table `esp_sa`.
pub(super) fn esp_sa(set: &SaSet) -> Vec<String> {
    let encryption = match set.algorithms.encryption() {
        Encryption::AesCbc => "AES-CBC [RFC3602]",
        Encryption::AesGcm => "AES-GCM [RFC4106]",
        Encryption::DesEde3Cbc => "TripleDES-CBC [RFC2451]",
        Encryption::Null => "NULL",
    };
    let integrity = match set.algorithms.integrity() {
        Integrity::HmacMd5 => "HMAC-MD5-96 [RFC2403]",
        Integrity::HmacSha1 => "HMAC-SHA-1-96 [RFC2404]",
        Integrity::AesGmac => "ANY 128 bit authentication [no checking]",
        Integrity::Null => "NULL",
    };
    let key = |bytes: &[u8]| match bytes {
        [] => String::new(),
        bytes => format!("0x{}", crate::auth::to_hex(bytes)),
    };
    let (local, remote) = (set.local.addr, set.remote.addr);
    let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
    let (ours, theirs) = (set.local.ports, set.remote.ports);
    let ways = [
        (remote, local, ours.spi_client),
        (remote, local, ours.spi_server),
        (local, remote, theirs.spi_client),
        (local, remote, theirs.spi_server),
    ];
    let line = |(from, to, spi): (_, _, u32)| {
        format!(
            "\"{family}\",\"{from}\",\"{to}\",\"0x{spi:08x}\",\"{encryption}\",\"{}\",\
             \"{integrity}\",\"{}\"",
            key(&set.keys.encryption),
            key(&set.keys.integrity),
        )
    };
    ways.into_iter().map(line).collect()
}

//! What the kernel's `IPsec` can do here, found by trying: each pair of algorithms is installed
//! between addresses that nobody has (RFC 5737, RFC 3849) and taken away again.

use std::net::IpAddr;

use super::entries;
use super::fault::KernelFault;
use super::netlink::Netlink;
use crate::time::Duration;
use crate::transport::SaId;
use crate::transport::ipsec::{Algorithms, End, EspKeys, Mode, Ports, SaSet};

/// What the kernel can do with one pair of algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairCan {
    /// The pair.
    pub algorithms: Algorithms,
    /// Whether for IPv6; else for IPv4.
    pub v6: bool,
    /// Why not, if it cannot.
    pub fault: Option<KernelFault>,
}

/// What the kernel's `IPsec` can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCan {
    /// Why nothing at all, if so.
    pub fault: Option<KernelFault>,
    /// Each pair of algorithms with each family of addresses.
    pub pairs: Vec<PairCan>,
}

impl KernelCan {
    /// Whether a call can be protected in some way.
    #[must_use]
    pub fn protects(&self, v6: bool) -> bool {
        self.pairs.iter().any(|pair| pair.v6 == v6 && pair.fault.is_none())
    }
}

/// Tries what the kernel's `IPsec` can do in this network namespace, with this process's rights.
#[must_use]
pub fn kernel_can() -> KernelCan {
    let nothing = |fault| KernelCan { fault: Some(fault), pairs: Vec::new() };
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(fault) => return nothing(KernelFault::of("be reached", &fault, None)),
    };
    let mut pairs = Vec::new();
    for v6 in [false, true] {
        for algorithms in Algorithms::all() {
            let fault = attempt(&mut netlink, algorithms, v6).err();
            pairs.push(PairCan { algorithms, v6, fault });
        }
    }
    let none = pairs.iter().all(|pair| pair.fault.is_some());
    let fault = pairs.first().and_then(|pair| pair.fault.clone()).filter(|_| none);
    KernelCan { fault, pairs }
}

/// Whether the kernel protects at all here and this process may tell it to.
///
/// # Errors
///
/// Why not, and what to do.
pub(in super::super) fn usable() -> Result<(), KernelFault> {
    let fault = |fault| KernelFault::of("be reached", &fault, None);
    let mut netlink = Netlink::open().map_err(fault)?;
    let mut first = None;
    for algorithms in Algorithms::all() {
        match attempt(&mut netlink, algorithms, false) {
            Ok(()) => return Ok(()),
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    first.map_or(Ok(()), Err)
}

fn attempt(netlink: &mut Netlink, pair: Algorithms, v6: bool) -> Result<(), KernelFault> {
    let [near, far] =
        if v6 { ["2001:db8::5060", "2001:db8::5061"] } else { ["192.0.2.250", "192.0.2.251"] };
    let what = || format!("protect with {pair}");
    let addr = |text: &str| {
        text.parse::<IpAddr>().map_err(|fault| KernelFault::because(what(), fault.to_string()))
    };
    let set = sample(pair, addr(near)?, addr(far)?);
    for of in entries::associations(&set).iter().take(1) {
        // The mark is nobody's: should this process end here, the next owner sweeps it.
        netlink
            .order(entries::add_state(&set, of, super::owner::NOBODY))
            .map_err(|fault| KernelFault::of(what(), &fault, Some((set.remote.addr, pair))))?;
        let _ = netlink.order(entries::delete_state(of.destination.ip(), of.spi));
    }
    Ok(())
}

fn sample(algorithms: Algorithms, near: IpAddr, far: IpAddr) -> SaSet {
    let end = |addr, spi_client| End {
        addr,
        ports: Ports { client: 5100, server: 5062, spi_client, spi_server: spi_client + 1 },
    };
    SaSet {
        id: SaId(0),
        local: end(near, 0x6c00_0000),
        remote: end(far, 0x6c00_0002),
        algorithms,
        mode: Mode::Transport,
        // Two different halves, as 3DES asks for.
        keys: EspKeys::expand(algorithms, &CK, &IK),
        lifetime: Duration::from_secs(60),
    }
}

const CK: [u8; 16] = *b"not a key but ck";
const IK: [u8; 16] = *b"not a key but ik";

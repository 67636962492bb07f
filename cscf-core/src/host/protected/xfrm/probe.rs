//! What the kernel's `IPsec` can do here, found by trying: each pair of algorithms is installed
//! between addresses that nobody has (RFC 5737, RFC 3849) and taken away again.

use std::net::IpAddr;

use nix::errno::Errno;

use super::entries;
use super::fault::KernelFault;
use super::netlink::Netlink;
use super::owner::NOBODY;
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

/// What of these pairs the kernel cannot do between addresses of these families, which may be
/// nothing; where it can do none of them, why.
///
/// # Errors
///
/// Why not, and what to do.
pub(in super::super) fn usable(
    pairs: &[Algorithms],
    families: &[IpAddr],
) -> Result<Vec<(Algorithms, KernelFault)>, KernelFault> {
    let fault = |fault| KernelFault::of("be reached", &fault, None);
    let mut netlink = Netlink::open().map_err(fault)?;
    let mut cannot = Vec::new();
    for pair in pairs {
        let mut each = [false, true].into_iter();
        let wanted = |v6: &bool| families.iter().any(|addr| addr.is_ipv6() == *v6);
        let why = each
            .find_map(|v6| wanted(&v6).then(|| attempt(&mut netlink, *pair, v6).err()).flatten());
        cannot.extend(why.map(|why| (*pair, why)));
    }
    match cannot.first() {
        Some((_, why)) if cannot.len() == pairs.len() => Err(why.clone()),
        _ => Ok(cannot),
    }
}

fn attempt(netlink: &mut Netlink, pair: Algorithms, v6: bool) -> Result<(), KernelFault> {
    let [near, far] =
        if v6 { ["2001:db8::5060", "2001:db8::5061"] } else { ["192.0.2.250", "192.0.2.251"] };
    let what = || format!("protect with {pair}");
    let addr = |text: &str| {
        text.parse::<IpAddr>().map_err(|fault| KernelFault::because(what(), fault.to_string()))
    };
    let set = sample(pair, addr(near)?, addr(far)?);
    let [of, ..] = entries::associations(&set);
    // The mark is nobody's: should this process end here, the next owner sweeps it.
    let tries = [
        (entries::add_state(&set, &of, NOBODY), entries::delete_state(of.destination.ip(), of.spi)),
        (entries::add_policy(&of, NOBODY), entries::delete_policy(&of)),
    ];
    for (add, delete) in tries {
        let mut done = netlink.order(add.clone());
        if done.as_ref().is_err_and(|it| it.raw_os_error() == Some(Errno::EEXIST as i32)) {
            // Of a process that ended between the two orders: nobody else has these addresses.
            let _ = netlink.order(delete.clone());
            done = netlink.order(add);
        }
        done.map_err(|fault| KernelFault::of(what(), &fault, Some((set.remote.addr, pair))))?;
        let _ = netlink.order(delete);
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

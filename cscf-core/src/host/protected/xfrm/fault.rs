//! What the kernel refuses, in words, and what to do about it.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::entries;
use crate::transport::ipsec::Algorithms;

/// Why the kernel does not protect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's IPsec: cannot {what}: {reason}")]
pub struct KernelFault {
    /// What was wanted.
    pub what: String,
    /// Why not, and what to do.
    pub reason: String,
}

/// How to give a program the right to set the kernel's `IPsec`.
const GIVE_RIGHT: &str =
    "run as root, or give the program the right: sudo setcap cap_net_admin,cap_net_raw+ep PROGRAM";

impl KernelFault {
    /// What the system said to an order about associations towards this address.
    pub(super) fn of(
        what: impl Into<String>,
        fault: &io::Error,
        about: Option<(IpAddr, Algorithms)>,
    ) -> Self {
        Self { what: what.into(), reason: reason(fault, about) }
    }

    /// A reason of our own.
    pub(super) fn because(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }
}

fn reason(fault: &io::Error, about: Option<(IpAddr, Algorithms)>) -> String {
    let module = match about {
        Some((IpAddr::V6(_), _)) => "esp6",
        Some((IpAddr::V4(_), _)) => "esp4",
        None => "xfrm_user",
    };
    match (fault.raw_os_error().map(Errno::from_raw), about) {
        (Some(Errno::EPERM | Errno::EACCES), _) => {
            format!("the capability CAP_NET_ADMIN is missing; {GIVE_RIGHT}")
        }
        (Some(Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT), _) => format!(
            "it has no module {module}; load it (sudo modprobe {module}), or use a kernel that has \
             it, or ESP in user space"
        ),
        (Some(Errno::ENOSYS | Errno::ENOENT | Errno::ENOPROTOOPT), Some((_, pair))) => {
            let [one, other] = entries::names(pair);
            let both = if one == other { one.to_owned() } else { format!("{one} with {other}") };
            format!(
                "it does not know {pair}, its {both}; load the modules of these (sudo modprobe \
                 authenc echainiv seqiv gcm cbc md5 sha1 des_generic), or offer other algorithms"
            )
        }
        (Some(Errno::EEXIST), _) => {
            "it has an entry for the same packets or the same SPI; `ip xfrm state` and `ip xfrm \
             policy` show it"
                .to_owned()
        }
        (Some(Errno::ESRCH | Errno::ENOENT), _) => {
            "another program has taken it away already".to_owned()
        }
        (Some(errno), _) => errno.desc().to_owned(),
        (None, _) => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let pair = |alg, ealg| Algorithms::named(alg, ealg).expect("go together");
        let v4 = "192.0.2.1".parse().expect("address");
        let v6 = "2001:db8::1".parse().expect("address");
        let sha = pair("hmac-sha-1-96", "aes-cbc");
        let gcm = pair("null", "aes-gcm");
        for (errno, about, says) in [
            (Errno::EPERM, None, "CAP_NET_ADMIN is missing; run as root, or"),
            (Errno::EPROTONOSUPPORT, None, "sudo modprobe xfrm_user"),
            (Errno::EPROTONOSUPPORT, Some((v4, sha)), "sudo modprobe esp4"),
            (Errno::EPROTONOSUPPORT, Some((v6, sha)), "sudo modprobe esp6"),
            (Errno::ENOSYS, Some((v4, sha)), "hmac-sha-1-96/aes-cbc, its hmac(sha1) with cbc(aes)"),
            (Errno::ENOENT, Some((v4, gcm)), "null/aes-gcm, its rfc4106(gcm(aes));"),
            (Errno::EEXIST, Some((v4, sha)), "`ip xfrm state`"),
            (Errno::ESRCH, None, "taken it away already"),
        ] {
            let fault = io::Error::from_raw_os_error(errno as i32);
            let text = KernelFault::of("protect a call", &fault, about).to_string();
            assert!(text.starts_with("the kernel's IPsec: cannot protect a call: "), "{text}");
            assert!(text.contains(says), "{errno}: {text}");
        }
    }
}

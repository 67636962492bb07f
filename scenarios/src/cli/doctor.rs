//! `cscf doctor`: what this machine can do, above all for protected calls, why not more, and how to
//! allow it. Facts are found by trying; nothing stays behind.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;

use cscf_core::host::file_limits;
use cscf_core::host::program::{EXIT_FAILED, EXIT_OK};
use cscf_core::host::protected::raw_can;
use cscf_core::host::protected::xfrm::{KernelCan, kernel_can};
use serde_json::json;

use super::term;

/// Sysctls that can forbid namespaces to users, what they then say, and what allows it.
const SYSCTLS: [(&str, &str, &str); 4] = [
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "15000"),
    ("user.max_net_namespaces", "0", "15000"),
];
/// Fewer open files than this are soon used up by connections.
const FILES_FEW: u64 = 4_096;
/// The port of ESP in UDP (RFC 3948 §2).
const ESP_PORT: u16 = 4_500;
/// The ports of a core on its own address.
const PORTS: [u16; 2] = [5060, 5062];

/// What was found by trying.
struct Facts {
    kernel: KernelCan,
    raw: Result<(), String>,
    network: Result<(), String>,
    in_udp: io::Result<()>,
    ipv6: io::Result<()>,
    ports: Vec<(u16, io::Result<()>)>,
    files: Option<(u64, u64)>,
}

/// How well something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    Partly,
    No,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// Its name for programs.
    id: &'static str,
    /// What it is.
    name: &'static str,
    verdict: Verdict,
    /// Which, or why not.
    what: String,
    /// How to allow more.
    allow: Option<String>,
}

/// Looks, and tells; exit code 0 when a protected call is possible in some form.
pub(super) fn doctor(as_json: bool) -> ExitCode {
    let findings = findings(&look(), &|name| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    });
    let told = if as_json { in_json(&findings) } else { in_words(&findings) };
    let _ = term::print(&told);
    ExitCode::from(if form(&findings).is_some() { EXIT_OK } else { EXIT_FAILED })
}

fn look() -> Facts {
    let any = |port| SocketAddr::from(([0; 4], port));
    let both = |port| UdpSocket::bind(any(port)).and_then(|_| TcpListener::bind(any(port)));
    Facts {
        kernel: kernel_can(),
        raw: raw_can(),
        network: crate::run::apart::allowed(),
        in_udp: UdpSocket::bind(any(ESP_PORT)).map(|_| ()),
        ipv6: UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).map(|_| ()),
        ports: PORTS.into_iter().map(|port| (port, both(port).map(|_| ()))).collect(),
        files: file_limits(),
    }
}

fn findings(facts: &Facts, sysctl: &dyn Fn(&str) -> Option<String>) -> Vec<Finding> {
    vec![
        kernel(&facts.kernel, false),
        kernel(&facts.kernel, true),
        raw(facts),
        network(facts, sysctl),
        in_udp(facts),
        ipv6(facts, sysctl),
        ports(facts),
        files(facts),
    ]
}

fn kernel(can: &KernelCan, v6: bool) -> Finding {
    let (id, name) = if v6 {
        ("kernel_esp_ipv6", "ESP of the kernel, IPv6")
    } else {
        ("kernel_esp_ipv4", "ESP of the kernel, IPv4")
    };
    let of = || can.pairs.iter().filter(|pair| pair.v6 == v6);
    let known: Vec<String> =
        of().filter(|it| it.fault.is_none()).map(|it| it.algorithms.to_string()).collect();
    let first = of().find_map(|it| it.fault.clone()).or_else(|| can.fault.clone());
    let why = first.map(|fault| fault.reason);
    let verdict = match (known.is_empty(), why.is_none()) {
        (true, _) => Verdict::No,
        (false, true) => Verdict::Yes,
        (false, false) => Verdict::Partly,
    };
    // The reason of the kernel says what to do.
    let (what, allow) =
        if known.is_empty() { (why.unwrap_or_default(), None) } else { (known.join(", "), why) };
    Finding { id, name, verdict, what, allow }
}

fn raw(facts: &Facts) -> Finding {
    let (id, name) = ("raw_sockets", "ESP on raw sockets");
    match &facts.raw {
        Ok(()) => Finding {
            id,
            name,
            verdict: Verdict::Yes,
            what: "this process may open them: phones can be reached".to_owned(),
            allow: None,
        },
        Err(why) => Finding {
            id,
            name,
            verdict: Verdict::No,
            what: why.clone(),
            allow: Some(
                "run as root, or give the program the right: sudo setcap \
                 cap_net_admin,cap_net_raw+ep PROGRAM"
                    .to_owned(),
            ),
        },
    }
}

fn network(facts: &Facts, sysctl: &dyn Fn(&str) -> Option<String>) -> Finding {
    let (id, name) = ("own_network", "a network of its own");
    let forbidding = SYSCTLS
        .iter()
        .filter(|(name, forbids, _)| sysctl(name).is_some_and(|value| value == *forbids));
    let orders: Vec<String> =
        forbidding.map(|(name, _, allows)| format!("sudo sysctl {name}={allows}")).collect();
    match &facts.network {
        Ok(()) => Finding {
            id,
            name,
            verdict: Verdict::Yes,
            what: "user and network namespaces: `cscf run --ipsec` has real ESP packets without \
                   privileges"
                .to_owned(),
            allow: None,
        },
        Err(why) => Finding {
            id,
            name,
            verdict: Verdict::No,
            what: why.clone(),
            allow: Some(if orders.is_empty() {
                "no sysctl forbids it; in a container, allow the system call unshare (seccomp), or \
                 run as root"
                    .to_owned()
            } else {
                orders.join("; ")
            }),
        },
    }
}

fn in_udp(facts: &Facts) -> Finding {
    let (id, name) = ("esp_in_udp", "ESP in UDP (RFC 3948)");
    let (verdict, what, allow) = match &facts.in_udp {
        Ok(()) => (Verdict::Yes, format!("port {ESP_PORT} is free; needs no privilege"), None),
        Err(fault) => (
            Verdict::No,
            format!("port {ESP_PORT}: {fault}"),
            Some(format!(
                "stop what has it (`ss -lnup 'sport = :{ESP_PORT}'` shows it), or write another \
                 `ipsec_port` in the lab file"
            )),
        ),
    };
    Finding { id, name, verdict, what, allow }
}

fn ipv6(facts: &Facts, sysctl: &dyn Fn(&str) -> Option<String>) -> Finding {
    let (id, name) = ("ipv6", "IPv6");
    let off = sysctl("net.ipv6.conf.all.disable_ipv6").is_some_and(|value| value == "1");
    let (verdict, what, allow) = match &facts.ipv6 {
        Ok(()) => (Verdict::Yes, "addresses can be had".to_owned(), None),
        Err(fault) => {
            let allow = "sudo sysctl net.ipv6.conf.all.disable_ipv6=0".to_owned();
            (Verdict::No, format!("no address ::1: {fault}"), off.then_some(allow))
        }
    };
    Finding { id, name, verdict, what, allow }
}

fn ports(facts: &Facts) -> Finding {
    let free = |free: bool| {
        let of = facts.ports.iter().filter(move |(_, found)| found.is_ok() == free);
        of.map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (ours, taken) = (free(true), free(false));
    let verdict = match (ours.is_empty(), taken.is_empty()) {
        (_, true) => Verdict::Yes,
        (false, false) => Verdict::Partly,
        (true, false) => Verdict::No,
    };
    let what = match verdict {
        Verdict::Yes => format!("{ours} are free on all addresses"),
        Verdict::Partly => format!("{ours} is free, {taken} is in use on some address"),
        Verdict::No => format!("{taken} are in use on some address"),
    };
    let allow = (verdict != Verdict::Yes).then(|| {
        "stop what has them (`ss -lntup` shows it), or give the lab file an address or ports of \
         its own"
            .to_owned()
    });
    Finding { id: "ports", name: "ports of SIP and of ESP", verdict, what, allow }
}

fn files(facts: &Facts) -> Finding {
    let (id, name) = ("open_files", "open files");
    let Some((now, most)) = facts.files else {
        let what = "the system does not tell its limit".to_owned();
        return Finding { id, name, verdict: Verdict::Partly, what, allow: None };
    };
    let few = most < FILES_FEW;
    Finding {
        id,
        name,
        verdict: if few { Verdict::Partly } else { Verdict::Yes },
        what: format!("{now}, and up to {most} are taken by themselves; each connection is one"),
        allow: few.then(|| "ulimit -Hn 65536 as root, or LimitNOFILE= in a unit".to_owned()),
    }
}

/// The best form of a protected call here, in words.
fn form(findings: &[Finding]) -> Option<&'static str> {
    let works = |id| findings.iter().any(|it| it.id == id && it.verdict != Verdict::No);
    if works("kernel_esp_ipv4") || works("kernel_esp_ipv6") {
        Some("with the kernel's ESP, also for phones; on one machine with ESP of this program")
    } else if works("raw_sockets") {
        Some("with ESP packets of this program, also for phones")
    } else if works("own_network") {
        Some("with ESP packets of this program in a network of its own; not for phones")
    } else if works("esp_in_udp") {
        Some("with ESP in UDP, where both ends are this program; not for phones")
    } else {
        None
    }
}

fn in_words(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { name, verdict, what, allow, .. } in findings {
        let _ = write!(out, "{name:<25} {:<7} {what}", verdict.as_str());
        if let Some(allow) = allow {
            let _ = write!(out, "; to allow more: {allow}");
        }
        out.push('\n');
    }
    let _ = match form(findings) {
        Some(form) => writeln!(out, "\nA protected call is possible: {form}."),
        None => writeln!(out, "\nNo protected call is possible."),
    };
    out
}

fn in_json(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|Finding { id, name, verdict, what, allow }| {
        let verdict = verdict.as_str();
        json!({"check": id, "name": name, "verdict": verdict, "what": what, "allow": allow})
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let in_use = || Err(io::ErrorKind::AddrInUse.into());
        Facts {
            kernel: KernelCan { fault: None, pairs: Vec::new() },
            raw: Err("raw sockets cannot be had".to_owned()),
            network: Err("no user namespace".to_owned()),
            in_udp: in_use(),
            ipv6: Err(io::ErrorKind::AddrNotAvailable.into()),
            ports: vec![(5060, in_use()), (5062, Ok(()))],
            files: Some((1_024, 1_024)),
        }
    }

    fn locked(name: &str) -> Option<String> {
        let value = match name {
            "kernel.apparmor_restrict_unprivileged_userns" => "1",
            "net.ipv6.conf.all.disable_ipv6" => "1",
            "user.max_user_namespaces" => "15000",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn line<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
        findings.iter().find(|it| it.id == id).expect(id)
    }

    #[test]
    fn what_forbids_is_named_with_the_order_that_allows() {
        let findings = findings(&facts(), &locked);
        let allow = |id| line(&findings, id).allow.clone().unwrap_or_default();
        let sysctl = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
        assert_eq!(allow("own_network"), sysctl);
        assert!(allow("raw_sockets").contains("cap_net_raw+ep"));
        assert_eq!(allow("ipv6"), "sudo sysctl net.ipv6.conf.all.disable_ipv6=0");
        assert!(allow("esp_in_udp").contains("`ipsec_port`"));
        assert!(allow("open_files").contains("ulimit"));
        assert_eq!(line(&findings, "ports").verdict, Verdict::Partly);
        assert_eq!(form(&findings), None);
        let text = in_words(&findings);
        assert!(text.ends_with("No protected call is possible.\n"), "{text}");
        assert_eq!(text.lines().count(), findings.len() + 2);
    }

    #[test]
    fn each_form_is_enough_and_the_best_is_told() {
        let said = |facts: &Facts| form(&findings(facts, &|_| None)).unwrap_or_default();
        let mut facts = facts();
        facts.in_udp = Ok(());
        assert!(said(&facts).starts_with("with ESP in UDP"));
        facts.network = Ok(());
        assert!(said(&facts).contains("a network of its own"));
        facts.raw = Ok(());
        assert!(said(&facts).ends_with("also for phones"));
        let in_json = in_json(&findings(&facts, &|_| None));
        let first = in_json.lines().next().expect("a line");
        let first: serde_json::Value = serde_json::from_str(first).expect("JSON");
        assert_eq!((&first["check"], &first["verdict"]), (&json!("kernel_esp_ipv4"), &json!("no")));
    }
}

//! `cscf init`: a lab file to change.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use cscf_core::config::{Lab, NodeRole, PathMtu, TlsConfig};
use cscf_core::transport::Transport;

use crate::certificates;

/// What `cscf init` is asked.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The network: country code and network code of two or three digits
    #[arg(long, value_name = "MCC/MNC", default_value = "001/01", value_parser = plmn)]
    plmn: (String, String),
    /// The address of this machine that phones reach
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "lab.yaml")]
    output: PathBuf,
    /// Let the P-CSCF listen for TLS and WebSocket, and make certificates for it in the folder
    /// tls beside the file
    #[arg(long)]
    tls: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

fn plmn(text: &str) -> Result<(String, String), String> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('/') {
        Some((mcc, mnc)) if digits(mcc) && digits(mnc) && mcc.len() == 3 => {
            if matches!(mnc.len(), 2 | 3) {
                return Ok((mcc.to_owned(), mnc.to_owned()));
            }
            Err(format!("the network code `{mnc}` has two or three digits, e.g. 01"))
        }
        _ => Err("write country code / network code, e.g. 001/01".to_owned()),
    }
}

/// Writes the file and says what to do next.
pub(super) fn init(args: &InitArgs) -> Result<String, String> {
    if args.address.is_unspecified() {
        return Err(no_address(args.address));
    }
    let (mcc, mnc) = &args.plmn;
    let mut lab = Lab::for_plmn(mcc, mnc, [args.address; 4]);
    if !args.address.is_loopback() {
        // Other machines take part: what passes is what an Ethernet carries.
        lab.path_mtu = PathMtu::Known(1500);
    }
    let shown = args.output.display();
    if args.tls {
        listen_for_all(&mut lab);
    }
    let folder = args.output.parent().unwrap_or(Path::new(""));
    if args.tls && !args.force && folder.join(FOLDER).exists() {
        let there = folder.join(FOLDER);
        return Err(format!(
            "{} is there already; --force makes new certificates",
            there.display()
        ));
    }
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    if args.force {
        options.create(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(&args.output).map_err(|fault| match fault.kind() {
        ErrorKind::AlreadyExists => {
            format!("{shown} is there already; --force writes over it, -o takes another name")
        }
        _ => format!("{shown} cannot be written: {fault}"),
    })?;
    if args.tls {
        lab.tls = certified(&lab, folder)?;
    }
    file.write_all(lab.to_yaml().as_bytes())
        .map_err(|fault| format!("{shown} cannot be written: {fault}"))?;
    let mut said = format!("wrote {shown}: change what you like, then `cscf up --lab {shown}`\n");
    if args.tls {
        let ca = folder.join(FOLDER).join("ca.pem");
        let _ = write!(said, "{}", advice(&lab, &ca.display().to_string()));
    }
    Ok(said)
}

/// Why no lab is at an address that stands for all: nodes tell it to phones and to each other.
fn no_address(address: IpAddr) -> String {
    let own: Vec<String> = own_addresses(address.is_ipv6());
    let have = match own.as_slice() {
        [] => String::new(),
        own => format!("; this machine has {}", own.join(", ")),
    };
    let example = own.last().map_or("192.168.1.10", String::as_str);
    format!(
        "{address} is no address that a phone could reach: nodes write theirs into Via, Path and \
         Service-Route; take that of the interface to the phones, e.g. `--address {example}`{have}"
    )
}

/// The addresses of the interfaces of this machine, as the kernel lists them; of IPv6 those that
/// other machines reach.
fn own_addresses(v6: bool) -> Vec<String> {
    let list = if v6 { "/proc/net/if_inet6" } else { "/proc/net/fib_trie" };
    let list = std::fs::read_to_string(list).unwrap_or_default();
    let mut out = if v6 { of_inet6(&list) } else { of_trie(&list) };
    out.sort_by_key(|addr| (!addr.is_loopback(), *addr));
    out.dedup();
    out.iter().map(IpAddr::to_string).collect()
}

/// Lines `|-- ADDRESS`, behind which stands `/32 host LOCAL` where it is of this machine.
fn of_trie(list: &str) -> Vec<IpAddr> {
    let mut last = None;
    let mut out = Vec::new();
    for line in list.lines() {
        if let Some((_, addr)) = line.split_once("-- ") {
            last = addr.trim().parse().ok();
        } else if line.trim() == "/32 host LOCAL" {
            out.extend(last.filter(|addr: &IpAddr| *addr != IpAddr::from([127, 0, 0, 0])));
        }
    }
    out
}

/// Lines of 32 hexadecimal digits, index, length of the prefix, scope, flags, name; scope 00 is
/// global, 10 loopback.
fn of_inet6(list: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let addr = u128::from_str_radix(words.next()?, 16).ok()?;
        let scope = words.nth(2)?;
        matches!(scope, "00" | "10").then(|| IpAddr::from(std::net::Ipv6Addr::from_bits(addr)))
    };
    list.lines().filter_map(line).collect()
}

/// Where the certificates are, beside the lab file.
const FOLDER: &str = "tls";

fn listen_for_all(lab: &mut Lab) {
    lab.gm.tls = true;
    for node in lab.nodes.iter_mut().filter(|node| node.role == NodeRole::Pcscf) {
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            node.listen_for(transport);
        }
    }
}

/// Makes the certificates; in the lab file they are named from where that is.
fn certified(lab: &Lab, folder: &Path) -> Result<TlsConfig, String> {
    let mut made = certificates::make(lab, &folder.join(FOLDER))?;
    let files = [
        &mut made.ca,
        &mut made.certificate,
        &mut made.key,
        &mut made.client_certificate,
        &mut made.client_key,
    ];
    for file in files.into_iter().flatten() {
        if let Ok(beside) = file.strip_prefix(folder) {
            *file = beside.to_owned();
        }
    }
    Ok(made)
}

/// Where to connect to, and how a phone comes to trust it.
fn advice(lab: &Lab, ca: &str) -> String {
    let secured = lab.node(NodeRole::Pcscf).map(|node| node.secured_listeners());
    let mut out = String::new();
    for (transport, addr) in secured.unwrap_or_default() {
        let _ = writeln!(out, "{:<4} {addr}", transport.param_name());
    }
    let _ = writeln!(
        out,
        "give {ca} to the phone as a CA it trusts (Android: Settings, Security, Install a \
         certificate, CA certificate; iOS: open it, install the profile, then trust it in General, \
         About, Certificate Trust Settings; baresip: sip_cafile; a browser: its list of \
         authorities); ca.key stays here"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_two_codes() {
        assert_eq!(plmn("001/01"), Ok(("001".to_owned(), "01".to_owned())));
        assert_eq!(plmn("310/410"), Ok(("310".to_owned(), "410".to_owned())));
        for wrong in ["00101", "1/01", "001/1", "001/0123", "abc/de"] {
            assert!(plmn(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_lists_them() {
        let trie = [
            "Main:",
            "  +-- 0.0.0.0/0 3 0 5",
            "     |-- 127.0.0.1",
            "        /32 host LOCAL",
            "     |-- 192.0.2.7",
            "        /32 host LOCAL",
            "     |-- 192.0.2.255",
            "        /32 link BROADCAST",
        ];
        let told = |list: Vec<IpAddr>| list.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(told(of_trie(&trie.join("\n"))), ["127.0.0.1", "192.0.2.7"]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\n\
                     fe800000000000000000000000000007 02 40 20 80     eth0\n";
        assert_eq!(told(of_inet6(inet6)), ["::1", "2001:db8::7"]);
    }

    #[test]
    fn an_address_that_stands_for_all_is_refused_with_those_there_are() {
        let said = no_address(IpAddr::from([0, 0, 0, 0]));
        assert!(said.starts_with("0.0.0.0 is no address that a phone could reach"), "{said}");
        assert!(said.contains("`--address ") && said.contains("127.0.0.1"), "{said}");
    }
}

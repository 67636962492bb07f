//! A kernel that has ESP, whatever this machine's has: user-mode Linux (Debian's package). Inside
//! it this same program runs the tests that are ignored outside, with the root file system
//! read-only.
//!
//! `ip xfrm` shows what the kernel has of our associations; it is compared with recorded text
//! (`tests/uml/*.txt`; `CSCF_BLESS=1` writes it). The kernel's ESP talks with that in user space.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cscf_core::config::Lab;
use cscf_core::engine::Input;
use cscf_core::host::protected::Form;
use cscf_core::host::protected::xfrm::kernel_can;
use cscf_core::transport::SaId;
use cscf_core::transport::esp::DropCause;
use cscf_core::transport::ipsec::{Algorithms, SaSet};
use scenarios::script::{self, read_scenario};

use crate::running::{installed, wait_until};
use crate::split::Split;
use crate::stations::{
    Family, Hosts, PORTS, Station, datagrams_pass, enter, ip, pairs, set, streams_pass,
};

/// Begins what is recorded, with its name.
const RECORD: &str = "record: ";
/// Ends it.
const RECORD_END: &str = "end of record";

/// Runs an ignored test of this program inside user-mode Linux; gives what it wrote.
fn inside(test: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("uml/init.sh");
    let program = std::env::current_exe().expect("this program");
    // A place for its memory; the file has no name while it runs.
    let memory = tempfile::tempdir().expect("a folder");
    let output = Command::new("linux.uml")
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "mem=512M"])
        .args(["con=null", "con0=null,fd:1", "ssl=null", "quiet"])
        .arg(format!("init={}", here.display()))
        .arg(format!("cscf_inside={}", program.display()))
        .arg(format!("cscf_test={test}"))
        .env("TMPDIR", memory.path())
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(text.contains("inside ended with 0"), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    text
}

#[test]
fn the_kernel_has_our_associations_and_talks_with_esp_in_user_space() {
    if !installed("linux.uml") {
        return;
    }
    let text = inside("uml::a_kernel_that_has_esp");
    for name in ["state", "policy"] {
        let begin = format!("{RECORD}{name}\n");
        let (_, rest) = text.split_once(&begin).expect("a record");
        let (got, _) = rest.split_once(RECORD_END).expect("its end");
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("uml/{name}.txt"));
        if std::env::var_os("CSCF_BLESS").is_some() {
            fs::write(&file, got).expect("writes");
        }
        let recorded = fs::read_to_string(&file).expect("a record");
        assert_eq!(got, recorded, "{}", file.display());
    }
}

#[test]
#[ignore = "runs inside user-mode Linux"]
fn a_kernel_that_has_esp() {
    let hosts = Hosts::make().expect("two hosts");
    the_probe_finds_all_pairs(&hosts);
    ip_shows_what_is_installed(&hosts);
    each_end_may_be_the_kernel(&hosts);
    // The kernel counts for a host: what comes late of the connections before counts, too.
    what_is_no_esp_is_dropped_and_told(&Hosts::make().expect("two hosts"));
    what_is_forged_or_repeated_is_told_of_its_set(&Hosts::make().expect("two hosts"));
    a_set_that_goes_resets_its_connections(&hosts);
    what_is_left_over_is_removed(&hosts);
    the_main_job_runs_over_it(&hosts);
}

fn the_probe_finds_all_pairs(hosts: &Hosts) {
    let host = hosts.p.clone();
    let can = std::thread::spawn(move || {
        enter(&host);
        kernel_can()
    });
    let can = can.join().expect("a probe");
    assert_eq!(can.fault, None);
    let cannot: Vec<_> = can.pairs.iter().filter(|pair| pair.fault.is_some()).collect();
    assert!(cannot.is_empty(), "{cannot:#?}");
    assert_eq!(can.pairs.len(), 2 * pairs().len());
    assert_eq!(xfrm(&hosts.p, "state"), "", "the probe takes away what it has tried");
}

/// What `ip xfrm` shows on a host.
fn xfrm(host: &str, of: &str) -> String {
    ip(&["-n", host, "xfrm", of]).expect("shows")
}

fn p_station(hosts: &Hosts, form: Form) -> Station {
    let at = Family::BOTH.map(Family::p);
    Station::start(&hosts.p, form, &at, &[PORTS.server, PORTS.client]).expect("a P-CSCF")
}

fn ue_station(hosts: &Hosts, form: Form) -> Station {
    Station::start(&hosts.ue, form, &Family::BOTH.map(Family::ue), &[]).expect("UEs")
}

/// One set of each pair of algorithms with IPv4, and one with IPv6.
fn recorded_sets() -> Vec<(SaSet, SaSet)> {
    let all = (1..).zip(pairs()).map(|(index, pair)| set(index, pair, Family::V4));
    all.chain([set(100, sha(), Family::V6)]).collect()
}

fn sha() -> Algorithms {
    Algorithms::named("hmac-sha-1-96", "aes-cbc").expect("go together")
}

fn ip_shows_what_is_installed(hosts: &Hosts) {
    let p = p_station(hosts, Form::Kernel);
    let guards = xfrm(&hosts.p, "policy");
    assert_eq!(guards.matches("action block").count(), 8, "{guards}");
    let sets = recorded_sets();
    for (set, _) in &sets {
        p.install(set);
    }
    assert_eq!(p.protected().sets.len(), sets.len());
    // The mark of whoever installed them is another one each time.
    let mark = mark_in(&xfrm(&hosts.p, "state"));
    for of in ["state", "policy"] {
        let shown = xfrm(&hosts.p, of).replace(&mark, "MARK");
        println!("{RECORD}{of}\n{}{RECORD_END}", sorted(&shown));
    }
    for (set, _) in &sets {
        p.remove(set.id);
    }
    assert!(p.protected().sets.is_empty());
    assert_eq!(xfrm(&hosts.p, "state"), "");
    assert_eq!(xfrm(&hosts.p, "policy"), guards);
    drop(p);
    assert_eq!(xfrm(&hosts.p, "policy"), "");
}

fn mark_in(states: &str) -> String {
    let (_, rest) = states.split_once("reqid ").expect("a request id");
    rest.split_whitespace().next().expect("a number").to_owned()
}

/// Entries in an order of their own: the kernel's is that of its tables.
fn sorted(shown: &str) -> String {
    let mut entries: Vec<String> = Vec::new();
    for line in shown.lines() {
        match entries.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => {
                last.push('\n');
                last.push_str(line.trim_end());
            }
            _ => entries.push(line.trim_end().to_owned()),
        }
    }
    entries.sort();
    entries.into_iter().map(|entry| entry + "\n").collect()
}

fn each_end_may_be_the_kernel(hosts: &Hosts) {
    for (of_p, of_ue) in [(Form::Kernel, Form::Raw), (Form::Raw, Form::Kernel)] {
        let (mut p, mut ue) = (p_station(hosts, of_p), ue_station(hosts, of_ue));
        let mut index = 0;
        for family in Family::BOTH {
            for pair in pairs() {
                index += 1;
                let (set_of_p, set_of_ue) = set(index, pair, family);
                p.install(&set_of_p);
                ue.install(&set_of_ue);
                datagrams_pass((&p, &set_of_p), (&ue, &set_of_ue));
                streams_pass((&mut p, &set_of_p), (&mut ue, &set_of_ue));
            }
        }
        println!("{of_p} with {of_ue}: {index} sets, {:?}", p.protected().dropped);
    }
}

fn what_is_no_esp_is_dropped_and_told(hosts: &Hosts) {
    let p = p_station(hosts, Form::Kernel);
    let (set_of_p, _) = set(1, sha(), Family::V4);
    p.install(&set_of_p);
    let (local, remote) = (set_of_p.local, set_of_p.remote);
    let host = hosts.ue.clone();
    let sends = std::thread::spawn(move || {
        enter(&host);
        // From the port of the association, and from another.
        for from in [remote.client(), SocketAddr::new(remote.addr, 39_999)] {
            let socket = UdpSocket::bind(from).expect("a socket");
            for to in [local.server(), local.client()] {
                socket.send_to(b"clear text", to).expect("sends");
            }
        }
    });
    sends.join().expect("sends");
    // What the kernel counts is told by the second, so perhaps not all at once.
    let mut told = 0;
    while told < 4 {
        let text = p.drops("by the kernel");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[..3], ["ESP:", "clear", "text:"], "{text}");
        told += words[3].parse::<u64>().expect("a number");
    }
    let dropped = p.protected().dropped;
    assert_eq!(dropped, [(DropCause::ClearText, 4)]);
}

fn what_is_forged_or_repeated_is_told_of_its_set(hosts: &Hosts) {
    let (p, ue) = (p_station(hosts, Form::Kernel), ue_station(hosts, Form::Raw));
    let (set_of_p, set_of_ue) = set(31, sha(), Family::V4);
    p.install(&set_of_p);
    let bytes = bytes::Bytes::from_static(b"OPTIONS");
    let mut forged = set_of_ue.clone();
    forged.keys.integrity[0] ^= 1;
    ue.install(&forged);
    ue.send(forged.datagram_flow(), &bytes);
    let told = p.drops("integrity check value wrong: 1 by the kernel");
    assert!(told.contains(&format!("SPI {}", set_of_p.local.ports.spi_server)), "{told}");
    // Whoever begins anew under the same key repeats numbers.
    for _ in 0..2 {
        ue.remove(set_of_ue.id);
        ue.install(&set_of_ue);
        ue.send(set_of_ue.datagram_flow(), &bytes);
    }
    p.drops("replayed or too old: 1 by the kernel");
    let Input::Datagram(heard) = p.hear() else { panic!("the first is taken") };
    assert_eq!(heard.flow.sa, Some(set_of_p.id));
    let mut dropped = p.protected().dropped;
    dropped.sort();
    assert_eq!(dropped, [(DropCause::BadIcv, 1), (DropCause::Replayed, 1)]);
}

fn a_set_that_goes_resets_its_connections(hosts: &Hosts) {
    let (p, mut ue) = (p_station(hosts, Form::Kernel), ue_station(hosts, Form::Raw));
    let (set_of_p, set_of_ue) = set(32, sha(), Family::V4);
    p.install(&set_of_p);
    ue.install(&set_of_ue);
    let conn = ue.connect(set_of_ue.stream_flow());
    assert!(matches!(ue.hear(), Input::Opened(_)) && matches!(p.hear(), Input::Opened(_)));
    p.remove(set_of_p.id);
    let Input::Closed { cause, .. } = p.hear() else { panic!("its end") };
    assert_eq!(cause, "its security associations are gone");
    // The reset came by ESP: nothing else reaches this end.
    let Input::Closed { conn: ended, cause } = ue.hear() else { panic!("its end") };
    assert_eq!((ended, &*cause), (conn, "reset by peer"));
    wait_until(|| xfrm(&hosts.p, "state").is_empty().then_some(()));
}

fn what_is_left_over_is_removed(hosts: &Hosts) {
    let (mut holder, said) = crashing(&hosts.p);
    assert!(said.contains("installed"), "{said}");
    let at = Family::BOTH.map(Family::p);
    let refused = Station::start(&hosts.p, Form::Kernel, &at, &[PORTS.server]);
    let refused = refused.err().expect("two programs cannot have one address");
    assert!(refused.contains("protects these addresses and ports already"), "{refused}");
    holder.kill().expect("ends");
    holder.wait().expect("is over");
    assert_eq!(xfrm(&hosts.p, "state").matches("proto esp").count(), 4);

    let p = p_station(hosts, Form::Kernel);
    // Four states, four policies, and the guards of two ports at two addresses.
    p.notes("16 entries of a program that has ended");
    assert_eq!(xfrm(&hosts.p, "state"), "");
    // What others have is not touched, and who stands in the way is told.
    let selector = ["src", "10.9.8.2/32", "dst", "10.9.8.1/32", "sport", "40005", "dport", "5062"];
    let add = ["-n", &hosts.p, "xfrm", "policy", "add", "dir", "in"];
    let (set, _) = set(2, sha(), Family::V4);
    ip(&[&add[..], &["src", "10.9.8.2/32", "dst", "10.9.8.1/32", "proto", "udp"], &selector[4..]]
        .concat())
    .expect("adds");
    p.install(&set);
    assert!(p.protected().sets.contains(&set), "for another protocol is for others");
    p.remove(SaId(2));
    let index = xfrm(&hosts.p, "policy").matches("proto udp").count();
    assert_eq!(index, 1);
}

/// Two phones register and call, with the core's ESP in the kernel.
fn the_main_job_runs_over_it(hosts: &Hosts) {
    let source = scenarios::builtin::find("volte-call").expect("the main job").source;
    let lab = Lab::default_lab();
    let scenario = read_scenario(source, &lab.domain).expect("a scenario");
    for of_ue in [Form::Raw, Form::Kernel] {
        let mut split = Split::start(hosts, &scenario, [Form::Kernel, of_ue]);
        script::run(&scenario, &mut split).unwrap_or_else(|failure| panic!("{of_ue}: {failure:?}"));
        let protected = split.protected();
        assert_eq!(protected.dropped, [], "{of_ue}");
        assert_eq!(protected.sets.len(), 2, "{of_ue}");
        // Of each phone both associations to the server port and those back were used.
        let shown = ip(&["-s", "-n", &hosts.p, "xfrm", "state"]).expect("shows");
        let unused = shown.matches("\t  0(bytes), 0(packets)").count();
        let states = shown.matches("proto esp").count();
        assert_eq!(states, 8, "{shown}");
        assert!(unused <= 4, "{unused} of {states} were never used:\n{shown}");
        println!("the main job runs, phones with {of_ue}");
    }
}

/// Runs the test below in a process of its own; gives it and its first words.
fn crashing(host: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "uml::one_that_will_crash", "--nocapture"])
        .env("CSCF_HOST", host)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let said = lines.map_while(Result::ok).find(|line| line.contains("installed"));
    (child, said.unwrap_or_default())
}

#[test]
#[ignore = "runs inside user-mode Linux"]
fn one_that_will_crash() {
    let host = std::env::var("CSCF_HOST").expect("a host");
    let at = Family::BOTH.map(Family::p);
    let p = Station::start(&host, Form::Kernel, &at, &[PORTS.server, PORTS.client]).expect("one");
    p.install(&set(1, sha(), Family::V4).0);
    assert_eq!(p.protected().sets.len(), 1);
    println!("installed");
    let _ = std::io::stdin().read_line(&mut String::new());
}

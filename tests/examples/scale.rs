//! Registers users of a large HSS in the simulated lab, and lets them call each other, for
//! instruction counts and for bytes alive by call site:
//! `scale SUBSCRIBERS USERS idle|register|call|hold|message|reregister [LINGER]`. Nobody reads the
//! trace.
//! `idle` does everything but the registrations, `call` registers all and lets each of the first
//! half call one of the second, so that differences are of one kind of work alone, the light UEs of
//! `cscf load` included; `docs/decisions.md` has the command and figures. With `hold` those calls
//! are up when it ends. It ends `LINGER` seconds (300) after the last piece of work, when all its
//! transactions are forgotten, and leaves everything as it is: what `valgrind --tool=dhat` counts
//! at the end is what is kept then (`docs/performance.md`).

#![allow(clippy::print_stdout, reason = "it is a program")]
#![allow(unused_crate_dependencies, reason = "those of the tests")]

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::config::{Lab as LabFile, NodeRole, Start, read_lab};
use cscf_core::ids::Seed;
use cscf_core::time::{Duration, Instant};
// The tools that count bytes see only what the allocator of the system gives.
#[cfg(not(feature = "system-allocator"))]
use mimalloc as _;
use scenarios::lab::{Lab, NetworkOptions};
use scenarios::load::fleet::{Fleet, Setup};
use scenarios::load::people::{People, Sources};
use scenarios::load::plan::Work;
use scenarios::run::{UNIX_AT_EPOCH, lab_node};

/// Between the beginnings of two pieces of work: each is through before the next.
const PAUSE: Duration = Duration::from_millis(300);
/// Long enough for the last deadline of a transaction to come.
const LINGER: u64 = 300;
/// Between the answer of a call and its end: of one that ends, and of one that is to stay.
const HOLD: Duration = Duration::from_millis(100);
const HOLD_ON: Duration = Duration::from_secs(500_000);

fn main() -> Result<(), String> {
    let usage = "scale SUBSCRIBERS USERS idle|register|call|hold|message|reregister [LINGER]";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (count, users, what, linger) = match args.as_slice() {
        [count, users, what] => (count, users, what, LINGER),
        [count, users, what, linger] => (count, users, what, linger.parse().map_err(|_| usage)?),
        _ => return Err(usage.to_owned()),
    };
    let users: usize = users.parse().map_err(|_| usage)?;
    let hold = if what == "hold" { HOLD_ON } else { HOLD };
    let mut bench = Bench::new(lab_of(count)?, users, hold)?;
    bench.run_until(Instant::EPOCH + Duration::from_millis(50));
    let works: &[Work] = match what.as_str() {
        "idle" => &[],
        "register" => &[Work::Register],
        "reregister" => &[Work::Register, Work::Reregister],
        "call" | "hold" => &[Work::Register, Work::Call],
        "message" => &[Work::Register, Work::Message],
        _ => return Err(usage.to_owned()),
    };
    for work in works {
        let times = if matches!(work, Work::Call | Work::Message) { users / 2 } else { users };
        for ue in 0..times {
            bench.active = [ue, ue + users / 2];
            if !bench.fleet.begin(*work, bench.lab.now()) {
                return Err("nobody can do that".to_owned());
            }
            bench.run_until(bench.lab.now() + PAUSE);
        }
        bench.run_until(bench.lab.now() + Duration::from_secs(1));
    }
    bench.run_until(bench.lab.now() + Duration::from_secs(linger));
    let results = bench.fleet.take_results();
    println!("{} registered; {:?} done, {:?} failed", bench.fleet.registered(), results.ok, {
        results.failed
    });
    println!("{} packets from UEs, {} to UEs", results.sent, results.received);
    std::mem::forget(bench);
    Ok(())
}

/// A core in a simulated network, and its UEs.
struct Bench {
    lab: Lab,
    fleet: Fleet,
    pcscf: SocketAddr,
    inboxes: Vec<SocketAddr>,
    /// Who may hear something.
    active: [usize; 2],
}

impl Bench {
    fn new(mut file: LabFile, users: usize, hold: Duration) -> Result<Self, String> {
        file.reg_event_subscription = false;
        let mut lab = Lab::new(1, NetworkOptions::default());
        // The HSS first: then the others find it at their first attempt.
        for of_hss in [true, false] {
            for node in file.nodes.iter().filter(|it| (it.role == NodeRole::Hss) == of_hss) {
                let seed = lab.seed_of(&node.name);
                let start = Start { seed, tracing: false, unix_at_epoch: UNIX_AT_EPOCH };
                let addresses: Vec<SocketAddr> = node.addresses().collect();
                lab.add(lab_node(&file, node, &start)?, &addresses);
            }
        }
        // Spread over all of them.
        let step = (file.subscribers.count() / users.max(1)).max(1);
        let chosen = (0..users).filter_map(|number| file.subscribers.at(number * step));
        let chosen: Vec<_> = chosen.map(Cow::into_owned).collect();
        let Some(SocketAddr::V4(dut)) = file.node(NodeRole::Pcscf).map(|node| node.listen) else {
            return Err("no P-CSCF".to_owned());
        };
        let setup = Setup {
            people: People::listed(&chosen.into(), &file.domain, None),
            sources: Sources::parse("127.9.1.1:5060")?,
            dut,
            routes: Vec::new(),
            ring: Duration::from_millis(20),
            hold,
            t1: Duration::from_millis(500),
            timeout: Duration::from_secs(8),
            expires: 600_000,
            run: 0xabc,
        };
        let numbers = 0..u32::try_from(users).map_err(|fault| fault.to_string())?;
        let inboxes: Vec<SocketAddr> = numbers.map(|ue| setup.sources.of(ue).into()).collect();
        inboxes.iter().for_each(|addr| lab.add_inbox(*addr));
        let fleet = Fleet::new(setup, Seed::derive(1, "fleet"));
        Ok(Self { lab, fleet, pcscf: dut.into(), inboxes, active: [0; 2] })
    }

    /// Runs core and UEs until then.
    fn run_until(&mut self, end: Instant) {
        let SocketAddr::V4(pcscf) = self.pcscf else { return };
        loop {
            self.send();
            let next = [self.lab.next_at(), self.fleet.next()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.lab.run_until(next);
            if self.fleet.running() > 0 {
                for inbox in self.active.iter().filter_map(|ue| self.inboxes.get(*ue)) {
                    for packet in self.lab.take_inbox(*inbox) {
                        self.fleet.receive(&packet.bytes, pcscf, next);
                    }
                }
            }
            self.fleet.expire(next);
        }
        self.lab.run_until(end);
    }

    fn send(&mut self) {
        let (packets, bytes) = self.fleet.packets();
        for packet in packets {
            let from = self.fleet.setup().sources.of(packet.ue).into();
            let bytes = Bytes::copy_from_slice(bytes.get(packet.at.clone()).unwrap_or_default());
            self.lab.send_datagram(from, packet.to.into(), bytes);
        }
        self.fleet.sent();
    }
}

fn lab_of(count: &str) -> Result<LabFile, String> {
    let source = format!(
        "domain: ims.mnc001.mcc001.3gppnetwork.org\n\
         nodes:\n  \
         p1: {{role: p-cscf, listen: 127.1.0.11:5060}}\n  \
         i1: {{role: i-cscf, listen: 127.1.0.12:4060}}\n  \
         s1: {{role: s-cscf, listen: 127.1.0.13:6060}}\n  \
         hss: {{role: hss, listen: 127.1.0.14:3868}}\n\
         subscribers:\n  \
         - range: {{imsi: 001010000100000, count: {count}, msisdn: +15550200000, \
         k: 30313233343536373839616263646566, opc: 8e27b6af0e692e750f32667a3b14605d}}\n"
    );
    read_lab(&source).map_err(|problems| format!("{problems:?}"))
}

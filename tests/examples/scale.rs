//! Registers users of a large HSS in the simulated lab, for instruction counts:
//! `scale SUBSCRIBERS USERS register|idle`. `idle` does everything but the registrations, so that
//! the difference is theirs alone; `docs/decisions.md` has the command and the figures.

#![allow(clippy::print_stdout, reason = "it is a program")]
#![allow(unused_crate_dependencies, reason = "those of the tests")]

use std::net::SocketAddr;

use cscf_core::config::{Lab, NodeRole, read_lab};
use cscf_core::engine::Engine;
use cscf_core::time::Duration;
use scenarios::lab::NetworkOptions;
use scenarios::run::{Instance, SimulatedStage};
use scenarios::script::Stage as _;
use scenarios::ue::{Ue, UeCommand, UeConfig};

fn main() -> Result<(), String> {
    let usage = "scale SUBSCRIBERS USERS register|idle";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [count, users, what] = args.as_slice() else { return Err(usage.to_owned()) };
    let users: usize = users.parse().map_err(|_| usage)?;
    let mut lab = lab_of(count)?;
    lab.reg_event_subscription = false;
    let pcscf = lab.node(NodeRole::Pcscf).map(|node| node.sip_uri()).unwrap_or_default();
    // Spread over all of them.
    let step = (lab.subscribers.len() / users.max(1)).max(1);
    let chosen = lab.subscribers.iter().step_by(step).take(users);
    let mut ues: Vec<UeConfig> = Vec::new();
    for (subscriber, number) in chosen.zip(0_u16..) {
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([127, 9, high, low], 5060));
        let mut ue = UeConfig::of_subscriber(&lab, subscriber, &pcscf, address);
        ue.reg_event = false;
        ues.push(ue);
    }
    let names: Vec<String> = ues.iter().map(|ue| ue.name.clone()).collect();
    let mut stage = SimulatedStage::new(Instance { lab, ues }, NetworkOptions::default(), 1)?;
    let end = stage.now() + Duration::from_millis(50);
    stage.lab.run_until(end);
    for name in &names {
        if what == "register" {
            stage.lab.with(name, |ue: &mut Engine<Ue>, now| {
                ue.command(now, UeCommand::Register { expires: None });
            });
        }
        let end = stage.now() + Duration::from_millis(100);
        stage.lab.run_until(end);
    }
    let done = stage.events().iter().filter(|event| {
        let text = format!("{:?}", event.kind);
        *event.node == *"hss" && text.contains("is registered at")
    });
    println!("{} of {} registered", done.count(), names.len());
    Ok(())
}

fn lab_of(count: &str) -> Result<Lab, String> {
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

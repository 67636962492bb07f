//! Two UEs, each in its engine, over the simulated network without proxies.

use std::net::SocketAddr;

use cscf_core::engine::{Engine, Input, Listen, Node, Output, Settings};
use cscf_core::sip::{Message, parse};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceKind;
use scenarios::lab::{Lab, LabNode, NetworkOptions};
use scenarios::ue::{CallOptions, Ue, UeCommand, UeConfig};

use super::phone::config;

/// A UE as a node of the lab.
pub(super) struct Phone(pub(super) Engine<Ue>);

impl Node for Phone {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn handle_input(&mut self, now: Instant, input: Input) {
        self.0.handle_input(now, input);
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.0.poll_output()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

impl LabNode for Phone {}

pub(super) struct World {
    pub(super) lab: Lab,
    seen: usize,
}

impl World {
    /// Alice at .1 and Bob at .2, each other's P-CSCF.
    pub(super) fn new(network: NetworkOptions, change: impl Fn(&mut UeConfig)) -> Self {
        Self::seeded(5, network, change)
    }

    pub(super) fn seeded(
        seed: u64,
        network: NetworkOptions,
        change: impl Fn(&mut UeConfig),
    ) -> Self {
        let mut lab = Lab::new(seed, network);
        for (name, own, other) in [("alice", 1, 2), ("bob", 2, 1)] {
            let address: SocketAddr = format!("10.0.0.{own}:5060").parse().expect("an address");
            let config = config(name, |config| {
                config.pcscf = format!("sip:10.0.0.{other}:5060");
                config.address = address;
                // The values of RFC 3261, for easier arithmetic.
                config.access_network_info = None;
                config.timers = cscf_core::config::Lab::default_lab().core_timers;
                change(config);
            });
            let mut settings = Settings::new(Listen::both(address));
            settings.tracing = true;
            let engine = Engine::new(name, Ue::new(config), settings, lab.seed_of(name));
            lab.add(Box::new(Phone(engine)), &[address]);
        }
        Self { lab, seen: 0 }
    }

    pub(super) fn plain(change: impl Fn(&mut UeConfig)) -> Self {
        Self::new(NetworkOptions::default(), change)
    }

    pub(super) fn command(&mut self, who: &str, command: UeCommand) {
        let done = self.lab.with(who, |phone: &mut Phone, now| phone.0.command(now, command));
        assert!(done.is_some(), "{who} is there");
    }

    pub(super) fn call(&mut self, options: CallOptions) {
        let target = "sip:bob@ims.mnc001.mcc001.3gppnetwork.org".to_owned();
        self.command("alice", UeCommand::Call { target, options });
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.lab.run_until(self.lab.now() + span);
    }

    pub(super) fn wait_ms(&mut self, span: u64) {
        self.wait(Duration::from_millis(span));
    }

    /// What was sent since the last time without `100 Trying`: `alice INVITE`, `bob 183 INVITE`.
    pub(super) fn ladder(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (event, message) in self.messages() {
            let label = match &message {
                Message::Request(request) => request.method.to_string(),
                Message::Response(response) if response.status == 100 => continue,
                Message::Response(response) => {
                    format!("{} {}", response.status, response.cseq().expect("a CSeq").method)
                }
            };
            out.push(format!("{event} {label}"));
        }
        self.seen = self.lab.trace().len();
        out
    }

    pub(super) fn messages(&self) -> Vec<(String, Message)> {
        let events = self.lab.trace().iter().skip(self.seen);
        events
            .filter_map(|event| match &event.kind {
                TraceKind::Sent(wire) => {
                    let message = parse(&wire.bytes).expect("what we send parses");
                    Some((event.node.to_string(), message))
                }
                _ => None,
            })
            .collect()
    }

    /// The first message of all with this label since the last ladder.
    pub(super) fn message(&self, who: &str, label: &str) -> Message {
        let found = self.messages().into_iter().find(|(node, message)| {
            let text = match message {
                Message::Request(request) => request.method.to_string(),
                Message::Response(response) => {
                    format!("{} {}", response.status, response.cseq().expect("a CSeq").method)
                }
            };
            node == who && text == label
        });
        found.unwrap_or_else(|| panic!("no {label} from {who}")).1
    }

    pub(super) fn states(&self, who: &str) -> Vec<String> {
        let events = self.lab.trace().iter().filter(|event| &*event.node == who);
        events
            .filter_map(|event| match &event.kind {
                TraceKind::State(state) => Some(state.clone()),
                _ => None,
            })
            .collect()
    }
}

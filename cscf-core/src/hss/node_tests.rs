//! The node against Diameter clients: a registration from end to end, RTR, PPR.

use super::tests::{aka, set, subscriber};
use super::*;
use crate::auth::Scheme;
use crate::cx::{
    AskId, AssignmentType, AuthScheme, AuthorizationType, CxAnswer, CxDemand, CxRequest, CxResult,
    DeregistrationReason, Lir, Mar, Sar, Uar,
};
use crate::diameter::{
    ClientConfig, ClientInput, ClientOutput, DiameterClient, LocalPeer, Message, Timing,
};
use crate::ids::Seed;
use crate::ifc::{PublicIdentity, ServiceProfile, UserProfile};
use crate::time::{Instant, UnixTime};
use crate::trace::TraceKind;
use crate::transport::{ConnId, Flow, Transport};

fn us(host: &str) -> LocalPeer {
    LocalPeer {
        origin_host: format!("{host}.ims.example"),
        origin_realm: "ims.example".into(),
        origin_state_id: 1,
    }
}

struct Network {
    hss: HssNode,
    /// Name, client, and its connection as it and the HSS number it.
    clients: Vec<(String, DiameterClient, Option<ConnId>)>,
    answers: Vec<(AskId, CxAnswer)>,
    /// What the next demands are answered with.
    verdict: CxResult,
    demands: Vec<(String, CxDemand)>,
    /// What the HSS sent and got.
    ladder: Vec<String>,
    notes: Vec<String>,
}

impl Network {
    fn new() -> Self {
        let config = HssConfig {
            name: "hss".into(),
            us: us("hss"),
            home_domain: "ims.example".into(),
            keep_server_name: true,
            sqn_scheme: Scheme::Counter,
            timing: Timing::default(),
            tracing: true,
            unix_at_epoch: UnixTime(0),
        };
        let alice = subscriber(
            aka("alice"),
            set(&["sip:alice@ims.example", "tel:+15550100"], &["sip:001@ims.example"]),
        );
        let client = |host: &str, last: u8| {
            let config = ClientConfig {
                us: us(host),
                destination_realm: "ims.example".into(),
                destination_host: None,
                server: "192.0.2.20:3868".parse().unwrap(),
                local: format!("192.0.2.{last}:0").parse().unwrap(),
                timing: Timing::default(),
                tracing: true,
            };
            (host.to_owned(), DiameterClient::new(config, Seed::derive(1, host)), None)
        };
        let mut network = Self {
            hss: HssNode::new(config, vec![alice.into()], Seed::derive(1, "hss")).unwrap(),
            clients: vec![client("i1", 11), client("s1", 12), client("s2", 13)],
            answers: Vec::new(),
            verdict: CxResult::Success,
            demands: Vec::new(),
            ladder: Vec::new(),
            notes: Vec::new(),
        };
        for number in 0..network.clients.len() {
            network.clients[number].1.handle_input(Instant::EPOCH, ClientInput::Timeout);
        }
        network.settle();
        network
    }

    fn ask(&mut self, client: usize, request: CxRequest) -> CxAnswer {
        let input = ClientInput::Ask(AskId(1), request);
        self.clients[client].1.handle_input(Instant::EPOCH, input);
        self.settle();
        self.answers.pop().unwrap().1
    }

    fn order(&mut self, command: HssCommand) {
        self.hss.handle_input(Instant::EPOCH, HssInput::Command(command));
        self.settle();
    }

    fn settle(&mut self) {
        let now = Instant::EPOCH;
        loop {
            let mut quiet = true;
            for number in 0..self.clients.len() {
                while let Some(output) = self.clients[number].1.poll_output() {
                    quiet = false;
                    self.on_client(number, output);
                }
            }
            while let Some(output) = self.hss.poll_output() {
                quiet = false;
                match output {
                    HssOutput::Close(_) => {}
                    HssOutput::Trace(event) => {
                        assert_eq!(&*event.node, "hss");
                        match event.kind {
                            TraceKind::Note(note) => self.notes.push(note.text),
                            TraceKind::Received(wire) | TraceKind::Sent(wire) => {
                                self.ladder.push(Message::decode(&wire.bytes).unwrap().name());
                            }
                            _ => {}
                        }
                    }
                    HssOutput::Write(conn, bytes) => {
                        let number = usize::try_from(conn.0 / 2).unwrap() - 1;
                        let (_, client, ours) = &mut self.clients[number];
                        client.handle_input(now, ClientInput::Bytes(ours.unwrap(), bytes));
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn on_client(&mut self, number: usize, output: ClientOutput) {
        let now = Instant::EPOCH;
        let accepted = ConnId::accepted(u64::try_from(number).unwrap() + 1);
        match output {
            ClientOutput::Answer(ask, answer) => self.answers.push((ask, answer)),
            ClientOutput::Close { .. } => {
                self.clients[number].2 = None;
                let closed = HssInput::Closed(accepted, "end of stream".into());
                self.hss.handle_input(now, closed);
            }
            ClientOutput::Connect { conn, local, remote } => {
                let flow = |local, remote, conn| Flow {
                    transport: Transport::Tcp,
                    local,
                    remote,
                    conn: Some(conn),
                    sa: None,
                };
                self.hss.handle_input(now, HssInput::Opened(flow(remote, local, accepted)));
                let (_, client, ours) = &mut self.clients[number];
                *ours = Some(conn);
                client.handle_input(now, ClientInput::Opened(flow(local, remote, conn)));
            }
            ClientOutput::Demand(demand, what) => {
                let (name, client, _) = &mut self.clients[number];
                self.demands.push((name.clone(), what));
                client.handle_input(now, ClientInput::DemandAnswer(demand, self.verdict.into()));
            }
            ClientOutput::Trace(_) => {}
            ClientOutput::Write { bytes, .. } => {
                self.hss.handle_input(now, HssInput::Bytes(accepted, bytes));
            }
        }
    }

    fn register(&mut self, client: usize, name: &str) {
        let mar = Mar {
            impi: "alice@ims.example".into(),
            impu: "sip:alice@ims.example".into(),
            server_name: format!("sip:{name}.ims.example"),
            scheme: AuthScheme::Aka,
            count: 1,
            resync: None,
        };
        let CxAnswer::Maa(maa) = self.ask(client, CxRequest::Mar(mar)) else { panic!() };
        assert_eq!((maa.result, maa.items.len()), (CxResult::Success, 1));
        let sar = Sar {
            impi: Some("alice@ims.example".into()),
            impus: vec!["sip:alice@ims.example".into()],
            server_name: format!("sip:{name}.ims.example"),
            assignment_type: AssignmentType::Registration,
            profile_available: false,
            restoration: None,
            wildcard: None,
        };
        let CxAnswer::Saa(saa) = self.ask(client, CxRequest::Sar(sar)) else { panic!() };
        let profile = UserProfile::parse(saa.user_data.as_deref().unwrap()).unwrap();
        assert_eq!(profile.private_id, "alice@ims.example");
        assert_eq!(saa.associated_impis, ["alice@ims.example"]);
    }

    fn state(&self) -> RegistrationState {
        self.hss.store().registration("sip:alice@ims.example").unwrap()
    }
}

fn deregister(impus: &[&str]) -> HssCommand {
    HssCommand::Deregister {
        impi: "alice@ims.example".into(),
        impus: impus.iter().map(|impu| (*impu).to_owned()).collect(),
        reason: DeregistrationReason::PermanentTermination,
        info: "subscription ended".into(),
    }
}

#[test]
fn a_registration_runs_over_diameter_from_end_to_end() {
    let mut network = Network::new();
    let peers: Vec<_> = network.hss.peers().collect();
    assert_eq!(peers, ["i1.ims.example", "s1.ims.example", "s2.ims.example"]);
    let uar = CxRequest::Uar(Uar {
        impi: "alice@ims.example".into(),
        impu: "sip:alice@ims.example".into(),
        visited_network: "visited.example".into(),
        authorization_type: AuthorizationType::Registration,
        emergency: false,
    });

    let CxAnswer::Server(first) = network.ask(0, uar.clone()) else { panic!() };
    network.register(1, "s1");
    let CxAnswer::Server(second) = network.ask(0, uar) else { panic!() };
    let lir = Lir { impu: "tel:+15550100".into(), originating: false, capabilities: false };
    let CxAnswer::Server(located) = network.ask(0, CxRequest::Lir(lir)) else { panic!() };

    assert_eq!(first.result, CxResult::FirstRegistration);
    assert_eq!(second.result, CxResult::SubsequentRegistration);
    assert_eq!(second.server_name.as_deref(), Some("sip:s1.ims.example"));
    assert_eq!(located.result, CxResult::Success);
    assert_eq!(
        network.ladder[6..],
        ["UAR", "UAA", "MAR", "MAA", "SAR", "SAA", "UAR", "UAA", "LIR", "LIA"]
    );
}

#[test]
fn an_rtr_goes_to_the_s_cscf_and_deregisters_when_it_agrees() {
    let mut network = Network::new();
    network.register(2, "s2");

    network.verdict = CxResult::UnableToComply;
    network.order(deregister(&[]));
    assert_eq!(network.state(), RegistrationState::Registered);

    network.verdict = CxResult::Success;
    network.order(deregister(&["tel:+15550100"]));
    assert_eq!(network.state(), RegistrationState::NotRegistered);
    assert_eq!(network.hss.store().server("sip:alice@ims.example"), None);

    let (to, CxDemand::Rtr { impus, info, .. }) = network.demands.last().unwrap() else { panic!() };
    assert_eq!((to.as_str(), info.as_str()), ("s2", "subscription ended"));
    assert_eq!(impus, &["tel:+15550100"]);
}

#[test]
fn an_rtr_that_cannot_be_sent_says_why() {
    let mut network = Network::new();
    for (command, expected) in [
        (deregister(&[]), "no S-CSCF serves alice@ims.example"),
        (deregister(&["sip:bob@ims.example"]), "not all IMPUs belong to alice@ims.example"),
    ] {
        network.order(command);
        assert!(network.notes.last().unwrap().contains(expected), "{:?}", network.notes);
    }
    assert!(network.demands.is_empty());
}

#[test]
fn a_changed_profile_is_pushed_and_one_too_large_ends_the_registration() {
    let mut network = Network::new();
    let change = |media| HssCommand::ChangeProfile {
        impu: "tel:+15550100".into(),
        service_profiles: vec![ServiceProfile {
            public_identities: vec![PublicIdentity::open("sip:alice@ims.example")],
            subscribed_media_profile_id: Some(media),
            ..ServiceProfile::default()
        }],
    };
    network.order(change(1));
    assert!(network.demands.is_empty(), "nobody to be told");

    network.register(1, "s1");
    network.order(change(2));
    let (_, CxDemand::Ppr { user_data, .. }) = network.demands.last().unwrap() else { panic!() };
    let profile = UserProfile::parse(user_data.as_deref().unwrap()).unwrap();
    assert_eq!(profile.service_profiles[0].subscribed_media_profile_id, Some(2));
    assert_eq!(network.state(), RegistrationState::Registered);

    network.verdict = CxResult::TooMuchData;
    network.order(change(3));
    let (_, CxDemand::Rtr { reason, .. }) = network.demands.last().unwrap() else { panic!() };
    assert_eq!(*reason, DeregistrationReason::ServerChange);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut network = Network::new();
        network.register(1, "s1");
        (network.ladder, network.hss.store().sqn("alice@ims.example"))
    };
    assert_eq!(run(), run());
}

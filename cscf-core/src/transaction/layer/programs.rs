//! Random programs of events against the layer, checked against named invariants.

use std::collections::{BTreeMap, BTreeSet};

use super::super::testing::{SEED, flow, request};
use super::*;
use crate::ids::{Ids, Seed, ShardId};
use crate::transport::Transport;

/// A TU, peers and a network that do anything they like, in a fixed order for each seed.
struct Program {
    ids: Ids,
    layer: TransactionLayer,
    out: Outbox,
    now: Instant,
    /// What was received and is not over: the request and its server transaction.
    servers: BTreeMap<ServerId, Request>,
    clients: BTreeMap<ClientId, Request>,
    /// Final responses sent, by server transaction; for an INVITE further 2xx do not count.
    finals: BTreeMap<ServerId, u32>,
    ended_servers: BTreeSet<ServerId>,
    ended_clients: BTreeSet<ClientId>,
    /// Client transactions whose TU has the final response, or the news that there is none.
    finished: BTreeSet<ClientId>,
    trail: Vec<String>,
}

impl Program {
    fn new(seed: u64) -> Self {
        let settings = LayerSettings {
            clients_max: 30,
            servers_max: 30,
            trying_after: [None, Some(Duration::ZERO), Some(Duration::from_millis(200))]
                [seed as usize % 3],
            detect_merged: seed.is_multiple_of(5),
        };
        Self {
            ids: Ids::new(Seed::derive(seed, "layer"), ShardId(0)),
            layer: TransactionLayer::new(&SEED, settings),
            out: Outbox::default(),
            now: Instant::from_secs(1),
            servers: BTreeMap::new(),
            clients: BTreeMap::new(),
            finals: BTreeMap::new(),
            ended_servers: BTreeSet::new(),
            ended_clients: BTreeSet::new(),
            finished: BTreeSet::new(),
            trail: Vec::new(),
        }
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.ids.below(bound as u64)).expect("small")
    }

    fn random_request(&mut self) -> Request {
        let method = ["INVITE", "ACK", "CANCEL", "REGISTER", "BYE"][self.pick(5)];
        let host = ["a.example", "b.example:5070"][self.pick(2)];
        let cookie = ["z9hG4bK", "", "z9hG4bK"][self.pick(3)];
        let number = self.pick(12);
        request(method, &format!("SIP/2.0/UDP {host};branch={cookie}{number}"))
    }

    fn random_flow(&mut self) -> Flow {
        let transport = [Transport::Udp, Transport::Tcp][self.pick(2)];
        flow(transport, 5060 + self.pick(2) as u16)
    }

    fn random_server(&mut self) -> Option<(ServerId, Request)> {
        let at = self.pick(self.servers.len().max(1));
        self.servers.iter().nth(at).map(|(id, request)| (*id, request.clone()))
    }

    fn random_client(&mut self) -> Option<(ClientId, Request)> {
        let at = self.pick(self.clients.len().max(1));
        self.clients.iter().nth(at).map(|(id, request)| (*id, request.clone()))
    }

    fn step(&mut self) {
        let timers = [Timers::CORE, Timers::AIR][self.pick(2)];
        match self.pick(12) {
            0..=2 => self.receive(&timers),
            3 | 4 => self.respond(),
            5 => self.start(&timers),
            6 | 7 => self.answer(),
            8 => {
                if let Some((id, _)) = self.random_client() {
                    self.trail.push(format!("cancel {id:?}"));
                    self.layer.cancel(self.now, id, None, &mut self.out);
                }
            }
            9 => self.break_something(),
            _ => {
                let wait = [1, 200, 500, 4_000, 40_000][self.pick(5)];
                self.pass(self.now + Duration::from_millis(wait));
            }
        }
        self.collect();
    }

    fn receive(&mut self, timers: &Timers) {
        let (request, flow) = (self.random_request(), self.random_flow());
        let event = self.layer.receive_request(self.now, &request, flow, timers, &mut self.out);
        self.trail.push(format!("receive {} {event:?}", request.method));
        match event.expect("it has a Via") {
            ServerEvent::Cancel(id, target) => {
                if let CancelTarget::Pending(of) | CancelTarget::Answered(of) = target {
                    assert_eq!(self.servers[&of].method, Method::Invite);
                }
                self.servers.insert(id, request);
            }
            ServerEvent::Merged(id) | ServerEvent::New(id) => {
                assert_ne!(request.method, Method::Ack, "an ACK opens no transaction");
                self.servers.insert(id, request);
            }
            ServerEvent::Ack(_) | ServerEvent::StrayAck => {
                assert_eq!(request.method, Method::Ack);
            }
            ServerEvent::Full => assert!(self.layer.server_count() >= 30),
            ServerEvent::Absorbed => {}
        }
    }

    fn respond(&mut self) {
        let Some((id, request)) = self.random_server() else { return };
        let status = [100, 180, 200, 200, 404, 408, 486, 503, 600][self.pick(9)];
        let result = self.layer.send_response(self.now, id, &request.reply(status), &mut self.out);
        self.trail.push(format!("respond {id:?} {status} {result:?}"));
        if result.is_err() || status < 200 {
            return;
        }
        let invite = request.method == Method::Invite;
        assert!(invite || status != 408, "a 408 goes to INVITE only");
        let count = self.finals.entry(id).or_default();
        assert!(*count == 0 || (invite && status == 200), "exactly one final response");
        *count += 1;
    }

    fn start(&mut self, timers: &Timers) {
        let (request, flow) = (self.random_request(), self.random_flow());
        let result =
            self.layer.start_client(self.now, &request, (flow, timers), TuId::NONE, &mut self.out);
        self.trail.push(format!("start {} {result:?}", request.method));
        if let Ok(id) = result {
            self.clients.insert(id, request);
        }
    }

    fn answer(&mut self) {
        let Some((_, request)) = self.random_client() else { return };
        let status = [100, 180, 200, 200, 486][self.pick(5)];
        let event = self.layer.receive_response(self.now, &request.reply(status), &mut self.out);
        self.trail.push(format!("answer {} {status} {event:?}", request.method));
        let ClientEvent::Response(id, _) = event else { return };
        let known = self.clients.get(&id).expect("a client transaction of the TU");
        let again = known.method == Method::Invite && status == 200;
        assert!(!self.ended_clients.contains(&id), "no response after termination");
        let fresh = status < 200 || self.finished.insert(id) || again;
        assert!(fresh, "one final response to the TU");
        assert!(status >= 200 || !self.finished.contains(&id), "no 1xx after the final response");
    }

    fn break_something(&mut self) {
        let flow = self.random_flow();
        let client = self.random_client();
        let server = self.random_server();
        match (self.pick(4), client, server) {
            (0, _, _) => self.layer.flow_failed(&flow, &mut self.out),
            (1, Some((id, _)), _) => self.layer.client_failed(id, &mut self.out),
            (2, Some((id, _)), _) => {
                self.layer.drop_client(id);
                self.clients.remove(&id);
            }
            (3, _, Some((id, _))) => self.layer.no_answer(self.now, id, &mut self.out),
            _ => {}
        }
        self.trail.push(format!("break, client {client:?}", client = self.clients.len()));
    }

    fn pass(&mut self, end: Instant) {
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "no deadline lies in the past");
            self.now = at;
            self.layer.handle_timeout(at, &mut self.out);
            assert!(self.layer.poll_timeout().is_none_or(|next| next > at), "time moves on");
        }
        self.now = end;
    }

    fn collect(&mut self) {
        for transmit in self.out.transmits.drain(..) {
            assert!(!transmit.bytes.is_empty(), "something is sent");
        }
        for event in std::mem::take(&mut self.out.events) {
            self.trail.push(format!("{event:?}"));
            match event {
                Event::ClientEnded(id, _) => {
                    assert!(self.clients.remove(&id).is_some(), "ends once, and only the TU's");
                    self.ended_clients.insert(id);
                }
                Event::ClientTimedOut(id, _) => {
                    assert!(self.finished.insert(id), "no time-out after the final response");
                }
                Event::ClientTransportFailed(id, _) => {
                    // The ACK of a refusal may fail, too.
                    self.finished.insert(id);
                }
                Event::ServerNotAcknowledged(id) => {
                    assert!(self.finals.contains_key(&id));
                }
                Event::ServerEnded(id, _) => {
                    assert!(self.servers.remove(&id).is_some(), "ends once");
                    self.ended_servers.insert(id);
                }
            }
        }
    }

    /// The TU answers all that is open, the peers all that was cancelled or is ringing, and all
    /// timers run.
    fn calm(&mut self) {
        for (id, request) in self.servers.clone() {
            if self.layer.is_pending(id) {
                let result =
                    self.layer.send_response(self.now, id, &request.reply(500), &mut self.out);
                assert_eq!(result, Ok(()));
                *self.finals.entry(id).or_default() += 1;
            }
        }
        self.collect();
        for (id, request) in self.clients.clone() {
            let response = request.reply(500);
            self.layer.receive_response(self.now, &response, &mut self.out);
            self.finished.insert(id);
        }
        self.collect();
        self.pass(self.now + Duration::from_secs(1_000));
        self.collect();
    }
}

fn run(seed: u64, steps: usize) {
    let mut program = Program::new(seed);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            program.step();
        }
        program.calm();
        assert!(program.layer.is_empty(), "nothing is left after all timers ran");
        assert_eq!(program.layer.poll_timeout(), None);
        assert!(program.servers.is_empty() && program.clients.is_empty(), "each end is told");
        assert!(program.layer.table.is_bare(), "no trace is left in the tables");
        for id in &program.ended_servers {
            assert!(program.finals.contains_key(id) || !program.layer.is_pending(*id));
        }
    }));
    if let Err(panic) = result {
        let trail = program.trail.iter().rev().take(25).rev();
        eprintln!("seed {seed}:\n{}", trail.cloned().collect::<Vec<_>>().join("\n"));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn random_programs_keep_the_invariants_of_transactions() {
    for seed in 0..400 {
        run(seed, 250);
    }
}

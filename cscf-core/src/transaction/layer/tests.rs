//! The layer, message by message.

use super::super::testing::{SEED, flow, invite, request};
use super::*;
use crate::sip::HeaderName;
use crate::time::Wheel;
use crate::transport::Transport;

/// What the TU has each transaction for.
const TU: TuId = TuId(7);

/// A layer and what it left behind.
struct Bench {
    layer: TransactionLayer,
    out: Outbox,
    now: Instant,
}

impl Bench {
    fn new(settings: LayerSettings) -> Self {
        Self { layer: TransactionLayer::new(&SEED, settings), out: Outbox::default(), now: START }
    }

    fn receive(&mut self, request: &Request) -> ServerEvent {
        self.receive_on(request, Transport::Udp)
    }

    fn receive_on(&mut self, request: &Request, transport: Transport) -> ServerEvent {
        let flow = flow(transport, 5060);
        let event =
            self.layer.receive_request(self.now, request, flow, &Timers::CORE, &mut self.out);
        event.expect("a key")
    }

    fn new_server(&mut self, request: &Request) -> ServerId {
        match self.receive(request) {
            ServerEvent::New(id) => {
                assert_eq!(self.layer.tu_of(id), TuId::NONE);
                self.layer.set_tu(id, TU);
                assert_eq!(self.layer.tu_of(id), TU);
                id
            }
            other => panic!("not new: {other:?}"),
        }
    }

    fn answer(&mut self, id: ServerId, request: &Request, status: u16) -> Result<(), Refused> {
        let mut response = request.reply(status);
        response.set_to_tag("b1");
        self.layer.send_response(self.now, id, &response, &mut self.out)
    }

    fn send(&mut self, request: &Request, transport: Transport) -> ClientId {
        let flow = flow(transport, 5060);
        let way = (flow, &Timers::CORE);
        let id = self.layer.start_client(self.now, request, way, TU, &mut self.out);
        id.expect("a client transaction")
    }

    fn get(&mut self, request: &Request, status: u16) -> ClientEvent {
        self.layer.receive_response(self.now, &request.reply(status), &mut self.out)
    }

    /// The start lines of what was sent since the last call.
    fn sent(&mut self) -> Vec<String> {
        let transmits = std::mem::take(&mut self.out.transmits);
        let lines = transmits.iter().map(|transmit| {
            let text = std::str::from_utf8(&transmit.bytes).expect("utf-8");
            let line = text.lines().next().expect("a start line");
            line.trim_end_matches(" SIP/2.0").trim_start_matches("SIP/2.0 ").to_owned()
        });
        lines.collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out.events)
    }

    /// Lets time pass until nothing is due any more.
    fn drain(&mut self) {
        while let Some(at) = self.layer.poll_timeout() {
            self.now = at;
            self.layer.handle_timeout(at, &mut self.out);
        }
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.layer.handle_timeout(at, &mut self.out);
        }
        self.now = end;
    }
}

const START: Instant = Instant::from_secs(1000);

fn bench() -> Bench {
    Bench::new(LayerSettings::default())
}

fn cancel_for(invite: &Request) -> Request {
    cancel_of(&invite.to_bytes(), None).expect("a CANCEL")
}

fn register() -> Request {
    request("REGISTER", "SIP/2.0/UDP u1.ims.example;branch=z9hG4bKr")
}

// T-PRX-100
#[test]
fn a_retransmission_gets_the_last_response_again_and_nothing_else_happens() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let id = bench.new_server(&invite);
    assert_eq!(bench.sent(), ["100 Trying"]);

    assert_eq!(bench.receive(&invite), ServerEvent::Absorbed);
    assert_eq!(bench.sent(), ["100 Trying"]);
    bench.answer(id, &invite, 180).expect("provisional");
    bench.sent();
    assert_eq!(bench.receive(&invite), ServerEvent::Absorbed);
    assert_eq!(bench.sent(), ["180 Ringing"]);
    assert_eq!(bench.layer.len(), 1);
}

// T-TRN-040
#[test]
fn a_finished_request_is_answered_again_on_the_flow_it_comes_by() {
    let mut bench = bench();
    let register = register();
    let id = bench.new_server(&register);
    bench.answer(id, &register, 200).expect("final");
    bench.sent();
    let other = flow(Transport::Udp, 5099);

    let event =
        bench.layer.receive_request(bench.now, &register, other, &Timers::CORE, &mut bench.out);

    assert_eq!(event, Ok(ServerEvent::Absorbed));
    assert_eq!(bench.out.transmits.first().map(|transmit| transmit.flow), Some(other));
    assert_eq!(bench.sent(), ["200 OK"]);
    bench.drain();
    assert_eq!(bench.now, START + Timers::CORE.t1_64());
    assert_eq!(bench.events(), [Event::ServerEnded(id, TU)]);
    assert!(bench.layer.is_empty());
}

// T-TRN-040
#[test]
fn a_slow_tu_lets_100_out_after_3_5_seconds_and_never_408() {
    let mut bench = bench();
    let register = register();
    let id = bench.new_server(&register);
    assert_eq!(bench.answer(id, &register, 100), Err(Refused::TooEarly));
    assert_eq!(bench.answer(id, &register, 183), Err(Refused::Provisional));
    assert_eq!(bench.answer(id, &register, 408), Err(Refused::Timeout));
    assert_eq!(bench.sent(), [""; 0]);

    bench.wait(Duration::from_millis(3_499));
    assert_eq!(bench.sent(), [""; 0]);
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.sent(), ["100 Trying"]);

    let now = bench.now;
    bench.layer.no_answer(now, id, &mut bench.out);
    assert_eq!(bench.receive(&register), ServerEvent::Absorbed);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.answer(id, &register, 200), Err(Refused::AfterFinal));
    bench.drain();
    assert_eq!(bench.answer(id, &register, 200), Err(Refused::Gone));
    assert!(bench.layer.is_empty());
}

// T-TRN-130
#[test]
fn a_cancel_finds_its_invite_pending_answered_or_not_at_all() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let cancel = cancel_for(&invite);
    assert!(matches!(bench.receive(&cancel), ServerEvent::Cancel(_, CancelTarget::None)));

    let invite = super::super::testing::invite("z9hG4bKb");
    let cancel = cancel_for(&invite);
    let id = bench.new_server(&invite);
    let event = bench.receive(&cancel);
    assert!(matches!(event, ServerEvent::Cancel(_, CancelTarget::Pending(of)) if of == id));
    assert_eq!(bench.receive(&cancel), ServerEvent::Absorbed);

    let invite = super::super::testing::invite("z9hG4bKc");
    let cancel = cancel_for(&invite);
    let id = bench.new_server(&invite);
    bench.answer(id, &invite, 486).expect("final");
    let event = bench.receive(&cancel);
    assert!(matches!(event, ServerEvent::Cancel(_, CancelTarget::Answered(of)) if of == id));
}

// T-TRN-060
#[test]
fn the_ack_of_a_refusal_is_absorbed_and_that_of_a_2xx_is_handed_up() {
    let mut bench = bench();
    let refused = invite("z9hG4bKa");
    let id = bench.new_server(&refused);
    bench.answer(id, &refused, 486).expect("final");
    let ack = request("ACK", "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKa");
    assert_eq!(bench.receive(&ack), ServerEvent::Absorbed);

    let accepted = invite("z9hG4bKb");
    let id = bench.new_server(&accepted);
    bench.answer(id, &accepted, 200).expect("final");
    let ack = request("ACK", "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKother");
    assert_eq!(bench.receive(&ack), ServerEvent::StrayAck);
    let ack = request("ACK", "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKb");
    assert_eq!(bench.receive(&ack), ServerEvent::Ack(id));

    bench.sent();
    bench.drain();
    assert_eq!(bench.sent(), [""; 0], "nothing is sent again after the ACK");
    assert!(bench.layer.is_empty());
}

// T-TRN-050
#[test]
fn an_old_clients_ack_must_have_the_to_tag_of_the_response() {
    let mut bench = bench();
    let via = "SIP/2.0/UDP old.example;branch=7";
    let invite = request("INVITE", via);
    let id = bench.new_server(&invite);
    bench.answer(id, &invite, 486).expect("final");
    let mut ack = request("ACK", via);
    ack.headers.set(HeaderName::To, "<sip:bob@ims.example>;tag=another");
    assert_eq!(bench.receive(&ack), ServerEvent::StrayAck);
    ack.headers.set(HeaderName::To, "<sip:bob@ims.example>;tag=b1");
    assert_eq!(bench.receive(&ack), ServerEvent::Absorbed);
    assert_eq!(bench.layer.poll_timeout(), Some(START + Timers::CORE.t4()));
    assert_eq!(bench.receive(&invite), ServerEvent::Absorbed);
}

// T-TRN-120
#[test]
fn a_merged_request_is_told_from_a_new_one_where_that_is_wanted() {
    for (detect_merged, second) in [(true, true), (false, false)] {
        let mut bench = Bench::new(LayerSettings { detect_merged, ..LayerSettings::default() });
        let first = request("INVITE", "SIP/2.0/UDP a.example;branch=z9hG4bKa");
        let copy = request("INVITE", "SIP/2.0/UDP b.example;branch=z9hG4bKb");
        let id = bench.new_server(&first);
        let event = bench.receive(&copy);
        assert_eq!(matches!(event, ServerEvent::Merged(_)), second, "{event:?}");
        let (ServerEvent::Merged(other) | ServerEvent::New(other)) = event else { panic!() };
        bench.answer(id, &first, 486).expect("final");
        bench.answer(other, &copy, 482).expect("final");
        bench.drain();
        assert!(bench.layer.is_empty());

        assert!(matches!(bench.receive(&copy), ServerEvent::New(_)), "its time is over");
    }
}

#[test]
fn a_full_table_refuses_what_is_new_and_serves_what_is_known() {
    let settings = LayerSettings { servers_max: 1, clients_max: 1, ..LayerSettings::default() };
    let mut bench = Bench::new(settings);
    let known = invite("z9hG4bKa");
    bench.new_server(&known);
    assert_eq!(bench.receive(&invite("z9hG4bKb")), ServerEvent::Full);
    assert_eq!(bench.receive(&known), ServerEvent::Absorbed);

    bench.send(&known, Transport::Udp);
    let mut start = |request: &Request| {
        let flow = flow(Transport::Udp, 5060);
        bench.layer.start_client(START, request, (flow, &Timers::CORE), TU, &mut bench.out)
    };
    assert_eq!(start(&known), Err(StartError::BranchInUse));
    assert_eq!(start(&invite("z9hG4bKb")), Err(StartError::Full));
    assert_eq!(start(&request("ACK", "SIP/2.0/UDP h;branch=z9hG4bKc")), Err(StartError::IsAck));
    assert_eq!(start(&request("INVITE", "SIP/2.0/UDP h")), Err(StartError::NoBranch));
}

// T-TRN-130
#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let id = bench.send(&invite, Transport::Udp);
    let reason = Some("SIP;cause=200");
    bench.sent();
    let (layer, out) = (&mut bench.layer, &mut bench.out);
    assert_eq!(layer.cancel(START, id, reason, out), Cancelled::Held);
    assert_eq!(layer.cancel(START, id, None, out), Cancelled::Held);
    assert_eq!(bench.sent(), [""; 0]);

    assert_eq!(bench.get(&invite, 100), ClientEvent::Response(id, TU));
    let reason = bench.out.transmits.first().map(|transmit| transmit.bytes.clone());
    assert_eq!(bench.sent(), ["CANCEL sip:bob@ims.example"]);
    let text = reason.expect("a CANCEL");
    assert!(std::str::from_utf8(&text).expect("utf-8").contains("Reason: SIP;cause=200\r\n"));
    let (layer, out) = (&mut bench.layer, &mut bench.out);
    assert_eq!(layer.cancel(START, id, None, out), Cancelled::Sent);

    assert_eq!(bench.get(&cancel_for(&invite), 200), ClientEvent::Absorbed);
    assert_eq!(bench.get(&invite, 487), ClientEvent::Response(id, TU));
    assert_eq!(bench.sent(), ["ACK sip:bob@ims.example"]);
    let (layer, out) = (&mut bench.layer, &mut bench.out);
    assert_eq!(layer.cancel(START, id, None, out), Cancelled::TooLate);
    bench.drain();
    assert_eq!(bench.events(), [Event::ClientEnded(id, TU)]);
    assert!(bench.layer.is_empty());
}

#[test]
fn a_peer_that_ignores_the_cancel_ends_the_invite_after_64_t1() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let id = bench.send(&invite, Transport::Udp);
    bench.get(&invite, 180);
    let now = bench.now;
    assert_eq!(bench.layer.cancel(now, id, None, &mut bench.out), Cancelled::Sent);
    bench.drain();
    assert_eq!(bench.events(), [Event::ClientTimedOut(id, TU), Event::ClientEnded(id, TU)]);
    assert_eq!(bench.now, START + Timers::CORE.t1_64());
    assert!(bench.layer.is_empty());
}

// T-TRN-010
#[test]
fn each_2xx_to_an_invite_is_handed_up_and_other_answers_then_are_not() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let id = bench.send(&invite, Transport::Tcp);
    assert_eq!(bench.get(&invite, 183), ClientEvent::Response(id, TU));
    assert_eq!(bench.get(&invite, 200), ClientEvent::Response(id, TU));
    assert_eq!(bench.get(&invite, 200), ClientEvent::Response(id, TU));
    assert_eq!(bench.get(&invite, 180), ClientEvent::Absorbed);
    assert_eq!(bench.get(&invite, 486), ClientEvent::Absorbed);
    bench.drain();
    assert_eq!(bench.now, START + Timers::CORE.m());
    assert_eq!(bench.get(&invite, 200), ClientEvent::Stray);
}

// T-TRN-140
#[test]
fn a_broken_path_fails_what_waits_on_it_and_nothing_else() {
    let mut bench = bench();
    let (a, b, c) = (invite("z9hG4bKa"), register(), invite("z9hG4bKc"));
    let tcp = bench.send(&a, Transport::Tcp);
    let other = bench.send(&b, Transport::Tcp);
    bench.send(&c, Transport::Udp);
    let broken = flow(Transport::Tcp, 5060);
    let sa = Some(crate::transport::SaId(4));

    bench.layer.flow_failed(&Flow { sa, ..broken }, &mut bench.out);

    assert_eq!(
        bench.events(),
        [
            Event::ClientTransportFailed(tcp, TU),
            Event::ClientEnded(tcp, TU),
            Event::ClientTransportFailed(other, TU),
            Event::ClientEnded(other, TU),
        ]
    );
    assert_eq!(bench.layer.client_count(), 1);
    bench.layer.flow_failed(&broken, &mut bench.out);
    bench.layer.client_failed(tcp, &mut bench.out);
    assert_eq!(bench.events(), []);
}

#[test]
fn a_dropped_client_transaction_says_nothing_more() {
    let mut bench = bench();
    let invite = invite("z9hG4bKa");
    let id = bench.send(&invite, Transport::Udp);
    bench.layer.drop_client(id);
    bench.layer.drop_client(id);
    assert_eq!(bench.get(&invite, 200), ClientEvent::Stray);
    assert_eq!(bench.layer.poll_timeout(), None);
    assert_eq!(bench.events(), []);
    assert!(bench.layer.is_empty());
}

#[test]
fn a_request_without_a_via_has_no_transaction() {
    let mut bench = bench();
    let mut request = register();
    request.headers.remove(HeaderName::Via);
    let flow = flow(Transport::Udp, 5060);
    let event = bench.layer.receive_request(START, &request, flow, &Timers::CORE, &mut bench.out);
    assert_eq!(event, Err(KeyError::Via));
}

/// The bytes of messages all transactions keep, and how many of them keep a path.
fn kept(layer: &TransactionLayer) -> (usize, usize) {
    let bytes = layer.table.records().map(|record| record.machine.kept_bytes()).sum();
    (bytes, layer.table.records().filter(|record| record.path.is_some()).count())
}

#[test]
fn a_finished_transaction_keeps_its_answer_at_most_and_no_request() {
    let mut bench = bench();
    let (call, register) = (invite("z9hG4bKa"), register());
    let answer = |bench: &mut Bench, request: &Request, status| {
        let id = bench.new_server(request);
        bench.answer(id, request, status).expect("a final response");
        bench.out.transmits.last().expect("it is sent").bytes.len()
    };

    answer(&mut bench, &call, 200);
    // A path stays for the 2xx that the TU repeats.
    assert_eq!(kept(&bench.layer), (0, 1), "Accepted server");
    let sent = answer(&mut bench, &register, 200);
    assert_eq!(kept(&bench.layer), (sent, 1), "Completed server");
    for (request, status) in [(invite("z9hG4bKb"), 200), (register, 401)] {
        bench.send(&request, Transport::Udp);
        assert!(kept(&bench.layer).0 > sent, "until the answer is there");
        assert!(matches!(bench.get(&request, status), ClientEvent::Response(_, TU)));
        assert_eq!(kept(&bench.layer), (sent, 1), "a client that has its answer");
    }
    bench.drain();
    assert_eq!(kept(&bench.layer), (0, 0));
}

#[test]
fn a_lingering_transaction_takes_200_bytes_beside_its_response() {
    let table = table::SLOT_BYTES + Wheel::<u32>::BYTES_EACH;
    // A hash table is between 7/16 and 7/8 full: two places of an index, and their marks.
    let index = 2 * (size_of::<u32>() + 1);
    assert!(table <= 200, "{table} bytes and {index} to be found");
}

//! Client and server against each other: every command, the watchdog, reconnection, time-outs.

use super::harness::{Pair, client_address, server, server_address};
use super::*;
use crate::cx::{
    AskId, AssignmentType, AuthItem, AuthScheme, AuthorizationType, CxAnswer, CxDemand, CxRequest,
    CxResult, DemandId, DeregistrationReason, Lir, Maa, Mar, Saa, Sar, ServerAnswer,
    ServerCapabilities, Uar,
};
use crate::time::{Duration, Instant};
use crate::trace::TraceKind;
use crate::transport::{ConnId, Flow, Transport};

pub(super) fn uar() -> CxRequest {
    CxRequest::Uar(Uar {
        impi: "alice@ims.example".into(),
        impu: "sip:alice@ims.example".into(),
        visited_network: "ims.example".into(),
        authorization_type: AuthorizationType::Registration,
        emergency: true,
    })
}

fn lir() -> CxRequest {
    CxRequest::Lir(Lir { impu: "tel:+15550100".into(), originating: true, capabilities: true })
}

fn mar(scheme: AuthScheme) -> CxRequest {
    CxRequest::Mar(Mar {
        impi: "alice@ims.example".into(),
        impu: "sip:alice@ims.example".into(),
        server_name: "sip:s1.ims.example".into(),
        scheme,
        count: 2,
        resync: (scheme == AuthScheme::Aka).then_some(([1; 16], [2; 14])),
    })
}

fn sar() -> CxRequest {
    CxRequest::Sar(Sar {
        impi: Some("alice@ims.example".into()),
        impus: vec!["sip:alice@ims.example".into(), "tel:+15550100".into()],
        server_name: "sip:s1.ims.example".into(),
        assignment_type: AssignmentType::UserDeregistration,
        profile_available: true,
    })
}

/// Answers with every field that can be there.
fn full(request: &CxRequest) -> CxAnswer {
    let capabilities = ServerCapabilities {
        mandatory: vec![1, 2],
        optional: vec![3],
        server_names: vec!["sip:s2.ims.example".into()],
    };
    match request {
        CxRequest::Uar(_) => CxAnswer::Server(ServerAnswer {
            result: CxResult::FirstRegistration,
            server_name: None,
            capabilities: Some(capabilities),
        }),
        CxRequest::Lir(_) => CxAnswer::Server(ServerAnswer {
            result: CxResult::Success,
            server_name: Some("sip:s1.ims.example".into()),
            capabilities: None,
        }),
        CxRequest::Mar(mar) if mar.scheme == AuthScheme::Aka => {
            let item = |n: u8| AuthItem::Aka {
                rand: [n; 16],
                autn: [n + 1; 16],
                xres: vec![n; 8],
                ck: [n + 2; 16],
                ik: [n + 3; 16],
            };
            CxAnswer::Maa(Maa { result: CxResult::Success, items: vec![item(1), item(9)] })
        }
        CxRequest::Mar(_) => {
            let item = AuthItem::Digest {
                realm: "ims.example".into(),
                algorithm: "MD5".into(),
                ha1: "0123456789abcdef0123456789abcdef".into(),
                ha1_sha256: Some("ab".repeat(32)),
            };
            CxAnswer::Maa(Maa { result: CxResult::Success, items: vec![item] })
        }
        CxRequest::Sar(_) => CxAnswer::Saa(Saa {
            result: CxResult::Success,
            user_data: Some("<IMSSubscription/>".into()),
            charging_ccf: Some("aaa://ccf.ims.example".into()),
            associated_impis: vec!["alice@ims.example".into(), "tablet@ims.example".into()],
        }),
    }
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn connected() -> Pair {
    let mut pair = Pair::new(full);
    pair.run(Duration::ZERO);
    assert_eq!(pair.ladder, ["> CER", "< CEA"]);
    pair
}

#[test]
fn every_question_and_answer_arrives_as_it_was_asked() {
    let mut pair = connected();
    let questions = [
        uar(),
        lir(),
        mar(AuthScheme::Aka),
        mar(AuthScheme::SipDigest),
        sar(),
        mar(AuthScheme::Unknown),
    ];
    for (number, question) in (1..).zip(questions) {
        pair.ask(number, question.clone());

        let (_, host, got) = pair.questions.last().unwrap();
        assert_eq!((host.as_str(), got), ("s1.ims.example", &question));
        let (at, ask, answer) = pair.answers.last().unwrap();
        assert_eq!((*at, *ask, answer), (Instant::EPOCH, AskId(number), &full(&question)));
    }
}

#[test]
fn every_result_arrives_as_it_was_given() {
    const RESULTS: [CxResult; 7] = [
        CxResult::UserUnknown,
        CxResult::AuthorizationRejected,
        CxResult::TooBusy,
        CxResult::UnableToComply,
        CxResult::Other(3002),
        CxResult::OtherExperimental(5009),
        CxResult::SubsequentRegistration,
    ];
    fn nth(request: &CxRequest) -> CxAnswer {
        let CxRequest::Lir(lir) = request else { panic!() };
        let number: usize = lir.impu.parse().unwrap();
        let result = RESULTS[number];
        CxAnswer::Server(ServerAnswer { result, server_name: None, capabilities: None })
    }
    let mut pair = Pair::new(nth);
    pair.run(Duration::ZERO);
    for (number, result) in (0..).zip(RESULTS) {
        let impu = number.to_string();
        pair.ask(number, CxRequest::Lir(Lir { impu, originating: false, capabilities: false }));
        let CxAnswer::Server(answer) = &pair.answers.last().unwrap().2 else { panic!() };
        assert_eq!(answer.result, result);
    }
}

#[test]
fn demands_reach_the_named_client_and_are_answered() {
    let mut pair = connected();
    let rtr = CxDemand::Rtr {
        impi: "alice@ims.example".into(),
        impus: vec!["sip:alice@ims.example".into()],
        reason: DeregistrationReason::ServerChange,
        info: "moved".into(),
    };
    let ppr = CxDemand::Ppr { impi: "alice@ims.example".into(), user_data: Some("<x/>".into()) };
    for (number, what) in (1..).zip([rtr, ppr]) {
        pair.server_input(ServerInput::Demand {
            demand: DemandId(number),
            destination_host: "S1.ims.example".into(),
            what: what.clone(),
        });
        let (demand, got) = pair.demands.last().unwrap().clone();
        assert_eq!(got, what);

        pair.client_input(ClientInput::DemandAnswer(demand, CxResult::TooMuchData));

        assert_eq!(
            pair.demand_answers.last(),
            Some(&(DemandId(number), Some(CxResult::TooMuchData)))
        );
    }
    assert_eq!(pair.ladder[2..], ["< RTR", "> RTA", "< PPR", "> PPA"]);
}

#[test]
fn a_demand_without_connection_or_answer_ends_unanswered() {
    let mut pair = connected();
    let what = CxDemand::Ppr { impi: "alice@ims.example".into(), user_data: None };
    let demand = |number, host: &str| ServerInput::Demand {
        demand: DemandId(number),
        destination_host: host.into(),
        what: what.clone(),
    };

    pair.server_input(demand(1, "s9.ims.example"));
    assert_eq!(pair.demand_answers, [(DemandId(1), None)]);

    pair.server_input(demand(2, "s1.ims.example"));
    pair.run(secs(6));
    assert_eq!(pair.demand_answers.last(), Some(&(DemandId(2), None)));

    pair.server_input(demand(3, "s1.ims.example"));
    pair.break_connection();
    assert_eq!(pair.demand_answers.last(), Some(&(DemandId(3), None)));
}

#[test]
fn a_question_asked_early_waits_for_the_connection() {
    let mut pair = Pair::new(full);
    pair.ask(1, uar());
    assert_eq!(pair.ladder, ["> CER", "< CEA", "> UAR", "< UAA"]);
    assert_eq!(pair.answers.len(), 1);
}

#[test]
fn a_silent_hss_makes_the_answer_unreachable_after_five_seconds() {
    let mut pair = connected();
    pair.lazy = true;
    pair.ask(1, uar());
    pair.run(secs(1));
    pair.ask(2, lir());
    pair.run(secs(10));

    let expected = [
        (Instant::from_secs(5), AskId(1), CxAnswer::Unreachable),
        (Instant::from_secs(6), AskId(2), CxAnswer::Unreachable),
    ];
    assert_eq!(pair.answers, expected);
}

#[test]
fn an_answer_that_comes_too_late_is_dropped() {
    let mut pair = connected();
    pair.lazy = true;
    pair.ask(1, lir());
    pair.run(secs(6));
    let (id, _, request) = pair.questions[0].clone();
    pair.server_input(ServerInput::Answer(id, full(&request)));

    assert_eq!(pair.answers.len(), 1);
    assert!(pair.notes.iter().any(|note| note.contains("LIA to no question of ours")));
}

#[test]
fn what_is_in_flight_is_unreachable_at_once_when_the_connection_breaks() {
    let mut pair = connected();
    pair.lazy = true;
    for ask in 1..=3 {
        pair.ask(ask, uar());
    }
    pair.break_connection();

    let asks: Vec<_> =
        pair.answers.iter().map(|(at, ask, answer)| (*at, ask.0, answer.clone())).collect();
    let expected: Vec<_> =
        (1..=3).map(|ask| (Instant::EPOCH, ask, CxAnswer::Unreachable)).collect();
    assert_eq!(asks, expected);
}

#[test]
fn a_lost_connection_comes_back_and_proves_itself_by_three_watchdogs() {
    let mut pair = connected();
    pair.break_connection();
    pair.ladder.clear();
    pair.ask(1, uar());
    pair.run(secs(2));

    let expected =
        ["> CER", "< CEA", "> DWR", "< DWA", "> DWR", "< DWA", "> DWR", "< DWA", "> UAR", "< UAA"];
    assert_eq!(pair.ladder, expected);
    assert_eq!(pair.answers.len(), 1);
}

#[test]
fn pauses_between_attempts_double_up_to_thirty_seconds() {
    let mut pair = Pair::new(full);
    pair.cut = true;
    pair.run(secs(200));

    let pauses: Vec<u128> =
        pair.connects.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect();
    for (pause, nominal) in pauses.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
    {
        assert!((nominal * 9 / 10..=nominal).contains(pause), "{pauses:?}");
    }
    assert!(pauses.len() >= 7);

    pair.ask(1, uar());
    assert_eq!(pair.answers.last().unwrap().2, CxAnswer::Unreachable, "no hope within 5 s");
}

#[test]
fn an_idle_connection_is_watched_and_a_dead_one_is_closed() {
    let mut pair = connected();
    pair.run(secs(100));
    assert!(pair.ladder.iter().filter(|line| *line == "> DWR").count() >= 2);
    assert!(pair.client.is_connected());

    pair.mute = true;
    let from = pair.now;
    pair.run(secs(130));
    assert!(pair.notes.iter().any(|note| note.contains("suspect")));
    assert!(pair.notes.iter().any(|note| note.contains("down")));
    assert!(pair.connects.len() > 1 && pair.connects[1].since(from) <= secs(97));
    assert!(!pair.client.is_connected());

    pair.mute = false;
    pair.run(secs(60));
    assert!(pair.client.is_connected());
}

#[test]
fn a_client_that_shuts_down_says_so_and_does_not_come_back() {
    let mut pair = connected();
    pair.client_input(ClientInput::Shutdown);
    assert_eq!(pair.ladder[2..], ["> DPR", "< DPA"]);
    pair.run(secs(100));
    assert_eq!(pair.connects.len(), 1);
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.server.peers().count(), 0);
}

#[test]
fn a_server_that_shuts_down_is_tried_again() {
    let mut pair = connected();
    pair.server_input(ServerInput::Shutdown);
    assert_eq!(pair.ladder[2..4], ["< DPR", "> DPA"]);
    pair.run(secs(5));
    assert_eq!(pair.connects.len(), 2);
    assert!(pair.client.is_connected());
}

/// A server with raw connections, to send it what no client sends.
struct Raw {
    server: DiameterServer,
    requests: usize,
}

impl Raw {
    fn new() -> Self {
        Self { server: server(), requests: 0 }
    }

    fn open(&mut self, number: u64) {
        let flow = Flow {
            transport: Transport::Tcp,
            local: server_address(),
            remote: client_address(),
            conn: Some(ConnId::accepted(number)),
            sa: None,
        };
        self.server.handle_input(Instant::EPOCH, ServerInput::Opened(flow));
    }

    /// Sends bytes; gives the messages that come back, and whether the connection is closed.
    fn send(&mut self, number: u64, bytes: &[u8]) -> (Vec<Message>, bool) {
        let conn = ConnId::accepted(number);
        let input = ServerInput::Bytes(conn, bytes.to_vec().into());
        self.server.handle_input(Instant::EPOCH, input);
        let mut messages = Vec::new();
        let mut closed = false;
        while let Some(output) = self.server.poll_output() {
            match output {
                ServerOutput::Write { bytes, .. } => {
                    messages.push(Message::decode(&bytes).unwrap());
                }
                ServerOutput::Close { .. } => closed = true,
                ServerOutput::Request { id, request, .. } => {
                    self.requests += 1;
                    let answer = ServerInput::Answer(id, full(&request));
                    self.server.handle_input(Instant::EPOCH, answer);
                }
                ServerOutput::Trace(_) | ServerOutput::DemandAnswer(..) => {}
            }
        }
        (messages, closed)
    }
}

/// The messages that a client sends: a CER and one request of each kind.
pub(super) fn sent_by_client() -> Vec<bytes::Bytes> {
    let mut pair = connected();
    for (ask, question) in (1..).zip([uar(), lir(), mar(AuthScheme::Aka), sar()]) {
        pair.ask(ask, question);
    }
    pair.messages.into_iter().filter(|(sent, _)| *sent).map(|(_, bytes)| bytes).collect()
}

fn result_of(messages: &[Message]) -> Option<u32> {
    messages.first()?.number(&dictionary::RESULT_CODE)
}

/// The CER with some of its AVPs changed.
fn cer_with(change: impl Fn(&mut Vec<Avp>)) -> Vec<u8> {
    let mut cer = Message::decode(&sent_by_client()[0]).unwrap();
    change(&mut cer.avps);
    cer.encode().to_vec()
}

#[test]
fn a_capabilities_exchange_that_does_not_fit_is_refused_and_closed() {
    let without = |what: Definition| move |avps: &mut Vec<Avp>| avps.retain(|avp| !avp.is(&what));
    let no_cx = cer_with(|avps| {
        avps.retain(|avp| {
            !avp.is(&dictionary::AUTH_APPLICATION_ID)
                && !avp.is(&dictionary::VENDOR_SPECIFIC_APPLICATION_ID)
        });
    });
    let tls = cer_with(|avps| avps.push(Avp::number(&dictionary::INBAND_SECURITY_ID, 1)));
    for (bytes, code) in [
        (cer_with(without(dictionary::ORIGIN_HOST)), 5005),
        (cer_with(without(dictionary::HOST_IP_ADDRESS)), 5005),
        (cer_with(without(dictionary::PRODUCT_NAME)), 5005),
        (no_cx, 5010),
        (tls, 5017),
    ] {
        let mut raw = Raw::new();
        raw.open(1);
        let (messages, closed) = raw.send(1, &bytes);
        assert_eq!((result_of(&messages), closed), (Some(code), true));
    }
}

#[test]
fn either_form_of_the_application_or_a_relay_is_taken() {
    for change in [
        |avps: &mut Vec<Avp>| avps.retain(|avp| !avp.is(&dictionary::AUTH_APPLICATION_ID)),
        |avps: &mut Vec<Avp>| {
            avps.retain(|avp| !avp.is(&dictionary::VENDOR_SPECIFIC_APPLICATION_ID));
        },
        |avps: &mut Vec<Avp>| {
            avps.retain(|avp| !avp.is(&dictionary::VENDOR_SPECIFIC_APPLICATION_ID));
            avps.retain(|avp| !avp.is(&dictionary::AUTH_APPLICATION_ID));
            avps.push(Avp::number(&dictionary::AUTH_APPLICATION_ID, 0xffff_ffff));
        },
    ] {
        let mut raw = Raw::new();
        raw.open(1);
        let (messages, closed) = raw.send(1, &cer_with(change));
        assert_eq!((result_of(&messages), closed), (Some(2001), false));
    }
}

#[test]
fn a_request_before_the_cer_closes_the_connection() {
    let mut raw = Raw::new();
    raw.open(1);
    let (messages, closed) = raw.send(1, &sent_by_client()[1]);
    assert!(messages.is_empty() && closed);
}

#[test]
fn two_connections_of_one_identity_work_side_by_side() {
    let sent = sent_by_client();
    let mut raw = Raw::new();
    for number in [1, 2] {
        raw.open(number);
        assert_eq!(result_of(&raw.send(number, &sent[0]).0), Some(2001));
    }
    for number in [1, 2] {
        assert_eq!(raw.send(number, &sent[1]).0.len(), 1);
    }
    assert_eq!(raw.requests, 2);
    assert_eq!(raw.server.peers().collect::<Vec<_>>(), ["s1.ims.example"; 2]);
}

/// One row: which request, what is changed in it, the Result-Code, and the AVP in Failed-AVP.
type Row = (usize, fn(&mut Message), u32, Option<Definition>);

#[test]
fn what_breaks_a_rule_is_answered_with_the_code_that_names_it() {
    use dictionary as d;
    fn without(message: &mut Message, what: &Definition) {
        message.avps.retain(|avp| !avp.is(what));
    }
    fn replace(message: &mut Message, with: Avp) {
        let at = message.avps.iter().position(|avp| avp.code == with.code).unwrap();
        message.avps[at] = with;
    }
    const UAR: usize = 1;
    const LIR: usize = 2;
    const MAR: usize = 3;
    const SAR: usize = 4;
    let rows: &[Row] = &[
        (UAR, |m| m.header.command = 999, 3001, None),
        (UAR, |m| m.header.command = 305, 3001, None),
        (UAR, |m| m.header.application = 0, 3001, None),
        (UAR, |m| m.header.application = 16_777_217, 3007, None),
        (UAR, |m| m.header.flags.error = true, 3008, None),
        (UAR, |m| replace(m, Avp::text(&d::DESTINATION_HOST, "other.example")), 3002, None),
        (UAR, |m| replace(m, Avp::text(&d::DESTINATION_REALM, "other.example")), 3003, None),
        (UAR, |m| without(m, &d::SESSION_ID), 5005, Some(d::SESSION_ID)),
        (UAR, |m| without(m, &d::USER_NAME), 5005, Some(d::USER_NAME)),
        (UAR, |m| without(m, &d::PUBLIC_IDENTITY), 5005, Some(d::PUBLIC_IDENTITY)),
        (
            UAR,
            |m| without(m, &d::VISITED_NETWORK_IDENTIFIER),
            5005,
            Some(d::VISITED_NETWORK_IDENTIFIER),
        ),
        (
            UAR,
            |m| replace(m, Avp::number(&d::USER_AUTHORIZATION_TYPE, 3)),
            5004,
            Some(d::USER_AUTHORIZATION_TYPE),
        ),
        (
            UAR,
            |m| replace(m, Avp::octets(&d::USER_AUTHORIZATION_TYPE, vec![0; 3])),
            5014,
            Some(d::USER_AUTHORIZATION_TYPE),
        ),
        (
            UAR,
            |m| replace(m, Avp::octets(&d::PUBLIC_IDENTITY, vec![0xff])),
            5004,
            Some(d::PUBLIC_IDENTITY),
        ),
        (UAR, |m| m.avps.push(Avp::text(&d::USER_NAME, "twice")), 5009, Some(d::USER_NAME)),
        (
            UAR,
            |m| {
                let mut odd = Avp::number(&d::UAR_FLAGS, 0);
                odd.code = 9_999;
                odd.mandatory = true;
                m.avps.push(odd);
            },
            5001,
            None,
        ),
        (
            LIR,
            |m| replace(m, Avp::number(&d::ORIGINATING_REQUEST, 1)),
            5004,
            Some(d::ORIGINATING_REQUEST),
        ),
        (SAR, |m| without(m, &d::SERVER_NAME), 5005, Some(d::SERVER_NAME)),
        (
            SAR,
            |m| replace(m, Avp::number(&d::SERVER_ASSIGNMENT_TYPE, 12)),
            5004,
            Some(d::SERVER_ASSIGNMENT_TYPE),
        ),
        (
            SAR,
            |m| {
                replace(m, Avp::number(&d::SERVER_ASSIGNMENT_TYPE, 1));
                without(m, &d::USER_NAME);
            },
            5005,
            Some(d::USER_NAME),
        ),
        (
            SAR,
            |m| {
                without(m, &d::USER_NAME);
                without(m, &d::PUBLIC_IDENTITY);
            },
            5005,
            Some(d::PUBLIC_IDENTITY),
        ),
        (
            SAR,
            |m| replace(m, Avp::number(&d::USER_DATA_ALREADY_AVAILABLE, 2)),
            5004,
            Some(d::USER_DATA_ALREADY_AVAILABLE),
        ),
        (MAR, |m| without(m, &d::SIP_AUTH_DATA_ITEM), 5005, Some(d::SIP_AUTH_DATA_ITEM)),
        (
            MAR,
            |m| {
                let short = Avp::octets(&d::SIP_AUTHORIZATION, vec![0; 29]);
                let scheme = Avp::text(&d::SIP_AUTHENTICATION_SCHEME, "Digest-AKAv1-MD5");
                replace(m, Avp::group(&d::SIP_AUTH_DATA_ITEM, &[scheme, short]));
            },
            5004,
            Some(d::SIP_AUTHORIZATION),
        ),
        (
            MAR,
            |m| {
                let auts = Avp::octets(&d::SIP_AUTHORIZATION, vec![0; 30]);
                let scheme = Avp::text(&d::SIP_AUTHENTICATION_SCHEME, "SIP Digest");
                replace(m, Avp::group(&d::SIP_AUTH_DATA_ITEM, &[scheme, auts]));
            },
            5008,
            Some(d::SIP_AUTHORIZATION),
        ),
    ];
    let sent = sent_by_client();
    for (number, (which, change, code, failed)) in rows.iter().enumerate() {
        let mut raw = Raw::new();
        raw.open(1);
        raw.send(1, &sent[0]);
        let mut message = Message::decode(&sent[*which]).unwrap();
        change(&mut message);

        let (messages, closed) = raw.send(1, &message.encode());

        let answer = messages.first().unwrap_or_else(|| panic!("row {number}: no answer"));
        assert_eq!(answer.number(&d::RESULT_CODE), Some(*code), "row {number}");
        assert_eq!(answer.header.flags.error, *code < 4000, "row {number}");
        assert_eq!(answer.header.hop_by_hop, message.header.hop_by_hop);
        assert!(!closed && raw.requests == 0, "row {number}");
        if let Some(failed) = failed {
            let group = answer.find(&d::FAILED_AVP).unwrap().as_group().unwrap();
            assert!(group[0].is(failed), "row {number}: {group:?}");
        }
    }
}

#[test]
fn session_and_proxy_info_come_back_as_they_were() {
    let sent = sent_by_client();
    let mut raw = Raw::new();
    raw.open(1);
    raw.send(1, &sent[0]);
    let mut message = Message::decode(&sent[1]).unwrap();
    for name in ["a", "b"] {
        let inside = [
            Avp::text(&dictionary::PROXY_HOST, name),
            Avp::text(&dictionary::PROXY_STATE, "state"),
        ];
        message.avps.push(Avp::group(&dictionary::PROXY_INFO, &inside));
    }

    let answer = raw.send(1, &message.encode()).0.remove(0);

    assert_eq!(answer.avps[0], message.avps[0]);
    let of =
        |message: &Message| -> Vec<Avp> { message.all(&dictionary::PROXY_INFO).cloned().collect() };
    assert_eq!(of(&answer), of(&message));
}

#[test]
fn a_broken_stream_is_answered_if_possible_and_closed() {
    let sent = sent_by_client();
    for (at, value, code) in [(0, 9, Some(5011)), (3, 21, Some(5015)), (1, 0xff, Some(5015))] {
        let mut raw = Raw::new();
        raw.open(1);
        raw.send(1, &sent[0]);
        let mut bytes = sent[1].to_vec();
        bytes[at] = value;
        let (messages, closed) = raw.send(1, &bytes);
        assert_eq!((result_of(&messages), closed), (code, true));
    }
}

#[test]
fn a_server_closes_a_connection_that_stays_silent() {
    let mut raw = Raw::new();
    raw.open(1);
    assert_eq!(raw.server.poll_timeout(), Some(Instant::from_secs(10)));
    raw.server.handle_input(Instant::from_secs(10), ServerInput::Timeout);
    let mut closed = false;
    while let Some(output) = raw.server.poll_output() {
        closed |= matches!(output, ServerOutput::Close { .. });
    }
    assert!(closed);
    assert_eq!(raw.server.poll_timeout(), None);
}

#[test]
fn traces_carry_whole_messages_with_both_addresses() {
    let mut client = harness::client("i1", 3);
    client.handle_input(Instant::EPOCH, ClientInput::Timeout);
    let Some(ClientOutput::Connect { conn, local, remote }) = client.poll_output() else {
        panic!()
    };
    let local = std::net::SocketAddr::new(local.ip(), 50_000);
    let flow = Flow { transport: Transport::Tcp, local, remote, conn: Some(conn), sa: None };
    client.handle_input(Instant::EPOCH, ClientInput::Opened(flow));
    let Some(ClientOutput::Trace(TraceKind::Sent(wire))) = client.poll_output() else { panic!() };
    assert_eq!((wire.local, wire.remote), (local, remote));
    assert_eq!(Message::decode(&wire.bytes).unwrap().name(), "CER");
}

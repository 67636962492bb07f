//! Client and server against each other: every command, the watchdog, reconnection, time-outs.

use super::harness::Pair;
use super::*;
use crate::cx::{
    AskId, AssignmentType, AuthItem, AuthScheme, AuthorizationType, CxAnswer, CxDemand, CxRequest,
    CxResult, DemandId, DeregistrationReason, Lir, Maa, Mar, Restoration, RestoredContact,
    RestoredSubscription, Saa, Sar, ServerAnswer, ServerCapabilities, Uar,
};
use crate::time::{Duration, Instant};
use crate::trace::TraceKind;
use crate::transport::{Flow, Transport};

fn uar() -> CxRequest {
    CxRequest::Uar(Uar {
        impi: "alice@ims.example".into(),
        impu: "sip:alice@ims.example".into(),
        visited_network: "ims.example".into(),
        authorization_type: AuthorizationType::Registration,
        emergency: true,
    })
}

fn ppr(user_data: Option<&str>) -> CxDemand {
    CxDemand::Ppr {
        impi: "alice@ims.example".into(),
        user_data: user_data.map(str::to_owned),
        charging_ccf: None,
        digest: None,
    }
}

fn restoration() -> Restoration {
    let subscription = RestoredSubscription {
        call_id: "c2".into(),
        from: "<sip:alice@ims.example>;tag=1".into(),
        to: "<sip:alice@ims.example>;tag=2".into(),
        record_route: "<sip:p1.ims.example;lr>".into(),
        contact: "<sip:alice@192.0.2.1>".into(),
    };
    let phone = RestoredContact {
        path: "<sip:t@p1.ims.example;lr>".into(),
        contact: "<sip:alice@192.0.2.1>;expires=600".into(),
        call_id: Some("c1".into()),
        cseq: Some(7),
        subscription: Some(subscription),
    };
    let bare = RestoredContact { call_id: None, cseq: None, subscription: None, ..phone.clone() };
    Restoration { impi: "alice@ims.example".into(), contacts: vec![phone, bare] }
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
        restoration: Some(restoration()),
        wildcard: None,
    })
}

/// Answers with every field that can be there.
pub(super) fn full(request: &CxRequest) -> CxAnswer {
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
            wildcard: None,
        }),
        CxRequest::Lir(_) => CxAnswer::Server(ServerAnswer {
            result: CxResult::Success,
            server_name: Some("sip:s1.ims.example".into()),
            capabilities: None,
            wildcard: None,
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
            restoration: vec![
                restoration(),
                Restoration { impi: "tablet@ims.example".into(), ..restoration() },
            ],
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
        CxResult::OtherExperimental(5999),
        CxResult::SubsequentRegistration,
    ];
    fn nth(request: &CxRequest) -> CxAnswer {
        let CxRequest::Lir(lir) = request else { panic!() };
        let number: usize = lir.impu.parse().unwrap();
        let result = RESULTS[number];
        CxAnswer::Server(ServerAnswer {
            result,
            server_name: None,
            capabilities: None,
            wildcard: None,
        })
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
    let ppr = ppr(Some("<x/>"));
    for (number, what) in (1..).zip([rtr, ppr]) {
        pair.server_input(ServerInput::Demand {
            demand: DemandId(number),
            destination_host: "S1.ims.example".into(),
            what: what.clone(),
        });
        let (demand, got) = pair.demands.last().unwrap().clone();
        assert_eq!(got, what);

        pair.client_input(ClientInput::DemandAnswer(demand, CxResult::TooMuchData.into()));

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
    let what = ppr(None);
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
fn a_client_that_shuts_down_ends_even_if_nobody_answers() {
    for breaks in [true, false] {
        let mut pair = connected();
        pair.mute = true;
        pair.client_input(ClientInput::Shutdown);
        pair.ask(1, uar());
        if breaks {
            pair.break_connection();
        }
        pair.run(secs(100));
        assert_eq!((pair.connects.len(), pair.client.poll_timeout()), (1, None));
        assert_eq!(pair.answers.last().unwrap().2, CxAnswer::Unreachable);
    }
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

/// The messages that a client sends: a CER and one request of each kind.
pub(super) fn sent_by_client() -> Vec<bytes::Bytes> {
    let mut pair = connected();
    for (ask, question) in (1..).zip([uar(), lir(), mar(AuthScheme::Aka), sar()]) {
        pair.ask(ask, question);
    }
    pair.messages.into_iter().filter(|(sent, _)| *sent).map(|(_, bytes)| bytes).collect()
}

/// All messages of a connection with every command, both ways.
pub(super) fn everything() -> Vec<bytes::Bytes> {
    let mut pair = connected();
    let questions = [uar(), lir(), mar(AuthScheme::Aka), mar(AuthScheme::SipDigest), sar()];
    for (ask, question) in (1..).zip(questions) {
        pair.ask(ask, question);
    }
    let impi = || "alice@ims.example".to_owned();
    let rtr = CxDemand::Rtr {
        impi: impi(),
        impus: vec!["sip:alice@ims.example".into()],
        reason: DeregistrationReason::PermanentTermination,
        info: "ended".into(),
    };
    let ppr = CxDemand::Ppr {
        impi: impi(),
        user_data: Some("<IMSSubscription/>".into()),
        charging_ccf: Some("aaa://ccf.ims.example".into()),
        digest: Some(AuthItem::Digest {
            realm: "ims.example".into(),
            algorithm: "MD5".into(),
            ha1: "939e7578ed9e3c518a452acee763bce9".into(),
            ha1_sha256: Some("00".repeat(32)),
        }),
    };
    for (number, what) in (1..).zip([rtr, ppr]) {
        let destination_host = "s1.ims.example".into();
        let demand = DemandId(number);
        pair.server_input(ServerInput::Demand { demand, destination_host, what });
        pair.client_input(ClientInput::DemandAnswer(demand, CxResult::Success.into()));
    }
    pair.run(secs(40));
    pair.client_input(ClientInput::Shutdown);
    pair.messages.into_iter().map(|(_, bytes)| bytes).collect()
}

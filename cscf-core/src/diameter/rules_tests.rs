//! What a server makes of requests that break a rule: each with the code that names it.

use super::dictionary as d;
use super::harness::{client_address, server, server_address};
use super::tests::{full, sent_by_client};
use super::*;
use crate::time::Instant;
use crate::transport::{ConnId, Flow, Transport};

/// A server with raw connections, to send it what no client sends.
pub(super) struct Raw {
    server: DiameterServer,
    requests: usize,
}

impl Raw {
    pub(super) fn new() -> Self {
        Self { server: server(), requests: 0 }
    }

    pub(super) fn open(&mut self, number: u64) {
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
    pub(super) fn send(&mut self, number: u64, bytes: &[u8]) -> (Vec<Message>, bool) {
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

const ROWS: &[Row] = &[
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

#[test]
fn what_breaks_a_rule_is_answered_with_the_code_that_names_it() {
    let sent = sent_by_client();
    for (number, (which, change, code, failed)) in ROWS.iter().enumerate() {
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
fn a_feature_is_refused_only_where_it_must_be_supported() {
    let sent = sent_by_client();
    // The restoration of an S-CSCF (4) we have, shared filter criteria (1) we have not.
    for (mandatory, list) in [(false, 1), (true, 4), (true, 5)] {
        let refused = mandatory && list & 1 != 0;
        let mut raw = Raw::new();
        raw.open(1);
        raw.send(1, &sent[0]);
        let mut message = Message::decode(&sent[UAR]).unwrap();
        let mut features = Avp::group(
            &d::SUPPORTED_FEATURES,
            &[
                Avp::number(&d::VENDOR_ID, d::VENDOR_3GPP),
                Avp::number(&d::FEATURE_LIST_ID, 1),
                Avp::number(&d::FEATURE_LIST, list),
            ],
        );
        features.mandatory = mandatory;
        message.avps.push(features);

        let answer = raw.send(1, &message.encode()).0.remove(0);

        let result = answer.find(&d::EXPERIMENTAL_RESULT).unwrap().as_group().unwrap();
        assert_eq!(result[1].as_u32().unwrap(), if refused { 5011 } else { 2001 });
        assert_eq!(answer.find(&d::SUPPORTED_FEATURES).is_some(), refused);
    }
}

//! What is measured by itself, without a network: the pieces of which each message's way is made.
//! `instructions.rs` repeats them for a counter of instructions.

use std::hint::black_box;

use bytes::Bytes;
use cscf_core::auth::{
    AMF_SEPARATION, AuthVector, Credentials, Ha1, Hash, IndBits, Milenage, Qop, ResponseInput, Sqn,
    response,
};
use cscf_core::diameter::{Avp, Flags, Header, Message as DiameterMessage, dictionary as avp};
use cscf_core::identity::Impu;
use cscf_core::ids::Seed;
use cscf_core::ifc::{Expressions, Filters, SessionCase, Subject, UserProfile};
use cscf_core::proxy;
use cscf_core::sip::{self, HeaderName, Message, Method, NameAddr, Request};
use cscf_core::time::{Duration, Instant};
use cscf_core::transaction::{LayerSettings, Outbox, ServerEvent, Timers, TransactionLayer};
use cscf_core::transport::target::Place;
use cscf_core::transport::{Flow, Transport};

/// The messages that are read, as a competitor's chain has them on the wire: 1.47 and 1.42 kB.
const INVITE: &[u8] = include_bytes!("invite.sip");
/// A REGISTER with AKA credentials and three Vias.
const REGISTER: &[u8] = include_bytes!("register.sip");

/// One operation, ready to be repeated.
pub(crate) struct Operation {
    /// Its name, e.g. `parse-invite`.
    pub(crate) name: &'static str,
    /// Does it once.
    pub(crate) run: Box<dyn FnMut()>,
}

fn operation(name: &'static str, run: impl FnMut() + 'static) -> Operation {
    Operation { name, run: Box::new(run) }
}

/// All operations.
pub(crate) fn all() -> Vec<Operation> {
    let invite = Bytes::from_static(INVITE);
    let register = Bytes::from_static(REGISTER);
    let (again, checked, more) = (invite.clone(), invite.clone(), register.clone());
    vec![
        operation("parse-invite", move || drop(black_box(sip::parse(black_box(&invite))))),
        operation("parse-edit-serialize-invite", move || {
            if let Ok(Message::Request(mut request)) = sip::parse(black_box(&again)) {
                edit(&mut request);
                black_box(request.to_bytes());
            }
        }),
        operation("read-invite", move || drop(black_box(sip::read(black_box(&checked))))),
        operation("parse-register", move || drop(black_box(sip::parse(black_box(&register))))),
        operation("read-register", move || drop(black_box(sip::read(black_box(&more))))),
        operation("serialize-invite", serialize()),
        operation("respond", respond()),
        operation("parse-address", || drop(black_box(NameAddr::parse(black_box(CONTACT))))),
        operation("parse-impu", || drop(black_box(Impu::parse(black_box(IMPU))))),
        operation("parse-credentials", credentials()),
        transaction(),
        operation("route-decision", route_decision()),
        milenage(),
        digest(),
        diameter(),
        filter_criteria(),
    ]
}

/// What a proxy on the way changes: six headers.
fn edit(request: &mut Request) {
    request.headers.set(HeaderName::MaxForwards, "68");
    request.headers.drop_front_value(HeaderName::Route);
    request.headers.push_front(HeaderName::RecordRoute, "<sip:127.0.0.13:5060;lr>");
    let via = "SIP/2.0/UDP 127.0.0.13:5060;branch=z9hG4bKb5c3d7e2f0a4b6c8d9e";
    request.headers.push_front(HeaderName::Via, via);
    let vector = "icid-value=5B3C1D7E2F0A4B6C;icid-generated-at=127.0.0.11;orig-ioi=home1.net";
    request.headers.set(HeaderName::PChargingVector, vector);
    request.headers.remove(HeaderName::PAccessNetworkInfo);
}

const IMPU: &str = "sip:001010000002121@ims.mnc001.mcc001.3gppnetwork.org";
const CONTACT: &str =
    "<sip:001010000002121@127.1.9.17:5070;transport=udp>;+g.3gpp.smsip;expires=60";

/// The INVITE of [`INVITE`].
fn invite() -> Request {
    match sip::parse(&Bytes::from_static(INVITE)) {
        Ok(Message::Request(request)) => request,
        _ => Request::new(Method::Invite, IMPU),
    }
}

fn serialize() -> impl FnMut() {
    let request = invite();
    move || drop(black_box(black_box(&request).to_bytes()))
}

/// A 200 made of a request, with a tag, and written.
fn respond() -> impl FnMut() {
    let request = invite();
    move || {
        let mut response = black_box(&request).reply(200);
        response.set_to_tag("b4242");
        drop(black_box(response.to_bytes()));
    }
}

/// The credentials of [`REGISTER`].
fn credentials() -> impl FnMut() {
    let text = match sip::parse(&Bytes::from_static(REGISTER)) {
        Ok(message) => message.headers().get(HeaderName::Authorization).unwrap_or("").to_owned(),
        Err(_) => String::new(),
    };
    move || drop(black_box(black_box(&*text).parse::<Credentials>()))
}

/// What a proxy decides of a request around its role: the checks, its own Route taken away, the
/// next hop.
fn route_decision() -> impl FnMut() {
    let request = invite();
    let own = |place: &Place<'_>| place.host == "127.0.0.13";
    move || {
        let mut request = black_box(&request).clone();
        if proxy::validate(&request, proxy::SCHEMES, &[]).is_ok()
            && proxy::preprocess(&mut request, own).is_ok()
        {
            proxy::lower_max_forwards(&mut request);
            drop(black_box(proxy::post_process_routes(&mut request)));
        }
    }
}

/// A server transaction from its request over the 200 to its end, and one repetition absorbed.
fn transaction() -> Operation {
    let mut layer = TransactionLayer::new(&Seed([7; 32]), LayerSettings::default());
    let (timers, mut now) = (Timers::CORE, Instant::EPOCH);
    let (local, remote) = (([127, 0, 0, 13], 5060).into(), ([127, 0, 0, 12], 5060).into());
    let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: None };
    let register = sip::parse(&Bytes::from_static(REGISTER));
    let Ok(Message::Request(request)) = register else { return operation("transaction", || {}) };
    let response = request.response(200, "OK");
    operation("transaction", move || {
        let mut out = Outbox::default();
        let event = layer.receive_request(now, black_box(&request), flow, &timers, &mut out);
        if let Ok(ServerEvent::New(id)) = event {
            let _ = black_box(layer.send_response(now, id, &response, &mut out));
        }
        let _ = black_box(layer.receive_request(now, &request, flow, &timers, &mut out));
        now += Duration::from_secs(40);
        layer.handle_timeout(now, &mut out);
        black_box(&out);
    })
}

fn milenage() -> Operation {
    let card = Milenage::with_op([0x30; 16], [0x11; 16]);
    let sqn = Sqn::from_parts(5_000, 1, IndBits::default()).unwrap_or_default();
    operation("milenage-vector", move || {
        black_box(AuthVector::generate(black_box(&card), [7; 16], sqn, AMF_SEPARATION));
    })
}

fn digest() -> Operation {
    let ha1 = Ha1::new(Hash::Md5, "alice@ims.example", "ims.example", b"secret");
    operation("digest-response", move || {
        let input = ResponseInput {
            session: false,
            method: "REGISTER",
            uri: "sip:ims.example",
            nonce: "sNs7h0oGqQeTQqTqBz3rYwAAAAAAAIAAh8gqFTOwRPs=",
            qop: Some(Qop::Auth),
            nc: "00000001",
            cnonce: "5f8a1c2e",
            body: b"",
        };
        black_box(response(black_box(&ha1), black_box(&input)));
    })
}

/// A Location-Information-Answer is written and read.
fn diameter() -> Operation {
    let header = Header {
        flags: Flags { request: false, proxiable: true, error: false, retransmitted: false },
        command: 302,
        application: 16_777_216,
        hop_by_hop: 7,
        end_to_end: 9,
    };
    let avps = vec![
        Avp::text(&avp::SESSION_ID, "i1.ims.example;1;7"),
        Avp::number(&avp::RESULT_CODE, 2001),
        Avp::text(&avp::ORIGIN_HOST, "hss.ims.example"),
        Avp::text(&avp::ORIGIN_REALM, "ims.example"),
        Avp::text(&avp::SERVER_NAME, "sip:127.0.0.13:5060"),
    ];
    let message = DiameterMessage { header, avps };
    operation("diameter-lia", move || {
        let bytes = black_box(&message).encode();
        drop(black_box(DiameterMessage::decode(&bytes)));
    })
}

/// Three criteria of a profile, judged for an INVITE; the last one matches.
fn filter_criteria() -> Operation {
    let profile = UserProfile::parse(PROFILE).ok();
    let first = profile.and_then(|profile| profile.service_profiles.into_iter().next());
    let mut all = Expressions::default();
    let filters = first.map(|it| Filters::compile(&it, &mut all).0).unwrap_or_default();
    let invite = Bytes::from_static(INVITE);
    let Ok(Message::Request(request)) = sip::parse(&invite) else {
        return operation("filter-criteria", || {});
    };
    operation("filter-criteria", move || {
        let subject = Subject {
            request: black_box(&request),
            session_case: SessionCase::Originating,
            registration: None,
            registered: true,
        };
        black_box(filters.next(0, &subject).is_some());
    })
}

const PROFILE: &str = "<IMSSubscription><PrivateID>a@ims.example</PrivateID><ServiceProfile>\
    <PublicIdentity><Identity>sip:a@ims.example</Identity></PublicIdentity>\
    <InitialFilterCriteria><Priority>1</Priority><TriggerPoint>\
    <ConditionTypeCNF>0</ConditionTypeCNF><SPT><Group>0</Group><Method>MESSAGE</Method></SPT>\
    </TriggerPoint><ApplicationServer><ServerName>sip:as1.ims.example</ServerName>\
    </ApplicationServer></InitialFilterCriteria>\
    <InitialFilterCriteria><Priority>2</Priority><TriggerPoint>\
    <ConditionTypeCNF>0</ConditionTypeCNF><SPT><Group>0</Group><SIPHeader><Header>Subject</Header>\
    <Content>urgent.*</Content></SIPHeader></SPT></TriggerPoint><ApplicationServer>\
    <ServerName>sip:as2.ims.example</ServerName></ApplicationServer></InitialFilterCriteria>\
    <InitialFilterCriteria><Priority>3</Priority><TriggerPoint>\
    <ConditionTypeCNF>0</ConditionTypeCNF><SPT><Group>0</Group><Method>INVITE</Method></SPT>\
    <SPT><Group>0</Group><SIPHeader><Header>Accept-Contact</Header><Content>.*mmtel.*</Content>\
    </SIPHeader></SPT></TriggerPoint><ApplicationServer>\
    <ServerName>sip:as3.ims.example</ServerName></ApplicationServer></InitialFilterCriteria>\
    </ServiceProfile></IMSSubscription>";

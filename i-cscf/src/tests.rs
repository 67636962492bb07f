//! The I-CSCF, message by message: text in, actions out, no engine.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::cx::{
    AskId, AuthorizationType, CxAnswer, CxRequest, CxResult, Lir, ServerAnswer, ServerCapabilities,
    Uar,
};
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::role::{
    Action, Answer, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, Question,
    RequestKind, Role,
};
use cscf_core::sip::{HeaderName, Message, Method, Request, Response, parse};
use cscf_core::time::{Duration, Instant, UnixTime};
use cscf_core::trace::Note;
use cscf_core::transport::{Flow, Transport};

use crate::{Config, Icscf, ScscfConfig};

const SEED: Seed = Seed([3; 32]);
const S1: &str = "sip:s1.ims.example:6060";
const S2: &str = "sip:s2.ims.example:6060";
const PEER: &str = "10.0.0.10:5060";
const STRANGER: &str = "192.0.2.1:5060";

type Out = Vec<Action<Infallible>>;

struct Bench {
    icscf: Icscf,
    now: Instant,
    notes: Vec<Note>,
    ids: Ids,
    asks: u64,
    contexts: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("sip:i1.ims.example:4060", "ims.example");
        config.trusted.push("10.0.0.10:0".parse().expect("an address"));
        let scscf = |uri: &str| ScscfConfig { uri: uri.into(), capabilities: vec![1] };
        config.scscfs = vec![scscf(S1), scscf(S2)];
        change(&mut config);
        Self {
            icscf: Icscf::new(config),
            now: Instant::from_secs(1),
            notes: Vec::new(),
            ids: Ids::new(SEED, ShardId(0)),
            asks: 0,
            contexts: 0,
        }
    }

    fn act(&mut self, event: impl FnOnce(&mut Icscf, &mut Env<'_>, &mut Out)) -> Out {
        let mut env = Env {
            now: self.now,
            unix_at_epoch: UnixTime(0),
            ids: &mut self.ids,
            tracing: true,
            notes: &mut self.notes,
            asks: &mut self.asks,
        };
        let mut out = Vec::new();
        event(&mut self.icscf, &mut env, &mut out);
        out
    }

    fn send(&mut self, peer: &str, own_route: Option<&str>, text: &str) -> Out {
        let request = request(text);
        let kind = match (&request.method, request.to_tag()) {
            (Method::Ack, _) => RequestKind::Ack,
            (_, Some(_)) => RequestKind::InDialog,
            (_, None) => RequestKind::Initial,
        };
        self.contexts += 1;
        let context = ContextId(self.contexts);
        let own_route = own_route.map(str::to_owned);
        let incoming = Incoming { context, request, flow: flow(peer), own_route, kind };
        self.act(|icscf, env, out| icscf.on_request(env, incoming, out))
    }

    fn answer(&mut self, ask: AskId, answer: CxAnswer) -> Out {
        self.act(|icscf, env, out| icscf.on_answer(env, ask, Answer::Cx(answer), out))
    }

    /// The last request gets this response on this branch.
    fn respond(&mut self, branch: u32, status: u16, cause: Cause) -> Out {
        let answered = Answered {
            context: ContextId(self.contexts),
            branch: BranchId(branch),
            response: request("OPTIONS sip:x SIP/2.0\n").reply(status),
            cause,
            flow: None,
        };
        self.act(|icscf, env, out| icscf.on_response(env, answered, out))
    }

    fn end(&mut self) {
        let context = ContextId(self.contexts);
        self.act(|icscf, _, _| icscf.on_context_end(context));
    }

    fn is_idle(&self) -> bool {
        self.icscf.remainders().iter().all(|(_, count)| *count == 0)
    }
}

fn flow(peer: &str) -> Flow {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let (local, remote) = (address("10.0.0.20:4060"), address(peer));
    Flow { transport: Transport::Udp, local, remote, conn: None, sa: None }
}

fn request(text: &str) -> Request {
    let text = format!("{text}Via: SIP/2.0/UDP p1;branch=z9hG4bK1\nContent-Length: 0\n\n");
    match parse(&Bytes::from(text.replace('\n', "\r\n"))) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

/// A REGISTER of alice; `parameters` are added to the credentials, `headers` to the message.
fn register(parameters: &str, headers: &str) -> String {
    format!(
        "REGISTER sip:ims.example SIP/2.0\nFrom: <sip:alice@ims.example>;tag=a\n\
         To: <sip:Alice@IMS.example>\nCall-ID: c1\nCSeq: 1 REGISTER\n\
         Contact: <sip:10.0.0.1>\nPath: <sip:tok@p1;lr>\n\
         P-Visited-Network-ID: \"visited.example\"\n\
         Authorization: Digest username=\"00101@ims.example\", realm=\"ims.example\", \
         nonce=\"\", uri=\"sip:ims.example\", response=\"\"{parameters}\n{headers}"
    )
}

fn invite(uri: &str, headers: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\nFrom: <sip:bob@ims.example>;tag=b\nTo: <{uri}>\nCall-ID: c2\n\
         CSeq: 1 INVITE\nP-Charging-Vector: icid-value=\"p1-1\"\n{headers}"
    )
}

fn server(result: CxResult, name: Option<&str>) -> CxAnswer {
    let server_name = name.map(str::to_owned);
    CxAnswer::Server(ServerAnswer { result, server_name, capabilities: None })
}

fn capabilities(result: CxResult, mandatory: &[u32]) -> CxAnswer {
    let wanted =
        ServerCapabilities { mandatory: mandatory.to_vec(), ..ServerCapabilities::default() };
    CxAnswer::Server(ServerAnswer { result, server_name: None, capabilities: Some(wanted) })
}

fn replied(out: &Out) -> &Response {
    match out.as_slice() {
        [Action::Reply { response, .. }] => response,
        _ => panic!("no lone reply: {out:#?}"),
    }
}

fn passed_up(out: &Out) -> u16 {
    match out.as_slice() {
        [Action::PassUp { response, .. }] => response.status,
        _ => panic!("not passed up: {out:#?}"),
    }
}

fn asked(out: &Out) -> (AskId, &CxRequest) {
    match out.as_slice() {
        [Action::Ask { ask, question: Question::Cx(question) }] => (*ask, question),
        _ => panic!("no lone question: {out:#?}"),
    }
}

fn uar(out: &Out) -> &Uar {
    match asked(out).1 {
        CxRequest::Uar(uar) => uar,
        other => panic!("no UAR: {other:?}"),
    }
}

fn lir(out: &Out) -> &Lir {
    match asked(out).1 {
        CxRequest::Lir(lir) => lir,
        other => panic!("no LIR: {other:?}"),
    }
}

fn forwarded(out: &Out) -> (&Request, Option<Duration>) {
    match out.as_slice() {
        [Action::Forward { request, to, record_route: None, within, .. }] => {
            assert_eq!(*to, NextHop::AsRouted);
            (request, *within)
        }
        _ => panic!("no lone forward without Record-Route: {out:#?}"),
    }
}

/// Lets a REGISTER get as far as the first S-CSCF.
fn at_scscf(bench: &mut Bench, parameters: &str) -> Out {
    let out = bench.send(PEER, None, &register(parameters, ""));
    let ask = asked(&out).0;
    bench.answer(ask, server(CxResult::FirstRegistration, None))
}

/// I-REG-010, G-TRUST-040
#[test]
fn register_from_outside_the_trust_domain_is_refused_without_asking() {
    let mut bench = Bench::new();
    let out = bench.send(STRANGER, None, &register("", ""));
    assert_eq!(replied(&out).status, 403);
    assert!(bench.is_idle());
}

/// I-REG-020, I-REG-040a
#[test]
fn the_hss_is_asked_for_the_user_of_to_and_authorization() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    assert_eq!(
        *uar(&out),
        Uar {
            impi: "00101@ims.example".into(),
            impu: "sip:Alice@ims.example".into(),
            visited_network: "visited.example".into(),
            authorization_type: AuthorizationType::Registration,
            emergency: false,
        }
    );
}

/// I-REG-030
#[test]
fn without_authorization_the_private_identity_is_derived_from_to() {
    let mut bench = Bench::new();
    let text = register("", "");
    let lines: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("Authorization")).collect();
    let out = bench.send(PEER, None, &lines);
    assert_eq!(uar(&out).impi, "Alice@IMS.example");
}

/// I-REG-040
#[test]
fn the_authorization_type_follows_the_contacts() {
    let cases = [
        ("Contact: <sip:10.0.0.1>", "", AuthorizationType::Registration),
        ("Contact: <sip:10.0.0.1>;expires=0", "", AuthorizationType::Deregistration),
        ("Contact: <sip:10.0.0.1>", "Expires: 0\n", AuthorizationType::Deregistration),
        ("Contact: *", "Expires: 0\n", AuthorizationType::Deregistration),
        ("Contact: <sip:a>;expires=0, <sip:b>;expires=9", "", AuthorizationType::Registration),
        ("X-None: 1", "", AuthorizationType::Registration),
    ];
    for (contact, headers, expected) in cases {
        let mut bench = Bench::new();
        let text = register("", headers).replace("Contact: <sip:10.0.0.1>", contact);
        let out = bench.send(PEER, None, &text);
        assert_eq!(uar(&out).authorization_type, expected, "{contact} {headers}");
    }
}

/// I-REG-050
#[test]
fn register_goes_to_the_assigned_s_cscf_unchanged_but_for_the_request_uri() {
    for result in [CxResult::SubsequentRegistration, CxResult::Success] {
        let mut bench = Bench::new();
        let text = register(", integrity-protected=\"no\"", "");
        let out = bench.send(PEER, None, &text);
        let out = bench.answer(asked(&out).0, server(result, Some(S2)));
        let (sent, within) = forwarded(&out);
        let mut expected = request(&text);
        expected.request_uri = S2.into();
        assert_eq!(sent.to_bytes(), expected.to_bytes());
        assert_eq!(within, Some(Duration::from_secs(6)));
    }
}

/// I-REG-060
#[test]
fn a_first_registration_goes_to_the_best_s_cscf() {
    let mut bench = Bench::with(|config| config.scscfs[1].capabilities.push(7));
    let out = bench.send(PEER, None, &register("", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::FirstRegistration, &[7]));
    assert_eq!(forwarded(&out).0.request_uri, S2);
}

/// I-REG-070, I-REG-075a, I-REG-075b
#[test]
fn a_negative_answer_of_the_hss_refuses() {
    for result in [
        CxResult::UserUnknown,
        CxResult::IdentitiesDontMatch,
        CxResult::RoamingNotAllowed,
        CxResult::AuthorizationRejected,
        CxResult::IdentityNotRegistered,
    ] {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &register("", ""));
        let out = bench.answer(asked(&out).0, server(result, None));
        assert_eq!(replied(&out).status, 403, "{result:?}");
        assert!(bench.is_idle());
    }
}

/// I-REG-075c, I-REG-075d
#[test]
fn another_realm_or_domain_is_refused_without_asking() {
    let realm = register("", "").replace("realm=\"ims.example\"", "realm=\"else.example\"");
    let domain = register("", "").replace("REGISTER sip:ims.example", "REGISTER sip:else.example");
    for text in [realm, domain] {
        let mut bench = Bench::new();
        assert_eq!(replied(&bench.send(PEER, None, &text)).status, 403);
        assert!(bench.notes.iter().any(|note| note.refusal));
    }
}

/// I-REG-080
#[test]
fn an_hss_that_does_not_answer_makes_the_service_unavailable() {
    for answer in [
        CxAnswer::Unreachable,
        server(CxResult::UnableToComply, None),
        server(CxResult::SubsequentRegistration, Some("nonsense")),
    ] {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &register("", ""));
        assert_eq!(replied(&bench.answer(asked(&out).0, answer)).status, 480);
    }
}

/// I-REG-090
#[test]
fn nobody_with_the_mandatory_capabilities_is_busy_everywhere() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::FirstRegistration, &[9]));
    assert_eq!(replied(&out).status, 600);
}

/// I-REG-100, I-REG-040c
#[test]
fn another_s_cscf_is_tried_when_the_first_cannot_serve() {
    let cases = [
        (Cause::Budget, 408),
        (Cause::Timeout, 408),
        (Cause::Transport, 503),
        (Cause::Received, 302),
        (Cause::Received, 480),
        (Cause::Received, 503),
    ];
    for (cause, status) in cases {
        let mut bench = Bench::new();
        let out = at_scscf(&mut bench, ", integrity-protected=\"no\"");
        assert_eq!(forwarded(&out).0.request_uri, S1);
        bench.now += Duration::from_secs(6);
        let out = bench.respond(0, status, cause);
        assert_eq!(uar(&out).authorization_type, AuthorizationType::RegistrationAndCapabilities);
        let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        let (sent, within) = forwarded(&out);
        assert_eq!(sent.request_uri, S2);
        assert_eq!(within, Some(Duration::from_secs(18)), "the last may use what is left");
        assert_eq!(passed_up(&bench.respond(1, 401, Cause::Received)), 401);
    }
}

/// I-REG-110
#[test]
fn a_protected_register_is_not_sent_elsewhere() {
    for integrity in ["yes", "tls-yes", "ip-assoc-yes"] {
        let mut bench = Bench::new();
        let parameters = format!(", integrity-protected=\"{integrity}\"");
        let out = at_scscf(&mut bench, &parameters);
        assert_eq!(forwarded(&out).1, Some(Duration::from_secs(24)), "nobody else to leave time");
        assert_eq!(replied(&bench.respond(0, 408, Cause::Budget)).status, 504);
        assert!(bench.is_idle());
    }
    let mut bench = Bench::new();
    at_scscf(&mut bench, ", integrity-protected=\"yes\"");
    assert_eq!(passed_up(&bench.respond(0, 480, Cause::Received)), 480);
}

/// I-REG-120
#[test]
fn when_all_s_cscfs_have_failed_the_last_word_counts() {
    for (cause, status) in [(Cause::Budget, 408), (Cause::Received, 480)] {
        let mut bench = Bench::new();
        at_scscf(&mut bench, "");
        let out = bench.respond(0, 408, Cause::Budget);
        bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        let out = bench.respond(1, status, cause);
        let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        if cause == Cause::Received {
            assert_eq!(passed_up(&out), 480);
        } else {
            assert_eq!(replied(&out).status, 504);
        }
    }
}

/// I-REG-120
#[test]
fn all_s_cscfs_together_have_24_seconds() {
    let mut bench = Bench::new();
    at_scscf(&mut bench, "");
    bench.now += Duration::from_secs(24);
    assert_eq!(replied(&bench.respond(0, 408, Cause::Budget)).status, 504);
}

/// I-REG-140
#[test]
fn an_emergency_registration_is_told_to_the_hss() {
    let mut bench = Bench::new();
    let text = register("", "").replace("<sip:10.0.0.1>", "<sip:10.0.0.1;sos>");
    assert!(uar(&bench.send(PEER, None, &text)).emergency);
}

/// I-REG-160
#[test]
fn an_hss_that_names_this_node_is_a_loop() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    let me = server(CxResult::SubsequentRegistration, Some("sip:i1.ims.example:4060"));
    assert_eq!(replied(&bench.answer(asked(&out).0, me)).status, 482);
}

/// I-SES-010
#[test]
fn what_a_stranger_asserts_is_removed() {
    let mut bench = Bench::new();
    let headers = "P-Asserted-Identity: <sip:forged@ims.example>\n\
        P-Charging-Function-Addresses: ccf=x\nP-Access-Network-Info: 3GPP-NR-FDD\n\
        P-Profile-Key: <sip:x@y>\nRoute: <sip:s1.ims.example:6060;lr>\n";
    let out = bench.send(STRANGER, None, &invite("sip:alice@ims.example", headers));
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let sent = forwarded(&out).0;
    for name in [
        HeaderName::PAssertedIdentity,
        HeaderName::PChargingFunctionAddresses,
        HeaderName::PAccessNetworkInfo,
        HeaderName::PProfileKey,
    ] {
        assert!(!sent.headers.contains(name), "{name}");
    }
    let routes: Vec<_> = sent.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:s1.ims.example:6060;lr>"], "only the one of the HSS");
    let vector = sent.headers.charging_vector().expect("readable").expect("a new one");
    assert_ne!(vector.icid(), "p1-1");
}

/// I-SES-020, I-SES-030
#[test]
fn the_key_of_the_question_is_the_canonical_identity() {
    let cases = [
        ("sip:Alice@IMS.example:5060;x=y", "sip:Alice@ims.example"),
        ("tel:+1-555-0101", "tel:+15550101"),
        ("sip:+15550101@ims.example;user=phone", "tel:+15550101"),
        ("sip:5551234@ims.example;user=phone", "sip:5551234@ims.example"),
    ];
    for (uri, key) in cases {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &invite(uri, ""));
        let expected = Lir { impu: key.into(), originating: false, capabilities: false };
        assert_eq!(*lir(&out), expected);
        let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
        assert_eq!(forwarded(&out).0.request_uri, uri, "leaves as it came");
    }
}

/// I-SES-040
#[test]
fn the_serving_s_cscf_is_put_on_top_of_the_route() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let (sent, within) = forwarded(&out);
    assert_eq!(sent.headers.get(HeaderName::Route), Some("<sip:s1.ims.example:6060;lr>"));
    assert_eq!(sent.headers.get(HeaderName::PChargingVector), Some("icid-value=\"p1-1\""));
    assert_eq!(within, None, "it may ring for long");
    assert_eq!(passed_up(&bench.respond(0, 180, Cause::Received)), 180);
    bench.end();
    assert!(bench.is_idle());
}

/// I-SES-100
#[test]
fn a_service_identity_is_routed_to_its_application_server() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:chess@ims.example", ""));
    let as1 = server(CxResult::Success, Some("sip:as1.ims.example:5070"));
    let out = bench.answer(asked(&out).0, as1);
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:as1.ims.example:5070;lr>"));
}

/// I-SES-050, I-SES-060, I-SES-080
#[test]
fn the_answer_of_the_hss_decides_what_the_caller_hears() {
    let cases = [
        (server(CxResult::UserUnknown, None), 404),
        (server(CxResult::IdentityNotRegistered, None), 480),
        (server(CxResult::UnableToComply, None), 480),
        (CxAnswer::Unreachable, 480),
    ];
    for (answer, expected) in cases {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
        assert_eq!(replied(&bench.answer(asked(&out).0, answer)).status, expected);
        assert!(bench.is_idle());
    }
}

/// I-SES-070
#[test]
fn an_unregistered_user_with_services_gets_an_s_cscf() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::UnregisteredService, &[1]));
    assert!(forwarded(&out).0.headers.contains(HeaderName::Route));
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::UnregisteredService, &[9]));
    assert_eq!(replied(&out).status, 600);
}

/// I-SES-090
#[test]
fn orig_is_for_the_served_user_and_for_trusted_peers() {
    let mut bench = Bench::new();
    let own = Some("sip:i1.ims.example:4060;lr;orig");
    let text = invite("sip:bob@else.example", "P-Served-User: <sip:alice@ims.example>\n");
    let out = bench.send(PEER, own, &text);
    let expected =
        Lir { impu: "sip:alice@ims.example".into(), originating: true, capabilities: false };
    assert_eq!(*lir(&out), expected);
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:s1.ims.example:6060;lr;orig>"));
    assert_eq!(replied(&bench.send(STRANGER, own, &text)).status, 403);
}

/// I-SES-110, I-SES-150
#[test]
fn what_cannot_be_routed_is_refused_without_asking() {
    let mut bench = Bench::new();
    for (uri, expected) in [("http://x.example", 416), ("sip:eve@else.example", 404)] {
        assert_eq!(replied(&bench.send(PEER, None, &invite(uri, ""))).status, expected);
    }
}

/// I-SES-120
#[test]
fn a_silent_s_cscf_is_a_server_time_out_or_brings_the_next() {
    let start = |bench: &mut Bench| {
        let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
        bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    };
    let mut bench = Bench::new();
    start(&mut bench);
    assert_eq!(replied(&bench.respond(0, 408, Cause::Timeout)).status, 504);

    let mut bench = Bench::with(|config| config.restoration = true);
    start(&mut bench);
    let out = bench.respond(0, 503, Cause::Transport);
    assert!(lir(&out).capabilities);
    let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:s2.ims.example:6060;lr>"));
    let out = bench.respond(1, 503, Cause::Transport);
    let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
    assert_eq!(replied(&out).status, 504);

    let mut bench = Bench::new();
    start(&mut bench);
    bench.respond(0, 180, Cause::Received);
    assert_eq!(passed_up(&bench.respond(0, 408, Cause::Timeout)), 408, "it was alive");
}

/// I-SES-130
#[test]
fn requests_in_a_dialog_follow_their_route() {
    let mut bench = Bench::new();
    let text = |route: &str| {
        format!(
            "BYE sip:alice@ims.example SIP/2.0\n{route}From: <sip:b@x>;tag=b\n\
             To: <sip:a@x>;tag=a\nCall-ID: c2\nCSeq: 2 BYE\n"
        )
    };
    let out = bench.send(PEER, None, &text("Route: <sip:s1;lr>\n"));
    assert_eq!(forwarded(&out).0.request_uri, "sip:alice@ims.example");
    assert_eq!(replied(&bench.send(PEER, None, &text(""))).status, 404);
    let ack = text("").replace("BYE", "ACK");
    assert!(bench.send(PEER, None, &ack).is_empty(), "an ACK is never answered");
}

/// I-SES-140
#[test]
fn a_request_without_icid_gets_one() {
    let mut bench = Bench::new();
    let text = invite("sip:alice@ims.example", "").replace("P-Charging-Vector", "X-Nothing");
    let out = bench.send(PEER, None, &text);
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let vector = forwarded(&out).0.headers.charging_vector().expect("readable");
    assert!(vector.is_some_and(|vector| !vector.icid().is_empty()));
}

#[test]
fn a_late_answer_of_the_hss_finds_nobody() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let ask = asked(&out).0;
    bench.end();
    assert!(bench.answer(ask, server(CxResult::Success, Some(S1))).is_empty());
    assert!(bench.is_idle());
}

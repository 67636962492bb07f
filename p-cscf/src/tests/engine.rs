//! The role inside its engine, with bytes: what the two expect of each other. P-CSCF, core and UEs
//! share the loopback address, so that only ports tell them apart.

use cscf_core::engine::{Engine, Input, Listen, Node, Output, Settings};
use cscf_core::transport::Packet;

use super::*;

const P1: &str = "127.0.0.1:5060";
const I1: &str = "127.0.0.1:5070";
const UE_A: &str = "127.0.0.1:40001";
const UE_B: &str = "127.0.0.1:40002";

struct Wire {
    engine: Engine<Pcscf>,
    now: Instant,
}

impl Wire {
    fn new() -> Self {
        let mut config = Config::new("p1", P1, "ims.example", "sip:127.0.0.1:5070");
        config.trusted_peers = vec![I1.parse().expect("address"), P1.parse().expect("address")];
        let settings = Settings::new(Listen::both(P1.parse().expect("address")));
        let seed = Seed::derive(7, "p1");
        let engine = Engine::new("p1", Pcscf::new(config, &seed), settings, seed);
        Self { engine, now: Instant::from_secs(1) }
    }

    /// A message from `from`; what leaves because of it, by address.
    fn send(&mut self, from: &str, bytes: Bytes) -> Vec<(String, Message)> {
        let flow = Flow { local: P1.parse().expect("address"), ..udp(from) };
        let packet = Packet { flow, bytes, received_at: self.now };
        self.engine.handle_input(self.now, Input::Datagram(packet));
        let mut out = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            if let Output::Datagram(Packet { flow, bytes, .. }) = output {
                let message = parse(&bytes).expect("we write what we can read");
                if !matches!(&message, Message::Response(it) if it.status == 100) {
                    out.push((flow.remote.to_string(), message));
                }
            }
        }
        out
    }

    fn send_text(&mut self, from: &str, text: &str) -> Vec<(String, Message)> {
        self.send(from, wire(text))
    }

    /// The one request that left, and for whom.
    fn forwarded(found: Vec<(String, Message)>) -> (String, Request) {
        match found.into_iter().next() {
            Some((to, Message::Request(request))) => (to, request),
            other => panic!("no request: {other:?}"),
        }
    }

    /// `from` answers this request; what leaves because of it.
    fn answer(
        &mut self,
        from: &str,
        request: &Request,
        status: u16,
        lines: &[(HeaderName, &str)],
    ) -> Vec<(String, Message)> {
        let mut response = request.response(status, reason_phrase(status));
        response.set_to_tag("t1");
        response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        for (name, value) in lines {
            response.headers.push(*name, value);
        }
        self.send(from, response.to_bytes())
    }

    fn expect_response(found: &[(String, Message)], to: &str, status: u16) {
        let Some((place, Message::Response(response))) = found.first() else {
            panic!("no response: {found:?}");
        };
        assert_eq!((place.as_str(), response.status), (to, status));
        let text = String::from_utf8_lossy(&response.to_bytes()).into_owned();
        assert!(!text.contains("P-Charging") || to == I1, "{text}");
    }

    fn register(&mut self, source: &str, user: &str, number: &str) -> Request {
        let text = register_text(source, user, "600000");
        let (to, register) = Self::forwarded(self.send_text(source, &text));
        assert_eq!(to, I1);
        let contact = format!("<sip:{source}>;expires=600000");
        let identities = format!("<sip:{number}@ims.example;user=phone>, <tel:{number}>");
        let lines = [
            (HeaderName::Contact, contact.as_str()),
            (HeaderName::ServiceRoute, "<sip:orig@127.0.0.1:5070;lr>"),
            (HeaderName::PAssociatedUri, &identities),
        ];
        let found = self.answer(I1, &register, 200, &lines);
        Self::expect_response(&found, source, 200);
        let (to, subscribe) = Self::forwarded(found.into_iter().skip(1).collect());
        assert_eq!((to.as_str(), subscribe.method.as_str()), (I1, "SUBSCRIBE"));
        self.subscribed(&subscribe);
        register
    }

    /// The S-CSCF accepts our SUBSCRIBE and notifies the Contact in it.
    fn subscribed(&mut self, subscribe: &Request) {
        let contact = (HeaderName::Contact, "<sip:reg@127.0.0.1:5070>");
        let found = self.answer(I1, subscribe, 200, &[contact, (HeaderName::Expires, "600600")]);
        assert!(found.is_empty(), "{found:?}");
        let header = |name| subscribe.headers.get(name).expect("there").to_owned();
        let target = header(HeaderName::Contact);
        let notify = format!(
            "NOTIFY {} SIP/2.0
            Via: SIP/2.0/UDP {I1};branch=z9hG4bKn{}
            Max-Forwards: 70
            From: {};tag=t1
            To: {}
            Call-ID: {}
            CSeq: 1 NOTIFY
            Event: reg
            Subscription-State: active;expires=600000
            Content-Length: 0",
            target.trim_matches(['<', '>']),
            header(HeaderName::CallId).replace('@', "-"),
            header(HeaderName::To),
            header(HeaderName::From),
            header(HeaderName::CallId),
        );
        let found = self.send_text(I1, &notify);
        Self::expect_response(&found, I1, 200);
    }
}

fn request_text(method: &str, source: &str, routes: &str, to: &str) -> String {
    format!(
        "{method} tel:+15550101 SIP/2.0
        Via: SIP/2.0/UDP {source};branch=z9hG4bK{method}
        Max-Forwards: 70
        Route: {routes}
        From: <sip:a@ims.example>;tag=a1
        To: {to}
        Call-ID: call1
        CSeq: 1 {method}
        Contact: <sip:{source}>
        Content-Length: 0"
    )
}

/// P-REG-310, P-REG-330, P-REG-340: registration, own subscription and its NOTIFY.
#[test]
fn a_ue_registers_through_the_engine_and_the_subscription_follows() {
    let mut wire = Wire::new();
    let register = wire.register(UE_A, "alice", "+15550100");
    assert!(register.headers.get(HeaderName::Path).is_some_and(|path| path.contains(P1)));
    assert_eq!(wire.engine.role().registered_count(), 1);
}

/// P-ORI-030, P-ORI-100, P-TER-010: both sides of a call at one P-CSCF, from INVITE to BYE.
#[test]
fn a_call_passes_both_sides_and_leaves_nothing() {
    let mut wire = Wire::new();
    let _ = wire.register(UE_A, "alice", "+15550100");
    let bob = wire.register(UE_B, "bob", "+15550101");
    let path = bob.headers.get(HeaderName::Path).expect("a Path").to_owned();

    let routes = format!("<sip:{P1};lr>, <sip:orig@127.0.0.1:5070;lr>");
    let text = request_text("INVITE", UE_A, &routes, "<tel:+15550101>");
    let (to, invite) = Wire::forwarded(wire.send_text(UE_A, &text));
    assert_eq!(to, I1);
    assert!(invite.headers.contains(HeaderName::PAssertedIdentity));

    // The S-CSCFs: routes by Path, with their own Record-Route and Via.
    let mut onward = invite;
    onward.headers.drop_front_value(HeaderName::Route);
    onward.headers.push_front(HeaderName::Route, &path);
    onward.headers.push_front(HeaderName::RecordRoute, "<sip:s@127.0.0.1:5070;lr>");
    let via = format!("SIP/2.0/UDP {I1};branch=z9hG4bKs1");
    onward.headers.push_front(HeaderName::Via, &via);
    onward.headers.push(HeaderName::PCalledPartyId, "<sip:+15550101@ims.example;user=phone>");
    onward.request_uri = format!("sip:{UE_B}").into();
    let (to, at_bob) = Wire::forwarded(wire.send(I1, onward.to_bytes()));
    assert_eq!(to, UE_B);
    assert_eq!(at_bob.headers.values(HeaderName::RecordRoute).count(), 3);
    assert_eq!(wire.engine.role().dialog_count(), 2);

    let contact = format!("<sip:{UE_B}>");
    let found = wire.answer(UE_B, &at_bob, 200, &[(HeaderName::Contact, &contact)]);
    Wire::expect_response(&found, I1, 200);
    let (_, Message::Response(mut ok)) = found.into_iter().next().expect("one") else { panic!() };
    ok.headers.drop_front_value(HeaderName::Via);
    let found = wire.send(I1, ok.to_bytes());
    Wire::expect_response(&found, UE_A, 200);
    let (_, Message::Response(ok)) = found.into_iter().next().expect("one") else { panic!() };
    let mut routes: Vec<&str> = ok.headers.values(HeaderName::RecordRoute).collect();
    routes.reverse();
    let routes = routes.join(", ");

    for method in ["ACK", "BYE"] {
        let text = request_text(method, UE_A, &routes, "<tel:+15550101>;tag=t1")
            .replace("tel:+15550101 SIP", &format!("sip:{UE_B} SIP"))
            .replace("CSeq: 1 BYE", "CSeq: 2 BYE");
        let (to, mut onward) = Wire::forwarded(wire.send_text(UE_A, &text));
        assert_eq!((to.as_str(), onward.method.as_str()), (I1, method));
        onward.headers.drop_front_value(HeaderName::Route);
        let via = format!("SIP/2.0/UDP {I1};branch=z9hG4bKs{method}");
        onward.headers.push_front(HeaderName::Via, &via);
        let (to, at_bob) = Wire::forwarded(wire.send(I1, onward.to_bytes()));
        assert_eq!((to.as_str(), at_bob.method.as_str()), (UE_B, method));
        assert!(!at_bob.headers.contains(HeaderName::Route));
        if method == "BYE" {
            let found = wire.answer(UE_B, &at_bob, 200, &[]);
            let (_, Message::Response(mut ok)) = found.into_iter().next().expect("one") else {
                panic!()
            };
            ok.headers.drop_front_value(HeaderName::Via);
            Wire::expect_response(&wire.send(I1, ok.to_bytes()), UE_A, 200);
        }
    }
    assert_eq!(wire.engine.role().dialog_count(), 0);
}

/// P-REG-090: a silent core ends in 504 before the UE gives up.
#[test]
fn a_silent_core_gives_504_in_time() {
    let mut wire = Wire::new();
    let start = wire.now;
    let _ = wire.send_text(UE_A, &register_text(UE_A, "alice", "600000"));
    let mut last = None;
    while let Some(at) = wire.engine.poll_timeout().filter(|at| at.since(start) < seconds(60)) {
        wire.now = at;
        wire.engine.handle_input(at, Input::Timeout);
        while let Some(output) = wire.engine.poll_output() {
            if let Output::Datagram(Packet { flow, bytes, .. }) = output
                && flow.remote.to_string() == UE_A
                && let Ok(Message::Response(response)) = parse(&bytes)
            {
                last = Some((response.status, at.since(start)));
            }
        }
    }
    assert_eq!(last, Some((504, seconds(28))));
    assert!(wire.engine.role().is_idle());
}

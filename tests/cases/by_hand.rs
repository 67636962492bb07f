//! Registered UEs whose messages a test writes itself, and finders of what nodes sent.

use std::net::SocketAddr;

use cscf_core::engine::{Node as _, PolicyNode};
use cscf_core::operator::{Order, OrderAnswer, Show};
use cscf_core::sip::{HeaderName, Message, Request, Response};
use cscf_core::time::Duration;
use cscf_tests::{Bench, Told, label};
use p_cscf::Pcscf;

/// Somebody whose every message the test writes: a registered UE, or a node.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    /// The name of the raw peer.
    pub(crate) name: String,
    /// Its address.
    pub(crate) addr: SocketAddr,
    /// Where it sends to.
    pub(crate) to: SocketAddr,
    /// The Service-Route of its registration; empty if it has none.
    pub(crate) service_route: String,
}

/// The default public identity of a built-in subscriber, e.g. `1` for alice.
pub(crate) fn impu(number: u32) -> String {
    format!("sip:+1555010{number:04}@{};user=phone", cscf_tests::DOMAIN)
}

impl Hand {
    /// Registers a UE, then takes its place.
    pub(crate) fn registered(bench: &mut Bench, ue: &str) -> Self {
        bench.mark();
        bench.register(&[ue]);
        // Whatever else belongs to the registration (the reg event) comes to its end.
        bench.run_for(Duration::from_millis(500));
        let registered = bench.received(ue);
        let registered = registered.iter().find(|told| told.label() == "200 REGISTER");
        let service_route = registered.expect("registered").header("Service-Route");
        let name = format!("{ue}'s hand");
        let addr = bench.replace(ue, &name);
        let to = bench.addr("p1");
        bench.mark();
        Self { name, addr, to, service_route }
    }

    /// Takes the place of a node, and sends to another one.
    pub(crate) fn node(bench: &mut Bench, node: &str, to: &str) -> Self {
        let name = format!("{node}'s hand");
        let addr = bench.replace(node, &name);
        Self { name, addr, to: bench.addr(to), service_route: String::new() }
    }

    /// A peer nobody knows, sending to a node.
    pub(crate) fn stranger(bench: &mut Bench, to: &str) -> Self {
        let name = "stranger".to_owned();
        let addr = bench.raw(&name);
        Self { name, addr, to: bench.addr(to), service_route: String::new() }
    }

    /// A request outside a dialog; `n` makes branch, Call-ID and tag its own. More lines may
    /// follow, and after an empty line a body.
    pub(crate) fn request(&self, method: &str, uri: &str, n: u32, lines: &str) -> String {
        let Self { addr, to, service_route, .. } = self;
        let route = if service_route.is_empty() {
            String::new()
        } else {
            format!("Route: <sip:{to};lr>, {service_route}\n")
        };
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\n") };
        format!(
            "{method} {uri} SIP/2.0\n\
             Via: SIP/2.0/UDP {addr};branch=z9hG4bK-{method}-{n}\n\
             {route}Max-Forwards: 70\n\
             From: \"Nobody\" <sip:anonymous@anonymous.invalid>;tag=from{n}\n\
             To: <{uri}>\n\
             Call-ID: call{n}@{addr}\n\
             CSeq: 1 {method}\n\
             Contact: <sip:{addr}>\n\
             {lines}"
        )
    }

    /// A request in the dialog that a response to this UE's request has made.
    pub(crate) fn in_dialog(
        &self,
        method: &str,
        cseq: u32,
        made: &Response,
        lines: &str,
    ) -> String {
        let headers = &made.headers;
        let get = |name| headers.get(name).unwrap_or_default();
        let routes: Vec<&str> = headers.values(HeaderName::RecordRoute).collect();
        let routes: Vec<String> =
            routes.iter().rev().map(|uri| format!("Route: {uri}\n")).collect();
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\n") };
        format!(
            "{method} {target} SIP/2.0\n\
             Via: SIP/2.0/UDP {addr};branch=z9hG4bK-{method}-d{cseq}\n\
             {routes}Max-Forwards: 70\n\
             From: {from}\n\
             To: {to}\n\
             Call-ID: {call}\n\
             CSeq: {cseq} {method}\n\
             Contact: <sip:{addr}>\n\
             {lines}",
            target = uri_of(get(HeaderName::Contact)),
            addr = self.addr,
            routes = routes.concat(),
            from = get(HeaderName::From),
            to = get(HeaderName::To),
            call = get(HeaderName::CallId),
        )
    }

    /// Sends a text, and lets it have its effect.
    pub(crate) fn send(&self, bench: &mut Bench, text: &str) {
        bench.send(&self.name, self.to, text);
        bench.run_for(Duration::from_millis(100));
    }

    /// Answers a request it has heard; `lines` as for [`Hand::request`].
    pub(crate) fn answer(&self, bench: &mut Bench, request: &Request, status: u16, lines: &str) {
        let text = self.response(request, status, lines);
        self.send(bench, &text);
    }

    /// The response to a request it has heard.
    pub(crate) fn response(&self, request: &Request, status: u16, lines: &str) -> String {
        let mut response = request.reply(status);
        let to = response.headers.get(HeaderName::To).unwrap_or_default().to_owned();
        if status > 100 && !to.contains(";tag=") {
            response.headers.set(HeaderName::To, &format!("{to};tag=hand"));
        }
        if !response.headers.contains(HeaderName::RecordRoute) {
            response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        }
        response.headers.set(HeaderName::Contact, &format!("<sip:{}>", self.addr));
        response.headers.remove(HeaderName::ContentLength);
        let text = String::from_utf8(response.to_bytes().to_vec()).expect("text");
        let head = text.trim_end().replace("\r\n", "\n");
        if lines.is_empty() { format!("{head}\n") } else { format!("{head}\n{lines}\n") }
    }

    /// The requests of a method that it has heard since it was asked last.
    pub(crate) fn heard(&self, bench: &mut Bench, method: &str) -> Vec<Request> {
        let heard = bench.heard(&self.name).into_iter();
        heard
            .filter_map(|message| match message {
                Message::Request(request) if request.method.as_str() == method => Some(request),
                _ => None,
            })
            .collect()
    }

    /// The only request of a method that it has heard since it was asked last.
    pub(crate) fn heard_one(&self, bench: &mut Bench, method: &str) -> Request {
        let mut heard = self.heard(bench, method);
        assert_eq!(heard.len(), 1, "{method} heard by {}", self.name);
        heard.remove(0)
    }

    /// The responses it has heard since it was asked last, `200 INVITE` only if asked for.
    pub(crate) fn answers(&self, bench: &mut Bench, wanted: &str) -> Vec<Response> {
        let heard = bench.heard(&self.name).into_iter();
        heard
            .filter_map(|message| match message {
                Message::Response(response)
                    if wanted.is_empty()
                        || label(&Message::Response(response.clone())) == wanted =>
                {
                    Some(response)
                }
                _ => None,
            })
            .collect()
    }

    /// The only final response it has heard since it was asked last.
    pub(crate) fn answered(&self, bench: &mut Bench) -> Response {
        let mut finals = self.answers(bench, "");
        finals.retain(|response| response.status >= 200);
        assert_eq!(finals.len(), 1, "final responses heard by {}: {finals:?}", self.name);
        finals.remove(0)
    }
}

/// The URI inside `<…>`.
pub(crate) fn uri_of(value: &str) -> &str {
    let inner = value.split_once('<').map_or(value, |(_, rest)| rest);
    inner.split_once('>').map_or(inner, |(uri, _)| uri)
}

/// What `node` has sent to `peer` since the mark: messages with this label (`INVITE`,
/// `200 INVITE`).
pub(crate) fn sent_to(bench: &Bench, node: &str, peer: SocketAddr, label: &str) -> Vec<Told> {
    let mut sent = bench.sent(node);
    sent.retain(|told| told.wire.remote == peer && told.label() == label);
    sent
}

/// The only one of these.
pub(crate) fn one(bench: &Bench, node: &str, peer: SocketAddr, label: &str) -> Told {
    let mut sent = sent_to(bench, node, peer, label);
    assert_eq!(sent.len(), 1, "{label} from {node} to {peer}");
    sent.remove(0)
}

/// A parameter of P-Charging-Vector, quotes taken off.
pub(crate) fn charging(value: &str, name: &str) -> Option<String> {
    value.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_owned())
    })
}

/// The values of an AVP in the Diameter requests of this name that a node has sent since the mark,
/// one item a message.
pub(crate) fn avps(bench: &Bench, node: &str, message: &str, avp: &str) -> Vec<Vec<String>> {
    let sent = bench.sent_diameter(node);
    let sent =
        sent.iter().filter(|bytes| scenarios::report::summary::diameter_label(bytes) == message);
    sent.map(|bytes| scenarios::report::summary::avp_values(bytes, avp)).collect()
}

pub(crate) const SDP: &str = "Content-Type: application/sdp\n\nv=0\no=- 9 1 IN IP4 10.0.0.2\ns=-\n\
                   c=IN IP4 10.0.0.2\nt=0 0\nm=audio 7000 RTP/AVP 97\na=rtpmap:97 AMR-WB/16000";

/// alice by hand, and whoever else is registered.
pub(crate) fn alice_and(others: &[&str]) -> (Bench, Hand) {
    let names: Vec<&str> = std::iter::once("alice").chain(others.iter().copied()).collect();
    let mut bench = Bench::new(&names);
    bench.register(others);
    let alice = Hand::registered(&mut bench, "alice");
    (bench, alice)
}

/// alice and bob by hand.
pub(crate) fn both() -> (Bench, Hand, Hand) {
    let mut bench = Bench::new(&["alice", "bob"]);
    let bob = Hand::registered(&mut bench, "bob");
    let alice = Hand::registered(&mut bench, "alice");
    (bench, alice, bob)
}

/// A P-CSCF configured otherwise takes the place of p1.
pub(crate) fn reconfigure(bench: &mut Bench, change: impl FnOnce(&mut p_cscf::Config)) {
    use cscf_core::config::Start;
    let node = bench.config.node_named("p1").expect("p1").clone();
    let seed = bench.stage.lab.seed_of("p1 otherwise");
    let unix_at_epoch = scenarios::run::UNIX_AT_EPOCH;
    let start = Start { seed, tracing: true, unix_at_epoch };
    let mut config = p_cscf::lab::config(&bench.config, &node).expect("configuration");
    change(&mut config);
    let node = p_cscf::lab::node_as(&bench.config, &node, &start, config).expect("a P-CSCF");
    assert!(bench.stage.lab.crash("p1"));
    bench.stage.lab.restart(Box::new(node));
}

/// A call that alice and bob, both by hand, have set up.
pub(crate) fn call() -> (Bench, Hand, Hand, Response, Request) {
    let (mut bench, alice, bob) = both();
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, SDP));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 200, SDP);
    let answer = alice.answered(&mut bench);
    assert_eq!(answer.status, 200);
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    assert_eq!(bob.heard(&mut bench, "ACK").len(), 1);
    bench.mark();
    (bench, alice, bob, answer, invite)
}

/// What p1 shows the operator: the rows, each as `column=value` in order.
pub(crate) fn shown(bench: &mut Bench, what: Show) -> Vec<Vec<String>> {
    let order = Order::Show { what, of: Vec::new() };
    let lab = &mut bench.stage.lab;
    let answer = lab.with("p1", |node: &mut PolicyNode<Pcscf>, now| node.order(now, &order));
    let Some(Ok(OrderAnswer::Table(table))) = answer else { panic!("a table") };
    let named = |row: &Vec<String>| {
        table.columns.iter().zip(row).map(|(name, cell)| format!("{name}={cell}")).collect()
    };
    table.rows.iter().map(named).collect()
}

/// A NOTIFY of `home` in the dialog of a SUBSCRIBE that it has answered with the tag `raw`, about
/// one identity; `state` is that of its registration and of the subscription.
pub(crate) fn reg_notify(
    home: SocketAddr,
    subscribe: &Message,
    (cseq, aor, state): (u32, &str, &str),
) -> String {
    let get = |name| cscf_tests::header(subscribe, name);
    let body = format!(
        "<?xml version=\"1.0\"?><reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" \
         version=\"{cseq}\" state=\"full\"><registration aor=\"{aor}\" id=\"a\" \
         state=\"{state}\"/></reginfo>"
    );
    format!(
        "NOTIFY {} SIP/2.0\n\
         Via: SIP/2.0/UDP {home};branch=z9hG4bK-notify-{cseq}\n\
         Max-Forwards: 70\n\
         From: {};tag=raw\n\
         To: {}\n\
         Call-ID: {}\n\
         CSeq: {cseq} NOTIFY\n\
         Contact: <sip:s@{home}>\n\
         Event: reg\n\
         Subscription-State: {state}\n\
         Content-Type: application/reginfo+xml\n\
         Content-Length: {}\n\n{body}",
        uri_of(&get("Contact")),
        get("To"),
        get("From"),
        get("Call-ID"),
        body.len(),
    )
}

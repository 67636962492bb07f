//! One CSCF between raw peers: what goes in is given byte by byte, what comes out is looked at with
//! its time.

use std::net::SocketAddr;

use cscf_core::config::{PathMtu, Start};
use cscf_core::sip::{HeaderName, Message, Request, Response};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceKind;
use cscf_tests::{Bench, DOMAIN, Told};
use scenarios::run::UNIX_AT_EPOCH;
use scenarios::script::Stage as _;

const BOB: &str = "scenario: none\nparties:\n  bob: {}\nsteps: []\n";

/// `s1` serves bob; `i` stands in the place of `i1`, `p` in that of `p1`. Requests for bob come
/// from
/// `i` and go to `p`, all with the timers between CSCFs.
pub(crate) struct Serving {
    pub(crate) bench: Bench,
    pub(crate) i: SocketAddr,
    pub(crate) p: SocketAddr,
    pub(crate) s1: SocketAddr,
}

impl Serving {
    pub(crate) fn new() -> Self {
        Self::over(PathMtu::Known(65_536))
    }

    /// On paths with this MTU.
    pub(crate) fn over(mtu: PathMtu) -> Self {
        let mut bench = Bench::with_lab(BOB, 1, |lab| lab.path_mtu = mtu);
        bench.register(&["bob"]);
        let (i, p) = (bench.replace("i1", "i"), bench.replace("p1", "p"));
        let s1 = bench.addr("s1");
        ms(&mut bench, 1_000);
        bench.mark();
        Self { bench, i, p, s1 }
    }

    /// A request for bob as it comes from `i`; `more` are further header lines.
    pub(crate) fn request(&self, method: &str, branch: &str, more: &str) -> String {
        let Self { i, s1, .. } = self;
        format!(
            "{method} sip:+15550100002@{DOMAIN};user=phone SIP/2.0\n\
             Via: SIP/2.0/UDP {i};branch=z9hG4bK{branch}\n\
             Max-Forwards: 60\n\
             Route: <sip:{s1};lr>\n\
             From: <sip:caller@other.example>;tag=caller\n\
             To: <sip:+15550100002@{DOMAIN};user=phone>\n\
             Call-ID: call-{branch}\n\
             CSeq: 7 {method}\n\
             Contact: <sip:caller@{i}>\n\
             P-Asserted-Identity: <sip:caller@other.example>\n\
             {more}Content-Length: 0\n\n"
        )
    }

    /// Sends this from `i` and gives it time to get through.
    pub(crate) fn ask(&mut self, text: &str) {
        self.bench.send("i", self.s1, text);
        ms(&mut self.bench, 20);
    }

    /// Sends a response from `p` and gives it time to get through.
    pub(crate) fn answer(&mut self, response: &Response) {
        self.bench.send_bytes("p", self.s1, &response.to_bytes());
        ms(&mut self.bench, 20);
    }

    /// What `s1` has sent to `p`.
    pub(crate) fn down(&self) -> Vec<Told> {
        sent_to(&self.bench, "s1", self.p)
    }

    /// What `s1` has sent to `i`.
    pub(crate) fn up(&self) -> Vec<Told> {
        sent_to(&self.bench, "s1", self.i)
    }

    /// The newest request that went to `p`.
    pub(crate) fn forwarded(&self) -> Request {
        self.down().last().expect("forwarded").request().clone()
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, millis: u64) {
        ms(&mut self.bench, millis);
    }
}

/// `p1` with bob registered; `s` stands in the place of `s1`, `b` in that of bob's UE.
pub(crate) struct Access {
    pub(crate) bench: Bench,
    pub(crate) s: SocketAddr,
    pub(crate) b: SocketAddr,
    pub(crate) p1: SocketAddr,
    path: String,
}

impl Access {
    /// Bob's access is of this type.
    pub(crate) fn on(access: &str) -> Self {
        Self::listing(access, None)
    }

    /// As [`Access::on`], with these access types for the long timers.
    pub(crate) fn listing(access: &str, types: Option<&[&str]>) -> Self {
        let info = format!("{access};utran-cell-id-3gpp=0010100010000001");
        let mut bench = Bench::with_ues(
            BOB,
            1,
            |_| {},
            |ues| {
                ues.iter_mut().for_each(|ue| ue.access_network_info = Some(info.clone()));
            },
        );
        if let Some(types) = types {
            let node = bench.config.node_named("p1").expect("p1").clone();
            let mut config = p_cscf::lab::config(&bench.config, &node).expect("a P-CSCF");
            config.air_access_types = types.iter().map(|name| (*name).to_owned()).collect();
            let seed = bench.stage.lab.seed_of("p1");
            let start = Start { seed, tracing: true, unix_at_epoch: UNIX_AT_EPOCH };
            let node = p_cscf::lab::node_as(&bench.config, &node, &start, config);
            assert!(bench.stage.lab.crash("p1"));
            bench.stage.lab.restart(Box::new(node.expect("a P-CSCF")));
        }
        bench.register(&["bob"]);
        let told = bench.sent("p1").into_iter().find(|told| told.label() == "REGISTER");
        let path = told.expect("REGISTER").header("Path");
        let (s, b, p1) = (bench.replace("s1", "s"), bench.replace("bob", "b"), bench.addr("p1"));
        ms(&mut bench, 1_000);
        bench.mark();
        Self { bench, s, b, p1, path }
    }

    /// A request for bob as it comes from `s`; `more` are further header lines.
    pub(crate) fn request(&self, method: &str, branch: &str, more: &str) -> String {
        let Self { s, path, b, .. } = self;
        format!(
            "{method} sip:{b} SIP/2.0\n\
             Via: SIP/2.0/UDP {s};branch=z9hG4bK{branch}\n\
             Max-Forwards: 60\n\
             Route: {path}\n\
             From: <sip:caller@other.example>;tag=caller\n\
             To: <sip:+15550100002@{DOMAIN};user=phone>\n\
             Call-ID: call-{branch}\n\
             CSeq: 7 {method}\n\
             Contact: <sip:caller@{s}>\n\
             P-Asserted-Identity: <sip:caller@other.example>\n\
             P-Called-Party-ID: <sip:+15550100002@{DOMAIN};user=phone>\n\
             {more}Content-Length: 0\n\n"
        )
    }

    /// Sends this from `s` and gives it time to get through.
    pub(crate) fn ask(&mut self, text: &str) {
        self.bench.send("s", self.p1, text);
        ms(&mut self.bench, 20);
    }

    /// Sends a response from `b` and gives it time to get through.
    pub(crate) fn answer(&mut self, response: &Response) {
        self.bench.send_bytes("b", self.p1, &response.to_bytes());
        ms(&mut self.bench, 20);
    }

    /// What `p1` has sent to `b`.
    pub(crate) fn down(&self) -> Vec<Told> {
        sent_to(&self.bench, "p1", self.b)
    }

    /// What `p1` has sent to `s`.
    pub(crate) fn up(&self) -> Vec<Told> {
        sent_to(&self.bench, "p1", self.s)
    }

    /// The newest request that went to `b`.
    pub(crate) fn forwarded(&self) -> Request {
        self.down().last().expect("forwarded").request().clone()
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, millis: u64) {
        ms(&mut self.bench, millis);
    }
}

/// Lets time pass.
pub(crate) fn ms(bench: &mut Bench, millis: u64) {
    bench.run_for(Duration::from_millis(millis));
}

/// What a node has sent to an address since the mark.
pub(crate) fn sent_to(bench: &Bench, node: &str, to: SocketAddr) -> Vec<Told> {
    bench.sent(node).into_iter().filter(|told| told.wire.remote == to).collect()
}

/// What they are, in order.
pub(crate) fn labels(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::label).collect()
}

/// How many have this label.
pub(crate) fn count(told: &[Told], label: &str) -> usize {
    told.iter().filter(|one| one.label() == label).count()
}

/// When those with this label went, in milliseconds after the first of them.
pub(crate) fn times(told: &[Told], label: &str) -> Vec<u128> {
    let at: Vec<Instant> =
        told.iter().filter(|one| one.label() == label).map(|one| one.at).collect();
    let Some(first) = at.first().copied() else { return Vec::new() };
    at.iter().map(|at| (*at - first).as_millis()).collect()
}

/// A response to `request` with this To tag, Contact, and the Record-Route of the request.
pub(crate) fn answer_to(request: &Request, status: u16, tag: &str) -> Response {
    let mut response = request.reply(status);
    if status > 100 {
        response.set_to_tag(tag);
    }
    if (101..300).contains(&status) {
        response.headers.remove(HeaderName::RecordRoute);
        for value in request.headers.values(HeaderName::RecordRoute) {
            response.headers.push(HeaderName::RecordRoute, value);
        }
        response.headers.push(HeaderName::Contact, "<sip:127.1.0.102:5060>");
    }
    response
}

/// Why a node has dropped messages, over the whole run.
pub(crate) fn dropped(bench: &Bench, node: &str) -> Vec<String> {
    let events = bench.stage.events().iter().filter(|event| *event.node == *node);
    events
        .filter_map(|event| match &event.kind {
            TraceKind::Dropped { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

/// The branch of the topmost Via.
pub(crate) fn branch(request: &Request) -> String {
    request.top_branch().expect("a branch").to_owned()
}

/// The newest request that a raw peer has heard and nobody has taken yet.
pub(crate) fn newest(bench: &mut Bench, raw: &str) -> Request {
    let heard = bench.heard(raw).into_iter().rev();
    let mut requests = heard.filter_map(|message| match message {
        Message::Request(request) => Some(request),
        Message::Response(_) => None,
    });
    requests.next().expect("a request")
}

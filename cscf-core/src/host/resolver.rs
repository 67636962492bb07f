//! The client of real DNS servers, for names that the zone of the lab does not have (RFC 1035,
//! RFC 2782, RFC 3403). Framing, retries and the way from UDP to TCP are the library's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use domain::base::{Message, Name, Question, Rtype};
use domain::rdata::{A, Aaaa, Naptr as NaptrData, Srv as SrvData};
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};

use super::Clock;
use crate::time::{Duration, Instant};
use crate::transport::dns::{DnsAnswer, DnsKind, DnsQuestion, DnsRecord, Naptr, Srv};

/// How long one server may take to answer, and how often all are asked. Both fit into the time
/// that a node gives a question.
const SERVER_ANSWERS_IN: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 2;
/// Answers kept at most, and for how long whatever their time to live says.
const KEPT_MAX: usize = 1_000;
const KEPT_FOR_MAX: Duration = Duration::from_secs(300);
/// How long it is remembered that a name has no such records.
const NOTHING_KEPT_FOR: Duration = Duration::from_secs(5);
/// Records taken of one answer at most.
const RECORDS_MAX: usize = 64;

/// A client of these servers, with what they said lately.
pub(super) struct Resolver {
    stub: StubResolver,
    clock: Clock,
    kept: RefCell<BTreeMap<DnsQuestion, (DnsAnswer, Instant)>>,
}

impl Resolver {
    pub(super) fn new(servers: &[SocketAddr], clock: Clock) -> Self {
        let mut conf = ResolvConf::new();
        let server = |addr: &SocketAddr| ServerConf::new(*addr, Transport::UdpTcp);
        conf.servers = servers.iter().map(server).collect();
        conf.options.timeout = SERVER_ANSWERS_IN;
        conf.options.attempts = ATTEMPTS;
        conf.finalize();
        let stub = StubResolver::from_conf(conf);
        Self { stub, clock, kept: RefCell::new(BTreeMap::new()) }
    }

    /// What the servers say, or said lately.
    pub(super) async fn answer(&self, question: &DnsQuestion) -> DnsAnswer {
        let now = self.clock.now();
        if let Some((answer, until)) = self.kept.borrow().get(question)
            && *until > now
        {
            return answer.clone();
        }
        // A name that cannot be one has no records.
        let Ok(name) = question.name.parse::<Name<Vec<u8>>>() else {
            return DnsAnswer::Records(Vec::new());
        };
        let Ok(said) = self.stub.query(Question::new_in(name, kind(question.kind))).await else {
            return DnsAnswer::Unreachable;
        };
        let Some((records, keep_for)) = read(&said, question.kind) else {
            return DnsAnswer::Unreachable;
        };
        let answer = DnsAnswer::Records(records);
        self.keep(question, &answer, now + keep_for);
        answer
    }

    fn keep(&self, question: &DnsQuestion, answer: &DnsAnswer, until: Instant) {
        let now = self.clock.now();
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (_, until)| *until > now);
        }
        if kept.len() < KEPT_MAX {
            kept.insert(question.clone(), (answer.clone(), until));
        }
    }
}

const fn kind(kind: DnsKind) -> Rtype {
    match kind {
        DnsKind::A => Rtype::A,
        DnsKind::Aaaa => Rtype::AAAA,
        DnsKind::Naptr => Rtype::NAPTR,
        DnsKind::Srv => Rtype::SRV,
    }
}

/// The records of one kind and how long they hold; `None` where the server has failed.
fn read(message: &Message<bytes::Bytes>, kind: DnsKind) -> Option<(Vec<DnsRecord>, Duration)> {
    use domain::base::iana::Rcode;
    match message.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Some((Vec::new(), NOTHING_KEPT_FOR)),
        _ => return None,
    }
    let answer = message.answer().ok()?;
    let mut out = Vec::new();
    let mut keep_for = KEPT_FOR_MAX;
    let mut take = |ttl: domain::base::Ttl, record: DnsRecord| {
        keep_for = keep_for.min(Duration::from_secs(ttl.as_secs().into()));
        out.push(record);
    };
    // What cannot be read is left out: an answer is worth what can be used of it.
    match kind {
        DnsKind::A => answer
            .limit_to_in::<A>()
            .flatten()
            .take(RECORDS_MAX)
            .for_each(|it| take(it.ttl(), DnsRecord::A(it.data().addr()))),
        DnsKind::Aaaa => answer
            .limit_to_in::<Aaaa>()
            .flatten()
            .take(RECORDS_MAX)
            .for_each(|it| take(it.ttl(), DnsRecord::Aaaa(it.data().addr()))),
        DnsKind::Srv => {
            answer.limit_to_in::<SrvData<_>>().flatten().take(RECORDS_MAX).for_each(|it| {
                let srv = it.data();
                let target = srv.target().to_string();
                let (priority, weight, port) = (srv.priority(), srv.weight(), srv.port());
                take(it.ttl(), DnsRecord::Srv(Srv { priority, weight, port, target }));
            });
        }
        DnsKind::Naptr => answer
            .limit_to_in::<NaptrData<_, _>>()
            .flatten()
            .take(RECORDS_MAX)
            .for_each(|it| take(it.ttl(), DnsRecord::Naptr(naptr(it.data())))),
    }
    let keep_for = if out.is_empty() { NOTHING_KEPT_FOR } else { keep_for };
    Some((out, keep_for))
}

fn naptr<Octs: AsRef<[u8]>, Target: std::fmt::Display>(data: &NaptrData<Octs, Target>) -> Naptr {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let replacement = data.replacement().to_string();
    Naptr {
        order: data.order(),
        preference: data.preference(),
        flags: text(data.flags().as_slice()),
        services: text(data.services().as_slice()),
        regexp: text(data.regexp().as_slice()),
        replacement: if replacement == "." { String::new() } else { replacement },
    }
}

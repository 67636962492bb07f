//! Names of next hops: what the zone of the lab says at once, what a DNS server says later
//! (RFC 3263 §4). A request whose next hop is being looked up waits with its [`Attempt`]; an ACK,
//! which has none, waits here.
//!
//! [`Attempt`]: super::outgoing::Attempt

use super::outgoing::AttemptId;
use super::route::{self, Hop};
use super::state::{Core, Event};
use crate::clause::rfc3263;
use crate::cx::AskId;
use crate::role::{Answer, Question};
use crate::sip::Request;
use crate::time::Instant;
use crate::transport::dns::{DnsAnswer, DnsQuestion};
use crate::transport::locate::{Locating, Step};

/// A look-up that has been begun.
#[derive(Debug)]
pub(super) struct Lookup {
    locating: Locating,
    /// What was asked, with the number of records.
    asked: Vec<String>,
}

impl Lookup {
    pub(super) const fn new(locating: Locating) -> Self {
        Self { locating, asked: Vec::new() }
    }
}

/// A look-up that waits for an answer, and for whom.
#[derive(Debug)]
pub(super) struct Waiting {
    lookup: Lookup,
    question: DnsQuestion,
    who: Waiter,
}

/// Who waits for a look-up.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A request without a transaction: an ACK.
    Ack(Box<Request>),
    Attempt(AttemptId),
}

/// What a look-up has come to.
#[derive(Debug)]
pub(super) enum Looked {
    /// The servers.
    Found(Vec<Hop>),
    /// A DNS server has to be asked.
    Asking(Lookup, DnsQuestion),
    /// There are none, and why.
    Failed(String),
}

impl Core {
    /// Goes on until the servers are found or a DNS server has to be asked.
    pub(super) fn look(&mut self, now: Instant, mut lookup: Lookup) -> Looked {
        loop {
            match lookup.locating.step() {
                Step::Ask(question) => match self.known(&question) {
                    Some(answer) => self.told(&mut lookup, &question, &answer),
                    None => return Looked::Asking(lookup, question),
                },
                Step::Found(targets) => {
                    let Lookup { locating, asked } = lookup;
                    let (host, asked) = (locating.host(), asked.join(", "));
                    if targets.is_empty() {
                        return Looked::Failed(format!("{host} is not found: {asked}"));
                    }
                    self.note(now, rfc3263("4"), || {
                        let list = targets.iter().map(|it| format!("{} {}", it.transport, it.addr));
                        let list: Vec<String> = list.collect();
                        format!("{host} is {} ({asked})", list.join(", "))
                    });
                    let targets = route::within_reach(&self.settings, targets);
                    return Looked::Found(route::hops(targets));
                }
            }
        }
    }

    /// The answer that needs nobody else: a name of the lab's zone, or no DNS server is there.
    pub(super) fn known(&self, question: &DnsQuestion) -> Option<DnsAnswer> {
        match &self.settings.zone {
            Some(zone) if zone.knows(&question.name) || !self.settings.resolver => {
                Some(zone.answer(question))
            }
            None if !self.settings.resolver => Some(DnsAnswer::Unreachable),
            _ => None,
        }
    }

    fn told(&mut self, lookup: &mut Lookup, question: &DnsQuestion, answer: &DnsAnswer) {
        lookup.asked.push(match answer {
            DnsAnswer::Records(list) => format!("{question}: {}", list.len()),
            DnsAnswer::Unreachable => format!("{question}: no answer"),
        });
        let ids = &mut self.ids;
        let mut pick = |bound: u32| u32::try_from(ids.below(u64::from(bound))).unwrap_or_default();
        lookup.locating.told(answer, &mut pick);
    }

    /// Asks the DNS servers for somebody who waits; says why if that cannot be.
    pub(super) fn wait_for_dns(
        &mut self,
        now: Instant,
        (lookup, question): (Lookup, DnsQuestion),
        who: Waiter,
    ) -> Result<(), &'static str> {
        if self.lookups.len() >= self.settings.limits.lookups_max {
            return Err("too many names are being looked up");
        }
        let ask = self.next_ask();
        let about = question.clone();
        self.lookups.insert(ask, Waiting { lookup, question, who });
        self.ask(now, ask, Question::Dns(about));
        Ok(())
    }

    /// An answer to the role, or to a look-up of ours.
    pub(super) fn answered(&mut self, now: Instant, ask: AskId, answer: Answer) {
        let Some(Waiting { mut lookup, question, who }) = self.lookups.remove(&ask) else {
            return self.events.push_back(Event::Answer(ask, answer));
        };
        let answer = match answer {
            Answer::Dns(_, answer) => answer,
            _ => DnsAnswer::Unreachable,
        };
        self.told(&mut lookup, &question, &answer);
        let (hops, why) = match self.look(now, lookup) {
            Looked::Found(hops) => (hops, String::new()),
            Looked::Failed(why) => (Vec::new(), why),
            Looked::Asking(lookup, question) => {
                if let Err(why) = self.wait_for_dns(now, (lookup, question), who) {
                    self.note(now, rfc3263("4"), || format!("a look-up was given up: {why}"));
                }
                return;
            }
        };
        match who {
            Waiter::Ack(request) if hops.is_empty() => self.not_sent(now, &request, &why),
            Waiter::Ack(request) => self.send_by(now, *request, hops),
            Waiter::Attempt(id) => self.found(now, id, hops, &why),
        }
        self.pump(now);
    }
}

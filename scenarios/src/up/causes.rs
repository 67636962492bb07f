//! Which refusal explains which refused transaction: the one that a node noted while it worked on
//! that transaction, whoever else is refused at the same time.
//!
//! A note does not name the message it is about. It belongs to the message that its node received
//! or sends at that very moment, and a question to the HSS belongs to the SIP message for which it
//! was asked. What a node notes when its timer fires is found by the user it names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cscf_core::sip::{self, HeaderName, Headers, Message};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use crate::report::summary::avp_values;

/// Refusals remembered, and Diameter sessions.
const REMEMBERED_MAX: usize = 1_000;
/// The longest text of a refusal, in letters.
const TEXT_MAX: usize = 2_000;
/// An older refusal that only names the user explains nothing.
const BY_NAME_FOR: Duration = Duration::from_secs(2);

/// Refusals, and what they were about.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// What each node works on.
    now: BTreeMap<Arc<str>, (Instant, Option<String>)>,
    refusals: VecDeque<Refusal>,
    /// The SIP transaction for which a Diameter session was opened.
    sessions: BTreeMap<String, String>,
    sessions_in_order: VecDeque<String>,
}

#[derive(Debug)]
struct Refusal {
    at: Instant,
    node: Arc<str>,
    /// The transaction or Diameter session.
    thread: Option<String>,
    about: String,
    text: String,
    diagnosed: bool,
}

impl Causes {
    /// Takes one event.
    pub(super) fn event(&mut self, event: &TraceEvent) {
        let TraceEvent { at, node, kind } = event;
        match kind {
            TraceKind::Received(wire) => {
                self.now.insert(Arc::clone(node), (*at, thread(wire)));
            }
            TraceKind::Sent(wire) => self.sent(*at, node, wire),
            TraceKind::Note(note) if note.refusal => self.refused(*at, node, note),
            _ => {}
        }
    }

    fn refused(&mut self, at: Instant, node: &Arc<str>, note: &Note) {
        let cause = note.diagnosis.as_deref();
        let told = cause.map(ToString::to_string).filter(|told| !note.text.contains(told));
        let told = told.map(|told| format!(": {told}")).unwrap_or_default();
        self.refusals.push_back(Refusal {
            at,
            node: Arc::clone(node),
            thread: self.works_on(at, node),
            about: cause.map(|cause| cause.about.clone()).unwrap_or_default(),
            text: format!("{node}: {} [{}]{told}", note.text, note.clause)
                .chars()
                .take(TEXT_MAX)
                .collect(),
            diagnosed: cause.is_some(),
        });
        if self.refusals.len() > REMEMBERED_MAX {
            self.refusals.pop_front();
        }
    }

    /// The transaction a node works on at this moment.
    fn works_on(&self, at: Instant, node: &str) -> Option<String> {
        let (since, thread) = self.now.get(node)?;
        thread.clone().filter(|_| *since == at)
    }

    fn sent(&mut self, at: Instant, node: &Arc<str>, wire: &Wire) {
        let Some(thread) = thread(wire) else { return };
        if wire.protocol == Protocol::Sip {
            // What was noted before this message without another one having come is about it.
            let loose = |it: &&mut Refusal| it.thread.is_none() && it.at == at && it.node == *node;
            for refusal in self.refusals.iter_mut().filter(loose) {
                refusal.thread = Some(thread.clone());
            }
            return;
        }
        let Some(for_what) = self.works_on(at, node).filter(|it| *it != thread) else { return };
        let for_what = self.transaction(&for_what).to_owned();
        if self.sessions.insert(thread.clone(), for_what).is_none() {
            self.sessions_in_order.push_back(thread);
        }
        if self.sessions_in_order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.sessions_in_order.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }

    /// The SIP transaction behind a Diameter session.
    fn transaction<'a>(&'a self, thread: &'a str) -> &'a str {
        self.sessions.get(thread).map_or(thread, String::as_str)
    }

    /// What explains the refusal of this transaction at this time: the first cause that was found,
    /// else the last refusal; else what is only known to be about this user.
    pub(super) fn of(
        &self,
        (at, headers): (Instant, &Headers),
        is_user: impl Fn(&str) -> bool,
    ) -> Option<&str> {
        let wanted = transaction_of(headers)?;
        let same =
            |it: &&Refusal| it.thread.as_deref().is_some_and(|it| self.transaction(it) == wanted);
        let by_thread = || self.refusals.iter().filter(same);
        let unknown = |it: &&Refusal| match it.thread.as_deref() {
            None => true,
            // A session of which nobody said what it is for.
            Some(thread) => thread.contains(';') && self.transaction(thread) == thread,
        };
        let recent = |it: &&Refusal| it.at <= at && at.since(it.at) <= BY_NAME_FOR;
        let by_name = || {
            let mut refusals = self.refusals.iter().rev().filter(unknown).filter(recent);
            refusals.find(|it| !it.about.is_empty() && is_user(&it.about))
        };
        let found = by_thread().find(|it| it.diagnosed).or_else(|| by_thread().next_back());
        found.or_else(by_name).map(|it| it.text.as_str())
    }
}

/// What holds the messages of a transaction together: Call-ID and number of CSeq, or the Session-Id
/// of Diameter.
fn thread(wire: &Wire) -> Option<String> {
    match wire.protocol {
        Protocol::Diameter => avp_values(&wire.bytes, "Session-Id").into_iter().next(),
        Protocol::Sip => match sip::parse(&wire.bytes).ok()? {
            Message::Request(request) => transaction_of(&request.headers),
            Message::Response(response) => transaction_of(&response.headers),
        },
    }
}

fn transaction_of(headers: &Headers) -> Option<String> {
    let number = headers.get(HeaderName::CSeq)?.split_whitespace().next()?;
    Some(format!("{} {number}", headers.get(HeaderName::CallId)?))
}

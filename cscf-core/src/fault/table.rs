//! The rules of one node: which of them hit a message, and how often they did.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::message::{Content, Looked};
use super::rule::{Action, Count, Direction, Rule};
use crate::ids::{Ids, Seed, ShardId};
use crate::time::Instant;

/// Rules of one node at most.
pub const RULES_MAX: usize = 64;
/// Messages whose copies a rule knows.
const COPIES_MAX: usize = 64;
/// Requests of Diameter on record, to know whom their answers are about.
const ASKED_MAX: usize = 256;

/// The node has [`RULES_MAX`] rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node has at most {RULES_MAX} fault rules; remove one")]
pub struct Full;

/// A rule with what became of it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its identifier, e.g. `p1-1`.
    pub id: String,
    /// The rule.
    pub rule: Rule,
    /// How many messages it has hit.
    pub hits: u64,
    /// Whether what it does from begin to end is in force.
    pub on: bool,
    /// Whether its end has passed.
    over: bool,
    added_at: Instant,
    /// How many messages have fitted.
    fitted: u32,
    /// Messages that have been decided on, and how.
    decided: VecDeque<(String, bool)>,
}

impl Kept {
    /// Whether it is in force by its times.
    #[must_use]
    pub fn is_active(&self, now: Instant) -> bool {
        now >= self.begins_at() && self.ends_at().is_none_or(|end| now < end)
    }

    fn begins_at(&self) -> Instant {
        self.added_at + self.rule.when.after
    }

    fn ends_at(&self) -> Option<Instant> {
        self.rule.when.until.map(|until| self.added_at + until)
    }
}

/// A rule that hits a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The identifier of the rule.
    pub id: String,
    /// Its text.
    pub text: String,
    /// What it does.
    pub action: Action,
}

impl Hit {
    /// What a trace says of it, with what was done in this case.
    #[must_use]
    pub fn said(&self, done: &str) -> String {
        let Self { id, text, .. } = self;
        format!("{}{id}: {done}: {text}", super::SAID)
    }
}

/// A request of Diameter that was seen.
#[derive(Debug)]
struct Asked {
    direction: Direction,
    remote: SocketAddr,
    hop_by_hop: u32,
    bytes: Bytes,
}

/// The rules of one node.
#[derive(Debug)]
pub struct Table {
    prefix: String,
    kept: Vec<Kept>,
    count: u64,
    /// Chance for rules that hit some of their messages, and for bytes that become others.
    pub chance: Ids,
    asked: VecDeque<Asked>,
}

impl Table {
    /// No rules yet; their identifiers begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, seed: Seed) -> Self {
        Self {
            prefix: prefix.to_owned(),
            kept: Vec::new(),
            count: 0,
            chance: Ids::new(seed, ShardId(0)),
            asked: VecDeque::new(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All rules, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    /// Adds a rule; gives its identifier.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub fn add(&mut self, now: Instant, rule: Rule) -> Result<String, Full> {
        if self.kept.len() >= RULES_MAX {
            return Err(Full);
        }
        self.count += 1;
        let id = format!("{}-{}", self.prefix, self.count);
        self.kept.push(Kept {
            id: id.clone(),
            rule,
            hits: 0,
            on: false,
            over: false,
            added_at: now,
            fitted: 0,
            decided: VecDeque::new(),
        });
        Ok(id)
    }

    /// Takes rules away: the one with this identifier or text, or all with `all`.
    pub fn remove(&mut self, which: &str) -> Vec<Kept> {
        let is_meant =
            |kept: &Kept| which == "all" || kept.id == which || kept.rule.is_called(which);
        let (gone, kept) = std::mem::take(&mut self.kept).into_iter().partition(is_meant);
        self.kept = kept;
        gone
    }

    /// The rules that hit this message, in their order: all that change something in it, up to the
    /// first that does something else with it.
    pub fn decide(&mut self, now: Instant, message: &mut Looked) -> Vec<Hit> {
        self.note_asked(message);
        let mut out = Vec::new();
        let mut identity = None;
        for kept in &mut self.kept {
            let by_message = !matches!(kept.rule.action, Action::Overload(_) | Action::Policy(_));
            if !by_message || !kept.is_active(now) || !message.fits(&kept.rule) {
                continue;
            }
            let identity = identity.get_or_insert_with(|| message.identity());
            if !hits(kept, identity, &mut self.chance) {
                continue;
            }
            kept.hits += 1;
            let Kept { id, rule, .. } = kept;
            let (id, text, action) = (id.clone(), rule.text.clone(), rule.action.clone());
            let is_last = !matches!(action, Action::Edit(_) | Action::SpoilMac);
            out.push(Hit { id, text, action });
            if is_last {
                break;
            }
        }
        out
    }

    /// The rule that decides what the policy function does for a user.
    pub fn decide_policy(&mut self, now: Instant, who: &str) -> Option<Hit> {
        for kept in &mut self.kept {
            let of = kept.rule.about.of.as_ref();
            let known = |name: &String| kept.rule.known.iter().find(|known| known.name == *name);
            let is_of = of.is_none_or(|name| {
                name == who
                    || known(name).is_some_and(|it| it.identities.iter().any(|it| it == who))
            });
            let is_policy = matches!(kept.rule.action, Action::Policy(_));
            if !is_policy || !is_of || !kept.is_active(now) {
                continue;
            }
            if hits(kept, "", &mut self.chance) {
                kept.hits += 1;
                let (id, text) = (kept.id.clone(), kept.rule.text.clone());
                return Some(Hit { id, text, action: kept.rule.action.clone() });
            }
        }
        None
    }

    /// The rules that last from a begin to an end and have come to one of the two: whether they are
    /// on now.
    pub fn turned(&mut self, now: Instant) -> Vec<(bool, Hit)> {
        let mut out = Vec::new();
        for kept in &mut self.kept {
            let active = kept.is_active(now);
            kept.over = kept.ends_at().is_some_and(|end| now >= end);
            if matches!(kept.rule.action, Action::Overload(_)) && kept.on != active {
                kept.on = active;
                kept.hits += u64::from(active);
                let (id, text) = (kept.id.clone(), kept.rule.text.clone());
                out.push((active, Hit { id, text, action: kept.rule.action.clone() }));
            }
        }
        out
    }

    /// When [`Self::turned`] has something to tell next.
    #[must_use]
    pub fn turns_at(&self) -> Option<Instant> {
        let lasting = |kept: &&Kept| matches!(kept.rule.action, Action::Overload(_));
        let next = |kept: &Kept| if kept.on { kept.ends_at() } else { Some(kept.begins_at()) };
        self.kept.iter().filter(|kept| !kept.over).filter(lasting).filter_map(next).min()
    }

    /// Remembers requests of Diameter and finds the one that an answer is for.
    fn note_asked(&mut self, message: &mut Looked) {
        let Content::Diameter(diameter, bytes) = &message.content else { return };
        let (direction, remote) = (message.direction, message.remote);
        let hop_by_hop = diameter.header.hop_by_hop;
        if diameter.header.flags.request {
            if self.asked.len() == ASKED_MAX {
                self.asked.pop_front();
            }
            self.asked.push_back(Asked { direction, remote, hop_by_hop, bytes: bytes.clone() });
            return;
        }
        // The number is that of one connection (RFC 6733 §3).
        let is_for = |asked: &Asked| {
            asked.hop_by_hop == hop_by_hop && asked.remote == remote && asked.direction != direction
        };
        let found = self.asked.iter().rposition(is_for);
        message.asked = found.and_then(|at| self.asked.remove(at)).map(|asked| asked.bytes);
    }
}

/// Whether a rule that fits hits: by its chance and count. Copies of a message that is answered or
/// changed are treated as the first of them; what is lost or late is so packet by packet.
fn hits(kept: &mut Kept, identity: &str, chance: &mut Ids) -> bool {
    let by_packet = matches!(
        kept.rule.action,
        Action::Copies(_)
            | Action::Corrupt
            | Action::Crash { .. }
            | Action::Cut
            | Action::Delay(_)
            | Action::Drop
            | Action::Policy(_)
            | Action::Reorder
    );
    if !by_packet && let Some((_, hit)) = kept.decided.iter().find(|(known, _)| known == identity) {
        return *hit;
    }
    let happens = kept.rule.when.chance.is_none_or(|it| chance.below(1_000) < u64::from(it));
    kept.fitted = kept.fitted.saturating_add(u32::from(happens));
    let hit = happens
        && match kept.rule.when.count {
            Count::Every => true,
            Count::First(count) => kept.fitted <= count,
            Count::Nth(number) => kept.fitted == number,
        };
    if !by_packet {
        if kept.decided.len() == COPIES_MAX {
            kept.decided.pop_front();
        }
        kept.decided.push_back((identity.to_owned(), hit));
    }
    hit
}

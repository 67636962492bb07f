//! The way of a message from hop to hop: as what it came to who sends it, and whereto it went on.
//! It tells whose fault a message is that was only passed on, and where one got lost.

use std::collections::BTreeMap;

use cscf_core::sip::Method;

use super::traffic::{Item, Traffic};

/// Hops of one message at most.
const HOPS_MAX: usize = 64;

/// What makes a message the same on each hop.
type Same<'a> = (&'a str, u32, &'a str, u16, &'a str);

/// The ways of ACKs, PRACKs and of the 2xx to INVITE and REGISTER.
#[derive(Debug, Default)]
pub(super) struct Trails<'a> {
    came: BTreeMap<(usize, Same<'a>), Vec<&'a Item>>,
    went: BTreeMap<(usize, Same<'a>), Vec<&'a Item>>,
}

fn same(item: &Item) -> Same<'_> {
    (&item.call_id, item.cseq, item.method.as_str(), item.status(), &item.to_tag)
}

impl<'a> Trails<'a> {
    pub(super) fn of(traffic: &'a Traffic) -> Self {
        let mut trails = Self::default();
        for item in &traffic.items {
            let kept = match item.method {
                Method::Ack | Method::Prack => item.status() == 0,
                Method::Invite | Method::Register => (200..300).contains(&item.status()),
                _ => false,
            };
            if kept {
                trails.came.entry((item.to, same(item))).or_default().push(item);
                trails.went.entry((item.from, same(item))).or_default().push(item);
            }
        }
        trails
    }

    /// The message as it came to who sends this one on.
    fn before(&self, item: &Item) -> Option<&'a Item> {
        let came = self.came.get(&(item.from, same(item)))?;
        let earlier = came.partition_point(|it| it.index < item.index);
        came.get(earlier.checked_sub(1)?).copied()
    }

    /// The message as it was sent on by who got it.
    fn next(&self, item: &Item) -> Option<&'a Item> {
        let went = self.went.get(&(item.to, same(item)))?;
        went.get(went.partition_point(|it| it.index <= item.index)).copied()
    }

    /// The first hop, looking back, from which on a message is as it is here: its sender made it
    /// so, or passes on what was not captured.
    pub(super) fn origin(&self, item: &'a Item, is_so: impl Fn(&Item) -> bool) -> &'a Item {
        let mut at = item;
        for _ in 0..HOPS_MAX {
            match self.before(at).filter(|it| is_so(it)) {
                Some(before) => at = before,
                None => break,
            }
        }
        at
    }

    /// The last hop on which a message was seen.
    pub(super) fn end(&self, item: &'a Item) -> &'a Item {
        let mut at = item;
        for _ in 0..HOPS_MAX {
            match self.next(at) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    /// Whether an ACK of this 2xx came to a device after it.
    pub(super) fn acknowledged(&self, item: &Item) -> bool {
        let key = (&*item.call_id, item.cseq, Method::Ack.as_str(), 0, &*item.to_tag);
        let acks = self.came.get(&(item.from, key));
        acks.is_some_and(|acks| acks.last().is_some_and(|ack| ack.index > item.index))
    }

    /// The first ACK that a device sent to a 2xx that it got.
    pub(super) fn ack_of(&self, item: &Item) -> Option<&'a Item> {
        let key = (&*item.call_id, item.cseq, Method::Ack.as_str(), 0, &*item.to_tag);
        let acks = self.went.get(&(item.to, key))?;
        acks.get(acks.partition_point(|ack| ack.index < item.index)).copied()
    }
}

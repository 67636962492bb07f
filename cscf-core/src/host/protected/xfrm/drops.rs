//! What the kernel dropped and why. It tells nobody; its counters are read now and then.
//!
//! A wrong check value and a replayed number are counted with each state, so they are told of the
//! set they hit. The others are counted for a network namespace only (`/proc/net/xfrm_stat`).

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;

use netlink_packet_xfrm::XfrmMessage;

use super::entries::{self, Association, Direction};
use super::netlink::Netlink;
use crate::transport::SaId;
use crate::transport::esp::DropCause;

/// Where the kernel counts, for the network namespace of this thread (`/proc/net` is that of the
/// process's first).
const COUNTERS: &str = "/proc/thread-self/net/xfrm_stat";

/// Sets whose states are looked at in one go.
const SETS_AT_ONCE: usize = 32;

/// Packets that the kernel dropped since it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct KernelDrop {
    /// Whose they were, where the kernel knows.
    pub(in super::super) set: Option<SaId>,
    /// Why.
    pub(in super::super) cause: DropCause,
    /// How many.
    pub(in super::super) count: u64,
    /// What the kernel calls the counter, and the SPI where it knows one.
    pub(in super::super) detail: String,
}

/// What was counted when last looked at.
#[derive(Debug)]
pub(super) struct Drops {
    namespace: BTreeMap<String, u64>,
    states: BTreeMap<u32, [u32; 2]>,
    /// Sets that are still to be looked at, for packets were dropped that may be theirs.
    left: usize,
    /// The set that was looked at last.
    last: Option<SaId>,
}

impl Drops {
    /// Begins with what is counted now: that was not ours.
    pub(super) fn new() -> Self {
        Self { namespace: counters(), states: BTreeMap::new(), left: 0, last: None }
    }

    /// A state is no longer there.
    pub(super) fn forget(&mut self, spi: u32) {
        self.states.remove(&spi);
    }

    /// What is new, and whether all has been looked at. The kernel is asked for the states of a few
    /// sets at a time, in turn: whoever sends bad packets keeps nobody waiting.
    pub(super) fn news(
        &mut self,
        netlink: &mut Netlink,
        sets: &BTreeMap<SaId, [Association; 4]>,
    ) -> (Vec<KernelDrop>, bool) {
        let counted = counters();
        let mut found = Vec::new();
        for (name, count) in &counted {
            let before = self.namespace.get(name).copied().unwrap_or_default();
            let count = count.saturating_sub(before);
            match cause_of(name) {
                // A state that was looked at before may have dropped this one.
                Some(DropCause::BadIcv | DropCause::Replayed) if count > 0 => {
                    self.left = sets.len();
                }
                Some(DropCause::BadIcv | DropCause::Replayed) | None => {}
                Some(cause) if count > 0 => {
                    found.push(KernelDrop { set: None, cause, count, detail: name.clone() });
                }
                Some(_) => {}
            }
        }
        self.namespace = counted;
        for id in self.next_sets(sets) {
            let of_set = sets.get(&id).map_or(&[][..], |all| &all[..]);
            for of in of_set.iter().filter(|of| of.direction == Direction::In) {
                self.of_state(netlink, id, of, &mut found);
            }
        }
        (found, self.left == 0)
    }

    /// The sets whose turn it is.
    fn next_sets<T>(&mut self, sets: &BTreeMap<SaId, T>) -> Vec<SaId> {
        self.left = self.left.min(sets.len());
        let count = self.left.min(SETS_AT_ONCE);
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = sets.range((after, Bound::Unbounded)).map(|(id, _)| *id);
        let next: Vec<SaId> = rest.chain(sets.keys().copied()).take(count).collect();
        self.left -= count;
        self.last = next.last().copied().or(self.last);
        next
    }

    fn of_state(
        &mut self,
        netlink: &mut Netlink,
        id: SaId,
        of: &Association,
        found: &mut Vec<KernelDrop>,
    ) {
        let asked = netlink.get(entries::get_state(of.destination.ip(), of.spi));
        let Ok(Some(XfrmMessage::AddSa(state))) = asked else { return };
        let stats = state.user_sa_info.stats;
        let now = [stats.integrity_failed, stats.replay.saturating_add(stats.replay_window)];
        let before = self.states.insert(of.spi, now).unwrap_or_default();
        let causes = [DropCause::BadIcv, DropCause::Replayed];
        for ((now, before), cause) in now.into_iter().zip(before).zip(causes) {
            let count = u64::from(now.saturating_sub(before));
            if count > 0 {
                let detail = format!("SPI {}", of.spi);
                found.push(KernelDrop { set: Some(id), cause, count, detail });
            }
        }
    }
}

/// The counters of this network namespace; none where the kernel was built without.
fn counters() -> BTreeMap<String, u64> {
    fs::read_to_string(COUNTERS).map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) {
            found.insert(name.to_owned(), count);
        }
    }
    found
}

/// What a counter of the kernel is about; `None` for those of what leaves or cannot happen here.
fn cause_of(counter: &str) -> Option<DropCause> {
    Some(match counter {
        "XfrmInNoStates" => DropCause::UnknownSpi,
        "XfrmInStateProtoError" => DropCause::BadIcv,
        "XfrmInStateSeqError" => DropCause::Replayed,
        // The packet inside is not between the addresses and ports of its association.
        "XfrmInStateMismatch" => DropCause::WrongPort,
        "XfrmInTmplMismatch" | "XfrmInNoPols" | "XfrmInPolBlock" => DropCause::ClearText,
        "XfrmInStateExpired" | "XfrmInStateInvalid" => DropCause::Expired,
        "XfrmInError" | "XfrmInHdrError" => DropCause::Malformed,
        "XfrmInBufferError" => DropCause::Full,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_sets_are_looked_at_in_each_turn_until_all_have_been() {
        let sets: BTreeMap<SaId, ()> = (1..=70).map(|id| (SaId(id), ())).collect();
        let mut drops =
            Drops { namespace: BTreeMap::new(), states: BTreeMap::new(), left: 70, last: None };
        let mut turn = || drops.next_sets(&sets).iter().map(|id| id.0).collect::<Vec<_>>();
        let turns = [turn(), turn(), turn(), turn()];
        assert_eq!(turns.each_ref().map(Vec::len), [32, 32, 6, 0]);
        assert_eq!(turns.concat(), (1..=70).collect::<Vec<_>>());
        // Bad packets while not all were looked at: each has its turn once more.
        drops.left = 70;
        let again = [drops.next_sets(&sets), drops.next_sets(&sets), drops.next_sets(&sets)];
        let all: std::collections::BTreeSet<SaId> = again.concat().into_iter().collect();
        assert_eq!(all.len(), 70);
    }

    #[test]
    fn the_counters_of_the_kernel_are_causes() {
        let text = "XfrmInError             \t0\nXfrmInNoStates          \t12\nXfrmInPolBlock 3\n\
                    XfrmOutError x\n";
        let counted = parse(text);
        assert_eq!(counted.get("XfrmInNoStates"), Some(&12));
        assert_eq!(counted.len(), 3);
        assert_eq!(cause_of("XfrmInPolBlock"), Some(DropCause::ClearText));
        assert_eq!(cause_of("XfrmOutError"), None);
    }
}

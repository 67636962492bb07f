//! Loop detection (RFC 3261 §16.3 step 4, RFC 5393 §4): the branch of our Via carries a hash of all
//! that decides where a request goes. If it comes back with the same hash it loops; with another
//! hash it only passes by again.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::ids::{Seed, push_hex};
use crate::sip::{HeaderName, Request};
use crate::transport::via::ViaView;

/// The bytes that go into a hash, usually.
const GATHERED_USUAL: usize = 512;

/// What the Vias say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It was not here before.
    First,
    /// It was here before, and was the same: answer 482.
    Loop,
    /// It was here before, and was another.
    Spiral,
}

/// Makes and reads the hashes of one node.
#[derive(Clone, Copy, Debug)]
pub struct LoopGuard {
    secret: (u64, u64),
}

impl LoopGuard {
    /// The guard of the node with this seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self { secret: seed.map_keys() }
    }

    /// The hash of the request as it was received, before our Route is taken away: Request-URI,
    /// Route, tags, Call-ID, CSeq number, Proxy-Require, Proxy-Authorization (RFC 5393 §4.2.2), and
    /// the identities by which an S-CSCF chooses the served user.
    #[must_use]
    pub fn fingerprint(&self, request: &Request) -> u64 {
        const LISTS: [HeaderName; 5] = [
            HeaderName::Route,
            HeaderName::ProxyRequire,
            HeaderName::ProxyAuthorization,
            HeaderName::PServedUser,
            HeaderName::PAssertedIdentity,
        ];
        // Gathered first: a hash of many short pieces costs more than one of all.
        let mut all = Vec::with_capacity(GATHERED_USUAL);
        let mut text = |text: &str| {
            all.extend_from_slice(text.as_bytes());
            all.push(0);
        };
        text(&request.request_uri);
        text(request.from_tag().unwrap_or_default());
        text(request.to_tag().unwrap_or_default());
        text(request.call_id().unwrap_or_default());
        // Hardly any request has all of them: one look at the names tells which.
        let there = request.headers.which(&LISTS);
        for (at, name) in LISTS.into_iter().enumerate() {
            text(name.as_str());
            if there & 1 << at != 0 {
                request.headers.values(name).for_each(&mut text);
            }
        }
        let mut hash = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hash.write(&all);
        hash.write_u32(request.cseq().map(|cseq| cseq.number).unwrap_or_default());
        hash.finish()
    }

    /// Makes a branch that of our Via for a request with this fingerprint.
    pub fn mark(&self, branch: &mut String, fingerprint: u64) {
        branch.push('.');
        push_hex(branch, &fingerprint.to_be_bytes());
    }

    /// Whether a request with this fingerprint has been here before. `is_own` says whether a Via is
    /// of this node.
    #[must_use]
    pub fn passage(
        &self,
        request: &Request,
        fingerprint: u64,
        is_own: impl Fn(&ViaView<'_>) -> bool,
    ) -> Passage {
        let mut passage = Passage::First;
        for value in request.headers.values(HeaderName::Via) {
            // Most are of others, whose parameters nobody has to read.
            let Some((head, params)) = ViaView::head(value) else { continue };
            if !is_own(&head) {
                continue;
            }
            let seen = head.with(params).branch.and_then(|branch| branch.rsplit_once('.'));
            let Some(seen) = seen.and_then(|(_, seen)| u64::from_str_radix(seen, 16).ok()) else {
                continue;
            };
            if seen == fingerprint {
                return Passage::Loop;
            }
            passage = Passage::Spiral;
        }
        passage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Via;
    use crate::transaction::testing::{SEED, request};

    // T-PRX-040
    #[test]
    fn the_same_request_loops_and_a_changed_one_spirals() {
        let guard = LoopGuard::new(&SEED);
        let own = |via: &ViaView<'_>| via.host == "s1.ims.example";
        let first = request("INVITE", "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKa");
        let mark = guard.fingerprint(&first);
        assert_eq!(guard.passage(&first, mark, own), Passage::First);

        let mut back = first;
        let mut branch = "z9hG4bK0-77".to_owned();
        guard.mark(&mut branch, mark);
        let via = Via::new("UDP", "s1.ims.example", None, &branch);
        back.headers.push_front(HeaderName::Via, &via.to_string());
        back.headers.push_front(HeaderName::Via, "SIP/2.0/UDP x.example;branch=z9hG4bKb");
        let again = guard.fingerprint(&back);
        assert_eq!(guard.passage(&back, again, own), Passage::Loop);
        assert_eq!(guard.passage(&back, again, |_| false), Passage::First);

        let mut elsewhere = back.clone();
        elsewhere.request_uri = "sip:bob@192.0.2.4".into();
        let again = guard.fingerprint(&elsewhere);
        assert_eq!(guard.passage(&elsewhere, again, own), Passage::Spiral);

        let mut by_another_route = back;
        by_another_route.headers.push(HeaderName::Route, "<sip:odi@s1.ims.example;lr>");
        let again = guard.fingerprint(&by_another_route);
        assert_eq!(guard.passage(&by_another_route, again, own), Passage::Spiral);
    }

    #[test]
    fn the_fingerprint_is_the_same_for_the_cancel_of_the_request() {
        let guard = LoopGuard::new(&SEED);
        let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKa";
        let (invite, cancel) = (request("INVITE", via), request("CANCEL", via));
        assert_eq!(guard.fingerprint(&invite), guard.fingerprint(&cancel));
        let other = LoopGuard::new(&Seed([8; 32]));
        assert_ne!(guard.fingerprint(&invite), other.fingerprint(&invite));
    }
}

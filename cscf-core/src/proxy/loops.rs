//! Loop detection (RFC 3261 §16.3 step 4, RFC 5393 §4): the branch of our Via carries a hash of all
//! that decides where a request goes. If it comes back with the same hash it loops; with another
//! hash it only passes by again.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::ids::Seed;
use crate::sip::{HeaderName, Request, Via};

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
        let mut hash = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        let mut text = |text: &str| {
            hash.write(text.as_bytes());
            hash.write_u8(0);
        };
        text(&request.request_uri);
        text(request.from_tag().unwrap_or_default());
        text(request.to_tag().unwrap_or_default());
        text(request.call_id().unwrap_or_default());
        for name in LISTS {
            text(name.as_str());
            request.headers.values(name).for_each(&mut text);
        }
        hash.write_u32(request.cseq().map(|cseq| cseq.number).unwrap_or_default());
        hash.finish()
    }

    /// The branch of our Via for a request with this fingerprint.
    #[must_use]
    pub fn branch(&self, branch: &str, fingerprint: u64) -> String {
        format!("{branch}.{fingerprint:016x}")
    }

    /// Whether a request with this fingerprint has been here before. `is_own` says whether a Via is
    /// of this node.
    #[must_use]
    pub fn passage(
        &self,
        request: &Request,
        fingerprint: u64,
        is_own: impl Fn(&Via) -> bool,
    ) -> Passage {
        let mut passage = Passage::First;
        for value in request.headers.values(HeaderName::Via) {
            let Ok(via) = Via::parse(value) else { continue };
            let seen = via.branch().and_then(|branch| branch.rsplit_once('.'));
            let Some(seen) = seen.and_then(|(_, seen)| u64::from_str_radix(seen, 16).ok()) else {
                continue;
            };
            if !is_own(&via) {
                continue;
            }
            if seen == fingerprint {
                return Passage::Loop;
            }
            passage = Passage::Spiral;
        }
        passage
    }
}

//! Where a UE turns when registering fails: another P-CSCF, later, or nowhere
//! (TS 24.229 §5.1.1.2.1, RFC 5626 §4.5).

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::clause::{rfc5626, ts24229};
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sip::{HeaderName, Response};
use cscf_core::time::{Duration, Instant};

use super::{Ue, UeTimer};

/// The base of the back-off where every attempt fails, and its greatest wait (RFC 5626 §4.5).
const BACK_OFF_BASE: Duration = Duration::from_secs(30);
const BACK_OFF_MAX: Duration = Duration::from_secs(1800);
/// When somebody who insists tries again, for mistakes.
const INSISTS_AFTER: Duration = Duration::from_secs(5);

/// What a UE knows of its P-CSCFs and of how its attempts to register went. Its tables are bounded
/// by the number of P-CSCFs configured.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The P-CSCF in use, as a place in the list.
    pub(super) pcscf: usize,
    /// The interval to ask for.
    pub(super) wish: Duration,
    /// After a 420: registers without security agreement and without Authorization.
    pub(super) early: bool,
    /// After a 439: registers without a number of a flow.
    plain: bool,
    /// A protected REGISTER without answer was followed by a registration from the start.
    started_over: bool,
    /// Before when a P-CSCF is not asked again by itself (Retry-After).
    not_before: BTreeMap<usize, Instant>,
    /// The P-CSCFs that failed in this round.
    failed: BTreeSet<usize>,
    /// Rounds in a row that failed.
    failures: u32,
}

impl Recovery {
    /// The user wants to register: what failed is forgotten, what a P-CSCF asked for is not.
    pub(super) fn forget(&mut self, wish: Duration) {
        self.wish = wish;
        self.early = false;
        self.plain = false;
        self.started_over = false;
        self.failures = 0;
        self.failed.clear();
    }

    /// All P-CSCFs may be tried again.
    pub(super) fn start_round(&mut self, now: Instant) {
        self.failed.clear();
        self.not_before.retain(|_, at| *at > now);
    }

    /// The flow of the registration has proven to work: keep-alives are answered, or none are sent
    /// (RFC 5626 §4.5).
    pub(super) const fn proven(&mut self) {
        self.failures = 0;
    }

    /// The registration stands.
    pub(super) fn succeeded(&mut self) {
        self.started_over = false;
        self.failed.clear();
        self.not_before.clear();
    }

    /// The P-CSCF to turn to from the present one, of `count`.
    fn next_pcscf(&self, count: usize, now: Instant) -> Option<usize> {
        let others = (1..count).map(|step| (self.pcscf + step) % count);
        others.into_iter().find(|index| {
            !self.failed.contains(index) && self.not_before.get(index).is_none_or(|at| *at <= now)
        })
    }
}

/// How long to wait after so many failures in a row: of the smaller of `30 s · 2^failures` and
/// 1800 s, by `chance` (0 to 1000), 50 to 100 percent (RFC 5626 §4.5).
fn back_off(failures: u32, chance: u64) -> Duration {
    let upper = BACK_OFF_BASE.saturating_mul(1 << failures.min(10)).min(BACK_OFF_MAX);
    let part = u32::try_from(chance.min(1000)).unwrap_or(1000);
    upper / 2 + upper / 2 * part / 1000
}

impl Ue {
    /// The P-CSCF in use.
    pub(super) fn pcscf(&self) -> &str {
        let index = self.recovery.pcscf;
        if let Some(uri) = self.config.tls_pcscfs.get(index).filter(|_| self.goes_by_tls()) {
            return uri;
        }
        let others = || self.config.other_pcscfs.get(index.checked_sub(1)?);
        others().unwrap_or(&self.config.pcscf)
    }

    /// After a failed initial registration: goes on at another P-CSCF where that may help, or
    /// without security agreement. Says whether it does.
    pub(super) fn try_elsewhere(
        &mut self,
        env: &mut Env<'_>,
        status: u16,
        response: Option<&Response>,
        out: &mut Actions<UeTimer>,
    ) -> bool {
        if self.may_do_without(status, response) {
            env.note(ts24229("5.1.1.5.11"), || {
                "420 for sec-agree: registers by early IMS security".to_owned()
            });
            self.recovery.early = true;
            self.register_initially(env, out);
            return true;
        }
        if status == 439 && self.flow_number().is_some() {
            env.note(rfc5626("11.6"), || {
                "439: the first hop does not know flows: registers without reg-id".to_owned()
            });
            self.recovery.plain = true;
            self.register_initially(env, out);
            return true;
        }
        self.recovery.failed.insert(self.recovery.pcscf);
        if !matches!(status, 305 | 408 | 500 | 503 | 504) {
            return false;
        }
        let count = self.config.other_pcscfs.len() + 1;
        let next = self.recovery.next_pcscf(count, env.now);
        let Some(next) = next.filter(|_| !self.config.mistakes.gives_up) else {
            if status == 305 {
                env.refuse(ts24229("5.1.1.2.1"), || {
                    format!("305 from {}, and no other P-CSCF is known", self.pcscf())
                });
            }
            return false;
        };
        let from = self.pcscf().to_owned();
        self.recovery.pcscf = next;
        let to = self.pcscf().to_owned();
        env.note(ts24229("5.1.1.2.1"), || {
            // The Contact of a 305 is not used: who redirects may not be who it says.
            format!("{status} from {from}: registers by {to}")
        });
        self.register_initially(env, out);
        true
    }

    /// The number of the flow to register, unless the network does not know flows (RFC 5626 §4.2).
    pub(super) fn flow_number(&self) -> Option<u32> {
        self.config.reg_id.filter(|_| !self.recovery.plain)
    }

    /// After a protected REGISTER that nobody answered: the associations that were made for it may
    /// be gone at the other end, so registers once more from the start (TS 24.229 §5.1.1.5.1).
    /// Says whether it does.
    pub(super) fn start_over(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) -> bool {
        if std::mem::replace(&mut self.recovery.started_over, true) {
            return false;
        }
        env.note(ts24229("5.1.1.5.1"), || {
            "no answer to the protected REGISTER: registers once more from the start".to_owned()
        });
        self.register_initially(env, out);
        true
    }

    /// Whether this is a 420 for the security agreement, and the UE knows early IMS security.
    fn may_do_without(&self, status: u16, response: Option<&Response>) -> bool {
        let names =
            |response: &Response| response.headers.has_token(HeaderName::Unsupported, "sec-agree");
        status == 420
            && self.config.early_security
            && !self.recovery.early
            && response.is_some_and(names)
    }

    /// Keeps what a P-CSCF said about coming again; gives the time.
    pub(super) fn heed_retry_after(
        &mut self,
        env: &mut Env<'_>,
        status: u16,
        wait: Duration,
    ) -> Instant {
        let wait = if self.config.mistakes.ignores_retry_after { wait / 10 } else { wait };
        let at = env.now + wait;
        self.recovery.not_before.insert(self.recovery.pcscf, at);
        env.note(ts24229("5.1.1.2.1"), || {
            format!("{status} with Retry-After {} s: not there before {at}", wait.as_secs())
        });
        at
    }

    /// Tries again after a while, longer with each failure, unless the answer was one about us that
    /// will not change (TS 24.229 §5.1.1.2.1).
    pub(super) fn retry(&mut self, env: &mut Env<'_>, status: u16, out: &mut Actions<UeTimer>) {
        let about_us = matches!(status, 402..=407 | 409..=479 | 481..=499 | 600..=699);
        let wrong = self.config.mistakes;
        if about_us && wrong.insists {
            let at = env.now + INSISTS_AFTER;
            out.push(Action::SetTimer { timer: UeTimer::Register, at });
        }
        if self.config.retries && !about_us && !wrong.gives_up {
            self.register_later(env, out);
        }
    }

    /// Registers again after the back-off of RFC 5626 §4.5.
    pub(super) fn register_later(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.recovery.failures = self.recovery.failures.saturating_add(1);
        let failures = if self.config.mistakes.no_back_off { 1 } else { self.recovery.failures };
        let at = env.now + back_off(failures, env.ids.below(1001));
        env.note(rfc5626("4.5"), || format!("failed {failures} times: registers again at {at}"));
        out.push(Action::SetTimer { timer: UeTimer::Register, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_half_an_hour_and_is_cut_by_chance() {
        for (failures, least, most) in [(1, 30, 60), (2, 60, 120), (3, 120, 240), (9, 900, 1800)] {
            assert_eq!(back_off(failures, 0), Duration::from_secs(least), "{failures}");
            assert_eq!(back_off(failures, 1000), Duration::from_secs(most), "{failures}");
        }
    }
}

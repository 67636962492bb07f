//! Random programs of events against response contexts, checked against named invariants.

use std::collections::{BTreeMap, BTreeSet};

use super::{BranchNumber, ContextAction, ContextSettings, ResponseContext, TIMER_C};
use crate::ids::{Ids, Seed, ShardId};
use crate::time::{Duration, Instant};
use crate::transaction::testing::request;

/// Branches that answer as they like, a role that hands up most of it, and a client that cancels.
struct Program {
    ids: Ids,
    context: ResponseContext,
    method: &'static str,
    now: Instant,
    open: BTreeSet<BranchNumber>,
    /// Whether a branch has had a provisional response.
    ringing: BTreeMap<BranchNumber, bool>,
    cancelled: BTreeSet<BranchNumber>,
    finals: Vec<u16>,
    silent: bool,
    trail: Vec<String>,
}

impl Program {
    fn new(seed: u64) -> Self {
        let method = if seed.is_multiple_of(3) { "REGISTER" } else { "INVITE" };
        let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bK2";
        let settings = ContextSettings { branches_max: 5, ..ContextSettings::default() };
        Self {
            ids: Ids::new(Seed::derive(seed, "context"), ShardId(0)),
            context: ResponseContext::new(&request(method, via), settings),
            method,
            now: Instant::from_secs(1),
            open: BTreeSet::new(),
            ringing: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            finals: Vec::new(),
            silent: false,
            trail: Vec::new(),
        }
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.ids.below(bound as u64)).expect("small")
    }

    fn respond(&mut self, branch: BranchNumber, status: u16, hand_up: bool) {
        self.trail.push(format!("{branch:?} {status} {hand_up}"));
        let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bK2";
        let response = request(self.method, via).reply(status);
        let mut out = Vec::new();
        if status < 200 {
            self.ringing.insert(branch, true);
        } else {
            self.open.remove(&branch);
        }
        self.context.on_response(self.now, branch, status, &mut out);
        if hand_up && status != 100 {
            self.context.pass_up(branch, response, &mut out);
        }
        self.context.settle(&mut out);
        self.perform(out);
    }

    fn step(&mut self) {
        let mut out = Vec::new();
        match self.pick(10) {
            0 | 1 => {
                let answered = !self.finals.is_empty() || self.silent;
                if let Ok(branch) = self.context.open_branch(self.now) {
                    assert!(!answered, "no branch after the final response");
                    self.open.insert(branch);
                    self.ringing.insert(branch, false);
                    self.trail.push(format!("open {branch:?}"));
                }
            }
            2..=6 => {
                let at = self.pick(self.open.len().max(1));
                let Some(branch) = self.open.iter().nth(at).copied() else { return };
                let status = [100, 180, 183, 200, 302, 401, 408, 486, 503, 603][self.pick(10)];
                let hand_up = status < 200 || self.pick(8) != 0;
                self.respond(branch, status, hand_up);
            }
            7 if self.pick(4) == 0 => {
                self.trail.push("cancel".to_owned());
                self.context.cancel(None, &mut out);
                self.context.settle(&mut out);
            }
            8 if self.pick(6) == 0 => {
                let status = [200, 403][self.pick(2)];
                self.trail.push(format!("reply {status}"));
                let response = self.context.made_here(status);
                self.context.reply(response, &mut out);
                self.context.settle(&mut out);
            }
            _ => {
                let seconds = self.ids.below(120);
                self.pass(Duration::from_secs(seconds));
            }
        }
        self.perform(out);
        assert_eq!(self.open, self.context.open_branches().collect(), "the same branches are open");
        if self.method == "INVITE" && !self.finals.is_empty() {
            let lost = self.open.iter().filter(|branch| self.ringing[branch]);
            assert!(
                lost.into_iter().all(|it| self.cancelled.contains(it)),
                "who lost is cancelled"
            );
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.context.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "no deadline lies in the past");
            self.now = at;
            let mut out = Vec::new();
            self.context.handle_timeout(at, &mut out);
            assert!(self.context.poll_timeout().is_none_or(|next| next > at), "time moves on");
            self.perform(out);
        }
        self.now = end;
    }

    fn perform(&mut self, out: Vec<ContextAction>) {
        for action in out {
            match action {
                ContextAction::Cancel { branch, .. } => {
                    assert_eq!(self.method, "INVITE", "only INVITE is cancelled");
                    assert!(self.ringing[&branch], "no CANCEL before a provisional response");
                    assert!(self.cancelled.insert(branch), "one CANCEL a branch");
                    assert!(self.open.contains(&branch), "no CANCEL after the final response");
                    self.trail.push(format!("CANCEL {branch:?}"));
                }
                ContextAction::NoAnswer => {
                    assert_eq!(self.method, "REGISTER", "an INVITE always gets its answer");
                    assert!(self.finals.is_empty() && !self.silent);
                    self.silent = true;
                }
                ContextAction::Note(..) => {}
                ContextAction::TimedOut(branch) => {
                    assert!(!self.ringing[&branch], "who rings is cancelled instead");
                    self.respond(branch, 408, true);
                }
                ContextAction::Upstream(response) => self.upstream(response.status),
            }
        }
    }

    fn upstream(&mut self, status: u16) {
        self.trail.push(format!("up {status}"));
        assert_ne!(status, 100, "100 is hop by hop");
        if status < 200 {
            assert!(self.finals.is_empty() && self.method == "INVITE");
            return;
        }
        assert!(!self.silent, "no answer means none");
        let late_success = self.method == "INVITE" && self.finals.iter().all(|it| *it == 200);
        assert!(
            self.finals.is_empty() || (late_success && status == 200),
            "exactly one final response, and further 2xx to INVITE"
        );
        assert!(self.method == "INVITE" || status != 408, "408 never answers a REGISTER");
        assert_ne!(status, 503, "a 503 of the next hop is not ours");
        self.finals.push(status);
    }

    /// Everybody answers in the end.
    fn calm(&mut self) {
        for branch in self.open.clone() {
            let status = if self.cancelled.contains(&branch) { 487 } else { 404 };
            self.respond(branch, status, true);
        }
        self.pass(TIMER_C * 2);
        assert!(self.open.is_empty());
        assert_eq!(self.context.poll_timeout(), None, "nothing is left after all timers ran");
        if self.finals.is_empty() && !self.silent {
            // Nobody ever handed anything up: the role still has to answer.
            assert!(!self.context.is_over());
            let mut out = Vec::new();
            self.context.reply(self.context.made_here(500), &mut out);
            self.perform(out);
        }
        assert!(self.context.is_over());
        assert_eq!(self.finals.is_empty(), self.silent);
    }
}

#[test]
fn random_programs_keep_the_invariants_of_the_response_context() {
    for seed in 0..3_000 {
        let mut program = Program::new(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..40 {
                program.step();
            }
            program.calm();
        }));
        if let Err(panic) = result {
            eprintln!("seed {seed}:\n{}", program.trail.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}

//! A fleet of UEs as one machine: packets and time go in, packets come out.
//!
//! No UE has a task, a socket or a buffer of its own. What a UE is between two pieces of work are
//! twelve bytes; what runs is a `Job`, and its buffers are used again by the next one. Both sides
//! of a call are one job: its Call-ID says which.
//!
//! It does what load needs and no more: no CANCEL, no SUBSCRIBE, no session refresh, no 100rel, no
//! freshness of SQN. Everything is in clear by UDP.

mod call;
mod registration;
#[cfg(test)]
mod tests;
mod write;

use std::net::SocketAddrV4;
use std::ops::Range;

use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::time::{DeadlineId, Duration, Instant, Wheel};

use super::people::{People, Sources};
use super::plan::Work;
use super::results::{Cause, Results};
use super::scan::{self, Seen, Start};

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its users.
    pub people: People,
    /// Where they send from.
    pub sources: Sources,
    /// The P-CSCF.
    pub dut: SocketAddrV4,
    /// Route of requests outside dialogs while no Service-Route is known: URIs.
    pub routes: Vec<String>,
    /// How long a callee rings.
    pub ring: Duration,
    /// How long a call is held.
    pub hold: Duration,
    /// The retransmission interval T1 (RFC 3261 §17).
    pub t1: Duration,
    /// How long a request waits for its answer.
    pub timeout: Duration,
    /// The expiration that is asked for, in seconds.
    pub expires: u32,
    /// Tells the Call-IDs of this run from those of others.
    pub run: u32,
}

/// The longest interval between retransmissions, in multiples of T1: T2 at its default.
const T2_PER_T1: u32 = 8;
/// Different Service-Routes that are remembered; later ones are not used.
const SERVICE_ROUTES_MAX: usize = 10_000;

/// A UE between two pieces of work.
#[derive(Clone, Copy, Debug, Default)]
struct Ue {
    /// The CSeq of its last REGISTER.
    cseq: u32,
    /// The job of its registration that runs, plus one; 0: none.
    job: u32,
    /// Its place among the Service-Routes, plus one; 0: none.
    route: u16,
    registered: bool,
}

/// The memory of a UE of which nothing runs, in bytes.
pub const UE_BYTES: usize = size_of::<Ue>();

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Over,
    Registering,
    Inviting,
    Rings,
    Talking,
    Ending,
    Messaging,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CalleeStage {
    #[default]
    Idle,
    Rings,
    Answered,
    Confirmed,
}

/// The called side of a call.
#[derive(Clone, Debug, Default)]
struct Callee {
    stage: CalleeStage,
    /// The head of its answers.
    head: Vec<u8>,
    /// Its last answer.
    answer: Vec<u8>,
    to: Option<SocketAddrV4>,
    tries: u32,
    answered_at: Instant,
    timer: Option<DeadlineId>,
}

/// One piece of work that runs.
#[derive(Clone, Debug, Default)]
struct Job {
    index: u32,
    /// Which of those that had this index.
    stamp: u32,
    work: Option<Work>,
    stage: Stage,
    ue: u32,
    peer: u32,
    measured: bool,
    challenged: bool,
    rang: bool,
    cseq: u32,
    sent_at: Instant,
    tries: u32,
    timer: Option<DeadlineId>,
    /// The request that waits for an answer.
    request: Vec<u8>,
    /// To of the dialog.
    to: Vec<u8>,
    /// The remote target.
    target: Vec<u8>,
    /// Route header lines of the dialog.
    route_set: Vec<u8>,
    next_hop: Option<SocketAddrV4>,
    callee: Callee,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Caller,
    Callee,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    job: u32,
    stamp: u32,
    side: Side,
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which UE sends it.
    pub ue: u32,
    /// Where to.
    pub to: SocketAddrV4,
    /// Where its bytes are in those of the fleet.
    pub at: Range<usize>,
}

/// The UEs and what they do.
#[derive(Debug)]
pub struct Fleet {
    setup: Setup,
    ues: Vec<Ue>,
    jobs: Vec<Option<Box<Job>>>,
    free: Vec<u32>,
    wheel: Wheel<Deadline>,
    service_routes: Vec<Vec<u8>>,
    out: Vec<u8>,
    packets: Vec<Packet>,
    results: Results,
    measuring: bool,
    stamps: u32,
    turn: [u32; Work::ALL.len()],
    running: usize,
    ids: Ids,
}

impl Fleet {
    /// A fleet of which nobody is registered; the seed decides its cnonces.
    #[must_use]
    pub fn new(setup: Setup, seed: Seed) -> Self {
        let count = usize::try_from(setup.people.count()).unwrap_or(0);
        Self {
            ues: vec![Ue::default(); count],
            setup,
            jobs: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(),
            service_routes: Vec::new(),
            out: Vec::with_capacity(64 * 1024),
            packets: Vec::new(),
            results: Results::default(),
            measuring: true,
            stamps: 0,
            turn: [0; Work::ALL.len()],
            running: 0,
            ids: Ids::new(seed, ShardId(0)),
        }
    }

    /// What it is made of.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// From now on new work counts in the results, or does not.
    pub const fn measure(&mut self, measuring: bool) {
        self.measuring = measuring;
    }

    /// What was measured until now.
    #[must_use]
    pub const fn results(&self) -> &Results {
        &self.results
    }

    /// Takes what was measured; new results begin.
    pub fn take_results(&mut self) -> Results {
        std::mem::take(&mut self.results)
    }

    /// How many pieces of work run.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// How many UEs are registered.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.ues.iter().filter(|ue| ue.registered).count()
    }

    /// When [`Fleet::expire`] has something to do.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// What to send, and the bytes of it.
    #[must_use]
    pub fn packets(&self) -> (&[Packet], &[u8]) {
        (&self.packets, &self.out)
    }

    /// Everything has been sent.
    pub fn sent(&mut self) {
        self.results.sent += self.packets.len() as u64;
        self.packets.clear();
        self.out.clear();
    }

    /// Begins work of the next UE that can do it; false if there is none.
    pub fn begin(&mut self, work: Work, now: Instant) -> bool {
        let Some((ue, peer)) = self.choose(work) else {
            self.results.skipped += 1;
            return false;
        };
        let mut job = self.new_job(work);
        (job.ue, job.peer) = (ue, peer);
        if job.measured {
            *self.results.begun.entry(work).or_default() += 1;
        }
        match work {
            Work::Register | Work::Reregister | Work::Deregister => self.register(&mut job, now),
            Work::Call => self.call(&mut job, now),
            Work::Message => self.text(&mut job, now),
        }
        self.put(job);
        true
    }

    /// Forgets everything that runs; answers to it are then unexpected.
    pub fn abandon(&mut self) {
        for place in 0..self.jobs.len() {
            let job =
                self.jobs.get_mut(place).and_then(|it| it.take_if(|it| it.stage != Stage::Over));
            if let Some(mut job) = job {
                job.measured = false;
                self.over(&mut job, None);
                self.put(job);
            }
        }
    }

    /// Whether a UE is registered.
    #[must_use]
    pub fn is_registered(&self, ue: u32) -> bool {
        self.ues.get(ue as usize).is_some_and(|ue| ue.registered)
    }

    /// The next UE in turn that can do this work, and whom it calls.
    fn choose(&mut self, work: Work) -> Option<(u32, u32)> {
        let count = self.setup.people.count();
        let pair = matches!(work, Work::Call | Work::Message);
        let half = if pair { count / 2 } else { 0 };
        let among = if pair { half } else { count };
        let place = Work::ALL.iter().position(|it| *it == work)?;
        let mut at = *self.turn.get(place)?;
        for _ in 0..among {
            let ue = at % among;
            at = ue + 1;
            let one = self.ues.get(ue as usize)?;
            let can = match work {
                Work::Register => one.job == 0,
                Work::Reregister | Work::Deregister => one.job == 0 && one.registered,
                Work::Call | Work::Message => one.registered && self.is_registered(ue + half),
            };
            if can {
                if let Some(turn) = self.turn.get_mut(place) {
                    *turn = at;
                }
                return Some((ue, ue + half));
            }
        }
        None
    }

    fn new_job(&mut self, work: Work) -> Box<Job> {
        self.stamps = self.stamps.wrapping_add(1);
        self.running += 1;
        self.results.running_max = self.results.running_max.max(self.running);
        let free = self.free.pop();
        let reused = free.and_then(|index| self.jobs.get_mut(index as usize)?.take());
        let mut job = reused.unwrap_or_else(|| {
            let index = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
            self.jobs.push(None);
            Box::new(Job { index, ..Job::default() })
        });
        job.stamp = self.stamps;
        job.work = Some(work);
        job.measured = self.measuring;
        (job.challenged, job.rang) = (false, false);
        (job.cseq, job.tries) = (1, 0);
        job.next_hop = None;
        job.callee.stage = CalleeStage::Idle;
        job
    }

    /// Gives back a job that was taken to run; whose job is over, that place is free.
    fn put(&mut self, job: Box<Job>) {
        let index = job.index;
        if job.stage == Stage::Over {
            self.free.push(index);
        }
        if let Some(place) = self.jobs.get_mut(index as usize) {
            *place = Some(job);
        }
    }

    /// Takes a datagram in.
    pub fn receive(&mut self, bytes: &[u8], from: SocketAddrV4, now: Instant) {
        self.results.received += 1;
        let seen = scan::read(bytes);
        let Some((seen, index)) = seen.and_then(|seen| Some((seen, self.place(&seen)?))) else {
            // Keep-alives of a line end are nothing.
            if !bytes.trim_ascii().is_empty() {
                self.results.unexpected += 1;
            }
            return;
        };
        let Some(mut job) = self.jobs.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        match (job.stage, seen.start) {
            (_, Start::Request(method)) => self.request(&mut job, (method, &seen), from, now),
            (Stage::Registering, Start::Response(code)) => {
                self.register_answered(&mut job, code, &seen, now);
            }
            (_, Start::Response(code)) => self.call_answered(&mut job, code, &seen, now),
        }
        self.put(job);
    }

    /// Which job a message belongs to, by its Call-ID: `rUE-RUN` or `cINDEX-STAMP-RUN`.
    fn place(&self, seen: &Seen<'_>) -> Option<u32> {
        let (kind, rest) = seen.call_id.split_first()?;
        let mut parts = rest.split(|byte| *byte == b'-');
        let number = scan::number(parts.next()?)?;
        let stamp = if *kind == b'c' { Some(scan::number(parts.next()?)?) } else { None };
        let run = std::str::from_utf8(parts.next()?).ok()?;
        if u32::from_str_radix(run, 16).ok()? != self.setup.run {
            return None;
        }
        let index = match stamp {
            None => self.ues.get(number as usize)?.job.checked_sub(1)?,
            Some(_) => number,
        };
        let job = self.jobs.get(index as usize)?.as_ref()?;
        (job.stage != Stage::Over && stamp.is_none_or(|it| it == job.stamp)).then_some(index)
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Instant) {
        while let Some(deadline) = self.wheel.pop_due(now) {
            let place = self.jobs.get_mut(deadline.job as usize);
            let runs = |job: &mut Box<Job>| job.stamp == deadline.stamp && job.stage != Stage::Over;
            let Some(mut job) = place.and_then(|place| place.take_if(runs)) else { continue };
            match deadline.side {
                Side::Caller => {
                    job.timer = None;
                    self.caller_due(&mut job, now);
                }
                Side::Callee => {
                    job.callee.timer = None;
                    self.callee_due(&mut job, now);
                }
            }
            self.put(job);
        }
    }

    fn caller_due(&mut self, job: &mut Job, now: Instant) {
        if job.stage == Stage::Talking {
            return self.bye(job, now);
        }
        let method = match job.stage {
            Stage::Registering => "REGISTER",
            Stage::Ending => "BYE",
            Stage::Messaging => "MESSAGE",
            _ => "INVITE",
        };
        if job.stage == Stage::Rings || now.since(job.sent_at) >= self.setup.timeout {
            return self.over(job, Some(Cause::Timeout(method)));
        }
        let to = job.next_hop.unwrap_or(self.setup.dut);
        self.again(job.measured);
        self.push(job.ue, to, |out, _| out.extend_from_slice(&job.request));
        job.tries += 1;
        let wait = self.interval(job.tries, job.stage == Stage::Inviting);
        let end = job.sent_at + self.setup.timeout;
        self.set(job, Side::Caller, (now + wait).min(end));
    }

    fn interval(&self, tries: u32, doubles_on: bool) -> Duration {
        let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
        let factor = if doubles_on { factor } else { factor.min(T2_PER_T1) };
        self.setup.t1.saturating_mul(factor)
    }

    const fn again(&mut self, measured: bool) {
        if measured {
            self.results.sent_again += 1;
        }
    }

    /// Sends a request of the caller that is to be answered; `write` writes it.
    fn transmit(
        &mut self,
        job: &mut Job,
        now: Instant,
        write: impl FnOnce(&Setup, &Job, &mut Vec<u8>),
    ) {
        let to = job.next_hop.unwrap_or(self.setup.dut);
        let at = self.push(job.ue, to, |out, setup| write(setup, job, out));
        job.request.clear();
        job.request.extend_from_slice(self.out.get(at).unwrap_or_default());
        (job.sent_at, job.tries) = (now, 0);
        let first = now + self.setup.t1.min(self.setup.timeout);
        self.set(job, Side::Caller, first);
    }

    /// Queues a packet.
    fn push(
        &mut self,
        ue: u32,
        to: SocketAddrV4,
        write: impl FnOnce(&mut Vec<u8>, &Setup),
    ) -> Range<usize> {
        let start = self.out.len();
        write(&mut self.out, &self.setup);
        let at = start..self.out.len();
        self.packets.push(Packet { ue, to, at: at.clone() });
        at
    }

    fn set(&mut self, job: &mut Job, side: Side, at: Instant) {
        let timer = match side {
            Side::Caller => &mut job.timer,
            Side::Callee => &mut job.callee.timer,
        };
        let moved = timer.is_some_and(|id| self.wheel.reschedule(id, at));
        if !moved {
            *timer =
                Some(self.wheel.insert(at, Deadline { job: job.index, stamp: job.stamp, side }));
        }
    }

    fn stop(&mut self, job: &mut Job, side: Side) {
        let timer = match side {
            Side::Caller => job.timer.take(),
            Side::Callee => job.callee.timer.take(),
        };
        if let Some(id) = timer {
            self.wheel.cancel(id);
        }
    }

    /// Ends a job: it went well, or why not.
    fn over(&mut self, job: &mut Job, cause: Option<Cause>) {
        self.stop(job, Side::Caller);
        self.stop(job, Side::Callee);
        job.stage = Stage::Over;
        self.running -= 1;
        if let (true, Some(work)) = (job.measured, job.work) {
            match cause {
                None => *self.results.ok.entry(work).or_default() += 1,
                Some(cause) => *self.results.failed.entry(cause).or_default() += 1,
            }
        }
        let registers =
            matches!(job.work, Some(Work::Register | Work::Reregister | Work::Deregister));
        if let Some(ue) = self.ues.get_mut(job.ue as usize).filter(|_| registers) {
            ue.job = 0;
        }
    }

    fn count(&mut self, job: &Job, latency: super::results::Latency, now: Instant) {
        if job.measured {
            self.results.latency_mut(latency).add(now.since(job.sent_at));
        }
    }
}

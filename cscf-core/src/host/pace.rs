//! How a node under load shares the machine with the others.
//!
//! A chain of processes is dear when each message wakes the next process at once: the receiver
//! interrupts its sender, both go on with cold caches, and a wake-up is paid for each message. Two
//! things help. Above a rate the thread of the node takes its turns as a batch process does, which
//! lets others finish theirs (`SCHED_BATCH`; below the rate it answers at once, as ever). And it
//! waits a little before it looks for more, so that one wake-up serves several messages (`gather`
//! of the lab): less work for each, later answers.
//!
//! Both are done between the turns of a runtime, when no task of the thread has anything to do.

use std::cell::Cell;

use super::Clock;
use crate::config::Gather;
use crate::time::{Duration, Instant};

/// Over how long the rate is averaged, in seconds.
const AVERAGED_OVER: f64 = 0.05;
/// Inputs a second from which a node is busy.
const BUSY_FROM: f64 = 1_000.0;
/// Inputs a second below which it is no longer.
const BUSY_UNTIL: f64 = 250.0;
/// Deadlines of a busy node are looked at together for so long.
const SHARED: Duration = Duration::from_millis(10);
/// To gather pays from this number of inputs on.
const GATHERED_MIN: f64 = 2.0;
/// A busy node that may choose waits for so many inputs: the next ones save little.
const GATHERED: f64 = 16.0;
/// And never longer: what ten hops of it add to an answer is far below every timer of SIP.
const GATHERED_WITHIN: Duration = Duration::from_millis(2);
/// Over how many waits the inputs that they bring are averaged.
const WAITS: f64 = 8.0;
/// Who waits for its own answers, one call after the other, is only slowed down: when waiting
/// brings too little, a node answers at once for so long.
const PROMPT_FOR: Duration = Duration::from_secs(1);

thread_local! {
    /// Inputs since the last rest.
    static INPUTS: Cell<u32> = const { Cell::new(0) };
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// The pace of the nodes of a thread.
#[derive(Clone, Copy, Debug)]
struct Pace {
    clock: Clock,
    rate: Rate,
    busy: bool,
    gathering: Gathering,
    class: Class,
}

/// Inputs a second, averaged.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: f64,
    at: Instant,
}

impl Rate {
    /// Counts `inputs` since the last time.
    fn count(&mut self, now: Instant, inputs: u32) {
        let since = now.since(self.at).as_secs_f64();
        self.per_second =
            (self.per_second * AVERAGED_OVER + f64::from(inputs)) / (AVERAGED_OVER + since);
        self.at = now;
    }

    /// How many are to be expected within `span`.
    fn within(&self, span: Duration) -> f64 {
        self.per_second * span.as_secs_f64()
    }
}

/// How the system chooses between this thread and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// As it came.
    Normal,
    /// It interrupts nobody.
    Batch,
    /// Somebody has chosen it, or the system lets nobody choose.
    Fixed,
}

impl Class {
    /// What it should be.
    const fn of(self, busy: bool) -> Self {
        match self {
            Self::Fixed => Self::Fixed,
            Self::Normal | Self::Batch if busy => Self::Batch,
            Self::Normal | Self::Batch => Self::Normal,
        }
    }
}

/// Whether a node is busy at a rate, if it was or was not before.
fn is_busy(was: bool, rate: &Rate) -> bool {
    rate.per_second >= if was { BUSY_UNTIL } else { BUSY_FROM }
}

/// What a thread gathers.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    how: Gather,
    /// Whether it waited before it looked the last time.
    waited: bool,
    /// How many inputs a wait brings, averaged.
    brought: f64,
    /// It answers at once until then.
    prompt_until: Instant,
}

impl Gathering {
    const fn new(how: Gather) -> Self {
        Self { how, waited: false, brought: GATHERED, prompt_until: Instant::EPOCH }
    }

    /// How long to wait before it looks for more, after a turn with so many inputs; zero: it looks
    /// at once.
    fn wait(&mut self, now: Instant, inputs: u32, busy: bool, rate: &Rate) -> Duration {
        if self.waited {
            self.brought += (f64::from(inputs) - self.brought) / WAITS;
        }
        let span = match self.how {
            Gather::For(span) if rate.within(span) >= GATHERED_MIN => span,
            Gather::Auto if busy => self.chosen(now, rate),
            Gather::Off | Gather::Auto | Gather::For(_) => Duration::ZERO,
        };
        self.waited = !span.is_zero();
        span
    }

    fn chosen(&mut self, now: Instant, rate: &Rate) -> Duration {
        if self.brought < GATHERED_MIN {
            self.brought = GATHERED;
            self.prompt_until = now + PROMPT_FOR;
        }
        if now < self.prompt_until {
            return Duration::ZERO;
        }
        GATHERED_WITHIN.min(Duration::from_secs_f64(GATHERED / rate.per_second))
    }
}

/// When the thread wakes for a deadline. Most of those of a busy node end a transaction, as many a
/// second as there are messages; up to 10 ms later many share one wake-up, or a message is there
/// whose turn they have. No timer of SIP is shorter than twenty times that.
pub(super) fn due(deadline: Instant) -> Instant {
    let busy = PACE.get().is_some_and(|pace| pace.busy);
    if busy { later(deadline) } else { deadline }
}

fn later(deadline: Instant) -> Instant {
    let nanos = deadline.since(Instant::EPOCH).as_nanos();
    let shared = nanos.div_ceil(SHARED.as_nanos()).saturating_mul(SHARED.as_nanos());
    u64::try_from(shared).map_or(deadline, |shared| Instant::EPOCH + Duration::from_nanos(shared))
}

/// Starts the pace of this thread, whose nodes gather so.
pub(super) fn start(clock: Clock, gather: Gather) {
    let class = if policy::is_normal() { Class::Normal } else { Class::Fixed };
    let rate = Rate { per_second: 0.0, at: clock.now() };
    PACE.set(Some(Pace { clock, rate, busy: false, gathering: Gathering::new(gather), class }));
}

/// A node of this thread takes up so many inputs.
pub(super) fn took(inputs: usize) {
    INPUTS.set(INPUTS.get().saturating_add(u32::try_from(inputs).unwrap_or(u32::MAX)));
}

/// The thread has nothing to do; what comes next wakes it. Only then the runtime says that it
/// parks: a `LocalSet` whose tick is used up with tasks left, and a task whose budget is, have
/// woken the runtime before, which then looks at its sockets and goes on. A test of the host holds
/// that against the runtime.
pub(super) fn rest() {
    let Some(mut pace) = PACE.get() else { return };
    let (now, inputs) = (pace.clock.now(), INPUTS.replace(0));
    pace.rate.count(now, inputs);
    pace.busy = is_busy(pace.busy, &pace.rate);
    let class = pace.class.of(pace.busy);
    if class != pace.class {
        pace.class = if policy::set(class == Class::Batch) { class } else { Class::Fixed };
    }
    let span = pace.gathering.wait(now, inputs, pace.busy, &pace.rate);
    PACE.set(Some(pace));
    if !span.is_zero() {
        gather(span);
    }
}

#[expect(clippy::disallowed_methods, reason = "nobody waits for it: sockets take what comes")]
fn gather(span: Duration) {
    std::thread::sleep(span);
}

/// The scheduling policy of this thread.
mod policy {
    use thread_priority::{
        NormalThreadSchedulePolicy as Normal, ThreadPriority, ThreadSchedulePolicy as Policy,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

    /// Whether nobody has chosen another.
    pub(super) fn is_normal() -> bool {
        thread_schedule_policy() == Ok(Policy::Normal(Normal::Other))
    }

    /// Sets it, with the nice value there is; returns whether that could be done.
    pub(super) fn set(batch: bool) -> bool {
        let policy = Policy::Normal(if batch { Normal::Batch } else { Normal::Other });
        // The package sets the nice value too, and counts it from 0 to 99.
        let Some(nice) = nice() else { return false };
        let all =
            (0..=u8::MAX).map_while(|it| it.try_into().ok()).map(ThreadPriority::Crossplatform);
        let same = all.into_iter().find(|it| it.to_posix(policy) == Ok(nice));
        same.is_some_and(|same| {
            set_thread_priority_and_policy(thread_native_id(), same, policy).is_ok()
        })
    }

    /// The nice value of this thread: the 19th field, the name in the second one in brackets.
    fn nice() -> Option<i32> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        let (_, behind_name) = stat.rsplit_once(')')?;
        behind_name.split_ascii_whitespace().nth(16)?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_policy_changes_and_the_nice_value_stays() {
            let before = nice().expect("known");
            if !is_normal() {
                return;
            }

            assert!(set(true));
            assert_eq!(thread_schedule_policy(), Ok(Policy::Normal(Normal::Batch)));
            assert!(set(false));

            assert!(is_normal());
            assert_eq!(nice(), Some(before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate after so many seconds with so many inputs a millisecond.
    fn after(rate: &mut Rate, seconds: u64, inputs: u32) {
        for _ in 0..seconds * 1_000 {
            let now = rate.at + Duration::from_millis(1);
            rate.count(now, inputs);
        }
    }

    #[test]
    fn a_rate_follows_what_comes_and_forgets_what_came() {
        let mut rate = Rate { per_second: 0.0, at: Instant::EPOCH };
        after(&mut rate, 1, 4);
        assert!((3_900.0..4_100.0).contains(&rate.per_second), "{rate:?}");
        assert!((3.9..4.1).contains(&rate.within(Duration::from_millis(1))), "{rate:?}");

        after(&mut rate, 1, 0);
        assert!(rate.per_second < 1.0, "{rate:?}");

        let idle = rate.at + Duration::from_secs(3_600);
        rate.count(idle, 1);
        assert!(rate.per_second < 0.1, "{rate:?}");
    }

    #[test]
    fn deadlines_of_a_busy_thread_share_an_instant_that_is_not_earlier() {
        let at = |micros| Instant::EPOCH + Duration::from_micros(micros);
        assert_eq!(later(at(0)), at(0));
        assert_eq!(later(at(1)), at(10_000));
        assert_eq!(later(at(10_000)), at(10_000));
        assert_eq!(later(at(32_000_001)), at(32_010_000));
        assert_eq!(later(Instant::NEVER), Instant::NEVER);
        assert_eq!(due(at(1)), at(1), "without load");
    }

    #[test]
    fn a_busy_thread_is_a_batch_until_it_is_idle_again() {
        let rate = |per_second| Rate { per_second, at: Instant::EPOCH };
        assert!(!is_busy(false, &rate(999.0)));
        assert!(is_busy(false, &rate(1_000.0)));
        assert!(is_busy(true, &rate(250.0)));
        assert!(!is_busy(true, &rate(249.0)));
        for class in [Class::Normal, Class::Batch] {
            assert_eq!(class.of(true), Class::Batch);
            assert_eq!(class.of(false), Class::Normal);
        }
        assert_eq!(Class::Fixed.of(true), Class::Fixed);
        assert_eq!(Class::Fixed.of(false), Class::Fixed);
    }

    /// How long the next wait is at a rate, after one that brought enough.
    fn wait(how: Gather, busy: bool, per_second: f64) -> Duration {
        let rate = Rate { per_second, at: Instant::EPOCH };
        Gathering::new(how).wait(Instant::EPOCH, 16, busy, &rate)
    }

    #[test]
    fn a_busy_node_waits_for_a_handful_and_an_idle_one_for_nothing() {
        let ms = Duration::from_millis;
        assert_eq!(wait(Gather::Auto, false, 999.0), Duration::ZERO);
        assert_eq!(wait(Gather::Auto, true, 1_000.0), ms(2));
        assert_eq!(wait(Gather::Auto, true, 16_000.0), ms(1));
        assert_eq!(wait(Gather::Auto, true, 64_000.0), Duration::from_micros(250));
        assert_eq!(wait(Gather::Off, true, 16_000.0), Duration::ZERO);
        assert_eq!(wait(Gather::For(ms(1)), true, 1_999.0), Duration::ZERO);
        assert_eq!(wait(Gather::For(ms(1)), false, 2_001.0), ms(1));
    }

    #[test]
    fn a_node_that_waits_for_nothing_answers_at_once_for_a_second() {
        let rate = Rate { per_second: 4_000.0, at: Instant::EPOCH };
        let mut gathering = Gathering::new(Gather::Auto);
        let mut wait = |now, inputs| !gathering.wait(now, inputs, true, &rate).is_zero();
        let mut waits = 0;
        while wait(Instant::EPOCH, 1) {
            waits += 1;
            assert!(waits < 100, "it goes on for nothing");
        }
        assert!(waits > 8, "few short turns say nothing: {waits}");
        assert!(!wait(Instant::EPOCH + Duration::from_millis(999), 1));
        assert!(wait(Instant::EPOCH + PROMPT_FOR, 1), "it tries again");
        for _ in 0..1_000 {
            assert!(wait(Instant::EPOCH + PROMPT_FOR, 4), "and goes on while that pays");
        }
    }
}

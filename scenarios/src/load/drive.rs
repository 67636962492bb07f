//! Drives a fleet: one thread, its sockets and the clock, and an eye on itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cscf_core::host::Clock;
use cscf_core::ids::Seed;
use cscf_core::time::{Duration, Instant};
use nix::sys::resource::{UsageWho, getrusage};

use super::fleet::{Fleet, Setup};
use super::histogram::Histogram;
use super::pace::Arrivals;
use super::plan::{Extent, Phase, Work};
use super::results::Results;
use super::search::Verdict;
use super::socket::Net;

/// Arrivals that begin before the sockets are looked at again.
const ARRIVALS_AT_ONCE: u32 = 32;
/// The share of one CPU that the generator may take for a maximum to count.
pub(super) const SHARE_MAX: f64 = 0.5;
/// The same for a figure at a given rate.
pub(super) const BUSY: f64 = 0.9;
/// The longest wait of the loop: a stop must be seen.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// What one run of a phase gave.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The phase.
    pub(super) phase: Phase,
    /// The rate, in arrivals a second.
    pub(super) rate: f64,
    /// What was measured.
    pub(super) results: Results,
    /// How long arrivals were measured.
    pub(super) window: Duration,
    /// CPU time of the generator in that time.
    pub(super) cpu: Duration,
    /// How late work began.
    pub(super) late: Histogram,
    /// Datagrams lost in the generator's own sockets.
    pub(super) dropped: u64,
    /// Datagrams that the system did not take, and what it said of the last.
    pub(super) refused: u64,
    /// What it said.
    pub(super) refusal: Option<String>,
    /// UEs registered at the end.
    pub(super) registered: usize,
    /// Whether it was told to stop before its end.
    pub(super) stopped: bool,
    /// How late work may begin, 99 of 100 times, for the figure to count.
    pub(super) late_max: Duration,
    /// What a search found.
    pub(super) found: Option<Found>,
}

/// What a search for the maximum found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// The highest rate that held.
    pub(super) held: Option<f64>,
    /// Whether above it the generator was at its end, so that the maximum may be higher.
    pub(super) at_least: bool,
}

impl Outcome {
    /// The share of one CPU that the generator took.
    #[must_use]
    pub(super) fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.window.as_secs_f64().max(1e-9)
    }

    /// What went well a second.
    #[must_use]
    pub(super) fn per_second(&self) -> f64 {
        self.results.ok_all() as f64 / self.window.as_secs_f64().max(1e-9)
    }

    /// Why the generator, not the system under test, may be what limits this figure.
    #[must_use]
    pub(super) fn bottleneck(&self, share_max: f64) -> Option<String> {
        let late = self.late.per_mille(990);
        if late > self.late_max {
            return Some(format!("work began late: p99 {:.1} ms", late.as_secs_f64() * 1e3));
        }
        if self.dropped > 0 {
            return Some(format!("its sockets lost {} datagrams", self.dropped));
        }
        (self.share() > share_max).then(|| format!("it took {:.2} CPU", self.share()))
    }

    /// What it says of the rate in a search.
    #[must_use]
    pub(super) fn verdict(&self) -> Verdict {
        if self.bottleneck(SHARE_MAX).is_some() {
            Verdict::GeneratorIsTheLimit
        } else if self.results.is_clean() && self.results.skipped == 0 {
            Verdict::Holds
        } else {
            Verdict::Fails
        }
    }
}

/// What is told each second.
#[derive(Debug)]
pub(super) struct Tick<'a> {
    /// The phase.
    pub(super) phase: &'a Phase,
    /// Its rate.
    pub(super) rate: f64,
    /// Since it began.
    pub(super) elapsed: Duration,
    /// What was measured until now.
    pub(super) results: &'a Results,
    /// What runs.
    pub(super) running: usize,
    /// The share of one CPU that the generator took in the last second.
    pub(super) share: f64,
}

/// The driver.
pub(super) struct Driver {
    net: Net,
    fleet: Fleet,
    clock: Clock,
    seed: u64,
    poisson: bool,
    warm_up: Duration,
    late_max: Duration,
    stop: Arc<AtomicBool>,
    tell: Box<dyn FnMut(&Tick<'_>)>,
}

/// How a driver goes about it.
pub(super) struct Manner {
    /// The seed of its chance.
    pub(super) seed: u64,
    /// Arrivals by chance instead of at equal distances.
    pub(super) poisson: bool,
    /// How long a phase runs before it is measured.
    pub(super) warm_up: Duration,
    /// How late work may begin, 99 of 100 times, for a figure to count.
    pub(super) late_max: Duration,
    /// Set when it is to stop.
    pub(super) stop: Arc<AtomicBool>,
    /// Told each second.
    pub(super) tell: Box<dyn FnMut(&Tick<'_>)>,
}

impl Driver {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// Which address cannot be had, and why.
    pub(super) fn new(mut setup: Setup, manner: Manner) -> Result<Self, String> {
        let net = Net::open(setup.sources)?;
        setup.sources = net.sources();
        let Manner { seed, poisson, warm_up, late_max, stop, tell } = manner;
        let fleet = Fleet::new(setup, Seed::derive(seed, "fleet"));
        let clock = Clock::start();
        Ok(Self { net, fleet, clock, seed, poisson, warm_up, late_max, stop, tell })
    }

    /// Registers all UEs that a phase needs, if not all are registered; `None` if they are.
    pub(super) fn prepare(&mut self, phase: &Phase, rate: f64) -> Option<Outcome> {
        let count = self.fleet.setup().people.count();
        let missing = u64::from(count) - self.fleet.registered() as u64;
        if !phase.needs_registered() || missing == 0 {
            return None;
        }
        let phase = Phase {
            mix: vec![(Work::Register, 1)],
            rate: super::plan::Rate::PerSecond(rate),
            extent: Extent::Count(missing),
        };
        let (warm_up, poisson) = (self.warm_up, self.poisson);
        (self.warm_up, self.poisson) = (Duration::ZERO, false);
        let outcome = self.run(&phase, rate, false);
        (self.warm_up, self.poisson) = (warm_up, poisson);
        Some(outcome)
    }

    /// Whether it is to stop.
    #[must_use]
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs a phase. As a try of a search it ends at the first thing that goes wrong.
    pub(super) fn run(&mut self, phase: &Phase, rate: f64, as_try: bool) -> Outcome {
        let begun_at = self.clock.now();
        let measured_at = begun_at + self.warm_up;
        let mut run = Run {
            arrivals: Arrivals::new(phase, rate, self.poisson, begun_at, self.arrivals_seed()),
            measured_at,
            ends_at: match phase.extent {
                Extent::For(time) => measured_at + time,
                Extent::Count(_) => Instant::NEVER,
            },
            left: match phase.extent {
                Extent::For(_) => u64::MAX,
                Extent::Count(count) => count,
            },
            late: Histogram::default(),
        };
        let _ = self.fleet.take_results();
        self.fleet.measure(false);
        let (dropped, refused) = (self.net.dropped(), self.net.refused);
        let mut cpu = cpu_time();
        let mut measuring = false;
        let (mut told_at, mut told_cpu) = (begun_at, cpu);
        // Arrivals, until it is time to end.
        let over_at = loop {
            let now = self.clock.now();
            if !measuring && now >= measured_at {
                measuring = true;
                let _ = self.fleet.take_results();
                self.fleet.measure(true);
                cpu = cpu_time();
            }
            let spoiled = as_try && measuring && !self.fleet.results().is_clean();
            if now >= run.ends_at || run.left == 0 || spoiled || self.is_stopped() {
                break now;
            }
            if now.since(told_at) >= Duration::from_secs(1) {
                let (spent, since) = (cpu_time(), now.since(told_at));
                let share = spent.saturating_sub(told_cpu).as_secs_f64() / since.as_secs_f64();
                (told_at, told_cpu) = (now, spent);
                self.tell(phase, rate, now.since(begun_at), share);
            }
            self.turn(Some(&mut run), now);
        };
        let cpu = cpu_time().saturating_sub(cpu);
        self.drain(over_at, as_try);
        Outcome {
            phase: phase.clone(),
            rate,
            results: self.fleet.take_results(),
            window: over_at.since(measured_at.min(over_at)),
            cpu,
            late: run.late,
            dropped: self.net.dropped().saturating_sub(dropped),
            refused: self.net.refused - refused,
            refusal: self.net.refusal.map(|fault| fault.desc().to_owned()),
            registered: self.fleet.registered(),
            stopped: self.is_stopped(),
            late_max: self.late_max,
            found: None,
        }
    }

    /// A seed of its own for the arrivals of each run.
    fn arrivals_seed(&mut self) -> Seed {
        self.seed = self.seed.wrapping_add(1);
        Seed::derive(self.seed, "arrivals")
    }

    fn tell(&mut self, phase: &Phase, rate: f64, elapsed: Duration, share: f64) {
        let (results, running) = (self.fleet.results(), self.fleet.running());
        (self.tell)(&Tick { phase, rate, elapsed, results, running, share });
    }

    /// Nothing new begins; what runs comes to its end.
    fn drain(&mut self, from: Instant, as_try: bool) {
        let setup = self.fleet.setup();
        // What goes well ends by itself; after a try nobody waits for what does not.
        let calls = setup.ring + setup.hold + Duration::from_secs(1);
        let longest = if as_try { calls } else { calls + setup.timeout.saturating_mul(3) };
        loop {
            let now = self.clock.now();
            let late = now.since(from) > longest;
            if self.fleet.running() == 0 || late || self.is_stopped() {
                break;
            }
            self.turn(None, now);
        }
        self.fleet.abandon();
    }

    /// One turn of the loop: arrivals, deadlines, packets out, packets in, or a wait.
    fn turn(&mut self, run: Option<&mut Run>, now: Instant) {
        let mut next = Instant::NEVER;
        if let Some(run) = run {
            next = run.begin(&mut self.fleet, now).min(run.ends_at);
        }
        self.fleet.expire(now);
        self.flush();
        let (fleet, clock) = (&mut self.fleet, &self.clock);
        let arrived = self.net.receive(|bytes, from| fleet.receive(bytes, from, clock.now()));
        self.flush();
        if arrived == 0 {
            let next = next.min(self.fleet.next().unwrap_or(Instant::NEVER));
            let wait = next.since(self.clock.now()).min(WAIT_MAX);
            if !wait.is_zero() {
                self.net.wait(wait);
            }
        }
    }

    fn flush(&mut self) {
        let (packets, bytes) = self.fleet.packets();
        for packet in packets {
            self.net.send(packet.ue, packet.to, bytes.get(packet.at.clone()).unwrap_or_default());
        }
        self.fleet.sent();
    }
}

/// A phase while it runs.
struct Run {
    arrivals: Arrivals,
    measured_at: Instant,
    ends_at: Instant,
    left: u64,
    late: Histogram,
}

impl Run {
    /// Begins what is due; when the next arrival is.
    fn begin(&mut self, fleet: &mut Fleet, now: Instant) -> Instant {
        for _ in 0..ARRIVALS_AT_ONCE {
            if self.left == 0 || self.arrivals.next() >= self.ends_at {
                break;
            }
            let Some((at, work)) = self.arrivals.pop_due(now) else { break };
            if at >= self.measured_at {
                self.left -= 1;
                self.late.add(now.since(at));
            }
            fleet.begin(work, now);
        }
        if self.left == 0 { Instant::NEVER } else { self.arrivals.next() }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        })
        .sum()
}

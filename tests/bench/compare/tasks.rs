//! What is measured, system by system in turn, so that what the machine does meanwhile meets all.

use std::sync::mpsc;
use std::time::Duration;

use crate::floor::{self, Pace};
use crate::load::{Load, Sample, memory};
use crate::report::{Metric, Report, median};
use crate::system::{Rig, System};

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// What the messages cost that nobody reads.
    Floor,
    /// From process start to the first answered REGISTER.
    Start,
    /// CPU and latency at rates that both systems hold.
    Fixed,
    /// The highest rates.
    Maximum,
    /// CPU at half of each one's own maximum, latency at half of the competitor's.
    Half,
    /// Memory for each registered subscriber and each dialog.
    Memory,
    /// Whether a million subscribers cost more than a thousand.
    Scale,
}

impl Task {
    /// What is measured unless it is said.
    pub(crate) const DEFAULT: [Self; 5] =
        [Self::Floor, Self::Start, Self::Fixed, Self::Maximum, Self::Half];

    /// Reads its name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "floor" => Self::Floor,
            "start" => Self::Start,
            "fixed" => Self::Fixed,
            "maximum" => Self::Maximum,
            "half" => Self::Half,
            "memory" => Self::Memory,
            "scale" => Self::Scale,
            _ => return Err("floor, start, fixed, maximum, half, memory or scale".to_owned()),
        })
    }
}

/// Reads the name of a system.
pub(crate) fn system(text: &str) -> Result<System, String> {
    let names = || System::ALL.map(System::name).join(", ");
    System::ALL.into_iter().find(|it| it.name() == text).ok_or_else(names)
}

/// Measures, and prints tables: also of what there is when something breaks.
pub(crate) fn run(
    rig: &Rig,
    systems: &[System],
    tasks: &[Task],
    repeat: u32,
) -> Result<(), String> {
    let mut report = Report::default();
    let result = measure(rig, systems, tasks, repeat, &mut report);
    println!("{}", report.tables());
    result
}

/// What is measured so far stands in a file, for who has to stop it.
fn keep(rig: &Rig, report: &Report) -> Result<(), String> {
    let path = rig.folder.join("report.md");
    std::fs::write(&path, report.tables()).map_err(|fault| format!("{}: {fault}", path.display()))
}

fn measure(
    rig: &Rig,
    systems: &[System],
    tasks: &[Task],
    repeat: u32,
    report: &mut Report,
) -> Result<(), String> {
    let has = |task| tasks.contains(&task);
    for turn in 1..=repeat {
        if has(Task::Floor) {
            eprintln!("{turn} of {repeat}: the floor");
            for pace in Pace::ALL {
                report.floor(pace, floor::micros(rig, pace)?);
            }
        }
        for system in systems {
            if has(Task::Start) || has(Task::Fixed) {
                eprintln!("{turn} of {repeat}: {}, start and fixed rates", system.name());
                fixed(rig, *system, has(Task::Fixed), report)?;
                keep(rig, report)?;
            }
        }
    }
    for turn in 1..=repeat {
        for system in systems.iter().filter(|_| has(Task::Maximum) || has(Task::Half)) {
            eprintln!("{turn} of {repeat}: {}, maximum", system.name());
            maximum(rig, *system, report)?;
            keep(rig, report)?;
        }
    }
    for turn in 1..=repeat {
        for system in systems.iter().filter(|_| has(Task::Half)) {
            eprintln!("{turn} of {repeat}: {}, half of the maximum", system.name());
            half(rig, *system, report)?;
            keep(rig, report)?;
        }
    }
    for system in systems.iter().filter(|_| has(Task::Memory)) {
        eprintln!("{}, memory", system.name());
        memories(rig, *system, report)?;
        keep(rig, report)?;
    }
    if has(Task::Scale) {
        scale(rig, report)?;
    }
    Ok(())
}

/// A phase that is measured, at a rate, so many times.
fn phase(work: &str, rate: f64, seconds: f64) -> String {
    format!("{work}:{rate:.0}:{:.0}", (rate * seconds).max(1.0))
}

fn note(report: &mut Report, metric: Metric, system: System, sample: &Sample, value: Option<f64>) {
    if let Some(why) = sample.spoiled() {
        report.spoiled(metric, system, why);
    } else if let Some(value) = value {
        report.add(metric, system, value);
        report.generator(metric, system, sample.figure("/generator/share").unwrap_or(0.0));
    }
}

fn fixed(rig: &Rig, system: System, load: bool, report: &mut Report) -> Result<(), String> {
    let (running, took) = rig.start(system)?;
    report.add(Metric::Start, system, took * 1_000.0);
    if !load {
        return Ok(());
    }
    let phases =
        [phase("register", 500.0, 8.0), phase("register", 1_000.0, 5.0), phase("call", 800.0, 5.0)];
    let mut load = Load::start(rig, 10_000, &[], &phases)?;
    load.phase(&running, || ())?;
    let registers = load.phase(&running, || ())?;
    let micros = Some(registers.micros());
    note(report, Metric::RegisterFixed, system, &registers, micros);
    let p99 = registers.figure("/latency/REGISTER-200/p99_ms");
    note(report, Metric::RegisterFixedLatency, system, &registers, p99);
    report.parts(Metric::RegisterFixed, system, &registers);
    let calls = load.phase(&running, || ())?;
    let micros = Some(calls.micros());
    note(report, Metric::CallFixed, system, &calls, micros);
    let p99 = calls.figure("/latency/INVITE-180/p99_ms");
    note(report, Metric::CallFixedLatency, system, &calls, p99);
    report.parts(Metric::CallFixed, system, &calls);
    Ok(())
}

fn maximum(rig: &Rig, system: System, report: &mut Report) -> Result<(), String> {
    for (work, metric) in [("register", Metric::RegisterMost), ("call", Metric::CallMost)] {
        let (running, _) = rig.start(system)?;
        let phases = [phase("register", 500.0, 8.0), format!("{work}:max:3s")];
        let users = if work == "call" { 4_000 } else { 100_000 };
        let mut load = Load::start(rig, users, &["--from-rate", "400"], &phases)?;
        load.phase(&running, || ())?;
        let found = load.phase(&running, || ())?;
        match found.figure("/maximum") {
            Some(most) => report.add(metric, system, most),
            None => report.spoiled(metric, system, "no rate held".to_owned()),
        }
        report.generator(metric, system, found.figure("/generator/share").unwrap_or(0.0));
        if found.said.pointer("/maximum_is_at_least").is_some_and(|it| *it == true) {
            let why = "the generator was the limit: it can do more".to_owned();
            report.spoiled(metric, system, why);
        }
    }
    Ok(())
}

fn half(rig: &Rig, system: System, report: &mut Report) -> Result<(), String> {
    let of = |metric, system| median(report.values(metric, system)).map(|most| most / 2.0);
    let own = (of(Metric::RegisterMost, system), of(Metric::CallMost, system));
    let (Some(register), Some(call)) = own else { return Ok(()) };
    let theirs =
        (of(Metric::RegisterMost, System::Kamailio), of(Metric::CallMost, System::Kamailio));
    let (running, _) = rig.start(system)?;
    let mut phases = vec![phase("register", 500.0, 8.0)];
    phases.extend(steady(register, call));
    if let (Some(register), Some(call)) = theirs {
        phases.extend(steady(register, call));
    }
    let mut load = Load::start(rig, 100_000, &[], &phases)?;
    load.phase(&running, || ())?;
    for metric in [Metric::RegisterHalf, Metric::CallHalf] {
        load.phase(&running, || ())?;
        let sample = load.phase(&running, || ())?;
        let micros = Some(sample.micros());
        note(report, metric, system, &sample, micros);
        report.parts(metric, system, &sample);
    }
    if theirs.0.is_some() && theirs.1.is_some() {
        load.phase(&running, || ())?;
        let sample = load.phase(&running, || ())?;
        let p99 = sample.figure("/latency/REGISTER-200/p99_ms");
        note(report, Metric::RegisterHalfLatency, system, &sample, p99);
        load.phase(&running, || ())?;
        let sample = load.phase(&running, || ())?;
        let p99 = sample.figure("/latency/INVITE-180/p99_ms");
        note(report, Metric::CallHalfLatency, system, &sample, p99);
    }
    Ok(())
}

/// Registrations, then calls: each for longer than transactions between nodes last when all is well
/// (five seconds, Timers I and K) before it is measured, so that most of what ends meanwhile is of
/// its own kind. Those towards UEs last longer (17 s and more) and end beside what is measured
/// then.
fn steady(register: f64, call: f64) -> [String; 4] {
    const BEFORE: f64 = 6.0;
    const MEASURED: f64 = 4.0;
    [
        phase("register", register, BEFORE),
        phase("register", register, MEASURED),
        phase("call", call, BEFORE),
        phase("call", call, MEASURED),
    ]
}

/// How long answers linger that may have to be sent again: towards UEs 64 times T1 of 2 s
/// (TS 24.229 §7.7), and a moment.
const LINGER_SECONDS: f64 = 133.0;

/// Waits: for timers of the systems to run out.
fn pause(seconds: f64) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_secs_f64(seconds));
}

#[expect(clippy::cast_precision_loss, reason = "of kilobytes")]
fn grown(now: u64, before: u64, count: f64) -> f64 {
    now.saturating_sub(before) as f64 * 1_024.0 / count
}

fn memories(rig: &Rig, system: System, report: &mut Report) -> Result<(), String> {
    const REGISTERED: f64 = 100_000.0;
    // So many that what was given back before does not hide them.
    const DIALOGS: f64 = 20_000.0;
    let (running, _) = rig.start(system)?;
    let phases =
        [phase("register", 1_000.0, REGISTERED / 1_000.0), phase("call", 400.0, DIALOGS / 400.0)];
    let empty = memory(&running);
    let mut load = Load::start(rig, 100_000, &["--hold", "200s"], &phases)?;
    let registered = load.phase(&running, || ())?;
    report.add(Metric::SubscriberPeak, system, grown(memory(&running), empty, REGISTERED));
    pause(LINGER_SECONDS);
    let full = memory(&running);
    note(report, Metric::Subscriber, system, &registered, Some(grown(full, empty, REGISTERED)));
    let mut up = (0, 0);
    let calls = load.phase(&running, || {
        pause(DIALOGS / 400.0 + 1.0);
        up.0 = memory(&running);
        pause(LINGER_SECONDS);
        up.1 = memory(&running);
    })?;
    report.add(Metric::DialogPeak, system, grown(up.0, full, DIALOGS));
    note(report, Metric::Dialog, system, &calls, Some(grown(up.1, full, DIALOGS)));
    Ok(())
}

/// Longer than the deadlines of most transactions, so that what they cost when they end counts too.
const SCALE_SECONDS: f64 = 40.0;

/// The cost of a registration and of a call with few and with many subscribers.
fn scale(rig: &Rig, report: &mut Report) -> Result<(), String> {
    for (subscribers, registered) in [(1_000, 1_000), (1_000_000, 500_000)] {
        eprintln!("cscf, {registered} registered of {subscribers}");
        let rig = Rig { subscribers, ..rig.clone() };
        let (running, _) = rig.start(System::Cscf)?;
        let fill = f64::from(registered) / 2_000.0;
        let phases = [
            phase("register", 2_000.0, fill),
            phase("reregister", 500.0, SCALE_SECONDS),
            phase("call", 300.0, SCALE_SECONDS),
        ];
        let mut load = Load::start(&rig, registered, &[], &phases)?;
        load.phase(&running, || ())?;
        // What the registrations left behind is forgotten first, or that is measured with it.
        pause(LINGER_SECONDS);
        let few = registered == 1_000;
        let metrics = if few {
            [Metric::RegisterFew, Metric::CallFew]
        } else {
            [Metric::RegisterMany, Metric::CallMany]
        };
        for metric in metrics {
            let sample = load.phase(&running, || ())?;
            let micros = Some(sample.micros());
            note(report, metric, System::Cscf, &sample, micros);
        }
    }
    Ok(())
}

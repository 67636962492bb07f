//! The tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::floor::{PER_CALL, PER_REGISTRATION, Pace};
use crate::load::Sample;
use crate::system::System;

/// What is measured, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Start,
    RegisterFixed,
    CallFixed,
    RegisterFixedLatency,
    CallFixedLatency,
    RegisterMost,
    CallMost,
    RegisterHalf,
    CallHalf,
    RegisterHalfLatency,
    CallHalfLatency,
    Subscriber,
    SubscriberPeak,
    Dialog,
    DialogPeak,
    RegisterFew,
    RegisterMany,
    CallFew,
    CallMany,
}

impl Metric {
    /// What it is, and the goal.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("process start to first answered REGISTER, ms", "at most 100 ms"),
            Self::RegisterFixed => ("CPU per registration at 1,000/s, µs", "at most 0.33"),
            Self::CallFixed => ("CPU per call at 800/s, µs", "at most 0.50"),
            Self::RegisterFixedLatency => ("p99 REGISTER→200 at 1,000/s, ms", ""),
            Self::CallFixedLatency => ("p99 INVITE→180 at 800/s, ms", ""),
            Self::RegisterMost => ("registrations a second, sustained", "at least 4.0"),
            Self::CallMost => ("calls a second, sustained", "at least 3.0"),
            Self::RegisterHalf => {
                ("CPU per registration at half of its own maximum, µs", "at most 0.25")
            }
            Self::CallHalf => ("CPU per call at half of its own maximum, µs", "at most 0.33"),
            Self::RegisterHalfLatency => {
                ("p99 REGISTER→200 at half of Kamailio's maximum, ms", "at most 0.33")
            }
            Self::CallHalfLatency => {
                ("p99 INVITE→180 at half of Kamailio's maximum, ms", "at most 0.33")
            }
            Self::Subscriber => ("memory per registered subscriber, B", "at most 3,072 B"),
            Self::SubscriberPeak => ("the same right after the last registration, B", ""),
            Self::Dialog => ("memory per dialog, B", "at most 6,144 B"),
            Self::DialogPeak => ("the same right after the last call came up, B", ""),
            Self::RegisterFew => ("CPU per registration, 1,000 of 1,000 registered, µs", ""),
            Self::RegisterMany => {
                ("the same, 500,000 of 1,000,000 registered, µs", "within 10 % of that")
            }
            Self::CallFew => ("CPU per call, 1,000 of 1,000 registered, µs", ""),
            Self::CallMany => {
                ("the same, 500,000 of 1,000,000 registered, µs", "within 10 % of that")
            }
        }
    }
}

/// Appends a line; a text takes every one.
macro_rules! line {
    ($out:ident, $($words:tt)*) => { { let _ = writeln!($out, $($words)*); } };
}

type Key = (Metric, System);

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    values: BTreeMap<Key, Vec<f64>>,
    generator: BTreeMap<Key, Vec<f64>>,
    parts: BTreeMap<Key, BTreeMap<String, Vec<f64>>>,
    spoiled: Vec<(Metric, System, String)>,
    floor: Vec<(Pace, f64)>,
}

impl Report {
    /// A value.
    pub(crate) fn add(&mut self, metric: Metric, system: System, value: f64) {
        self.values.entry((metric, system)).or_default().push(value);
    }

    /// What a message costs that nobody reads, in µs.
    pub(crate) fn floor(&mut self, pace: Pace, micros: f64) {
        self.floor.push((pace, micros));
    }

    /// The generator's share of a CPU meanwhile.
    pub(crate) fn generator(&mut self, metric: Metric, system: System, share: f64) {
        self.generator.entry((metric, system)).or_default().push(share);
    }

    /// A turn that does not count, or counts with a remark, and why.
    pub(crate) fn spoiled(&mut self, metric: Metric, system: System, why: String) {
        self.spoiled.push((metric, system, why));
    }

    /// CPU time by part.
    pub(crate) fn parts(&mut self, metric: Metric, system: System, sample: &Sample) {
        let parts = self.parts.entry((metric, system)).or_default();
        for (name, micros) in &sample.each {
            parts.entry(name.clone()).or_default().push(*micros);
        }
    }

    /// All values of a metric.
    pub(crate) fn values(&self, metric: Metric, system: System) -> &[f64] {
        self.values.get(&(metric, system)).map_or(&[], Vec::as_slice)
    }

    /// The tables in Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut out = String::new();
        let pairs = [
            (System::Kamailio, System::Cscf),
            (System::Kamailio, System::CscfPrompt),
            (System::Kamailio, System::CscfOne),
            (System::KamailioFull, System::CscfFull),
        ];
        for (theirs, ours) in pairs {
            self.pair(theirs, ours, &mut out);
        }
        self.by_part(&mut out);
        self.print_floor(&mut out);
        if !self.spoiled.is_empty() {
            line!(out, "\nWhat does not count, or only so:\n");
        }
        for (metric, system, why) in &self.spoiled {
            line!(out, "- {}, {}: {why}", metric.words().0, system.name());
        }
        out
    }

    fn print_floor(&self, out: &mut String) {
        if self.floor.is_empty() {
            return;
        }
        line!(
            out,
            "\n| the floor: datagrams handed on by four processes, CPU in µs | a message | {PER_REGISTRATION} \
             of a registration | {PER_CALL} of a call |\n|---|---|---|---|"
        );
        for pace in Pace::ALL {
            let of = |times: f64| {
                let all = self.floor.iter().filter(|(it, _)| *it == pace);
                let values: Vec<f64> = all.map(|(_, micros)| micros * times).collect();
                spread(&values)
            };
            let what = pace.words();
            line!(out, "| {what} | {} | {} | {} |", of(1.0), of(PER_REGISTRATION), of(PER_CALL));
        }
    }

    fn pair(&self, theirs: System, ours: System, out: &mut String) {
        let of_ours = self.values.keys().filter(|(_, system)| *system == ours);
        let rows: Vec<Metric> = of_ours.map(|(metric, _)| *metric).collect();
        if rows.is_empty() {
            return;
        }
        line!(
            out,
            "\n| what | {} | {} | ratio | goal | CPU of the generator |\n|---|---|---|---|---|---|",
            theirs.name(),
            ours.name()
        );
        for metric in rows {
            let (what, goal) = metric.words();
            let (their, our) = (self.values(metric, theirs), self.values(metric, ours));
            let ratios: Vec<f64> = our.iter().zip(their).map(|(our, their)| our / their).collect();
            let share = |system| {
                let shares = self.generator.get(&(metric, system)).map_or(&[][..], Vec::as_slice);
                median(shares).map_or_else(|| "–".to_owned(), |share| format!("{share:.2}"))
            };
            line!(
                out,
                "| {what} | {} | {} | {} | {goal} | {} / {} |",
                spread(their),
                spread(our),
                spread(&ratios),
                share(theirs),
                share(ours)
            );
        }
    }

    fn by_part(&self, out: &mut String) {
        if self.parts.is_empty() {
            return;
        }
        line!(out, "\n| CPU by part, µs, median | system | parts |\n|---|---|---|");
        for ((metric, system), parts) in &self.parts {
            let each = parts.iter().filter_map(|(name, values)| {
                median(values).filter(|it| *it >= 0.5).map(|it| format!("{name} {it:.0}"))
            });
            let each: Vec<String> = each.collect();
            line!(out, "| {} | {} | {} |", metric.words().0, system.name(), each.join(", "));
        }
    }
}

/// The median.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> String {
    let digits = |value: f64| match value {
        _ if value >= 1_000.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match median(values) {
        None => "–".to_owned(),
        Some(middle) if values.len() == 1 => digits(middle),
        Some(middle) => format!("{}–**{}**–{}", digits(least), digits(middle), digits(most)),
    }
}

//! Results as text, CSV and JSON.

use std::fmt::Write as _;

use cscf_core::time::Duration;
use serde_json::{Map, Value, json};

use super::drive::{BUSY, Found, Outcome, SHARE_MAX, Tick};
use super::histogram::Histogram;
use super::plan::Rate;
use super::results::{Latency, Results};

/// The percentiles that are shown, in thousandths.
const PERCENTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The line of one second.
#[must_use]
pub(super) fn tick(tick: &Tick<'_>) -> String {
    let Tick { phase, rate, elapsed, results, running, share } = tick;
    let mut line = format!(
        "{:>4} s  {phase} {rate:.0}/s  begun {}  ok {}  failed {}  sent again {}  \
         running {running}",
        elapsed.as_secs(),
        results.begun_all(),
        results.ok_all(),
        results.failed_all(),
        results.sent_again,
    );
    for of in [Latency::Register, Latency::Answer, Latency::Message] {
        let latency = results.latency(of);
        if latency.count() > 0 {
            let p99 = millis(latency.per_mille(990));
            let _ = write!(line, "  p99 {} {p99:.1} ms", of.name());
        }
    }
    let _ = write!(line, "  own CPU {:.0} %", share * 100.0);
    line
}

/// How much CPU the generator may take for this figure to count.
fn share_max(outcome: &Outcome) -> f64 {
    if outcome.phase.rate == Rate::Max { SHARE_MAX } else { BUSY }
}

/// An outcome as a person reads it.
#[must_use]
pub(super) fn text(outcome: &Outcome) -> String {
    let Outcome { phase, rate, results, .. } = outcome;
    let mut out = format!(
        "{phase} at {rate:.0}/s for {:.1} s: {} begun, {} ok ({:.1}/s), {} failed\n",
        outcome.window.as_secs_f64(),
        results.begun_all(),
        results.ok_all(),
        outcome.per_second(),
        results.failed_all(),
    );
    if let Some(Found { held, at_least }) = outcome.found {
        let _ = match (held, at_least) {
            (Some(held), false) => writeln!(out, "  THE MAXIMUM IS {held:.0}/s"),
            (Some(held), true) => writeln!(
                out,
                "  THE MAXIMUM IS AT LEAST {held:.0}/s: above it the generator was at its end"
            ),
            (None, _) => writeln!(out, "  NO RATE HELD; this is the last that was tried"),
        };
    }
    let any = Latency::ALL.iter().any(|of| results.latency(*of).count() > 0);
    if any {
        let _ = write!(out, "  {:<14}{:>9}", "ms", "count");
        for (name, _) in PERCENTILES {
            let _ = write!(out, "{name:>9}");
        }
        let _ = writeln!(out, "{:>9}", "max");
    }
    for of in Latency::ALL {
        let latency = results.latency(of);
        if latency.count() == 0 {
            continue;
        }
        let _ = write!(out, "  {:<14}{:>9}", of.name(), latency.count());
        for (_, thousandths) in PERCENTILES {
            let _ = write!(out, "{:>9.2}", millis(latency.per_mille(thousandths)));
        }
        let _ = writeln!(out, "{:>9.2}", millis(latency.max()));
    }
    for (cause, count) in &results.failed {
        let _ = writeln!(out, "  failed       {count:>9}  {cause}");
    }
    for (name, count) in troubles(results) {
        if count > 0 {
            let _ = writeln!(out, "  {name:<13}{count:>9}");
        }
    }
    if outcome.refused > 0 {
        let why = outcome.refusal.as_deref().unwrap_or("no room");
        let _ = writeln!(out, "  not sent     {:>9}  {why}", outcome.refused);
    }
    let _ = writeln!(
        out,
        "  generator    {:.2} CPU, {:.1} us a message, work began late p99 {:.2} ms, {} datagrams \
         lost in its sockets",
        outcome.share(),
        micros_each(outcome),
        millis(outcome.late.per_mille(990)),
        outcome.dropped,
    );
    if let Some(why) = outcome.bottleneck(share_max(outcome)) {
        let _ =
            writeln!(out, "  THE GENERATOR IS THE BOTTLENECK: {why}; this figure does not count");
    }
    if results.received == 0 && results.sent > 0 {
        out.push_str("  nothing came back at all: is anybody there, and may it be reached?\n");
    }
    out
}

fn troubles(results: &Results) -> [(&'static str, u64); 4] {
    [
        ("sent again", results.sent_again),
        ("came again", results.came_again),
        ("unexpected", results.unexpected),
        ("skipped", results.skipped),
    ]
}

fn micros_each(outcome: &Outcome) -> f64 {
    let messages = outcome.results.sent + outcome.results.received;
    outcome.cpu.as_secs_f64() * 1e6 / (messages.max(1) as f64)
}

fn percentiles(latency: &Histogram) -> Value {
    let mut out = Map::new();
    out.insert("count".into(), latency.count().into());
    out.insert("mean_ms".into(), millis(latency.mean()).into());
    for (name, thousandths) in PERCENTILES {
        out.insert(format!("{name}_ms"), millis(latency.per_mille(thousandths)).into());
    }
    out.insert("max_ms".into(), millis(latency.max()).into());
    out.into()
}

/// An outcome as JSON.
#[must_use]
pub(super) fn to_json(outcome: &Outcome) -> Value {
    let results = &outcome.results;
    let latencies = Latency::ALL
        .into_iter()
        .filter(|of| results.latency(*of).count() > 0)
        .map(|of| (of.name().to_owned(), percentiles(results.latency(of))));
    let failed =
        results.failed.iter().map(|(cause, count)| (cause.to_string(), Value::from(*count)));
    let works = |of: &std::collections::BTreeMap<super::plan::Work, u64>| {
        let each = of.iter().map(|(work, count)| (work.word().to_owned(), Value::from(*count)));
        Value::from(each.collect::<Map<_, _>>())
    };
    json!({
        "work": outcome.phase.to_string(),
        "rate": outcome.rate,
        "window_s": outcome.window.as_secs_f64(),
        "begun": results.begun_all(),
        "begun_by_work": works(&results.begun),
        "ok": results.ok_all(),
        "ok_by_work": works(&results.ok),
        "per_s": outcome.per_second(),
        "failed": results.failed_all(),
        "causes": failed.collect::<Map<_, _>>(),
        "sent_again": results.sent_again,
        "came_again": results.came_again,
        "unexpected": results.unexpected,
        "skipped": results.skipped,
        "sent": results.sent,
        "received": results.received,
        "running_max": results.running_max,
        "registered": outcome.registered,
        "latency": latencies.collect::<Map<_, _>>(),
        "stopped": outcome.stopped,
        "maximum": outcome.found.and_then(|found| found.held),
        "maximum_is_at_least": outcome.found.map(|found| found.at_least),
        "generator": {
            "cpu_s": outcome.cpu.as_secs_f64(),
            "share": outcome.share(),
            "us_per_message": micros_each(outcome),
            "late_p99_ms": millis(outcome.late.per_mille(990)),
            "late_max_ms": millis(outcome.late.max()),
            "dropped": outcome.dropped,
            "refused": outcome.refused,
            "bottleneck": outcome.bottleneck(share_max(outcome)),
        },
    })
}

/// The head of the CSV file.
pub(super) const CSV_HEAD: &str = "work,rate,window_s,begun,ok,per_s,failed,sent_again,came_again,\
    unexpected,skipped,cpu_share,late_p99_ms,dropped,bottleneck,latency,count,mean_ms,p50_ms,\
    p90_ms,p99_ms,p99.9_ms,max_ms\n";

/// An outcome as lines of CSV, one for each latency.
#[must_use]
pub(super) fn csv(outcome: &Outcome) -> String {
    let results = &outcome.results;
    let begin = format!(
        "\"{}\",{},{:.3},{},{},{:.1},{},{},{},{},{},{:.3},{:.3},{},{}",
        outcome.phase,
        outcome.rate,
        outcome.window.as_secs_f64(),
        results.begun_all(),
        results.ok_all(),
        outcome.per_second(),
        results.failed_all(),
        results.sent_again,
        results.came_again,
        results.unexpected,
        results.skipped,
        outcome.share(),
        millis(outcome.late.per_mille(990)),
        outcome.dropped,
        outcome.bottleneck(share_max(outcome)).is_some(),
    );
    let mut out = String::new();
    for of in Latency::ALL {
        let latency = results.latency(of);
        if latency.count() == 0 {
            continue;
        }
        let mean = millis(latency.mean());
        let _ = write!(out, "{begin},{},{},{mean:.3}", of.name(), latency.count());
        for (_, thousandths) in PERCENTILES {
            let _ = write!(out, ",{:.3}", millis(latency.per_mille(thousandths)));
        }
        let _ = writeln!(out, ",{:.3}", millis(latency.max()));
    }
    if out.is_empty() {
        let _ = writeln!(out, "{begin},,0,,,,,,");
    }
    out
}

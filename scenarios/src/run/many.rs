//! Many scenarios at once (`cscf run all`, `cscf run 'call/*'`): side by side, each in an instance
//! of its own, one line for each and a summary; ladders and artefacts only where something went
//! wrong.

use std::io::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use cscf_core::config::Lab;
use cscf_core::host::Clock;
use cscf_core::host::program::{EXIT_COULD_NOT_RUN, EXIT_OK};

use super::{
    Family, Instance, Loaded, Options, Outcome, annotate, could_not_run, exit_code, faults, keep,
    live, results, simulated, unknown_names, verdict,
};
use crate::builtin::{self, Builtin};
use crate::report::junit::Suite;

/// Live runs mostly wait, so there may be more of them than processors.
const LIVE_PER_PROCESSOR: usize = 6;

/// The built-in scenarios that a pattern names: `all`, `call/*`, `flow-1*`; `None` where the name
/// is no pattern.
pub(super) fn matching(pattern: &str) -> Option<Vec<&'static Builtin>> {
    if pattern != "all" && !pattern.contains('*') {
        return None;
    }
    let fits = |builtin: &&Builtin| {
        let path = builtin.file.trim_start_matches("scenarios/").trim_end_matches(".yaml");
        pattern == "all" || is_like(pattern, builtin.name) || is_like(pattern, path)
    };
    Some(builtin::ALL.iter().filter(fits).collect())
}

/// Whether a text is like a pattern in which `*` stands for any letters.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    // The shortest piece for a star is right where another one follows.
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| text.get(at..).is_some_and(|tail| is_like(rest, tail)))
}

/// How many came out how.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    broken: usize,
    skipped: usize,
}

/// Runs them all; gives the worst exit code.
pub(super) fn run(
    all: &[Loaded],
    lab: &Lab,
    options: &Options,
    results: &mut Vec<Suite>,
) -> Result<u8, String> {
    let clock = Clock::start();
    let mut count = Count::default();
    let mut work = Vec::new();
    for loaded in all {
        unknown_names(loaded, lab)?;
        match loaded.scenario.left_out(options.simulated, options.protects()) {
            Some(reason) => {
                count.skipped += 1;
                results.push(results::skipped(&loaded.name, &reason));
                say(&format!("skipped: {}: {reason}\n", loaded.name));
            }
            None => work.push(loaded),
        }
    }
    let mut worst = EXIT_OK;
    side_by_side(&work, lab, options, &mut |loaded, came| match came {
        Ok((instance, outcome)) => {
            let code = exit_code(&outcome);
            worst = worst.max(code);
            match code {
                EXIT_OK => count.passed += 1,
                EXIT_COULD_NOT_RUN => count.broken += 1,
                _ => count.failed += 1,
            }
            say(verdict(loaded, &outcome, options).trim_start_matches('\n'));
            say(&faults::unmet(&loaded.scenario, &instance.lab, &outcome.events));
            annotate(loaded, &outcome, options);
            if code == EXIT_OK && options.out.is_none() {
                results.push(results::of_run(loaded, &outcome, options, Path::new(""), ""));
                return;
            }
            match keep(loaded, &instance, &outcome, (options, true)) {
                Ok((_, result)) => results.push(result),
                Err(fault) => worst = could_not_run(&loaded.name, &fault, results),
            }
        }
        Err(fault) => {
            count.broken += 1;
            worst = could_not_run(&loaded.name, &fault, results);
        }
    });
    let Count { passed, failed, broken, skipped } = count;
    let time = clock.now();
    say(&format!(
        "\n{passed} passed, {failed} failed, {broken} could not run, {skipped} skipped, {time} s\n"
    ));
    Ok(worst)
}

/// What a scenario came to, or why it could not run.
type Came = Result<(Instance, Outcome), String>;

/// Runs the scenarios on several threads; hands each over when it is done.
fn side_by_side(
    work: &[&Loaded],
    lab: &Lab,
    options: &Options,
    done: &mut dyn FnMut(&Loaded, Came),
) {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let usual = if options.simulated { processors } else { processors * LIVE_PER_PROCESSOR };
    // In a network of its own there are addresses of IPv6 for one run at a time.
    let usual = if options.apart && options.family != Family::V4 { 1 } else { usual };
    let jobs = options.jobs.unwrap_or(usual).clamp(1, work.len().max(1));
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(loaded) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let came = if options.simulated {
                        simulated::run(&loaded.scenario, lab, options)
                    } else {
                        live::run(&loaded.scenario, lab, options, &mut |_| {})
                    };
                    if sender.send((*loaded, came)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (loaded, came) in results {
            done(loaded, came);
        }
    });
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    // A reader that closed the pipe has seen what it wanted.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, text, fits) in [
            ("*", "volte-call", true),
            ("call/*", "call/volte-call", true),
            ("flow-1*", "flow-1-aka", true),
            ("flow-1-*", "flow-11-busy", false),
            ("*-call", "volte-call", true),
            ("*call*busy", "call-a-call-busy", true),
            ("*-busy", "busy-call", false),
        ] {
            assert_eq!(is_like(pattern, text), fits, "{pattern} {text}");
        }
        assert_eq!(matching("all").map(|all| all.len()), Some(builtin::ALL.len()));
        assert!(matching("register/*").is_some_and(|some| some.len() > 20));
        assert!(matching("volte-call").is_none());
    }
}

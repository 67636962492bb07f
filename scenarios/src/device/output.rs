//! What `cscf test` tells: a line a case, its artefacts, a table, `JUnit`.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cscf_core::config::{Problem, Problems, render};

use super::{Case, Device, Judged, Options, Verdict};
use crate::cli::term;
use crate::report::junit::{self, Report, Suite};
use crate::report::{artefacts, github};

/// Findings of one case that GitHub shows at most.
const ANNOTATIONS_MAX: usize = 10;

/// A case with its verdict and the folder of its trace.
pub(super) type Result_ = (Case, Judged, PathBuf);

/// Writes the artefacts of a case that ran; gives their folder.
pub(super) fn write(case: &Case, judged: &Judged, options: &Options) -> Result<PathBuf, String> {
    let folder = options.out.join(&case.suite).join(&case.name);
    let said = options.out.join(&case.suite).join(format!("{}.device.txt", case.name));
    // What a program wrote in an earlier run is not of this one.
    match std::fs::remove_file(&said) {
        Err(fault)
            if fault.kind() != ErrorKind::NotFound && fault.kind() != ErrorKind::NotADirectory =>
        {
            return Err(format!("{}: {fault}", said.display()));
        }
        _ => {}
    }
    let Some(instance) = &judged.instance else { return Ok(folder) };
    let (parties, result) =
        (instance.parties(), suite(&case.suite, &[of_case(case, judged, &folder)]));
    let run = artefacts::Run {
        events: &judged.events,
        parties: &parties,
        explain: true,
        result: &result,
        esp_sa: &judged.esp_sa,
    };
    artefacts::write(&folder, &run).map_err(|fault| fault.to_string())?;
    if !judged.said.is_empty() {
        artefacts::write_file(&said, judged.said.as_bytes()).map_err(|fault| fault.to_string())?;
    }
    Ok(folder)
}

/// Says at once what a case came to, with all that was found.
pub(super) fn tell(case: &Case, judged: &Judged, folder: &Path) {
    let mut out = String::new();
    let word = judged.verdict.word();
    let _ = writeln!(out, "{word:<13} {:<28} {}", case.name, case.scenario.title);
    for finding in &judged.findings {
        let message = finding.message.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
        let clause = &finding.clause;
        let clause = if clause.is_empty() { String::new() } else { format!(" [{clause}]") };
        let _ = writeln!(out, "    {}{message}{clause}", finding.text);
        if finding.at.line > 0 {
            let _ = writeln!(out, "        {}:{}", case.file, finding.at.line);
        }
    }
    if judged.verdict > Verdict::Skipped {
        let _ = writeln!(out, "        trace: {}", folder.display());
    }
    term::out(&out);
}

/// What GitHub shows of a case that did not pass: at the line of its file.
pub(super) fn annotate(case: &Case, judged: &Judged) {
    if judged.verdict <= Verdict::Skipped {
        return;
    }
    let title = format!("{} {}", case.name, judged.verdict.word());
    for finding in judged.findings.iter().take(ANNOTATIONS_MAX) {
        let mut text = finding.text.clone();
        for more in [&finding.clause, finding.help.as_deref().unwrap_or_default()] {
            if !more.is_empty() {
                let _ = write!(text, "\n{more}");
            }
        }
        let place = (finding.at.line > 0).then_some((finding.at.line, finding.at.column));
        term::log(&format!("{}\n", github::annotation(&case.file, place, &title, &text)));
    }
}

/// The table of all cases for the summary of a step.
pub(super) fn summary(results: &[Result_]) -> String {
    let mut out = format!(
        "### cscf test: {}\n\n| case | verdict | entry | why |\n|---|---|---|---|\n",
        counts(results)
    );
    let cell = |text: &str| {
        let letters = text.chars().map(|letter| match letter {
            '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' | '\\' => format!("\\{letter}"),
            letter if letter.is_control() => " ".to_owned(),
            letter => letter.to_string(),
        });
        letters.collect::<String>()
    };
    for (case, judged, _) in results {
        let id = case.scenario.test.as_ref().map_or("", |test| test.id.as_str());
        let why = judged.findings.first().map_or("", |it| it.text.as_str());
        let word = judged.verdict.word();
        let _ = writeln!(out, "| {} | {word} | {} | {} |", cell(&case.name), cell(id), cell(why));
    }
    out
}

/// The table of all cases.
pub(super) fn table(results: &[Result_]) {
    let mut out = String::from("\n");
    let _ = writeln!(out, "{:<28} {:<13} {:<8} why", "case", "verdict", "entry");
    for (case, judged, _) in results {
        let id = case.scenario.test.as_ref().map_or("", |test| test.id.as_str());
        let why = judged.findings.first();
        let why = why.map_or_else(String::new, |it| match it.clause.as_str() {
            "" => it.text.clone(),
            clause => format!("{} [{clause}]", it.text),
        });
        let row = format!("{:<28} {:<13} {id:<8} {why}", case.name, judged.verdict.word());
        let _ = writeln!(out, "{}", row.trim_end());
    }
    let _ = writeln!(out, "\n{}", counts(results));
    term::out(&out);
}

/// How many cases came to what.
fn counts(results: &[Result_]) -> String {
    let count = |verdict| results.iter().filter(|(_, it, _)| it.verdict == verdict).count();
    format!(
        "{} passed, {} failed, {} inconclusive, {} skipped",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::Inconclusive),
        count(Verdict::Skipped)
    )
}

/// The results as `JUnit`.
pub(super) fn junit(results: &[Result_], options: &Options) -> Report {
    let mut suites: Vec<Suite> = Vec::new();
    for (case, judged, folder) in results {
        let one = of_case(case, judged, folder);
        match suites.iter_mut().find(|suite| suite.name == case.suite) {
            Some(suite) => suite.cases.push(one),
            None => suites.push(suite(&case.suite, &[one])),
        }
    }
    let device = match &options.device {
        Device::Own(None) => "the emulated UE".to_owned(),
        Device::Own(Some(mutant)) => format!("the emulated UE, mutant `{mutant}`"),
        Device::Program(command) => command.clone(),
        Device::Human => "a phone".to_owned(),
    };
    for suite in &mut suites {
        suite.properties.push(("device".to_owned(), device.clone()));
    }
    Report { name: "cscf test".to_owned(), suites }
}

fn suite(name: &str, cases: &[junit::Case]) -> Suite {
    Suite { name: name.to_owned(), properties: Vec::new(), cases: cases.to_vec() }
}

fn of_case(case: &Case, judged: &Judged, folder: &Path) -> junit::Case {
    let lines: Vec<String> = judged.findings.iter().map(|it| it.text.clone()).collect();
    let first = lines.first().cloned().unwrap_or_default();
    let outcome = match judged.verdict {
        Verdict::Passed => junit::Outcome::Passed,
        Verdict::Skipped => junit::Outcome::Skipped { reason: first },
        Verdict::Inconclusive => junit::Outcome::Inconclusive { reason: lines.join("; ") },
        Verdict::Failed => junit::Outcome::Failed {
            kind: judged.findings.first().map(|it| it.clause.clone()).unwrap_or_default(),
            message: first,
            text: account(case, judged),
        },
    };
    let test = case.scenario.test.as_ref();
    junit::Case {
        name: case.name.clone(),
        classname: format!("cscf.{}", case.suite),
        time: judged.time,
        outcome,
        properties: vec![
            ("title".to_owned(), case.scenario.title.clone()),
            ("entry".to_owned(), test.map(|test| test.id.clone()).unwrap_or_default()),
            ("clauses".to_owned(), test.map(|test| test.clause.clone()).unwrap_or_default()),
            ("artefacts".to_owned(), folder.display().to_string()),
        ],
        system_out: judged.said.clone(),
    }
}

/// The whole account of what was found.
fn account(case: &Case, judged: &Judged) -> String {
    let problem = |finding: &super::Finding| Problem {
        at: finding.at,
        text: format!("{} [{}]", finding.text, finding.clause),
        help: finding.help.clone(),
    };
    let problems = Problems(judged.findings.iter().map(problem).collect());
    render(&case.file, &case.source, &problems, false)
}

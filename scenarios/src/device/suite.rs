//! The cases: built-in ones by suite, or files of one's own.

use std::path::Path;

use cscf_core::config::{Lab, nearest};

use crate::builtin;
use crate::run;
use crate::script::{Scenario, Step, StepKind};

/// The suites, in the order they run.
pub const SUITES: [&str; 7] =
    ["registration", "authentication", "mo-call", "mt-call", "sms", "supplementary", "errors"];

/// Where the built-in cases are.
const FOLDER: &str = "scenarios/suites/";

/// A case of a suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its suite, or the folder of a file.
    pub suite: String,
    /// Its name, e.g. `ct-8.1`.
    pub name: String,
    /// The file, for error texts.
    pub file: String,
    /// Its text.
    pub source: String,
    /// What it says.
    pub scenario: Scenario,
}

/// All built-in cases, in the order of suites and names.
///
/// # Errors
///
/// A mistake in one.
pub fn all_cases(lab: &Lab) -> Result<Vec<Case>, String> {
    let mut out = Vec::new();
    for suite in SUITES {
        let folder = format!("{FOLDER}{suite}/");
        for one in builtin::ALL.iter().filter(|one| one.file.starts_with(&folder)) {
            out.push(read(suite, one.name, one.file, one.source, lab)?);
        }
    }
    Ok(out)
}

fn read(suite: &str, name: &str, file: &str, source: &str, lab: &Lab) -> Result<Case, String> {
    let scenario = run::read_checked(name, file, source, lab)?;
    if scenario.test.is_none() {
        return Err(format!("{file} judges no device: it has no `test`"));
    }
    let is_verdict = |step: &&Step| match &step.kind {
        StepKind::Expect(seen) | StepKind::Never(seen) => !step.when && seen.is_about_device(),
        _ => false,
    };
    if !scenario.all_steps().iter().any(is_verdict) {
        let help = "a verdict is a step like `dut sends REGISTER`, without `when`";
        return Err(format!("{file} judges nothing of the device: {help}"));
    }
    let [suite, name, file, source] = [suite, name, file, source].map(str::to_owned);
    Ok(Case { suite, name, file, source, scenario })
}

/// The cases that were asked for.
///
/// # Errors
///
/// Which suite, case or file there is not.
pub(super) fn select(suites: &[String], names: &[String], lab: &Lab) -> Result<Vec<Case>, String> {
    let mut out = Vec::new();
    for suite in suites {
        if suite.contains('/') || suite.ends_with(".yaml") || suite.ends_with(".yml") {
            out.extend(of_path(Path::new(suite), lab)?);
            continue;
        }
        let all = all_cases(lab)?;
        let known: Vec<&str> = SUITES.iter().copied().chain(["all"]).collect();
        if !known.contains(&suite.as_str()) {
            return Err(match nearest(suite, known.iter().copied()) {
                Some(near) => format!("no suite `{suite}`; did you mean `{near}`?"),
                None => format!("no suite `{suite}`; there are: {}", known.join(", ")),
            });
        }
        out.extend(all.into_iter().filter(|case| suite == "all" || case.suite == *suite));
    }
    for name in names {
        if !out.iter().any(|case| case.name == *name) {
            let known: Vec<&str> = out.iter().map(|case| case.name.as_str()).collect();
            return Err(match nearest(name, known.iter().copied()) {
                Some(near) => format!("no case `{name}` there; did you mean `{near}`?"),
                None => format!("no case `{name}` there; there are: {}", known.join(", ")),
            });
        }
    }
    if !names.is_empty() {
        out.retain(|case| names.contains(&case.name));
    }
    Ok(out)
}

/// The cases of a file, or of all files in a folder.
fn of_path(path: &Path, lab: &Lab) -> Result<Vec<Case>, String> {
    let fault = |fault: std::io::Error| format!("{}: {fault}", path.display());
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fault)? {
            files.push(entry.map_err(fault)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        files.sort();
        if files.is_empty() {
            return Err(format!("no case in {}: no file ends in .yaml", path.display()));
        }
        let cases: Result<Vec<_>, String> = files.iter().map(|file| of_path(file, lab)).collect();
        return Ok(cases?.into_iter().flatten().collect());
    }
    let source = std::fs::read_to_string(path).map_err(fault)?;
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let suite = part(path.parent().and_then(Path::file_name));
    let name = part(path.file_stem());
    Ok(vec![read(&suite, &name, &path.display().to_string(), &source, lab)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_cases_and_a_case_without_a_verdict_are_mistakes() {
        let lab = Lab::default_lab();
        let folder = tempfile::tempdir().expect("folder");
        let of = || select(&[format!("{}/", folder.path().display())], &[], &lab);
        assert!(of().expect_err("empty").contains("no case in"));
        let case = "scenario: x\ntest: {id: CT-8.1, clause: y}\nsteps: [dut registers]\n";
        std::fs::write(folder.path().join("x.yml"), case).expect("writes");
        assert!(of().expect_err("no verdict").contains("judges nothing of the device"));
        let case = case.replace("registers]", "registers, dut sends REGISTER]");
        std::fs::write(folder.path().join("x.yml"), case).expect("writes");
        assert_eq!(of().expect("reads").len(), 1);
    }
}

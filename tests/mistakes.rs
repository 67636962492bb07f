//! What `cscf run` says of scenarios that are wrong, or whose expectations are not met: each file
//! in `tests/mistakes/` with its exact text beside it (`.stderr`). `CSCF_BLESS=1` writes the texts
//! anew: read the difference before you keep it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

use scenarios::run::judge;

/// Files at least: one for each way to go wrong.
const FILES_MIN: usize = 60;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mistakes")
}

/// The files with this ending, in the order of names.
fn files(ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("folder");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    files.sort();
    files
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("name").to_string_lossy().into_owned()
}

/// What is said of a file.
fn said(path: &Path) -> (u8, String) {
    let source = std::fs::read_to_string(path).expect("reads");
    judge(&name_of(path), &source, 1)
}

#[test]
fn each_mistake_is_said_in_these_words() {
    let bless = std::env::var_os("CSCF_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in files("yaml") {
        let (name, expected) = (name_of(&path), path.with_extension("stderr"));
        let (code, text) = said(&path);
        if code == 0 {
            wrong.push(format!("{name}: nothing was found wrong"));
        } else if bless {
            std::fs::write(&expected, text).expect("writes");
        } else if std::fs::read_to_string(&expected).ok().as_ref() != Some(&text) {
            wrong.push(format!("{name} is said otherwise than in its .stderr:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_sixty_and_each_text_has_its_file() {
    let sources = files("yaml");
    assert!(sources.len() >= FILES_MIN, "{}", sources.len());
    for text in files("stderr") {
        assert!(text.with_extension("yaml").is_file(), "{} has no scenario", text.display());
    }
}

#[test]
fn each_text_names_file_line_and_column_and_says_what_would_be_right() {
    for path in files("stderr") {
        let (name, text) = (name_of(&path), std::fs::read_to_string(&path).expect("reads"));
        let place = format!(" --> {}:", name.replace(".stderr", ".yaml"));
        let mut places = text.match_indices(&place).map(|(at, _)| {
            let numbers = text.get(at + place.len()..).unwrap_or_default();
            let line = numbers.lines().next().unwrap_or_default();
            line.split(':').filter(|number| number.parse::<u32>().is_ok()).count()
        });
        assert!(places.next().is_some_and(|count| count == 2), "{name} names no place:\n{text}");
        // An unmet expectation says what was expected, what was there, and what led to it.
        if text.contains(": expected ") {
            assert!(text.contains(", actual: ") && text.contains("help: "), "{name}:\n{text}");
        }
    }
}

#[test]
fn the_program_says_the_same() {
    let out = tempfile::tempdir().expect("folder");
    let said = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cscf-under-test"));
        let output = command.args(args).current_dir(folder()).output().expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let expected = |name: &str| {
        std::fs::read_to_string(folder().join(name).with_extension("stderr")).expect("reads")
    };
    let of_file = expected("verb-misspelt");
    let (code, _, errors) = said(&["run", "--virtual", "verb-misspelt.yaml"]);
    assert_eq!((code, errors.contains(of_file.trim_end())), (Some(2), true), "{errors}");
    let (code, _, errors) = said(&["check", "verb-misspelt.yaml"]);
    assert_eq!((code.is_some_and(|it| it > 0), errors.contains(of_file.trim_end())), (true, true));

    let folder = out.path().to_str().expect("text");
    let (code, printed, _) = said(&["run", "--virtual", "--out", folder, "unmet-header.yaml"]);
    let of_run = expected("unmet-header").replace("unmet-header.yaml (", "unmet-header (");
    assert_eq!((code, printed.contains(of_run.trim())), (Some(1), true), "{printed}");
    let (code, printed, _) = said(&["check", "unmet-header.yaml"]);
    assert_eq!(
        (code, printed.as_str()),
        (Some(0), "unmet-header.yaml: ok: a scenario of 2 steps\n")
    );
}

//! The repository's own rules: floors, file lengths, headings of files, the changelog, licences.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors of `cscf-core`: a module may use lower floors and its own children only.
const FLOORS: &[(&str, u8)] = &[
    ("clause", 1),
    ("ids", 1),
    ("map", 1),
    ("time", 1),
    ("sip", 2),
    ("sms", 2),
    ("words", 2),
    ("auth", 3),
    ("identity", 3),
    ("transport", 3),
    ("cx", 4),
    ("dialog", 4),
    ("policy", 5),
    ("trace", 4),
    ("transaction", 4),
    ("diameter", 5),
    ("ifc", 5),
    ("registrar", 5),
    ("fault", 6),
    ("hss", 6),
    ("proxy", 6),
    ("ua", 6),
    ("operator", 7),
    ("role", 8),
    ("engine", 9),
    ("config", 10),
    ("host", 11),
];

/// Neighbours on one floor that may know each other, each with its reason.
const NEIGHBOURS: &[(&str, &str)] = &[
    // Maps are keyed from a seed, and seeds are made in `ids`.
    ("map", "ids"),
    // Deadlines lie in a list that grows without moving them.
    ("time", "map"),
    // A registration holds the services of its identities.
    ("registrar", "ifc"),
    // Security associations are keyed by AKA (TS 33.203 Annex I).
    ("transport", "auth"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "cscf-out" | "fuzz") {
                sources(&path, out);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            out.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("inside").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("readable"))
        })
        .collect()
}

/// The module of the core a file belongs to: `cscf-core/src/sip/uri.rs` is `sip`.
fn module(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("cscf-core/src/")?;
    let first = rest.split('/').next()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib").then_some(module)
}

/// The part of a file before its tests: tests may look anywhere.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn modules_use_lower_floors_only() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, text) in all_sources() {
        let Some(own) = module(&name) else { continue };
        let Some(floor) = floors.get(own) else {
            faults.push(format!("{name}: module {own} has no floor in tests/tidy.rs"));
            continue;
        };
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let used: String = rest
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                let Some(other) = floors.get(used.as_str()) else { continue };
                let neighbours = NEIGHBOURS.contains(&(own, used.as_str()));
                if used != own && other >= floor && !neighbours {
                    faults.push(format!("{name}:{}: {own} may not use {used}", number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_below_the_host_knows_tasks_or_sockets() {
    let mut faults = Vec::new();
    for (name, text) in all_sources() {
        let below = module(&name).is_some_and(|module| module != "host")
            || ["p-cscf/src/", "i-cscf/src/", "s-cscf/src/"]
                .iter()
                .any(|role| name.starts_with(role))
                && !name.ends_with("main.rs");
        if !below {
            continue;
        }
        let words = ["tokio::", "async fn", ".await;", ".await?", ".await)", "std::thread"];
        for word in words.into_iter().chain(["UdpSocket", "TcpStream"]) {
            if without_tests(&text).contains(word) {
                faults.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn roles_do_not_know_each_other() {
    let mut faults = Vec::new();
    for (name, text) in all_sources() {
        let roles = [("p-cscf", "p_cscf"), ("i-cscf", "i_cscf"), ("s-cscf", "s_cscf")];
        let Some((own, _)) = roles.iter().find(|(folder, _)| name.starts_with(folder)) else {
            continue;
        };
        for (folder, krate) in roles.iter().chain([&("scenarios", "scenarios")]) {
            if folder != own && text.contains(&format!("{krate}::")) {
                faults.push(format!("{name} knows {folder}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    const LINES_MAX: usize = 600;
    const COLUMNS_MAX: usize = 100;
    let mut faults = Vec::new();
    for (name, text) in all_sources() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines; split it by concept"));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{name}: does not begin with what it is"));
        }
        for (number, line) in text.lines().enumerate() {
            // A line of data in a test may be longer than a reader likes; code may not.
            if line.chars().count() > COLUMNS_MAX && !line.contains('"') {
                faults.push(format!("{name}:{}: longer than {COLUMNS_MAX} columns", number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn tests_do_not_sleep() {
    let mut faults = Vec::new();
    for (name, text) in all_sources() {
        for word in [concat!("thread::", "sleep"), concat!("time::", "sleep(")] {
            if text.contains(word) && !name.starts_with("cscf-core/src/host/") {
                faults.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_changelog_has_a_heading_for_the_version() {
    let root = root();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .expect("a version");
    let log = read("CHANGELOG.md");
    let unreleased = log.contains("## [Unreleased]");
    assert!(unreleased || log.contains(&format!("## [{version}]")), "no heading for {version}");
}

#[test]
fn every_package_has_a_permissive_licence() {
    const ALLOWED: [&str; 12] = [
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "0BSD",
        "ISC",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let licence = package["license"].as_str().unwrap_or("none");
        // One alternative of an OR is enough; each part of an AND must be allowed.
        let fine = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice
                .trim_matches(['(', ')', ' '])
                .split(" AND ")
                .all(|part| ALLOWED.contains(&part.trim_matches(['(', ')', ' '])))
        });
        if !fine {
            faults.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

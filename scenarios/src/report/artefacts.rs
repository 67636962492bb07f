//! The files a run leaves, all of them made from its trace and its result, written whole or not at
//! all.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cscf_core::host::json;
use cscf_core::trace::TraceEvent;

use super::digest::{self, Form};
use super::junit::{Report, Suite};
use super::{Parties, html, ladder, pcapng};

/// The names of the files.
const NAMES: [&str; 7] = [
    "junit.xml",
    "ladder.html",
    "ladder.txt",
    "summary.md",
    "summary.txt",
    "trace.jsonl",
    "trace.pcapng",
];

/// The keys of security associations, where there were any.
pub const KEYS: &str = "esp_sa";

/// A run that is over.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// All events, in the order of time.
    pub events: &'a [TraceEvent],
    /// Who took part.
    pub parties: &'a Parties,
    /// Each decision as a sentence in `ladder.txt`.
    pub explain: bool,
    /// What it came to: one case, or those that were judged by this trace.
    pub result: &'a Suite,
    /// The keys of its security associations, as lines of Wireshark's table `esp_sa`.
    pub esp_sa: &'a [String],
}

impl Run<'_> {
    fn files(&self) -> [(&'static str, Vec<u8>); NAMES.len()] {
        let Self { events, parties, explain, result, .. } = *self;
        let mut lines = String::new();
        for event in events {
            lines.push_str(&json::to_json(event));
            lines.push('\n');
        }
        let style = ladder::Style { colour: false, explain };
        let ladder = ladder::draw(events, &parties.columns, &parties.names, style);
        let report = Report { name: "cscf".to_owned(), suites: vec![result.clone()] };
        let digest = |form| digest::of_run(events, parties, result, form).into_bytes();
        [
            ("junit.xml", report.to_xml().into_bytes()),
            ("ladder.html", html::draw(&result.name, events, parties, Some(result)).into_bytes()),
            ("ladder.txt", ladder.into_bytes()),
            ("summary.md", digest(Form::Markdown)),
            ("summary.txt", digest(Form::Text)),
            ("trace.jsonl", lines.into_bytes()),
            ("trace.pcapng", pcapng::write(events, parties)),
        ]
    }
}

/// Writes the artefacts of a run into `folder`, replacing an earlier run's. They are written into a
/// folder beside it first, so that `folder` holds all of one run or is not there.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn write(folder: &Path, run: &Run<'_>) -> io::Result<()> {
    let parent = parent_of(folder)?;
    let fresh = tempfile::Builder::new()
        .prefix(".cscf-")
        .tempdir_in(&parent)
        .map_err(|fault| at(&parent, &fault))?;
    for (name, content) in run.files() {
        let path = fresh.path().join(name);
        std::fs::write(&path, content).map_err(|fault| at(&path, &fault))?;
    }
    if !run.esp_sa.is_empty() {
        let path = fresh.path().join(KEYS);
        let lines = run.esp_sa.join("\n") + "\n";
        std::fs::write(&path, lines).map_err(|fault| at(&path, &fault))?;
    }
    replace(folder, fresh.path()).map_err(|fault| at(folder, &fault))?;
    // The folder has moved: nothing is left for the guard to remove.
    let _ = fresh.keep();
    Ok(())
}

/// Writes one file, whole or not at all, and the folders above it.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = parent_of(path)?;
    let written = || {
        let mut fresh = tempfile::Builder::new().prefix(".cscf-").tempfile_in(&parent)?;
        fresh.write_all(content)?;
        fresh.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
        fresh.persist(path).map_err(|fault| fault.error)?;
        Ok(())
    };
    written().map_err(|fault: io::Error| at(path, &fault))
}

/// The folder something is to be in, made where it is not there.
fn parent_of(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::create_dir_all(&parent).map_err(|fault| at(&parent, &fault))?;
    Ok(parent)
}

/// Puts `fresh` in the place of `folder`; only a folder that looks like an earlier run's is
/// removed.
fn replace(folder: &Path, fresh: &Path) -> io::Result<()> {
    std::fs::set_permissions(fresh, PermissionsExt::from_mode(0o755))?;
    if !folder.exists() {
        return std::fs::rename(fresh, folder);
    }
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(|name| name == KEYS || NAMES.contains(&name)) {
            let text =
                format!("holds {}, which is not of a run; choose another --out", name.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
    }
    let old = fresh.with_extension("old");
    std::fs::rename(folder, &old)?;
    std::fs::rename(fresh, folder)?;
    std::fs::remove_dir_all(old)
}

fn at(path: &Path, fault: &io::Error) -> io::Error {
    io::Error::new(fault.kind(), format!("{}: {fault}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_an_earlier_run_and_nothing_else() {
        let home = tempfile::tempdir().expect("folder");
        let folder = home.path().join("out/volte-call");
        let parties = Parties::default();
        let write = |name: &str| {
            let result = Suite { name: name.to_owned(), ..Suite::default() };
            let run = Run {
                events: &[],
                parties: &parties,
                explain: false,
                result: &result,
                esp_sa: &[],
            };
            write(&folder, &run)
        };
        for name in ["one", "two"] {
            write(name).expect("written");
            let text = std::fs::read_to_string(folder.join("junit.xml")).expect("there");
            assert!(text.contains(name), "{text}");
        }
        let mut found: Vec<String> = std::fs::read_dir(&folder)
            .expect("there")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        found.sort();
        assert_eq!(found, NAMES);
        std::fs::write(folder.join("precious"), "mine").expect("written");
        let fault = write("three").expect_err("refused");
        assert!(fault.to_string().contains("precious"), "{fault}");
        let left = std::fs::read_dir(home.path().join("out")).expect("there").count();
        assert_eq!(left, 1, "no half-written folder is left");
    }
}

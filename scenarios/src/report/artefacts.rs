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

/// Those without which a folder is not taken for that of a run.
const MARKS: [&str; 3] = ["summary.txt", "trace.jsonl", "trace.pcapng"];

/// Names of files that this process has open already.
const OPEN_ALREADY: [&str; 4] = ["/dev/fd", "/dev/stderr", "/dev/stdout", "/proc"];

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
    // A link to a folder stays one.
    let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
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

/// Tries whether [`write()`] could put the folder of a run there; leaves nothing but the folders
/// above.
///
/// # Errors
///
/// What the file system says, with the path; a folder that is not of a run.
pub fn try_folder(folder: &Path) -> io::Result<()> {
    let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    try_beside(folder)?;
    if std::fs::symlink_metadata(folder).is_ok()
        && let Some(why) = not_of_a_run(folder)?
    {
        let text = format!("{}: {why}; choose another", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    Ok(())
}

/// Tries whether [`write_file`] could write this file; leaves nothing but the folders above.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn try_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            Err(at(path, &io::Error::new(io::ErrorKind::IsADirectory, "is a folder")))
        }
        // A pipe waits for whoever reads it, and takes the report then.
        Ok(there) if !there.is_file() => Ok(()),
        _ if OPEN_ALREADY.iter().any(|open| path.starts_with(open)) => Ok(()),
        _ => try_beside(&target_of(path)),
    }
}

/// Makes a file beside this one and takes it away again.
fn try_beside(path: &Path) -> io::Result<()> {
    let parent = parent_of(path)?;
    let made = tempfile::Builder::new().prefix(".cscf-").tempfile_in(&parent);
    made.map(|_| ()).map_err(|fault| at(&parent, &fault))
}

/// Writes one file, whole or not at all, and the folders above it. What is no plain file (a pipe,
/// a terminal, `/dev/stdout`) is written to as it is, and a link stays one.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let written = || {
        let there = std::fs::metadata(path);
        let by_name = OPEN_ALREADY.iter().any(|open| path.starts_with(open));
        if by_name || there.as_ref().is_ok_and(|it| !it.is_file() && !it.is_dir()) {
            let mut open = std::fs::OpenOptions::new().append(true).open(path)?;
            return open.write_all(content);
        }
        if there.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder"));
        }
        let path = target_of(path);
        let mode = there.map_or_else(|_| PermissionsExt::from_mode(0o644), |it| it.permissions());
        let mut fresh = tempfile::Builder::new().prefix(".cscf-").tempfile_in(parent_of(&path)?)?;
        fresh.write_all(content)?;
        fresh.as_file().set_permissions(mode)?;
        fresh.persist(&path).map_err(|fault| fault.error)?;
        Ok(())
    };
    written().map_err(|fault: io::Error| at(path, &fault))
}

/// Where a path leads, also by a link to nothing yet.
fn target_of(path: &Path) -> PathBuf {
    let link = std::fs::read_link(path).ok();
    let leads = link.map(|to| path.parent().map_or_else(|| to.clone(), |parent| parent.join(&to)));
    path.canonicalize().ok().or(leads).unwrap_or_else(|| path.to_path_buf())
}

/// The folder something is to be in, made where it is not there.
fn parent_of(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::create_dir_all(&parent).map_err(|fault| at(&parent, &fault))?;
    Ok(parent)
}

/// Puts `fresh` in the place of `folder`; only a folder that is an earlier run's is removed.
fn replace(folder: &Path, fresh: &Path) -> io::Result<()> {
    std::fs::set_permissions(fresh, PermissionsExt::from_mode(0o755))?;
    if std::fs::symlink_metadata(folder).is_err() {
        return std::fs::rename(fresh, folder);
    }
    if let Some(why) = not_of_a_run(folder)? {
        let text = format!("{why}; choose another --out");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let old = fresh.with_extension("old");
    std::fs::rename(folder, &old)?;
    if let Err(fault) = std::fs::rename(fresh, folder) {
        // The earlier run goes back to where it was.
        let _ = std::fs::rename(&old, folder);
        return Err(fault);
    }
    std::fs::remove_dir_all(old)
}

/// Why a folder is not that of an earlier run, all of whose files are there and no others; one that
/// is empty may be taken.
fn not_of_a_run(folder: &Path) -> io::Result<Option<String>> {
    if std::env::current_dir().is_ok_and(|here| here.starts_with(folder)) {
        return Ok(Some("is the folder you work in".to_owned()));
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let known = name.to_str().is_some_and(|name| name == KEYS || NAMES.contains(&name));
        if !known || !entry.file_type()?.is_file() {
            return Ok(Some(format!("holds {}, which is not of a run", name.display())));
        }
        files += 1;
    }
    if files > 0 && !MARKS.iter().all(|name| folder.join(name).is_file()) {
        return Ok(Some(format!("lacks {}, so it is not of a run", MARKS.join(" or "))));
    }
    Ok(None)
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

    fn write_nothing(folder: &Path) -> io::Result<()> {
        let (parties, result) = (Parties::default(), Suite::default());
        write(
            folder,
            &Run { events: &[], parties: &parties, explain: false, result: &result, esp_sa: &[] },
        )
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_taken() {
        let home = tempfile::tempdir().expect("folder");
        for name in ["junit.xml", "trace.jsonl"] {
            let folder = home.path().join(name);
            std::fs::create_dir(&folder).expect("made");
            std::fs::write(folder.join(name), "mine").expect("written");
            let fault = write_nothing(&folder).expect_err("refused").to_string();
            assert!(fault.contains("so it is not of a run"), "{fault}");
            assert_eq!(std::fs::read_to_string(folder.join(name)).expect("there"), "mine");
        }
        let folder = home.path().join("folders");
        for name in MARKS {
            std::fs::create_dir_all(folder.join(name).join("mine")).expect("made");
        }
        write_nothing(&folder).expect_err("refused");
        assert!(folder.join("trace.jsonl/mine").is_dir());
        let file = home.path().join("file");
        std::fs::write(&file, "mine").expect("written");
        write_nothing(&file).expect_err("refused");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
        let empty = home.path().join("empty");
        std::fs::create_dir(&empty).expect("made");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&empty, &link).expect("made");
        for _ in 0..2 {
            write_nothing(&link).expect("written");
            assert!(link.is_symlink() && empty.join("trace.jsonl").is_file());
        }
        let left = std::fs::read_dir(home.path()).expect("there").count();
        assert_eq!(left, 6, "no half-written folder is left");
    }

    #[test]
    fn a_file_keeps_its_link_and_mode_and_a_pipe_is_written_to() {
        let home = tempfile::tempdir().expect("folder");
        let (file, link) = (home.path().join("file"), home.path().join("link"));
        std::os::unix::fs::symlink("file", &link).expect("made");
        for text in ["one", "two"] {
            write_file(&link, text.as_bytes()).expect("written");
            assert!(link.is_symlink());
            assert_eq!(std::fs::read_to_string(&file).expect("there"), text);
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("set");
        }
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let pipe = home.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).expect("read")
        });
        write_file(&pipe, b"through").expect("written");
        assert_eq!(reader.join().expect("ends"), "through");
        let fault = write_file(home.path(), b"x").expect_err("refused").to_string();
        assert!(fault.contains("is a folder"), "{fault}");
        write_file(Path::new("/dev/null"), b"x").expect("written");
        // A plain file, though it stands below /dev.
        if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
            let file = memory.path().join("file");
            for text in ["one", "two"] {
                write_file(&file, text.as_bytes()).expect("written");
                assert_eq!(std::fs::read_to_string(&file).expect("there"), text);
            }
        }
    }
}

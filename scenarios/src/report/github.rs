//! What GitHub Actions reads besides files: annotations at a line of a file, as commands in the
//! log, and the summary of a step.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

/// The bytes a step may have in its summary; GitHub drops the whole of a longer one.
const SUMMARY_BYTES_MAX: usize = 1024 * 1024;

/// Whether this process runs in a job of GitHub Actions.
#[must_use]
pub fn is_here() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// The command that puts an error at a place in a file; lines and columns count from 1.
#[must_use]
pub fn annotation(file: &str, place: Option<(u32, u32)>, title: &str, text: &str) -> String {
    let place = place.map(|(line, column)| format!(",line={line},col={column}"));
    let (file, title) = (property(file), property(title));
    let place = place.unwrap_or_default();
    format!("::error file={file}{place},title={title}::{}", data(text))
}

/// Adds a text to the summary of the step, if GitHub names a file for it. Nothing is added to a
/// summary that would become too long.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn summarise(text: &str) -> io::Result<()> {
    match std::env::var_os("GITHUB_STEP_SUMMARY") {
        Some(path) if !path.is_empty() => append(Path::new(&path), text),
        _ => Ok(()),
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let at =
        |fault: io::Error| io::Error::new(fault.kind(), format!("{}: {fault}", path.display()));
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(at)?;
    let there = usize::try_from(file.metadata().map_err(at)?.len()).unwrap_or(usize::MAX);
    if there.saturating_add(text.len()) > SUMMARY_BYTES_MAX {
        return Ok(());
    }
    file.write_all(text.as_bytes()).map_err(at)
}

/// What stands behind the `::` of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_whatever_the_text() {
        let said = annotation("a,b.yaml", Some((5, 3)), "x: y", "100 %\nmore, ::error::");
        let expected = "::error file=a%2Cb.yaml,line=5,col=3,title=x%3A y::\
                        100 %25%0Amore, ::error::";
        assert_eq!(said, expected);
        assert_eq!(annotation("f", None, "t", "m"), "::error file=f,title=t::m");
    }

    #[test]
    fn a_summary_grows_up_to_its_bound() {
        let home = tempfile::tempdir().expect("folder");
        let path = home.path().join("summary");
        for _ in 0..3 {
            append(&path, &"x".repeat(400 * 1024)).expect("written");
        }
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 800 * 1024);
    }
}

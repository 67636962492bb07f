//! `cscf run --watch`: runs again whenever a scenario or lab file is saved.
//!
//! The files are looked at a few times a second instead of asking the system to tell: editors
//! replace files instead of writing into them, and folders of other machines and containers tell
//! nothing.

use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cscf_core::host::program;

use super::{Options, is_file, once, progress};

/// How often the files are looked at.
const PERIOD: std::time::Duration = std::time::Duration::from_millis(150);

/// What changes when a file is saved: its time, its size, and which file it is.
type Stamp = (i64, i64, u64, u64);

/// Runs the scenarios, and again after each change, until the program is stopped.
///
/// # Errors
///
/// When there is no file to watch.
pub(super) fn watch(options: &Options) -> Result<Infallible, String> {
    let named = options.scenarios.iter().filter(|name| is_file(name)).map(PathBuf::from);
    let files: Vec<PathBuf> = named.chain(options.lab.clone()).collect();
    if files.is_empty() {
        return Err("--watch needs a file: built-in scenarios do not change".to_owned());
    }
    let runtime = program::runtime()?;
    loop {
        // What is saved during the run counts, too.
        let seen = stamps(&files);
        once(options);
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        progress(&format!("watching {}; Ctrl-C ends", names.join(", ")));
        runtime.block_on(changed(&files, seen));
        begin_anew();
    }
}

/// Waits until the files are others than those seen, and stay so for a moment: some editors write
/// in several steps.
async fn changed(files: &[PathBuf], seen: Vec<Option<Stamp>>) {
    let mut last = seen.clone();
    let mut looks = tokio::time::interval(PERIOD);
    loop {
        looks.tick().await;
        let now = stamps(files);
        if now != seen && now == last && now.iter().all(Option::is_some) {
            return;
        }
        last = now;
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.size(), data.ino()))
}

/// Clears a terminal; elsewhere a line keeps the runs apart.
fn begin_anew() {
    let mut out = std::io::stdout();
    let mark: &[u8] = if out.is_terminal() { b"\x1b[2J\x1b[3J\x1b[H" } else { b"\n----\n\n" };
    let _ = out.write_all(mark).and_then(|()| out.flush());
}

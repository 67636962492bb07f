//! The files a run leaves: `ladder.txt`, `trace.jsonl`, `trace.pcapng`, written whole or not at
//! all.

use std::io;
use std::path::{Path, PathBuf};

use cscf_core::host::json;
use cscf_core::trace::TraceEvent;

use super::pcapng::{self, Names};

/// Writes the artefacts of a run into `folder`, replacing an earlier run's. They are written into a
/// folder beside it first, so that `folder` holds all of one run or is not there.
///
/// # Errors
///
/// What the file system says, with the path.
pub fn write(folder: &Path, events: &[TraceEvent], names: &Names, ladder: &str) -> io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::create_dir_all(&parent).map_err(|fault| at(&parent, &fault))?;
    let fresh = tempfile::Builder::new()
        .prefix(".cscf-")
        .tempdir_in(&parent)
        .map_err(|fault| at(&parent, &fault))?;
    let mut lines = String::new();
    for event in events {
        lines.push_str(&json::to_json(event));
        lines.push('\n');
    }
    let files: [(&str, Vec<u8>); 3] = [
        ("ladder.txt", ladder.as_bytes().to_vec()),
        ("trace.jsonl", lines.into_bytes()),
        ("trace.pcapng", pcapng::write(events, names)),
    ];
    for (name, content) in files {
        let path = fresh.path().join(name);
        std::fs::write(&path, content).map_err(|fault| at(&path, &fault))?;
    }
    replace(folder, fresh.path()).map_err(|fault| at(folder, &fault))?;
    // The folder has moved: nothing is left for the guard to remove.
    let _ = fresh.keep();
    Ok(())
}

/// Puts `fresh` in the place of `folder`; only a folder that looks like an earlier run's is
/// removed.
fn replace(folder: &Path, fresh: &Path) -> io::Result<()> {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fresh, open)?;
    if !folder.exists() {
        return std::fs::rename(fresh, folder);
    }
    let ours = |name: &str| matches!(name, "ladder.txt" | "trace.jsonl" | "trace.pcapng");
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(ours) {
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
        for ladder in ["one", "two"] {
            write(&folder, &[], &Names::new(), ladder).expect("written");
            let text = std::fs::read_to_string(folder.join("ladder.txt")).expect("there");
            assert_eq!(text, ladder);
        }
        std::fs::write(folder.join("precious"), "mine").expect("written");
        let fault = write(&folder, &[], &Names::new(), "three").expect_err("refused");
        assert!(fault.to_string().contains("precious"), "{fault}");
        let left = std::fs::read_dir(home.path().join("out")).expect("there").count();
        assert_eq!(left, 1, "no half-written folder is left");
    }
}

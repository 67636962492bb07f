//! Finds the scenario files: every `.yaml` in a folder beside `src`, at any depth. What it writes
//! is the list that `src/builtin.rs` includes, so a new file needs no other line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for folder in sorted(&root)?.into_iter().filter(|path| path.is_dir()) {
        if folder.file_name().is_none_or(|name| name != "src") {
            find(&folder, &mut files)?;
        }
    }
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let inside = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        let _ = writeln!(
            list,
            "Builtin {{ name: {name:?}, file: {:?}, source: include_str!({:?}) }},",
            format!("scenarios/{inside}"),
            file.display().to_string(),
        );
    }
    list.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("builtins.rs"), list)
}

/// The scenario files in a folder, then those of the folders in it.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let (folders, inside): (Vec<_>, Vec<_>) =
        sorted(folder)?.into_iter().partition(|it| it.is_dir());
    files.extend(
        inside.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")),
    );
    folders.iter().try_for_each(|folder| find(folder, files))
}

/// What is in a folder, in the order of names.
fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

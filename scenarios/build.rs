//! Finds the scenario files: every `.yaml` in a folder beside `src`. What it writes is the list
//! that `src/builtin.rs` includes, so a new file needs no other line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for folder in sorted(&root)?.into_iter().filter(|path| path.is_dir()) {
        if folder.file_name().is_some_and(|name| name == "src") {
            continue;
        }
        println!("cargo::rerun-if-changed={}", folder.display());
        let inside = sorted(&folder)?.into_iter();
        files.extend(inside.filter(|path| path.extension().is_some_and(|end| end == "yaml")));
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

/// What is in a folder, in the order of names.
fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

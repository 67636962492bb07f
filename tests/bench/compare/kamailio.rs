//! Kamailio's IMS modules as P-, I- and S-CSCF: their configuration, from templates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::system::{DOMAIN, System, spawn};

/// Writes the configuration of each node.
pub(crate) fn render(system: System, files: &Path) -> Result<Vec<PathBuf>, String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/kamailio");
    let tables = files.join("dbtext");
    fs::create_dir_all(&tables).map_err(|fault| fault.to_string())?;
    copy_all(&from.join("dbtext"), &tables, |_| true)?;
    let schema = ["version", "pua", "presentity", "active_watchers", "watchers", "xcap"];
    let of_debian = Path::new("/usr/share/kamailio/dbtext/kamailio");
    copy_all(of_debian, &tables, |name| schema.contains(&name))?;
    let nodes = [("scscf", "127.0.0.13"), ("icscf", "127.0.0.12"), ("pcscf", "127.0.0.11")];
    let mut out = Vec::new();
    for (node, address) in nodes {
        for (template, end) in
            [("cdp.xml", "xml"), ("common.cfg", "common.cfg"), (&format!("{node}.cfg"), "cfg")]
        {
            let path = from.join(template);
            let text = fs::read_to_string(&path)
                .map_err(|fault| format!("{}: {fault}", path.display()))?;
            let mut text = fill(&text, node, address, files);
            if end == "cfg" && system == System::KamailioFull {
                text = text.replacen('\n', "\n#!define WITH_DIALOG\n#!define WITH_ASSERT\n", 1);
            }
            write(&files.join(format!("{node}.{end}")), &text)?;
        }
        out.push(files.join(format!("{node}.cfg")));
    }
    Ok(out)
}

/// Starts the nodes and their HSS.
pub(crate) fn start(
    nodes: &[PathBuf],
    files: &Path,
    processes: &mut Vec<Child>,
) -> Result<(), String> {
    let me = std::env::current_exe().map_err(|fault| fault.to_string())?;
    let mut hss = Command::new(me);
    hss.args(["--hss", "127.0.0.14:3868"]);
    processes.push(spawn(hss, &files.join("hss.log"))?);
    for config in nodes {
        let mut command = Command::new("kamailio");
        // Memory for hundreds of thousands of subscribers, from the faster allocator.
        command.args(["-DD", "-x", "fm", "-X", "fm", "-b", "8388608", "-m", "3072", "-M", "16"]);
        command.arg("-Y").arg(files).arg("-f").arg(config);
        processes.push(spawn(command, &config.with_extension("log"))?);
    }
    Ok(())
}

fn fill(text: &str, node: &str, address: &str, files: &Path) -> String {
    let folder = files.display().to_string();
    let values = [
        ("@NAME@", node),
        ("@IP@", address),
        ("@PORT@", "5060"),
        ("@DOMAIN@", DOMAIN),
        ("@RUN@", &folder),
        ("@I_IP@", "127.0.0.12"),
        ("@HSS_IP@", "127.0.0.14"),
        ("@HSS_PORT@", "3868"),
        ("@CHILDREN@", "2"),
        ("@CDPW@", "2"),
        ("@DEBUG@", "-1"),
    ];
    values.iter().fold(text.to_owned(), |text, (token, value)| text.replace(token, value))
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}

fn copy_all(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|fault| format!("{}: {fault}", from.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(&wanted) {
            fs::copy(entry.path(), to.join(&name)).map_err(|fault| fault.to_string())?;
        }
    }
    Ok(())
}

//! What `cscf check` says of lab files: whatever `cscf up` would not start with, at its place.

use std::path::Path;

use crate::running::{cscf, output, text};

/// What is said of a lab file.
fn checked(folder: &Path, file: &str) -> (Option<i32>, String) {
    let done = output(cscf().current_dir(folder).args(["check", file]));
    (done.status.code(), format!("{}{}", text(&done.stdout), text(&done.stderr)))
}

/// A lab with certificates, and a second one whose certificates are of another CA.
fn labs() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("other")).expect("a folder");
    for file in ["lab.yaml", "other/lab.yaml"] {
        let made = output(cscf().current_dir(folder.path()).args(["init", "--tls", "-o", file]));
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let source = std::fs::read_to_string(folder.path().join("lab.yaml")).expect("reads");
    (folder, source)
}

#[test]
fn a_lab_that_up_would_not_start_is_not_ok() {
    let (folder, source) = labs();
    let folder = folder.path();
    assert_eq!(checked(folder, "lab.yaml").0, Some(0));
    let cases = [
        ("tls/server.pem", "tls/none.pem", "tls/none.pem: there is no such file", "69:16"),
        ("tls/server.pem", "lab.yaml", "lab.yaml: it holds no certificate (PEM)", "69:16"),
        (
            "tls/server.key",
            "tls/client.key",
            "tls/client.key: it is not the key of the certificate in tls/server.pem",
            "70:8",
        ),
        (
            "\"tls/ca.pem",
            "\"other/tls/ca.pem",
            "tls/server.pem: no CA of the file under `ca` has signed it",
            "69:16",
        ),
        (
            "tls: \"127.0.0.1:5061\"",
            "tls: \"127.0.0.1:5062\"",
            "127.0.0.1:5062 of `tls` of `p1` is taken by `port_ps` of `p1`",
            "10:82",
        ),
        (
            "  carol:\n",
            "  carol:\n    ipsec: required\n",
            "`carol` authenticates by digest, and only AKA gives keys for IPsec",
            "85:12",
        ),
    ];
    for (from, to, said, place) in cases {
        assert!(source.contains(from), "{from}");
        std::fs::write(folder.join("wrong.yaml"), source.replacen(from, to, 1)).expect("writes");
        let (code, told) = checked(folder, "wrong.yaml");
        let placed = told.contains(&format!("--> wrong.yaml:{place}\n"));
        assert!(code == Some(2) && placed && told.contains(said), "{said}:\n{told}");
        assert!(told.contains("help: "), "{told}");
        // So it is when it is started.
        let up = ["up", "--no-control", "--lab", "wrong.yaml"];
        let started = output(cscf().current_dir(folder).args(up));
        assert_eq!((started.status.code(), text(&started.stderr)), (code, told));
    }
    let bare: String = source
        .lines()
        .filter(|line| !line.starts_with("  certificate:") && !line.starts_with("  key:"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(folder.join("bare.yaml"), bare).expect("writes");
    let (code, told) = checked(folder, "bare.yaml");
    assert_eq!(code, Some(2));
    assert!(told.contains("p1 listens for TLS, and the lab has no certificate"), "{told}");
    assert!(told.contains("--> bare.yaml:10:82") && told.contains("cscf init --tls"), "{told}");
}

#[test]
fn who_can_only_come_by_tls_is_named() {
    let (folder, source) = labs();
    let file = folder.path().join("required.yaml");
    let source = source.replacen("ipsec: optional", "ipsec: required", 1);
    std::fs::write(file, source).expect("writes");
    let (code, told) = checked(folder.path(), "required.yaml");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("note: carol (and 1 more) authenticates by digest"), "{told}");
    let up = ["up", "--no-control", "--lab", "required.yaml", "--with", "carol=answers"];
    let told = text(&output(cscf().current_dir(folder.path()).args(up)).stderr);
    assert!(
        told.contains("carol authenticates by digest, and the lab says `ipsec: required`"),
        "{told}"
    );
}

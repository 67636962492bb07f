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
        ("tls/server.pem", "tls/none.pem", "tls/none.pem: there is no such file", "73:16"),
        ("tls/server.pem", "lab.yaml", "lab.yaml: it holds no certificate (PEM)", "73:16"),
        (
            "tls/server.key",
            "tls/client.key",
            "tls/client.key: it is not the key of the certificate in tls/server.pem",
            "74:8",
        ),
        (
            "\"tls/ca.pem",
            "\"other/tls/ca.pem",
            "tls/server.pem: no CA of the file under `ca` has signed it",
            "73:16",
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
            "89:12",
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

#[test]
fn what_cannot_be_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |args: &[&str]| {
        let done = output(cscf().current_dir(folder.path()).args(args));
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(2), ""), "{args:?}");
        text(&done.stderr)
    };
    std::fs::write(folder.path().join("file"), "").expect("writes");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    for (args, wanted) in [
        (&["run", "volte-call", "--out", "file/x"][..], "--out cannot be written: file: "),
        (
            &["run", "volte-call", "--junit", "empty"],
            "--junit cannot be written: empty: is a folder",
        ),
        (&["run", "volte-call", "--ipsec=udp"], "write `ipsec_backend: udp` into a lab file"),
        (
            &["run", "volte-cal", "--ipsec"],
            "error: no scenario `volte-cal`; did you mean `volte-call`?",
        ),
        (&["keys", "empty"], "empty is not the folder of a run (it has no trace.jsonl)"),
        (&["keys", "none"], "there is no folder none; a run leaves its own in cscf-out/"),
        (&["init", "--address", "0.0.0.0"], "0.0.0.0 is no address that a phone could reach"),
        (&["init", "--address", "::"], "`--address "),
    ] {
        let told = said(args);
        assert!(told.contains(wanted) && !told.contains("namespace"), "{args:?}: {told}");
    }
    let run = output(cscf().current_dir(folder.path()).args(["run", "--virtual", "register-aka"]));
    assert!(run.status.success());
    let told = said(&["keys", "cscf-out/register-aka"]);
    assert!(told.contains("had no security associations: run it with --ipsec"), "{told}");
    let told = said(&["keys", "cscf-out"]);
    assert!(told.contains("cscf-out is not the folder of a run"), "{told}");
}

#[test]
fn scenarios_that_expect_clear_text_are_skipped_under_associations() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "--virtual", "--ipsec", "register/refused-*", "diagnosis/too-many-*"];
    let done = output(cscf().current_dir(folder.path()).args(run));
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}");
    for name in ["refused-too-many-flows", "too-many-flows"] {
        let line = format!("skipped: {name}: expects clear text: an IMPI has six associations");
        assert!(told.contains(&line), "{told}");
    }
}

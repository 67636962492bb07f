//! `cscf explain` as a command: what it writes, and how it exits.

use std::path::Path;

use scenarios::builtin;
use scenarios::report::{Parties, pcapng};

use super::running::{cscf, output, text};

/// What `cscf explain` with these words writes and how it exits.
fn explain(words: &[&str], file: &Path) -> (i32, String, String) {
    let out = output(cscf().arg("explain").args(words).arg(file));
    (out.status.code().expect("an exit code"), text(&out.stdout), text(&out.stderr))
}

/// A message with a mandatory header less, and hints to give.
fn broken(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("broken.sip");
    let message = "INVITE sip:bob@ims.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:bob@ims.example>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:192.0.2.1>\r\nContent-Length: 0\r\n\r\n";
    std::fs::write(&file, message).expect("written");
    file
}

#[test]
fn the_exit_code_says_whether_a_standard_is_violated() {
    let folder = tempfile::tempdir().expect("folder");
    let broken = broken(folder.path());
    let (code, out, _) = explain(&[], &broken);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("error SIP-060: Max-Forwards is missing (frame 1)"), "{out}");
    assert!(out.ends_with("1 SIP message of 1 device: 1 error, 0 warnings, 1 hint\n"), "{out}");
    let (code, out, _) = explain(&["--ignore", "sip-060"], &broken);
    assert_eq!(code, 0, "hints are no reason to fail: {out}");
    assert!(out.contains("SIP-180") && !out.contains("SIP-060"), "{out}");
    let (code, out, _) = explain(&["--rule", "SEC,REG-010"], &broken);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    let (code, out, _) = explain(&["--rule", "SIP", "--ignore", "SIP-1"], &broken);
    assert!(code == 1 && out.contains("SIP-060") && !out.contains("SIP-180"), "{out}");
}

#[test]
fn what_cannot_be_explained_exits_with_two() {
    let folder = tempfile::tempdir().expect("folder");
    let broken = broken(folder.path());
    let (code, out, err) = explain(&["--rule", "XYZ"], &broken);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.contains("no rule and no topic is \"XYZ\""), "{err}");
    let (code, out, err) = explain(&[], &folder.path().join("nothing"));
    assert!(code == 2 && out.is_empty() && err.contains("No such file"), "{err}");
    let (code, _, err) = explain(&[], folder.path());
    assert!(code == 2 && err.contains("Is a directory"), "{err}");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").expect("written");
    let (code, _, err) = explain(&[], &empty);
    assert!(code == 2 && err.contains("begins with nothing"), "{err}");
    let out = output(cscf().arg("ladder").arg(&empty));
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("empty: is no capture"));
    let silent = folder.path().join("silent.pcapng");
    std::fs::write(&silent, pcapng::write(&[], &Parties::default())).expect("written");
    let (code, _, err) = explain(&[], &silent);
    assert!(code == 2 && err.contains("holds no SIP"), "{err}");
    let out = output(cscf().arg("ladder").arg(&silent));
    assert!(out.status.code() == Some(2), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("silent.pcapng: holds no SIP and no Diameter"));
}

#[test]
fn a_response_as_text_is_judged_too() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("response.sip");
    std::fs::write(&file, "SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n").expect("written");
    let (code, out, _) = explain(&[], &file);
    assert!(code == 1 && out.contains("error SIP-020"), "{out}");
}

#[test]
fn json_is_one_object_a_finding() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, out, _) = explain(&["--json"], &broken(folder.path()));
    assert_eq!(code, 1);
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let rules: Vec<&str> = lines.iter().filter_map(|it| it["rule"].as_str()).collect();
    assert_eq!(rules, ["SIP-060", "SIP-180"]);
    let first = &lines[0];
    assert_eq!((&first["severity"], &first["count"]), (&"error".into(), &1.into()), "{first}");
    assert_eq!(first["frames"], serde_json::json!([1]));
    assert_eq!(first["clause"], "RFC 3261 §8.1.1.6");
    for key in ["title", "why", "change", "device", "kind", "subject", "detail"] {
        assert!(first[key].is_string(), "{key} of {first}");
    }
}

#[test]
fn a_capture_of_ours_violates_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("call.pcapng");
    let source = builtin::find("volte-call").expect("a scenario").source;
    let outcome = scenarios::run::simulate(source, 1).expect("runs");
    std::fs::write(&file, pcapng::write(&outcome.events, &Parties::default())).expect("written");
    let (code, out, err) = explain(&[], &file);
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert!(out.ends_with(": 0 errors, 0 warnings, 0 hints\n"), "{out}");
}

#[test]
fn a_scenario_is_written_whole_or_not_at_all_and_also_to_a_pipe() {
    let folder = tempfile::tempdir().expect("folder");
    let new = |words: &[&str]| {
        let out = output(cscf().arg("new").args(words).current_dir(folder.path()));
        (out.status.code().expect("an exit code"), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, err) = new(&["mine"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    let file = folder.path().join("mine.yaml");
    let first = std::fs::read_to_string(&file).expect("written");
    let (code, _, err) = new(&["mine", "--title", "Another"]);
    assert!(code == 2 && err.contains("mine.yaml is there already"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), first);
    let (code, ..) = new(&["mine", "--title", "Another", "--force"]);
    assert_eq!(code, 0);
    assert!(std::fs::read_to_string(&file).expect("written").contains("\"Another\""));
    let (code, out, err) = new(&["mine", "-o", "/dev/stdout"]);
    assert!(code == 0 && out.contains("\nsteps:\n") && !out.contains("is written"), "{out}{err}");
    std::fs::create_dir(folder.path().join("folder")).expect("made");
    for (name, says) in [("", "is no name"), ("folder/", "is no name"), (".x", "is no name")] {
        let (code, _, err) = new(&[name]);
        assert!(code == 2 && err.contains(says), "{name}: {err}");
    }
    let (code, _, err) = new(&["mine.yaml"]);
    assert!(code == 2 && err.contains("mine.yaml is there already"), "{err}");
    let (code, _, err) = new(&["mine", "-o", "folder"]);
    assert!(code == 2 && err.contains("folder: is a folder"), "{err}");
    let left = std::fs::read_dir(folder.path()).expect("there").count();
    assert_eq!(left, 2, "nothing half-written is left");
}

//! What the HSS keeps in a file: a lab that was killed and started again goes on with the sequence
//! numbers of its cards and with the assigned S-CSCFs, and never writes over what it cannot read.

use std::ffi::OsString;
use std::path::Path;

use crate::phone::{self, Card, Phone};
use crate::running::{self, Running, cscf, output, text};
use cscf_core::auth::Sqn;

/// A card whose numbers are centuries ahead of any clock.
fn far_ahead() -> Sqn {
    Sqn::new(1 << 47).expect("48 bits")
}

fn keeping(folder: &Path) -> Vec<OsString> {
    vec!["--state".into(), folder.join("hss.state").into()]
}

fn ctl(lab: &Running, words: &[&str]) -> String {
    let file = lab.folder.path().join("lab.yaml");
    let said = output(cscf().args(["ctl", "--lab"]).arg(file).args(words));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    text(&said.stdout)
}

/// Registers with a card that is ahead: once out of step, then in step.
fn brought_into_step(phone: &mut Phone) {
    let challenge = phone.challenged();
    let Card::OutOfStep(line, ..) = phone.authenticate(&challenge) else { panic!("in step") };
    let again = phone::challenge(&phone.register(&line));
    let Card::Accepts(line) = phone.authenticate(&again) else { panic!("out of step twice") };
    assert_eq!(phone.register(&line).status, 200);
}

/// Waits until the state file says this; the HSS writes it within a second or so.
fn wait_until_kept(lab: &Running, part: &str) -> String {
    let file = lab.folder.path().join("hss.state");
    running::wait_until(|| {
        let kept = std::fs::read_to_string(&file).expect("a state");
        kept.contains(part).then_some(kept)
    })
}

#[test]
fn a_card_stays_in_step_with_a_lab_that_was_killed() {
    let mut lab = Running::start_with(|_, folder| keeping(folder));
    let mut phone = Phone::new(&lab, "alice", 101, far_ahead());
    brought_into_step(&mut phone);
    let kept = wait_until_kept(&lab, "registered_by");
    assert!(kept.contains(&phone.sqn_ms().to_string()), "{} in {kept}", phone.sqn_ms());

    lab.crash();
    let again = keeping(lab.folder.path());
    lab.start_again(&again);

    let table = ctl(&lab, &["show", "subscribers", "alice"]);
    assert!(table.contains("registered") && table.contains("sip:127."), "{table}");
    phone.switched_on_again();
    let challenge = phone.challenged();
    let Card::Accepts(line) = phone.authenticate(&challenge) else { panic!("out of step") };
    assert_eq!(phone.register(&line).status, 200);
    lab.end();
}

#[test]
fn without_a_file_such_a_card_is_out_of_step_again() {
    let mut lab = Running::start();
    let mut phone = Phone::new(&lab, "alice", 101, far_ahead());
    brought_into_step(&mut phone);
    lab.crash();
    lab.start_again(&[]);
    phone.switched_on_again();
    brought_into_step(&mut phone);
    lab.end();
}

#[test]
fn the_end_in_order_writes_what_is_not_written_yet() {
    for one_process in [false, true] {
        let lab = Running::start_with(|_, folder| {
            let mut args = keeping(folder);
            args.extend(one_process.then(|| "--one-process".into()));
            args
        });
        let mut phone = Phone::new(&lab, "alice", 101, far_ahead());
        brought_into_step(&mut phone);
        let challenge = phone.challenged();
        let Card::Accepts(_) = phone.authenticate(&challenge) else { panic!("out of step") };
        let (sqn, file) = (phone.sqn_ms().to_string(), lab.folder.path().join("hss.state"));

        let folder = lab.end();

        let kept = std::fs::read_to_string(&file).expect("a state");
        assert!(kept.contains(&sqn), "{sqn} is not in {kept}");
        drop(folder);
    }
}

#[test]
fn a_file_that_is_no_such_state_is_said_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("state");
    let domain = "ims.mnc001.mcc001.3gppnetwork.org";
    let head =
        |domain: &str| format!("{{\"is\":\"hss_state\",\"version\":1,\"domain\":\"{domain}\"}}\n");
    let cut =
        head(domain) + "{\"is\":\"sqn\",\"impi\":\"x\",\"sqn\":\"000000000020\"}\n{\"is\":\"se";
    for (content, said) in [
        (String::new(), ":1:1: it is empty"),
        ("my shopping list\n".to_owned(), ":1:1: this is no state of an HSS of cscf"),
        (head("other.example"), ":1:1: it is the state of an HSS of other.example"),
        (cut, ":3:"),
    ] {
        std::fs::write(&file, &content).expect("writes");
        for command in [&["hss"][..], &["up"], &["up", "--one-process"]] {
            let mut args: Vec<&str> = command.to_vec();
            let shown = file.to_str().expect("text");
            args.extend(["--state", shown]);
            let ended = output(cscf().args(&args));
            let told = text(&ended.stderr);
            assert_eq!(ended.status.code(), Some(2), "{args:?}: {told}");
            assert!(told.contains(&format!("{shown}{said}")), "{args:?}: {told}");
            assert!(told.contains("It is left as it is"), "{told}");
            assert_eq!(std::fs::read_to_string(&file).expect("still there"), content);
        }
    }
}

#[test]
fn a_state_belongs_to_one_hss_at_a_time() {
    let lab = Running::start_with(|_, folder| keeping(folder));
    let file = lab.folder.path().join("hss.state");
    let second = output(cscf().args(["hss", "--state"]).arg(&file));
    let told = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{told}");
    assert!(told.contains("hss.state is in use by another node"), "{told}");
    let nowhere = output(cscf().args(["hss", "--state", "/no/such/folder/state"]));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("cannot be written"), "{}", text(&nowhere.stderr));
    lab.end();
}

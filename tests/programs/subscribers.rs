//! `cscf subscribers import` and `cscf profile` as a person meets them: what they write, what they
//! say of a mistake, and the exit code.

use std::path::Path;

use crate::running::{OP, cscf, output, text};
use cscf_core::config::{Auth, Lab, read_lab};
use cscf_core::ifc::UserProfile;
use tempfile::TempDir;

const K: &str = "30313233343536373839616263646566";

/// What `cscf WORDS` says: exit code, standard output, standard error.
fn say(words: &[&str]) -> (Option<i32>, String, String) {
    let output = output(cscf().args(words));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder with a file in it, and the name of that file.
fn file(name: &str, content: &[u8]) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("writes");
    let shown = path.to_str().expect("text").to_owned();
    (folder, shown)
}

fn lab(text: &str) -> Lab {
    read_lab(text).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn a_vendors_table_becomes_a_lab_that_can_be_used() {
    let table = format!(
        "IMSI;ICCID;MSISDN;PIN1;KI;OPC;ADM1\r\n001010000000011;8988;+15550111;1;{K};{OP};9\r\n\
         001010000000012;8989;;1;{K};{OP};9\r\n"
    );
    let (folder, csv) = file("sims.csv", table.as_bytes());

    let (code, out, said) = say(&["subscribers", "import", &csv]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let made = lab(&out);
    let before = Lab::default_lab().subscribers.count();
    assert_eq!(made.subscribers.count(), before + 2);
    let last = &made.subscribers.listed()[before + 1];
    assert_eq!(last.impi, "001010000000012@ims.mnc001.mcc001.3gppnetwork.org");
    let Auth::Aka { opc, sqn: 0, .. } = last.auth else { panic!("{last:?}") };
    assert_eq!(cscf_core::auth::to_hex(&opc), OP);

    let to = folder.path().join("lab.yaml");
    let to = to.to_str().expect("text");
    let (code, out, said) = say(&["subscribers", "import", &csv, "-o", to]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(out, format!("wrote {to} with 2 more subscribers: `cscf up --lab {to}`\n"));
    assert_eq!(lab(&std::fs::read_to_string(to).expect("written")), made);
    assert!(!Path::new(&format!("{to}.new")).exists());
    let (code, out, _) = say(&["check", to]);
    assert_eq!(code, Some(0));
    assert!(out.ends_with(&format!("and {} subscribers\n", before + 2)), "{out}");

    let (code, out, said) = say(&["profile", "001010000000011", "--lab", to]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let profile = UserProfile::parse(&out).expect("an IMSSubscription document");
    assert_eq!(profile.private_id, "001010000000011@ims.mnc001.mcc001.3gppnetwork.org");
    let identities = &profile.service_profiles[0].public_identities;
    let barred: Vec<(&str, bool)> =
        identities.iter().map(|one| (one.identity.as_str(), one.barred)).collect();
    assert!(barred.contains(&("tel:+15550111", false)), "{barred:?}");
    let temporary = "sip:001010000000011@ims.mnc001.mcc001.3gppnetwork.org";
    assert!(barred.contains(&(temporary, true)), "{barred:?}");

    // Who is in it already is not taken twice, and the file stays as it is.
    let (code, _, said) = say(&["subscribers", "import", &csv, "--lab", to, "-o", to]);
    assert_eq!(code, Some(2));
    assert!(said.contains("001010000000011@") && said.contains("is in the lab already"), "{said}");
    assert_eq!(lab(&std::fs::read_to_string(to).expect("still there")), made);
}

#[test]
fn every_mistake_of_a_table_is_said_with_its_place_and_nothing_is_written() {
    let head = "imsi,msisdn,k,opc\n";
    let row = |imsi: &str, k: &str| format!("{imsi},,{k},{OP}\n");
    let good = row("001010000000011", K);
    for (table, place, said) in [
        (String::new(), "", "there is no subscriber in it"),
        (head.to_owned(), "", "there is no subscriber in it"),
        ("name,k\nx,y\n".to_owned(), ":1:1", "there is no column `IMSI`"),
        (format!("imsi,msisdm,k,opc\n{good}"), ":1:6", "did you mean `msisdn`?"),
        (head.to_owned() + &row("00101000000001x", K), ":2:1", "is no IMSI of 6 to 15 digits"),
        (head.to_owned() + &row("001010000000011", "12"), ":2:18", "is not 32 hexadecimal digits"),
        (format!("{head}{good}{good}"), ":3:1", "stands twice, first in line 2"),
        (format!("{head}001010000000011,,{K},\n"), ":2:1", "there is no OP or OPc in this line"),
    ] {
        let (folder, csv) = file("sims.csv", table.as_bytes());
        let to = folder.path().join("lab.yaml");
        let words = ["subscribers", "import", &csv, "-o", to.to_str().expect("text")];
        let (code, out, told) = say(&words);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{table}: {told}");
        assert!(told.contains("has mistakes") && told.contains(said), "{table}: {told}");
        assert!(told.contains(&format!("{csv}{place}")), "{table}: {told}");
        assert!(!to.exists(), "{table}");
    }
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let (code, _, said) = say(&["subscribers", "import", "/no/such/table.csv"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("/no/such/table.csv cannot be read"), "{said}");
    let (folder, csv) = file("sims.csv", &[0xff, 0xfe, 0x00, b'\n']);
    let (code, _, said) = say(&["subscribers", "import", &csv]);
    assert_eq!(code, Some(2));
    assert!(said.contains("cannot be read"), "{said}");
    let (_other, good) = file("sims.csv", format!("001010000000011,{K},{OP}\n").as_bytes());
    let (code, _, said) = say(&["subscribers", "import", &good, "-o", "/no/such/folder/lab.yaml"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("/no/such/folder/lab.yaml cannot be written"), "{said}");
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, "domain: ims.example\nnods: {}\n").expect("writes");
    let bad = bad.to_str().expect("text");
    for words in
        [&["subscribers", "import", &good, "--lab", bad][..], &["profile", "alice", "--lab", bad]]
    {
        let (code, _, said) = say(words);
        assert_eq!(code, Some(2));
        assert!(said.contains(&format!("{bad}:2:1")), "{said}");
        assert!(said.contains("did you mean `nodes`?"), "{said}");
    }
}

#[test]
fn a_profile_is_what_the_hss_sends_or_the_nearest_name() {
    let (code, out, said) = say(&["profile", "alice"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(
        Lab::default_lab().profile_of("alice").map(|it| it.trim_end().to_owned() + "\n"),
        Some(out)
    );
    let (code, out, said) = say(&["profile", "alicia"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(said.contains("no subscriber `alicia`; did you mean `alice`?"), "{said}");
    let (code, _, said) = say(&["profile", "zzzzzzzz"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no subscriber `zzzzzzzz` in the lab"), "{said}");
    assert_eq!(say(&["profile"]).0, Some(2));
    assert_eq!(say(&["subscribers", "export"]).0, Some(2));
}

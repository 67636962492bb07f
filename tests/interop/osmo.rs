//! osmo-auc-gen, an authentication centre of others, as the judge of `cscf aka` and of what the HSS
//! makes of an AUTS. Skipped where it is not installed.

use std::process::Command;

use crate::phone::{self, Card, Phone};
use crate::running::{AMF, OP, Running, alice_by_sipp, cscf, hex, installed, output, secret, text};
use cscf_core::auth::{Auts, Milenage, Sqn, derive_opc, to_hex};
use cscf_core::ids::{Ids, Seed, ShardId};

/// How many random values are tried.
const TRIES: usize = 40;

/// A card, its network's challenge and its number.
struct Values {
    k: [u8; 16],
    op: [u8; 16],
    rand: [u8; 16],
    sqn: u64,
    amf: [u8; 2],
}

impl Values {
    fn draw(ids: &mut Ids) -> Self {
        let [k, op, rand, other] = [(); 4].map(|()| ids.rand16());
        // 47 bits, so that there is a next one.
        let sqn = u64::from_be_bytes(other[..8].try_into().expect("eight")) >> 17;
        Self { k, op, rand, sqn, amf: [other[8], other[9]] }
    }
}

/// What osmo-auc-gen says, by field.
fn osmo(values: &Values, more: &[&str]) -> Vec<(String, String)> {
    let mut command = Command::new("osmo-auc-gen");
    command.args(["-3", "-a", "MILENAGE", "-k", &hex(&values.k), "-O", &hex(&values.op)]);
    command.args(["-f", &hex(&values.amf), "-r", &hex(&values.rand)]).args(more);
    let said = output(&mut command);
    assert!(said.status.success(), "{}", text(&said.stdout));
    let lines = text(&said.stdout);
    let fields = lines.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(known, _)| known == name);
    found.map_or_else(|| panic!("no {name} in {fields:?}"), |(_, value)| value)
}

/// What `cscf aka` says, and its exit code.
fn aka(values: &Values, more: &[&str]) -> (Option<i32>, String) {
    let mut command = cscf();
    command.args(["aka", "--k", &hex(&values.k), "--op", &hex(&values.op)]);
    command.args(["--rand", &hex(&values.rand), "--amf", &hex(&values.amf)]).args(more);
    let said = output(&mut command);
    (said.status.code(), text(&said.stdout))
}

#[track_caller]
fn has(said: &str, name: &str, value: &str) {
    let line = format!("{name:<5} {value}");
    assert!(said.lines().any(|it| it.starts_with(&line)), "{line} is not in\n{said}");
}

#[test]
fn both_make_the_same_challenge_and_answer_of_any_values() {
    if !installed("osmo-auc-gen") {
        return;
    }
    let mut ids = Ids::new(Seed::derive(1, "osmo"), ShardId(0));
    for _ in 0..TRIES {
        let values = Values::draw(&mut ids);
        let judge = osmo(&values, &["-s", &values.sqn.to_string()]);
        let (_, made) = aka(&values, &["--sqn", &values.sqn.to_string()]);
        for name in ["AUTN", "RES", "CK", "IK"] {
            has(&made, name, field(&judge, name));
        }
        assert!(made.contains(&format!("nonce {}", field(&judge, "IMS nonce"))), "{made}");
        // And what the judge made is understood.
        let (code, checked) = aka(&values, &["--autn", field(&judge, "AUTN")]);
        assert_eq!(code, Some(0), "{checked}");
        has(&checked, "MAC", "right");
        assert!(checked.contains(&format!("= {} (SEQ ", values.sqn)), "{checked}");
        has(&checked, "RES", field(&judge, "RES"));
    }
}

#[test]
fn both_read_the_same_number_of_an_auts() {
    if !installed("osmo-auc-gen") {
        return;
    }
    let mut ids = Ids::new(Seed::derive(2, "osmo"), ShardId(0));
    for _ in 0..TRIES {
        let values = Values::draw(&mut ids);
        let card = Milenage::new(values.k, derive_opc(values.k, values.op));
        let sqn_ms = Sqn::new(values.sqn).expect("48 bits");
        let auts = hex(&Auts::generate(&card, &values.rand, sqn_ms).to_bytes());
        let judge = osmo(&values, &["-A", &auts]);
        assert_eq!(field(&judge, "SQN.MS"), values.sqn.to_string());
        let (code, said) = aka(&values, &["--auts", &auts]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("= {} (SEQ ", values.sqn)), "{said}");
        // The next challenge of the judge is above the card's number for us as well.
        let next = field(&judge, "AUTN");
        let (code, said) = aka(&values, &["--autn", next]);
        assert_eq!(code, Some(0), "{said}");
        let number: u64 = field(&judge, "SQN").parse().expect("a number");
        assert!(number > values.sqn && said.contains(&format!("= {number} (SEQ ")), "{said}");
    }
}

#[test]
fn an_auts_of_another_card_is_wrong_for_both() {
    if !installed("osmo-auc-gen") {
        return;
    }
    let mut ids = Ids::new(Seed::derive(3, "osmo"), ShardId(0));
    let (values, other) = (Values::draw(&mut ids), Values::draw(&mut ids));
    let card = Milenage::new(other.k, derive_opc(other.k, other.op));
    let sqn_ms = Sqn::new(values.sqn).expect("48 bits");
    let auts = hex(&Auts::generate(&card, &values.rand, sqn_ms).to_bytes());
    let (code, said) = aka(&values, &["--auts", &auts]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MAC-S WRONG"), "{said}");
    let mut judge = Command::new("osmo-auc-gen");
    judge.args(["-3", "-a", "MILENAGE", "-k", &hex(&values.k), "-O", &hex(&values.op)]);
    judge.args(["-f", &hex(&values.amf), "-r", &hex(&values.rand), "-A", &auts]);
    assert!(!text(&output(&mut judge).stdout).contains("SQN.MS:"));
}

/// SIPp takes every number for fresh (`if (1/*sqn[5] > sqn_he[5]*/)` in its auth.cpp), so it never
/// sends an AUTS itself. Here a card that is ahead sends one, osmo-auc-gen says that it is right
/// and which number comes next, and SIPp registers with a vector that the HSS made after it.
#[test]
fn the_hss_follows_an_auts_that_others_find_right_and_sipp_registers_then() {
    if !installed("osmo-auc-gen") || !installed("sipp") {
        return;
    }
    let lab = Running::start();
    let alice = lab.subscriber("alice");
    let ahead = Sqn::new((1 << 47) + 5).expect("48 bits");
    let mut phone = Phone::new(&lab, "alice", 105, ahead);
    let first = phone.challenged();
    let Card::OutOfStep(line, auts, sqn_ms) = phone.authenticate(&first) else { panic!("fresh") };
    assert_eq!(sqn_ms, ahead);

    let (k, op) = (secret(alice), OP.to_owned());
    let rand = phone::nonce(&first).rand;
    let judge = |rand: [u8; 16], more: &[&str]| {
        let mut command = Command::new("osmo-auc-gen");
        command.args(["-3", "-a", "MILENAGE", "-k", &k, "-O", &op, "-f", AMF]);
        text(&output(command.args(["-r", &to_hex(&rand)]).args(more)).stdout)
    };
    let said = judge(rand, &["-A", &hex(&auts.to_bytes())]);
    assert!(said.contains(&format!("SQN.MS:\t{}\n", ahead.value())), "{said}");

    let second = phone::challenge(&phone.register(&line));
    let Card::Accepts(_) = phone.authenticate(&second) else { panic!("out of step twice") };
    let sqn = phone.sqn_ms();
    assert!(sqn > ahead, "{sqn} after {ahead}");
    let nonce = phone::nonce(&second);
    let said = judge(nonce.rand, &["-s", &sqn.value().to_string()]);
    assert!(said.contains(&format!("AUTN:\t{}\n", to_hex(&nonce.autn.to_bytes()))), "{said}");

    assert_eq!(alice_by_sipp(&lab, "alice_registers", 101, "u1"), Ok(()));
    lab.end();
}

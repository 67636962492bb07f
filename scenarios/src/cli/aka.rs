//! `cscf aka`: what a card and its HSS compute of a challenge, and why they do not agree
//! (TS 33.102 §6.3, TS 35.206, TS 35.231, TS 34.108 §8.1.2, RFC 3310).

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cscf_core::auth::{
    AkaFunctions, AkaKeys, AkaNonce, AkaSet, Amf, AuthVector, Autn, Auts, Challenge, Rand,
    ResLength, Sqn, TuakKey, derive_opc, derive_topc, from_hex, to_hex,
};
use cscf_core::host::program::{EXIT_FAILED, EXIT_OK};

use super::term;

/// What `cscf aka` is asked.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Checks a challenge:     cscf aka --k K --opc OPC --rand RAND --autn AUTN
of a pasted header:     cscf aka --k K --op OP --header 'Digest realm=\"…\", nonce=\"…\", …'
reads the UE's SQN:     cscf aka --k K --opc OPC --rand RAND --auts AUTS
makes a challenge:      cscf aka --k K --opc OPC --rand RAND --sqn 32

Exit code 0: the MAC is right, or there was none to check; 1: it is wrong; 2: the values cannot be read.")]
pub struct AkaArgs {
    /// The subscriber key, in hexadecimal
    #[arg(long, value_name = "HEX")]
    k: String,
    /// The operator's value OP (TUAK: TOP)
    #[arg(long, value_name = "HEX", conflicts_with = "opc")]
    op: Option<String>,
    /// The value derived of OP and K (TUAK: `TOPc`)
    #[arg(long, value_name = "HEX")]
    opc: Option<String>,
    /// The challenge
    #[arg(long, value_name = "HEX")]
    rand: Option<String>,
    /// The network's token, to be checked
    #[arg(long, value_name = "HEX")]
    autn: Option<String>,
    /// The card's answer when it is out of step: hexadecimal or base64
    #[arg(long, value_name = "HEX")]
    auts: Option<String>,
    /// A WWW-Authenticate header, in place of RAND and AUTN
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["rand", "autn"])]
    header: Option<String>,
    /// Make an AUTN with this sequence number, decimal or 0x…
    #[arg(long, value_name = "N", conflicts_with_all = ["autn", "header"])]
    sqn: Option<String>,
    /// The AMF of the AUTN that is made
    #[arg(long, value_name = "HEX", default_value = "8000")]
    amf: String,
    /// The algorithm set
    #[arg(long, value_enum, default_value_t)]
    algorithm: Set,
}

/// An algorithm set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Set {
    #[default]
    Milenage,
    Tuak,
    Xor,
}

/// One way to read the values of the card, and what it would mean.
struct Reading {
    functions: AkaSet,
    meaning: &'static str,
}

const OP_AS_OPC: &str = "with this value taken as OPc, not OP";
const OPC_AS_OP: &str = "with this value taken as OP, not OPc";

/// What the values come to, and whether the MAC is right.
fn computed(args: &AkaArgs) -> Result<(String, bool), String> {
    let (own, others) = readings(args)?;
    let challenge = match &args.header {
        Some(header) => {
            let nonce = nonce_of(header)?;
            Some((nonce.rand, Some(nonce.autn.to_bytes())))
        }
        None => match &args.rand {
            Some(rand) => {
                let autn = args.autn.as_deref().map(|text| hex("AUTN", text)).transpose()?;
                Some((hex("RAND", rand)?, autn))
            }
            None => None,
        },
    };
    let (rand, autn) = challenge.ok_or("give RAND, or a WWW-Authenticate header")?;
    let mut out = String::new();
    let _ = writeln!(out, "RAND  {}", to_hex(&rand));
    if let Some(text) = &args.auts {
        let fine = resynchronisation(&mut out, (&own, &others), &rand, auts_of(text)?);
        return Ok((out, fine));
    }
    let fine = match (autn, &args.sqn) {
        (Some(autn), _) => check(&mut out, (&own, &others), rand, autn),
        (None, Some(sqn)) => {
            let amf: Amf = hex("AMF", &args.amf)?;
            let vector = AuthVector::generate(&own, rand, sqn_of(sqn)?, amf);
            let _ = writeln!(out, "AUTN  {}", to_hex(&vector.autn.to_bytes()));
            let _ = writeln!(out, "nonce {}", vector.nonce().encode());
            true
        }
        (None, None) => true,
    };
    outputs(&mut out, &own, &rand);
    Ok((out, fine))
}

/// RES, CK and IK of a challenge.
fn outputs(out: &mut String, functions: &AkaSet, rand: &Rand) {
    let made = functions.f2345(rand);
    let _ = writeln!(out, "RES   {}", to_hex(made.res.as_bytes()));
    let _ = writeln!(out, "CK    {}", to_hex(&made.ck));
    let _ = writeln!(out, "IK    {}", to_hex(&made.ik));
}

fn check(
    out: &mut String,
    (own, others): (&AkaSet, &[Reading]),
    rand: Rand,
    octets: [u8; 16],
) -> bool {
    let autn = Autn::from_bytes(octets);
    let _ = writeln!(out, "AUTN  {}", to_hex(&octets));
    let (sqn, right) = verified(own, &rand, autn);
    let _ = writeln!(out, "MAC   {}", if right { "right" } else { "WRONG" });
    if right {
        number(out, "SQN", sqn);
        let _ = writeln!(out, "AMF   {}", to_hex(&autn.amf));
        return true;
    }
    let fits = others.iter().find(|other| verified(&other.functions, &rand, autn).1);
    let exchanged = verified(own, &octets, Autn::from_bytes(rand)).1;
    match fits {
        Some(Reading { functions, meaning }) => {
            let _ = writeln!(out, "cause the AUTN verifies {meaning}");
            number(out, "SQN", verified(functions, &rand, autn).0);
        }
        None if exchanged => {
            out.push_str("cause the AUTN verifies with RAND and AUTN exchanged\n");
        }
        None => out.push_str(
            "cause K or OP/OPc is another one, or this AUTN was not made for this RAND; \
             nothing else that was tried fits\n",
        ),
    }
    false
}

/// The SQN in an AUTN, and whether its MAC is right.
fn verified(functions: &AkaSet, rand: &Rand, autn: Autn) -> (Sqn, bool) {
    let ak = functions.f2345(rand).ak;
    let mut octets = autn.concealed_sqn;
    for (octet, mask) in octets.iter_mut().zip(ak) {
        *octet ^= mask;
    }
    let sqn = Sqn::from_bytes(octets);
    (sqn, functions.f1(rand, sqn, autn.amf) == autn.mac_a)
}

fn resynchronisation(
    out: &mut String,
    (own, others): (&AkaSet, &[Reading]),
    rand: &Rand,
    auts: Auts,
) -> bool {
    let _ = writeln!(out, "AUTS  {}", to_hex(&auts.to_bytes()));
    if let Ok(sqn) = auts.verify(own, rand) {
        out.push_str("MAC-S right\n");
        number(out, "SQN", sqn);
        return true;
    }
    out.push_str("MAC-S WRONG\n");
    let fits = others
        .iter()
        .find_map(|other| auts.verify(&other.functions, rand).ok().map(|sqn| (other.meaning, sqn)));
    match fits {
        Some((meaning, sqn)) => {
            let _ = writeln!(out, "cause the AUTS verifies {meaning}");
            number(out, "SQN", sqn);
        }
        None => out.push_str("cause K, OP/OPc or RAND is not that of the card\n"),
    }
    false
}

/// A sequence number whole and as SEQ and IND of 5 bits (TS 33.102 Annex C).
fn number(out: &mut String, name: &str, sqn: Sqn) {
    let value = sqn.value();
    let _ = writeln!(out, "{name}   {sqn} = {value} (SEQ {}, IND {})", value >> 5, value & 31);
}

/// The functions of the values as given, and what else they may have been meant to be.
fn readings(args: &AkaArgs) -> Result<(AkaSet, Vec<Reading>), String> {
    let mut others = Vec::new();
    let mut other = |keys: AkaKeys, meaning| {
        others.push(Reading { functions: keys.functions(), meaning });
    };
    let given = args.op.as_deref().map(|op| (op, true));
    let given = given.or_else(|| args.opc.as_deref().map(|opc| (opc, false)));
    let missing = "give --op or --opc";
    let own = match args.algorithm {
        Set::Xor => AkaKeys::Xor { k: hex("K", &args.k)? },
        Set::Milenage => {
            let k = hex("K", &args.k)?;
            let (text, is_op) = given.ok_or(missing)?;
            let value = hex("OP or OPc", text)?;
            let (plain, derived) = (
                AkaKeys::Milenage { k, opc: value },
                AkaKeys::Milenage { k, opc: derive_opc(k, value) },
            );
            let (own, turned) = if is_op { (derived, plain) } else { (plain, derived) };
            other(turned, if is_op { OP_AS_OPC } else { OPC_AS_OP });
            other(AkaKeys::Xor { k }, "with the test algorithm XOR: try --algorithm xor");
            own
        }
        Set::Tuak => {
            let k = match args.k.len() {
                64 => TuakKey::Bits256(hex("K", &args.k)?),
                _ => TuakKey::Bits128(hex("K", &args.k)?),
            };
            let (text, is_op) = given.ok_or(missing)?;
            let value = hex("TOP or TOPc", text)?;
            let with = |topc| AkaKeys::Tuak { k, topc, res: ResLength::Bits64, iterations: 1 };
            let (plain, derived) = (with(value), with(derive_topc(&k, value, 1)));
            let (own, turned) = if is_op { (derived, plain) } else { (plain, derived) };
            other(turned, if is_op { OP_AS_OPC } else { OPC_AS_OP });
            own
        }
    };
    Ok((own.functions(), others))
}

fn hex<const N: usize>(what: &str, text: &str) -> Result<[u8; N], String> {
    let digits: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    if let Some(letter) = digits.chars().find(|letter| !letter.is_ascii_hexdigit()) {
        return Err(format!("{what} is hexadecimal; `{letter}` in `{text}` is no such digit"));
    }
    from_hex(digits).ok_or_else(|| {
        let found = digits.len();
        format!("{what} is {N} octets, {} hexadecimal digits; here are {found}: `{text}`", 2 * N)
    })
}

fn sqn_of(text: &str) -> Result<Sqn, String> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let sqn = value.ok().and_then(Sqn::new);
    sqn.ok_or_else(|| format!("`{text}` is no sequence number of 48 bits"))
}

fn auts_of(text: &str) -> Result<Auts, String> {
    if let Some(octets) = from_hex::<14>(text) {
        return Ok(Auts::from_bytes(octets));
    }
    Auts::decode(text)
        .map_err(|fault| format!("AUTS is 14 octets in hexadecimal or base64: {fault}"))
}

/// RAND and AUTN of a WWW-Authenticate header, with or without its name.
fn nonce_of(header: &str) -> Result<AkaNonce, String> {
    let value = match header.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("www-authenticate") => value,
        _ => header,
    };
    let challenge: Challenge =
        value.trim().parse().map_err(|fault| format!("no WWW-Authenticate header: {fault}"))?;
    let algorithm = challenge.algorithm().map_err(|fault| fault.to_string())?;
    if algorithm.aka.is_none() {
        return Err(format!(
            "the header asks for {algorithm}, not for AKA: there is no AUTN in it (a header \
             without algorithm asks for MD5)"
        ));
    }
    AkaNonce::decode(challenge.nonce().unwrap_or_default())
        .map_err(|fault| format!("the nonce holds no RAND and AUTN: {fault}"))
}

/// Prints what the values come to.
pub(super) fn aka(args: &AkaArgs) -> ExitCode {
    match computed(args) {
        Ok((text, fine)) => {
            term::out(&text);
            ExitCode::from(if fine { EXIT_OK } else { EXIT_FAILED })
        }
        Err(fault) => term::could_not_run(&fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: &str = "30313233343536373839616263646566";
    const OP: &str = "cdc202d5123e20f62b6d676ac72cb318";
    const RAND: &str = "00112233445566778899aabbccddeeff";

    fn args() -> AkaArgs {
        AkaArgs {
            k: K.into(),
            op: Some(OP.into()),
            rand: Some(RAND.into()),
            amf: "8000".into(),
            ..AkaArgs::default()
        }
    }

    /// Known answers of `osmo-auc-gen -3 -a MILENAGE -k K -O OP -f 8000 -s 32 -r RAND`.
    const AUTN: &str = "102a11de15ba8000a3409c825bb53404";

    #[test]
    fn a_right_challenge_is_told_as_another_authentication_centre_made_it() {
        let (text, fine) = computed(&AkaArgs { autn: Some(AUTN.into()), ..args() }).expect("ok");
        assert!(fine, "{text}");
        for line in [
            "MAC   right\n",
            "SQN   000000000020 = 32 (SEQ 1, IND 0)\n",
            "AMF   8000\n",
            "RES   fb163084df48559e\n",
            "CK    3af10eb45baea3fb044ea8a5e28f3eb8\n",
            "IK    809ed6ef54982a00a3b399e761d92fda\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let (made, _) = computed(&AkaArgs { sqn: Some("0x20".into()), ..args() }).expect("ok");
        assert!(made.contains(&format!("AUTN  {AUTN}\n")), "{made}");
    }

    #[test]
    fn a_pasted_header_is_taken_apart() {
        let nonce = "ABEiM0RVZneImaq7zN3u/xAqEd4VuoAAo0Ccglu1NAQ=";
        let header = format!(
            "WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"{nonce}\", algorithm=AKAv1-MD5"
        );
        let pasted = AkaArgs { rand: None, header: Some(header), ..args() };
        let (text, fine) = computed(&pasted).expect("ok");
        assert!(fine && text.contains(RAND), "{text}");
        let md5 = "Digest realm=\"a\", nonce=\"b\", algorithm=MD5".to_owned();
        let fault = computed(&AkaArgs { header: Some(md5), ..pasted }).expect_err("no AKA");
        assert!(fault.contains("not for AKA"), "{fault}");
    }

    #[test]
    fn op_and_opc_that_were_taken_for_each_other_are_found() {
        let as_opc = AkaArgs { op: None, opc: Some(OP.into()), autn: Some(AUTN.into()), ..args() };
        let (text, fine) = computed(&as_opc).expect("ok");
        assert!(!fine && text.contains("MAC   WRONG"), "{text}");
        assert!(text.contains("the AUTN verifies with this value taken as OP, not OPc"), "{text}");
        let wrong_key = AkaArgs { k: RAND.into(), autn: Some(AUTN.into()), ..args() };
        let (text, _) = computed(&wrong_key).expect("ok");
        assert!(text.contains("cause K or OP/OPc is another one"), "{text}");
    }

    /// `osmo-auc-gen … -r RAND -A dd356f7ccb33b07a61b03ef22684` says `SQN.MS: 1193046`.
    #[test]
    fn auts_tells_the_number_of_the_card() {
        let auts = Some("dd356f7ccb33b07a61b03ef22684".to_owned());
        let (text, fine) = computed(&AkaArgs { auts: auts.clone(), ..args() }).expect("ok");
        assert!(fine && text.contains("= 1193046 "), "{text}");
        let as_opc = AkaArgs { op: None, opc: Some(OP.into()), auts, ..args() };
        let (text, fine) = computed(&as_opc).expect("ok");
        assert!(!fine && text.contains("taken as OP, not OPc"), "{text}");
    }

    #[test]
    fn a_value_of_another_length_is_named() {
        let fault = computed(&AkaArgs { autn: Some("12".into()), ..args() }).expect_err("short");
        assert!(
            fault.starts_with("AUTN is 16 octets, 32 hexadecimal digits; here are 2"),
            "{fault}"
        );
        let fault = computed(&AkaArgs { k: "xy".into(), ..args() }).expect_err("no digits");
        assert_eq!(fault, "K is hexadecimal; `x` in `xy` is no such digit");
        let pasted = AkaArgs { k: format!("0x{K}"), autn: Some(AUTN.into()), ..args() };
        assert!(computed(&pasted).expect("as SIPp has it").1);
        let fault = computed(&AkaArgs { op: None, ..args() }).expect_err("no OP");
        assert_eq!(fault, "give --op or --opc");
    }

    #[test]
    fn every_algorithm_set_verifies_what_it_made() {
        for (algorithm, op) in
            [(Set::Milenage, OP.to_owned()), (Set::Tuak, OP.repeat(2)), (Set::Xor, OP.to_owned())]
        {
            let with = AkaArgs { algorithm, op: Some(op), ..args() };
            let (text, _) =
                computed(&AkaArgs { sqn: Some("97".into()), ..with.clone() }).expect("ok");
            let autn = text.lines().find_map(|line| line.strip_prefix("AUTN  ")).expect("AUTN");
            let (text, fine) = computed(&AkaArgs { autn: Some(autn.into()), ..with }).expect("ok");
            assert!(fine && text.contains("= 97 "), "{algorithm:?}: {text}");
        }
    }
}

//! What the HSS pushes and what the S-CSCF makes of it (TS 29.228 §6.2): the client stands in the
//! place of i1, the HSS is the real one.

use cscf_core::auth::IntegrityProtected;
use cscf_core::hss::HssCommand;
use cscf_core::sip::Message;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::cx::order_hss;
use super::hand::{Hand, asked, challenge, line, response, restart_s1, result_of};
use super::registrar::with_profile;
use super::{Case, case};

const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("push::the_s_cscf_takes_what_has_changed", &["X-CX-060b"], taken),
        case("push::what_cannot_be_taken_is_given_back", &["X-CX-060b"], given_back),
        case("push::new_criteria_count_from_the_next_register_on", &["X-CX-060c"], criteria),
    ]
}

fn erin() -> String {
    format!("sip:erin@{DOMAIN}")
}

/// Erin's document with a filter criterion for this server, if any.
fn document(server: &str) -> String {
    let criterion = format!(
        "<InitialFilterCriteria><Priority>1</Priority><ApplicationServer><ServerName>{server}\
         </ServerName></ApplicationServer></InitialFilterCriteria>"
    );
    let criterion = if server.is_empty() { String::new() } else { criterion };
    format!(
        "<IMSSubscription><PrivateID>erin@{DOMAIN}</PrivateID><ServiceProfile><PublicIdentity>\
         <Identity>{}</Identity></PublicIdentity>{criterion}</ServiceProfile></IMSSubscription>",
        erin()
    )
}

fn change(profile_xml: String) -> HssCommand {
    HssCommand::ChangeProfileXml { impu: erin(), profile_xml }
}

/// The results in the PPAs to this order.
fn pushed(hand: &mut Hand, command: HssCommand) -> Vec<u32> {
    hand.bench.mark();
    order_hss(&mut hand.bench, command);
    asked(&hand.bench, "s1", "PPA").iter().map(result_of).collect()
}

fn taken() {
    // The charging function.
    let mut hand = with_profile(&[(&erin(), false)], |user| {
        user.charging_ccf = Some("aaa://old.example".to_owned());
    });
    let trusted = hand.trusted();
    let before = hand.register(&trusted);
    assert!(header(&before, "P-Charging-Function-Addresses").contains("old.example"));
    let impi = hand.who.impi.clone();
    let ccf = HssCommand::ChangeCharging { impi, ccf: "aaa://new.example".to_owned() };
    assert_eq!(pushed(&mut hand, ccf), [2001]);
    let again = hand.unchallenged(YES);
    let after = hand.register(&again);
    let told = header(&after, "P-Charging-Function-Addresses");
    assert!(told.contains("new.example") && !told.contains("old.example"), "{told}");

    // The password: of the registration that stands, and of a challenge under way.
    for registered in [true, false] {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
        let ok = hand.registered(None, None);
        assert_eq!(label(&ok), "200 REGISTER");
        let first = hand.unchallenged(None);
        let asked = hand.register(&first);
        if registered {
            let proof = hand.proof(&asked, None);
            assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
        }
        let impi = hand.who.impi.clone();
        let password = HssCommand::ChangePassword { impi, password: "new".to_owned() };
        assert_eq!(pushed(&mut hand, password), [2001]);
        let count = if registered { "nc=00000002" } else { "nc=00000001" };
        let with = |hand: &Hand, password: &[u8]| answer(hand, &asked, password, count);
        let right = with(&hand, b"new");
        let old = with(&hand, b"carol-secret");
        if registered {
            assert_eq!(label(&hand.register(&old)), "403 REGISTER", "the old one");
        }
        assert_eq!(label(&hand.register(&right)), "200 REGISTER", "the new one");
        assert_eq!(hand.asked("s1", "MAR").len(), 0, "the HSS is not asked");
    }
}

/// The Authorization line made with a password, this time with this nonce count.
fn answer(hand: &Hand, asked: &Message, password: &[u8], count: &str) -> String {
    let nc = count.strip_prefix("nc=").expect("a count");
    let made = cscf_core::auth::Answer {
        username: &hand.who.impi,
        password,
        method: "REGISTER",
        uri: &format!("sip:{DOMAIN}"),
        cnonce: "hand",
        nc,
        body: b"",
    };
    let made = cscf_core::auth::Credentials::answer(&challenge(asked), &made);
    line(made.expect("credentials"), None)
}

fn given_back() {
    // Too large: the HSS ends the registration.
    let mut hand = with_profile(&[(&erin(), false)], |_| {});
    restart_s1(&mut hand.bench, |config| config.profile_max = 2_000);
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "200 REGISTER");
    let large = document("") + &" ".repeat(2_000);
    assert_eq!(pushed(&mut hand, change(large)), [5008]);
    let ended = asked(&hand.bench, "s1", "RTA");
    assert_eq!(ended.iter().map(result_of).collect::<Vec<_>>(), [2001]);
    let again = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&again)), "500 REGISTER", "nobody is registered");

    // Of a user that is not known here any more, whatever it is.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    hand.registered(None, None);
    restart_s1(&mut hand.bench, |_| {});
    let impi = || format!("carol@{DOMAIN}");
    for command in [
        HssCommand::ChangeCharging { impi: impi(), ccf: "aaa://new.example".to_owned() },
        HssCommand::ChangePassword { impi: impi(), password: "new".to_owned() },
    ] {
        assert_eq!(pushed(&mut hand, command), [5001]);
    }
}

fn criteria() {
    let mut hand = with_profile(&[(&erin(), false)], |user| {
        user.implicit_sets[0].profile_xml = Some(document("sip:127.1.0.201:5060"));
    });
    hand.bench.raw("before");
    hand.bench.raw("after");
    let told = |hand: &mut Hand| {
        ["before", "after"].map(|server| {
            let heard = hand.bench.heard(server);
            for request in &heard {
                let (ok, s1) = (response(request, "200 OK", "Expires: 3600\n"), hand.to);
                hand.bench.send(server, s1, &ok);
            }
            heard.iter().filter(|it| label(it) == "REGISTER").count()
        })
    };
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "200 REGISTER");
    assert_eq!(told(&mut hand), [1, 0]);
    let new = document("sip:127.1.0.202:5060");
    assert_eq!(pushed(&mut hand, change(new)), [2001]);
    assert_eq!(told(&mut hand), [0, 0], "nobody hears of the change itself");
    let again = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&again)), "200 REGISTER");
    assert_eq!(told(&mut hand), [0, 1]);
}

//! Registration, TS 24.229 §5.1.1.

use cscf_core::auth::{AkaNonce, Algorithm, Auts, Credentials, Ha1, Milenage, Sqn};
use cscf_core::config::{Auth, Lab};
use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::time::{Duration, Instant};
use scenarios::ue::{Phase, UeCommand, UeTimer};

use super::phone::{Phone, aka_challenge, request, vector};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::the_first_register_says_all_a_volte_phone_can", &[], first_register),
        case("ue::a_valid_challenge_is_answered_with_res", &[], valid_challenge),
        case("ue::a_wrong_mac_is_answered_without_response", &["U-REG-040"], wrong_mac),
        case("ue::an_old_sqn_is_answered_with_auts", &["U-REG-050"], old_sqn),
        case("ue::two_invalid_challenges_are_answered_no_more", &["U-REG-060"], giving_up),
        case("ue::a_wrong_res_is_sent_on_demand", &[], wrong_res),
        case("ue::digest_takes_the_first_algorithm_it_knows", &[], digest),
        case("ue::the_200_is_remembered", &["U-REG-070"], remembered),
        case("ue::it_subscribes_to_its_registration", &["U-REG-080"], subscribes),
        case("ue::it_refreshes_in_time", &["U-REG-090"], refreshes),
        case("ue::a_423_makes_it_ask_for_longer", &["U-REG-100"], longer),
        case("ue::switching_off_ends_calls_and_registration", &["U-REG-150"], switching_off),
        case(
            "ue::it_obeys_the_end_of_its_registration",
            &["U-REG-160a", "U-REG-160b", "U-REG-160c"],
            ended_by_network,
        ),
        case("ue::the_end_it_asked_for_may_be_told_before_the_200", &[], told_before_the_200),
        case("ue::a_shortened_registration_is_refreshed_early", &["U-REG-170"], shortened),
    ]
}

pub(super) fn header(request: &Request, name: HeaderName) -> &str {
    request.headers.get(name).unwrap_or_else(|| panic!("no {name}"))
}

pub(super) fn credentials(request: &Request) -> Credentials {
    header(request, HeaderName::Authorization).parse().expect("credentials")
}

fn first_register() {
    let mut phone = Phone::new("alice");
    let did = phone.register();
    let (_, register) = did.request();
    let domain = "ims.mnc001.mcc001.3gppnetwork.org";
    assert_eq!(register.request_uri, format!("sip:{domain}"));
    let impu = format!("<sip:001010000000001@{domain}>");
    assert_eq!(header(register, HeaderName::To), impu);
    assert!(header(register, HeaderName::From).starts_with(&format!("{impu};tag=")));
    assert_eq!(
        header(register, HeaderName::Contact),
        "<sip:10.0.0.1:5060>;+sip.instance=\"<urn:gsma:imei:35209900-000001-0>\";\
         +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";+g.3gpp.smsip;audio;\
         expires=600000"
    );
    assert_eq!(
        header(register, HeaderName::Authorization),
        format!(
            "Digest username=\"001010000000001@{domain}\", realm=\"{domain}\", \
             uri=\"sip:{domain}\", nonce=\"\", response=\"\""
        )
    );
    assert_eq!(header(register, HeaderName::Supported), "path,gruu");
    assert_eq!(header(register, HeaderName::CSeq), "1 REGISTER");
    for name in [HeaderName::Route, HeaderName::PAccessNetworkInfo] {
        assert!(!register.headers.contains(name), "{name}");
    }
}

fn valid_challenge() {
    let mut phone = Phone::new("alice");
    let did = phone.register();
    let call_id = header(did.request().1, HeaderName::CallId).to_owned();
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);

    let (_, register) = did.request();
    let sent = credentials(register);
    let xres = vector(&phone, 1).xres;
    let ha1 = sent.ha1(Algorithm::AKAV1_MD5, xres.as_bytes());
    assert_eq!(sent.verify(&ha1, Algorithm::AKAV1_MD5, "REGISTER", b""), Ok(()));
    assert_eq!((sent.nc(), sent.cnonce().is_some()), (Some("00000001"), true));
    assert_eq!(header(register, HeaderName::CallId), call_id);
    assert_eq!(header(register, HeaderName::CSeq), "2 REGISTER");
    assert!(register.headers.contains(HeaderName::PAccessNetworkInfo));
}

fn wrong_mac() {
    let mut phone = Phone::with("alice", |config| config.mistakes.wrong_key = true);
    let did = phone.register();
    let call_id = header(did.request().1, HeaderName::CallId).to_owned();
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);

    let (_, register) = did.request();
    let sent = credentials(register);
    assert_eq!((sent.response(), sent.auts()), (None, None));
    assert!(header(register, HeaderName::Authorization).contains("response=\"\""));
    assert_eq!(header(register, HeaderName::CallId), call_id);
    assert_eq!(header(register, HeaderName::CSeq), "2 REGISTER");
    let did = phone.answer(did.request(), 403, "");
    assert_eq!(did.states, ["registration failed 403"]);
}

fn old_sqn() {
    let mut phone = Phone::with("alice", |config| config.mistakes.old_sqn = true);
    let did = phone.register();
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);

    let sent = credentials(did.request().1);
    let Auth::Aka { k, opc, .. } = Lab::default_lab().subscriber("alice").expect("alice").auth
    else {
        panic!("no card")
    };
    let rand = AkaNonce::decode(sent.nonce().expect("nonce")).expect("a nonce").rand;
    let auts = Auts::decode(sent.auts().expect("auts")).expect("an AUTS");
    let sqn_ms = auts.verify(&Milenage::new(k, opc), &rand).expect("MAC-S fits");
    assert!(sqn_ms > Sqn::from_parts(1 << 39, 0, Default::default()).expect("48 bits"));
    // The response is made with the empty password.
    let ha1 = sent.ha1(Algorithm::AKAV1_MD5, b"");
    assert_eq!(sent.verify(&ha1, Algorithm::AKAV1_MD5, "REGISTER", b""), Ok(()));

    // A challenge above the card's number is taken.
    let next = sqn_ms.seq(Default::default()) + 1;
    let challenge = aka_challenge(&phone, next);
    let did = phone.answer(did.request(), 401, &challenge);
    assert!(credentials(did.request().1).response().is_some());
}

fn giving_up() {
    for retries in [false, true] {
        let mut phone = Phone::with("alice", |config| {
            config.mistakes.wrong_key = true;
            config.retries = retries;
        });
        let mut did = phone.register();
        let challenge = aka_challenge(&phone, 1);
        for _ in 0..2 {
            did = phone.answer(did.request(), 401, &challenge);
        }
        let did = phone.answer(did.request(), 401, &challenge);
        assert_eq!(did.requests.len(), 0);
        assert_eq!(did.states, ["registration failed 401"]);
        // Later, by a timer of its own, if it tries by itself at all.
        assert_eq!(did.timers.len(), usize::from(retries));
        if let Some((timer, at)) = did.timers.first().copied() {
            assert!(at >= Instant::from_secs(30), "{at}");
            assert_eq!(phone.timer(timer, at).request().1.method, Method::Register);
        }
    }
}

fn wrong_res() {
    let mut phone = Phone::with("alice", |config| config.mistakes.wrong_res = true);
    let did = phone.register();
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);
    let sent = credentials(did.request().1);
    let ha1 = sent.ha1(Algorithm::AKAV1_MD5, vector(&phone, 1).xres.as_bytes());
    assert!(sent.verify(&ha1, Algorithm::AKAV1_MD5, "REGISTER", b"").is_err());
}

fn digest() {
    let domain = "ims.mnc001.mcc001.3gppnetwork.org";
    let line = |algorithm: &str| {
        format!(
            "WWW-Authenticate: Digest realm=\"{domain}\",nonce=\"n1\",algorithm={algorithm},\
             qop=\"auth\"\n"
        )
    };
    for (offered, taken) in [
        (&["SHA-256", "MD5"][..], Algorithm::SHA_256),
        (&["MD5"], Algorithm::MD5),
        (&["SHA-3", "MD5"], Algorithm::MD5),
        (&["AKAv1-MD5", "MD5"], Algorithm::MD5),
    ] {
        let mut phone = Phone::new("dave");
        let did = phone.register();
        let lines: String = offered.iter().map(|algorithm| line(algorithm)).collect();
        let did = phone.answer(did.request(), 401, &lines);
        let sent = credentials(did.request().1);
        let ha1 = Ha1::new(taken.hash, &format!("dave@{domain}"), domain, b"dave-secret");
        assert_eq!(sent.verify(&ha1, taken, "REGISTER", b""), Ok(()), "{offered:?}");
        let did = phone.answer(did.request(), 401, &lines.replace("n1", "n2"));
        assert_eq!(credentials(did.request().1).nonce(), Some("n2"), "a stale nonce is replaced");
    }
    let mut phone = Phone::new("dave");
    let did = phone.register();
    let did = phone.answer(did.request(), 401, &line("SHA-3"));
    assert_eq!(did.states, ["registration failed 401"]);
}

fn remembered() {
    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    assert_eq!(did.states, ["registered"]);
    assert_eq!(phone.ue.phase(), Phase::On);

    let target = "sip:bob@ims.mnc001.mcc001.3gppnetwork.org".to_owned();
    let did = phone.command(UeCommand::SendMessage { target, text: "hi".to_owned() });
    let (_, message) = did.request();
    let routes: Vec<&str> = message.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:10.0.0.10:5060;lr>", "<sip:orig-u1@scscf.home.net:6060;lr>"]);
    let default = "<sip:+15550100001@ims.mnc001.mcc001.3gppnetwork.org;user=phone>";
    assert!(header(message, HeaderName::From).starts_with(default));
    assert_eq!(header(message, HeaderName::PPreferredIdentity), default);
}

fn subscribes() {
    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    let (_, subscribe) = did.request();
    assert_eq!(subscribe.method, Method::Subscribe);
    let default = "sip:+15550100001@ims.mnc001.mcc001.3gppnetwork.org;user=phone";
    assert_eq!(subscribe.request_uri, default);
    assert_eq!(header(subscribe, HeaderName::To), format!("<{default}>"));
    assert!(header(subscribe, HeaderName::From).starts_with(&format!("<{default}>;tag=")));
    let routes: Vec<&str> = subscribe.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:10.0.0.10:5060;lr>", "<sip:orig-u1@scscf.home.net:6060;lr>"]);
    for (name, value) in [
        (HeaderName::Event, "reg"),
        (HeaderName::Expires, "600000"),
        (HeaderName::Accept, "application/reginfo+xml"),
        (HeaderName::Contact, "<sip:10.0.0.1:5060>"),
    ] {
        assert_eq!(header(subscribe, name), value);
    }
    assert!(subscribe.headers.contains(HeaderName::PAccessNetworkInfo));
    let did = phone.answer(did.request(), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    assert_eq!(did.states, ["subscribed"]);
    assert_eq!(did.timers, [(UeTimer::Subscription, Instant::from_secs(599_400))]);
}

fn refreshes() {
    for (granted, at) in [(600_000, 599_400), (1200, 600), (60, 30)] {
        let mut phone = Phone::new("alice");
        let did = phone.register();
        let call_id = header(did.request().1, HeaderName::CallId).to_owned();
        let challenge = aka_challenge(&phone, 1);
        let did = phone.answer(did.request(), 401, &challenge);
        let answered = header(did.request().1, HeaderName::Authorization).to_owned();
        let ok = phone.ok_lines(granted);
        let did = phone.answer(did.request(), 200, &ok);
        assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(at))], "{granted}");

        let did = phone.timer(UeTimer::Register, Instant::from_secs(at));
        let (_, register) = did.request();
        assert_eq!(header(register, HeaderName::CallId), call_id);
        assert_eq!(header(register, HeaderName::CSeq), "3 REGISTER");
        assert_eq!(header(register, HeaderName::Authorization), answered, "as answered last");
        let did = phone.answer(did.request(), 200, &ok);
        assert_eq!(did.states, ["re-registered"]);
    }
}

fn longer() {
    let mut phone = Phone::new("alice");
    let did = phone.command(UeCommand::Register { expires: Some(Duration::from_secs(10)) });
    assert!(header(did.request().1, HeaderName::Contact).ends_with(";expires=10"));
    let call_id = header(did.request().1, HeaderName::CallId).to_owned();
    let did = phone.answer(did.request(), 423, "Min-Expires: 3600");
    let (_, register) = did.request();
    assert!(header(register, HeaderName::Contact).ends_with(";expires=3600"));
    assert_eq!(header(register, HeaderName::CallId), call_id);
    assert_eq!(header(register, HeaderName::CSeq), "2 REGISTER");
    // A 423 that asks for nothing more is a failure, not a loop.
    let did = phone.answer(did.request(), 423, "Min-Expires: 3600");
    assert_eq!(did.states, ["registration failed 423"]);
}

fn switching_off() {
    let mut phone = Phone::new("alice");
    phone.register_fully("");
    let target = "bob".to_owned();
    let options = scenarios::ue::CallOptions { preconditions: Some(false), ..Default::default() };
    let did = phone.command(UeCommand::Call { target, options });
    let (tag, invite) = did.request();
    let answer = "Contact: <sip:bob@10.0.0.2>\nContent-Type: application/sdp\n\n\
                  v=0\r\no=- 9 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
                  m=audio 7000 RTP/AVP 97\r\n";
    let did = phone.answer((tag, invite), 200, answer);
    assert_eq!(did.states, ["call established"]);

    let did = phone.command(UeCommand::Deregister);
    let methods: Vec<&Method> = did.requests.iter().map(|(_, request)| &request.method).collect();
    assert_eq!(methods, [&Method::Bye, &Method::Register]);
    let (tag, register) = &did.requests[1];
    assert!(header(register, HeaderName::Contact).ends_with(";expires=0"));
    let did = phone.answer((*tag, register), 200, "");
    assert_eq!(did.states, ["deregistered"]);
    assert_eq!(phone.ue.phase(), Phase::Off);
}

pub(super) fn notify(subscribe: &Request, state: &str, contact: &str) -> Request {
    let from = header(subscribe, HeaderName::To);
    let to = header(subscribe, HeaderName::From);
    let call_id = header(subscribe, HeaderName::CallId);
    request(&format!(
        "NOTIFY sip:10.0.0.1:5060 SIP/2.0
         From: {from};tag=net1
         To: {to}
         Call-ID: {call_id}
         CSeq: 1 NOTIFY
         Event: reg
         Subscription-State: {state}
         Contact: <sip:s1:6060>
         Content-Type: application/reginfo+xml\n\n\
         <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">\
         <registration aor=\"sip:alice@x\" id=\"r\" state=\"active\"><contact id=\"c\" {contact}>\
         <uri>sip:10.0.0.1:5060</uri></contact></registration></reginfo>"
    ))
}

/// A registered phone whose SUBSCRIBE is answered, and that SUBSCRIBE.
pub(super) fn subscribed() -> (Phone, Request) {
    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    let (tag, subscribe) = did.request();
    phone.answer((tag, subscribe), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    (phone, subscribe.clone())
}

fn ended_by_network() {
    let terminated = |event: &str| format!("state=\"terminated\" event=\"{event}\"");
    let (mut phone, subscribe) = subscribed();
    let did = phone.request(notify(&subscribe, "terminated", &terminated("rejected")));
    assert_eq!((did.status(), did.requests.len()), (200, 0));
    assert_eq!(did.states, ["notified terminated", "deregistered by network"]);
    assert_eq!(phone.ue.phase(), Phase::Off);

    let (mut phone, subscribe) = subscribed();
    let did = phone.request(notify(&subscribe, "terminated", &terminated("deactivated")));
    assert_eq!(did.status(), 200);
    let (_, register) = did.request();
    assert_eq!(register.method, Method::Register);
    assert!(credentials(register).response().is_none(), "an initial registration");

    let (mut phone, subscribe) = subscribed();
    let probation = terminated("probation\" retry-after=\"30");
    let did = phone.request(notify(&subscribe, "terminated", &probation));
    assert_eq!((did.status(), did.requests.len()), (200, 0));
    assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(30))]);
    let did = phone.timer(UeTimer::Register, Instant::from_secs(30));
    assert_eq!(did.request().1.method, Method::Register);
}

fn told_before_the_200() {
    let (mut phone, subscribe) = subscribed();
    let did = phone.command(UeCommand::Deregister);
    let (tag, register) = did.requests.into_iter().next().expect("a REGISTER");
    let gone = "state=\"terminated\" event=\"unregistered\"";
    let did = phone.request(notify(&subscribe, "terminated;reason=noresource", gone));
    assert_eq!((did.status(), did.requests.len()), (200, 0));
    assert_eq!(did.states, ["notified terminated"]);
    assert_eq!(phone.ue.phase(), Phase::Ending);
    let did = phone.answer((tag, &register), 200, "");
    assert_eq!(did.states, ["deregistered"]);
    assert_eq!(phone.ue.phase(), Phase::Off);
}

fn shortened() {
    let (mut phone, subscribe) = subscribed();
    let contact = "state=\"active\" event=\"shortened\" expires=\"60\"";
    let did = phone.request(notify(&subscribe, "active;expires=600000", contact));
    assert_eq!(did.status(), 200);
    assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(30))]);
    let did = phone.timer(UeTimer::Register, Instant::from_secs(30));
    let challenge = aka_challenge(&phone, 2);
    let did = phone.answer(did.request(), 401, &challenge);
    assert!(credentials(did.request().1).response().is_some());
}

//! REGISTER (TS 24.229 §5.2.2).

use super::*;

const FIRST: &str = "REGISTER sip:ims.example SIP/2.0
    Via: SIP/2.0/UDP 10.1.0.1:5060;branch=z9hG4bK1;rport=5060;received=10.1.0.1
    Route: <sip:p1.visited.example:5060;lr>, <sip:elsewhere.example;lr>
    From: <sip:alice@ims.example>;tag=f1
    To: <sip:alice@ims.example>
    Call-ID: reg-alice
    CSeq: 1 REGISTER
    Contact: <sip:10.1.0.1:5060>;expires=600000
    Path: <sip:evil.example;lr>
    P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1
    P-Charging-Vector: icid-value=forged
    Authorization: Digest username=\"alice@ims.example\",realm=\"ims.example\",\
        uri=\"sip:ims.example\",nonce=\"\",response=\"\",integrity-protected=\"yes\"
    Supported: path,gruu";

const HOME: &str = "+ Path: <sip:{U1}@p1.visited.example:5060;lr>
    + Require: path
    + P-Visited-Network-ID: \"visited.example\"
    + P-Charging-Vector: icid-value=\"{I1}\";icid-generated-at=p1.visited.example;\
        orig-ioi=\"Type 1visited.example\"";

fn refused(bench: &mut Bench, source: &str, text: &str, status: u16) {
    let (_, found) = bench.request(source, text);
    assert!(found.starts_with(&format!("reply {status}\n")), "{found}");
    assert!(!found.contains("forward"), "{found}");
}

/// P-REG-010, P-REG-020, P-REG-030, P-REG-040, P-REG-080, P-REG-390a, P-REG-395a, G-ICID-010,
/// G-ICID-030.
#[test]
fn first_register_goes_home_with_path_and_without_what_the_ue_must_not_say() {
    let mut bench = Bench::new(|_| {});
    let (_, found) = bench.request(ALICE, FIRST);
    let authorization = "Authorization: Digest username=\"alice@ims.example\",\
        realm=\"ims.example\",\
        uri=\"sip:ims.example\",nonce=\"\",response=\"\"";
    check(
        &found,
        &format!(
            "set {{U1}} in 240s
            forward to sip:i1.ims.example:5060 Core within 28s
            - Route: <sip:elsewhere.example;lr>
            - Path: <sip:evil.example;lr>
            - P-Charging-Vector: icid-value=forged
            - {authorization},integrity-protected=\"yes\"
            {}
            + {}
            + Require: path
            + P-Visited-Network-ID: \"visited.example\"
            + P-Charging-Vector: icid-value=\"{{I1}}\";icid-generated-at=p1.visited.example;\
                orig-ioi=\"Type 1visited.example\"",
            HOME.lines().next().expect("path"),
            authorization.replace(',', ", "),
        ),
    );
}

/// P-REG-050, P-REG-070.
#[test]
fn clear_text_register_with_an_offer_of_security_is_marked_no() {
    let mut bench = Bench::new(|_| {});
    let text = FIRST.replace("integrity-protected=\"yes\"", "x=y")
        + "\nSecurity-Client: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1;spi-s=2;port-c=3;port-s=4
        Require: sec-agree
        Proxy-Require: sec-agree";
    let (_, found) = bench.request(ALICE, &text);
    assert!(found.contains("integrity-protected=\"no\""), "{found}");
    for line in ["- Security-Client: ", "- Proxy-Require: sec-agree", "- Require: sec-agree"] {
        assert!(found.contains(line), "{found}");
    }
    assert!(!found.contains("+ Security"), "{found}");
    assert_eq!(bench.pcscf.proxy_extensions(), ["sec-agree"]);
}

/// P-REG-390b, P-REG-390c, P-REG-395b, P-REG-400.
#[test]
fn a_response_is_pending_until_the_address_is_bound_to_the_user() {
    let mut bench = Bench::new(|_| {});
    let text = register_text(ALICE, "alice", "600000");
    let (context, found) = bench.request(ALICE, &text);
    assert!(found.contains("integrity-protected=\"ip-assoc-pending\""), "{found}");
    let path = |found: &str| found.lines().find(|line| line.contains("Path")).map(str::to_owned);
    let first_path = path(&found);

    let _ = bench.response(context, CORE, &ok_to_register(ALICE, "alice", "+15550100", "600000"));
    let (_, again) = bench.request(ALICE, &text);
    assert!(again.contains("integrity-protected=\"ip-assoc-yes\""), "{again}");
    assert_eq!(path(&again), first_path, "one Path for one flow");

    for (source, user) in [("10.1.0.1:5062", "alice"), (ALICE, "bob")] {
        let (_, other) = bench.request(source, &register_text(source, user, "600000"));
        assert!(other.contains("ip-assoc-pending"), "{source} {user}: {other}");
        assert_ne!(path(&other), first_path, "{source} {user}");
    }
}

/// P-REG-390d, P-REG-390e, P-REG-100 (as it applies to TLS).
#[test]
fn over_tls_the_connection_is_bound_to_one_user() {
    let mut bench = Bench::new(|_| {});
    let flow = stream(Transport::Tls, ALICE, 1);
    let (context, found) = bench.request_by(flow, &register_text(ALICE, "alice", "600000"));
    assert!(found.contains("integrity-protected=\"tls-pending\""), "{found}");
    let _ = bench.response(context, CORE, &ok_to_register(ALICE, "alice", "+15550100", "600000"));

    let (_, found) = bench.request_by(flow, &register_text(ALICE, "alice", "600000"));
    assert!(found.contains("integrity-protected=\"tls-yes\""), "{found}");
    let (_, found) = bench.request_by(flow, &register_text(ALICE, "bob", "600000"));
    check(&found, "reply 403");
    assert_eq!(bench.pcscf.registered_count(), 1);
}

/// P-REG-180 (keys; no security agreement here), G-ICID-030.
#[test]
fn the_challenge_loses_its_keys_and_nothing_else() {
    let mut bench = Bench::new(|_| {});
    let (context, _) = bench.request(ALICE, FIRST);
    let found = bench.response(
        context,
        CORE,
        "SIP/2.0 401 Unauthorized
        To: <sip:alice@ims.example>;tag=s1
        CSeq: 1 REGISTER
        WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"AAAA\", algorithm=AKAv1-MD5, \
            qop=\"auth\", opaque=\"o\", ck=\"00112233445566778899aabbccddeeff\", \
                ik=\"ffeeddccbbaa99887766554433221100\"
        WWW-Authenticate: Digest realm=\"ims.example\",nonce=\"BBBB\",algorithm=MD5
        WWW-Authenticate: Digest realm=\"ims.example\",nonce=\"CCCC\",ck=\"broken
        P-Charging-Vector: icid-value=\"x\"",
    );
    check(
        &found,
        "pass up 401
        - WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"AAAA\", algorithm=AKAv1-MD5, \
            qop=\"auth\", opaque=\"o\", ck=\"00112233445566778899aabbccddeeff\", \
                ik=\"ffeeddccbbaa99887766554433221100\"
        - WWW-Authenticate: Digest realm=\"ims.example\",nonce=\"CCCC\",ck=\"broken
        - P-Charging-Vector: icid-value=\"x\"
        + WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"AAAA\", algorithm=AKAv1-MD5, \
            qop=\"auth\", opaque=\"o\"",
    );
}

/// P-REG-310, P-REG-320.
#[test]
fn the_200_is_kept_in_mind_and_shown_without_charging() {
    let mut bench = Bench::new(|_| {});
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let found = bench.response(context, CORE, &ok_to_register(ALICE, "alice", "+15550100", "3600"));
    check(
        &found,
        "set {U1} in 3630s
        pass up 200
        - P-Charging-Vector: icid-value=\"x\";orig-ioi=\"Type 1visited.example\";term-ioi=\"Type \
            1ims.example\"",
    );
    let ue = bench.pcscf.bindings.get(bench.ue("{U1}")).expect("kept");
    let registration = ue.registrations.first().expect("one");
    assert_eq!(*registration.service_route, [Box::from("<sip:orig-alice@s1.ims.example:5060;lr>")]);
    let uris: Vec<&str> = registration.associated.iter().map(|it| &*it.uri).collect();
    assert_eq!(uris, ["sip:+15550100@ims.example;user=phone", "tel:+15550100"]);
    assert_eq!(registration.term_ioi.as_deref(), Some("Type 1ims.example"));
}

/// P-REG-310: a refresh replaces the lists.
#[test]
fn a_refresh_replaces_what_was_stored() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let moved = ok_to_register(ALICE, "alice", "+15550199", "600000").replace("@s1", "@s2");
    let _ = bench.response(context, CORE, &moved);
    let ue = bench.pcscf.bindings.get(bench.ue("{U1}")).expect("kept");
    assert_eq!(ue.registrations.len(), 1);
    let registration = ue.registrations.first().expect("one");
    assert!(registration.service_route[0].contains("@s2"), "{registration:?}");
    assert_eq!(&*registration.associated[1].uri, "tel:+15550199");
}

/// P-REG-090: each entry point in turn, then 504, never 408.
#[test]
fn when_no_entry_point_answers_the_ue_gets_504() {
    let mut bench = Bench::new(|config| {
        config.core_entries = vec!["sip:i1.ims.example".into(), "sip:i2.ims.example".into()];
    });
    let (context, found) = bench.request(ALICE, FIRST);
    assert!(found.contains("forward to sip:i1.ims.example Core within 14s"), "{found}");
    let timeout = "SIP/2.0 408 Request Timeout\nCSeq: 1 REGISTER";
    let found = bench.failure(context, Cause::Budget, timeout);
    assert!(found.starts_with("forward to sip:i2.ims.example Core within 14s\n"), "{found}");
    let found = bench.failure(context, Cause::Timeout, timeout);
    check(
        &found,
        "clear {U1}
        pass up 504
        - SIP/2.0 408 Request Timeout
        + SIP/2.0 504 Server Time-out",
    );
    bench.end(context);
    assert!(bench.pcscf.is_idle());
}

/// P-REG-290 (what applies without SAs), P-REG-350.
#[test]
fn deregistration_and_expiry_leave_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "0"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "0");
    let found = bench.response(context, CORE, &answer);
    assert!(found.starts_with("clear {U1}\npass up 200\n"), "{found}");
    bench.end(context);
    assert!(bench.pcscf.is_idle());

    bench.register(BOB, "bob", "+15550101");
    let ue = bench.ue("{U2}");
    bench.wait(seconds(600_000));
    check(&bench.timer(Timer::Ue(ue)), "set {U2} in 30s");
    assert_eq!(bench.pcscf.registered_count(), 1);
    bench.wait(seconds(30));
    check(&bench.timer(Timer::Ue(ue)), "clear {U2}");
    assert!(bench.pcscf.is_idle());
}

/// P-REG-290, P-REG-350: `Contact: *` takes every flow of the user.
#[test]
fn a_star_removes_every_flow_of_the_identity() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    bench.register("10.1.0.9:5060", "alice", "+15550100");
    assert_eq!(bench.pcscf.registered_count(), 2);
    let text = register_text(ALICE, "alice", "0")
        .replace("Contact: <sip:10.1.0.1:5060>;expires=0", "Contact: *\nExpires: 0");
    let (context, _) = bench.request(ALICE, &text);
    let _ = bench.response(context, CORE, "SIP/2.0 200 OK\nCSeq: 2 REGISTER");
    bench.end(context);
    assert!(bench.pcscf.is_idle());
}

/// P-REG-240 (the wait for an answer to the challenge).
#[test]
fn a_ue_that_never_answers_is_forgotten() {
    let mut bench = Bench::new(|_| {});
    let (context, _) = bench.request(ALICE, FIRST);
    bench.wait(seconds(10));
    let _ = bench.response(context, CORE, "SIP/2.0 401 Unauthorized\nCSeq: 1 REGISTER");
    bench.end(context);
    let ue = bench.ue("{U1}");
    bench.wait(seconds(230));
    check(&bench.timer(Timer::Ue(ue)), "set {U1} in 10s");
    bench.wait(seconds(10));
    check(&bench.timer(Timer::Ue(ue)), "clear {U1}");
    assert!(bench.pcscf.is_idle());
}

/// P-REG-220 (what applies without SAs): a refused refresh leaves the registration.
#[test]
fn a_refused_refresh_leaves_the_registration_and_a_refused_start_leaves_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    for (source, left) in [(ALICE, 1), (BOB, 1)] {
        let (context, _) = bench.request(source, &register_text(source, "alice", "600000"));
        let _ = bench.response(context, CORE, "SIP/2.0 403 Forbidden\nCSeq: 2 REGISTER");
        bench.end(context);
        assert_eq!(bench.pcscf.registered_count(), left, "{source}");
    }
    let alice = bench.ue("{U1}");
    bench.pcscf.bindings.remove(alice);
    assert!(bench.pcscf.is_idle());
}

/// P-REG-400: another user at the same address takes the place.
#[test]
fn the_last_user_registered_at_an_address_owns_it() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    bench.register(ALICE, "bob", "+15550101");
    assert_eq!(bench.pcscf.registered_count(), 1);
    let owner = bench.pcscf.bindings.registered_at(&udp(ALICE), ALICE);
    assert_eq!(owner, Some(bench.ue("{U2}")));
}

/// P-REG-400: sent-by is part of the association, so users may share a source.
#[test]
fn users_behind_one_source_are_told_apart_by_sent_by() {
    let mut bench = Bench::new(|_| {});
    for (user, sent_by) in [("alice", "192.168.0.1:5060"), ("bob", "192.168.0.2:5060")] {
        let via = format!("Via: SIP/2.0/UDP {sent_by};branch");
        let text =
            register_text(ALICE, user, "9").replace("Via: SIP/2.0/UDP 10.1.0.1:5060;branch", &via);
        let (context, _) = bench.request(ALICE, &text);
        let _ = bench.response(context, CORE, &ok_to_register(ALICE, user, "+15550100", "9"));
    }
    assert_eq!(bench.pcscf.registered_count(), 2);
    let source = &udp(ALICE);
    let at = |sent_by| bench.pcscf.bindings.registered_at(source, sent_by);
    assert_eq!(at("192.168.0.1:5060"), Some(bench.ue("{U1}")));
    assert_eq!(at("192.168.0.2:5060"), Some(bench.ue("{U2}")));
    assert_eq!(at("192.168.0.3:5060"), None, "which of the two it is nobody knows");
}

/// P-REG-410.
#[test]
fn a_p_cscf_that_is_emptied_sends_ues_elsewhere_and_lets_them_leave() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    bench.command(Command::Drain(true));
    refused(&mut bench, BOB, &register_text(BOB, "bob", "600000"), 305);
    refused(&mut bench, ALICE, &register_text(ALICE, "alice", "600000"), 305);
    let (_, found) = bench.request(ALICE, &register_text(ALICE, "alice", "0"));
    assert!(found.starts_with("forward"), "{found}");
}

/// P-OVL-010 (REGISTER).
#[test]
fn an_overloaded_p_cscf_takes_no_new_ue_but_keeps_those_it_has() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    bench.command(Command::Overload(Some(30)));
    let (_, found) = bench.request(BOB, &register_text(BOB, "bob", "600000"));
    check(&found, "reply 503\n+ Retry-After: 30");
    let (_, found) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    assert!(found.starts_with("forward"), "{found}");
    let sos = register_text(BOB, "bob", "600000").replace(":5060>;expires", ":5060;sos>;expires");
    let (_, found) = bench.request(BOB, &sos);
    assert!(found.contains("forward"), "{found}");
    bench.command(Command::Overload(None));
    let (_, found) = bench.request("10.1.0.3:5060", &register_text("10.1.0.3:5060", "carol", "9"));
    assert!(found.contains("forward"), "{found}");
}

/// G-TRUST-040, P-REG-080: what does not belong here.
#[test]
fn registers_that_have_no_place_here_are_refused() {
    let mut bench = Bench::new(|_| {});
    let text = register_text(ALICE, "alice", "600000");
    refused(&mut bench, CORE, &text, 403);
    refused(&mut bench, ALICE, &text.replace("REGISTER sip:ims", "REGISTER sip:other"), 403);
    refused(&mut bench, ALICE, &text.replace("nonce=\"n\"", "nonce=\"n"), 400);
    refused(&mut bench, ALICE, &text.replace("alice@", &format!("{}@", "x".repeat(1100))), 400);
    assert!(bench.pcscf.is_idle());
    assert_eq!(bench.refusals.len(), 4);
}

/// P-REG-010: `;ob` for outbound.
#[test]
fn path_says_ob_for_a_ue_that_registers_for_outbound() {
    let mut bench = Bench::new(|_| {});
    let text = register_text(ALICE, "alice", "600000")
        .replace("expires=600000", "expires=600000;reg-id=1;+sip.instance=\"<urn:uuid:1>\"");
    let (_, found) = bench.request(ALICE, &text);
    assert!(found.contains("+ Path: <sip:{U1}@p1.visited.example:5060;lr;ob>"), "{found}");
}

/// T-TRN-080: the radio timers hold for listed accesses only.
#[test]
fn the_access_decides_about_timers() {
    for (access, side) in [
        ("3GPP-NR-TDD;utran-cell-id-3gpp=1", Side::Air),
        ("3gpp-e-utran-fdd", Side::Air),
        ("ADSL", Side::Core),
    ] {
        let mut bench = Bench::new(|_| {});
        let text = register_text(ALICE, "alice", "9") + "\nP-Access-Network-Info: " + access;
        let (_, _) = bench.request(ALICE, &text);
        assert_eq!(bench.pcscf.side(&udp(ALICE)), side, "{access}");
        assert_eq!(bench.pcscf.side(&udp(CORE)), Side::Core);
    }
}

/// The tables have an end.
#[test]
fn strangers_cannot_grow_the_tables() {
    let mut bench = Bench::new(|config| {
        config.limits.pending_max = 2;
        config.limits.registered_max = 1;
    });
    for port in 1..=5 {
        let source = format!("10.1.0.1:{port}");
        let (context, _) = bench.request(&source, &register_text(&source, "alice", "9"));
        bench.end(context);
    }
    assert_eq!(bench.pcscf.bindings.len(), 2);
    bench.register(ALICE, "alice", "+15550100");
    let (_, found) = bench.request(BOB, &register_text(BOB, "bob", "9"));
    check(&found, "reply 503\n+ Retry-After: 60");
}

/// P-REG-160: what a lab requires is no less required where nothing can protect packets.
#[test]
fn who_must_be_protected_is_not_served_where_nothing_can_protect() {
    let required = |config: &mut Config| {
        config.security.esp = false;
        config.security.gm.sec_agree = cscf_core::config::SecAgree::Required;
    };
    let mut bench = Bench::new(required);
    refused(&mut bench, ALICE, FIRST, 421);
    assert!(bench.refusals[0].contains("no ESP here"), "{:?}", bench.refusals);
    refused(&mut bench, ALICE, &FIRST.replace("path,gruu", "path,sec-agree"), 494);
    let mut bench = Bench::new(|config| {
        required(config);
        config.security.gm.sec_agree = cscf_core::config::SecAgree::Optional;
    });
    assert!(bench.request(ALICE, FIRST).1.contains("forward"));
}

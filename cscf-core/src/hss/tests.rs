//! Every decision of TS 29.228 §6 as a row: a question as text, the answer as text.

use super::*;
use crate::auth::{AkaKeys, Auts, FreshnessCheck, IndBits, Milenage, Scheme, Sqn, Usim};
use crate::cx::{
    AssignmentType, AuthItem, AuthScheme, AuthorizationType, CxAnswer, CxRequest, Lir, Mar, Sar,
    ServerCapabilities, Uar,
};
use crate::ids::{Ids, Seed, ShardId};
use crate::ifc::{
    ApplicationServer, Condition, InitialFilterCriteria, PublicIdentity, ServicePointTrigger,
    SessionCase, TriggerPoint, UserProfile,
};
use crate::time::UnixTime;
use crate::trace::Note;

const K: [u8; 16] = [0x11; 16];
const OPC: [u8; 16] = [0x22; 16];

pub(super) fn aka(impi: &str) -> PrivateIdentity {
    let keys = AkaKeys::Milenage { k: K, opc: OPC };
    let credentials = Credentials::Aka { keys, amf: [0x80, 0], sqn: 0 };
    PrivateIdentity { impi: format!("{impi}@ims.example"), credentials }
}

fn digest(impi: &str, algorithms: &[&str]) -> PrivateIdentity {
    PrivateIdentity {
        impi: format!("{impi}@ims.example"),
        credentials: Credentials::Digest {
            realm: String::new(),
            password: "secret".into(),
            algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        },
    }
}

pub(super) fn set(open: &[&str], barred: &[&str]) -> ImplicitSet {
    let barred = barred.iter().map(|impu| PublicIdentity::barred(*impu));
    ImplicitSet::of(barred.chain(open.iter().map(|impu| PublicIdentity::open(*impu))).collect())
}

pub(super) fn subscriber(private: PrivateIdentity, set: ImplicitSet) -> Subscriber {
    Subscriber {
        private_identities: vec![private],
        implicit_sets: vec![set],
        ..Subscriber::default()
    }
}

fn unregistered_service() -> InitialFilterCriteria {
    let condition = Condition::SessionCase(SessionCase::TerminatingUnregistered);
    let trigger = ServicePointTrigger {
        negated: false,
        groups: vec![0],
        condition,
        registration_types: Vec::new(),
    };
    InitialFilterCriteria {
        priority: 0,
        trigger_point: Some(TriggerPoint { conjunctive: true, triggers: vec![trigger] }),
        application_server: ApplicationServer {
            server_name: "sip:vm.ims.example".into(),
            ..ApplicationServer::default()
        },
        profile_part: None,
    }
}

fn store() -> Store {
    let capabilities = ServerCapabilities { mandatory: vec![7], ..ServerCapabilities::default() };
    let alice = Subscriber {
        capabilities: Some(capabilities),
        charging_ccf: Some("aaa://ccf.ims.example".into()),
        ..subscriber(
            aka("alice"),
            set(&["sip:alice@ims.example", "tel:+15550100"], &["sip:001@ims.example"]),
        )
    };
    let bob = subscriber(digest("bob", &["MD5"]), set(&["sip:bob@ims.example"], &[]));
    // Two devices; the first set belongs to both, the second to the tablet only.
    let carol = Subscriber {
        private_identities: vec![aka("phone"), aka("tablet")],
        implicit_sets: vec![
            set(&["sip:carol@ims.example"], &[]),
            ImplicitSet {
                impis: vec!["tablet@ims.example".into()],
                ..set(&["sip:work@ims.example"], &[])
            },
        ],
        ..Subscriber::default()
    };
    let dave =
        Subscriber { barred: true, ..subscriber(aka("dave"), set(&["sip:dave@ims.example"], &[])) };
    let eve = subscriber(aka("eve"), set(&[], &["sip:eve@ims.example"]));
    let mut voicemail = set(&["sip:frank@ims.example"], &[]);
    voicemail.service_profiles[0].initial_filter_criteria.push(unregistered_service());
    let frank = Subscriber {
        visited_networks: vec!["Home.example".into()],
        ..subscriber(digest("frank", &["SHA-256", "MD5"]), voicemail)
    };
    let seed = Seed([3; 32]);
    let subscribers = [alice, bob, carol, dave, eve, frank].map(Entry::from).to_vec();
    Store::new("ims.example", Scheme::Counter, subscribers, &seed).unwrap()
}

/// The store with what it needs to answer.
pub(super) struct Bench {
    pub(super) store: Store,
    ids: Ids,
    notes: Vec<Note>,
    keep: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        let ids = Ids::new(Seed([4; 32]), ShardId(0));
        Self { store: store(), ids, notes: Vec::new(), keep: true }
    }

    pub(super) fn ask(&mut self, request: &CxRequest) -> CxAnswer {
        let before = self.notes.len();
        let mut env = HssEnv {
            unix_now: UnixTime(0),
            ids: &mut self.ids,
            notes: &mut self.notes,
            old_sqn: false,
            tracing: true,
        };
        let answer = self.store.answer(&mut env, "s1.ims.example", self.keep, request);
        assert!(self.notes.len() > before, "no decision without a note");
        answer
    }

    /// Asks in words, see [`question`], and gives the answer in words.
    pub(super) fn say(&mut self, words: &str) -> String {
        if words == "keep no names" {
            self.keep = false;
            return "done".into();
        }
        if let Some(user) = words.strip_prefix("state ") {
            let impu = format!("sip:{user}@ims.example");
            let state = self.store.registration(&impu).unwrap();
            let server =
                self.store.server(&impu).map_or_else(|| "-".to_owned(), |server| server.name);
            let pending = if self.store.is_pending(&impu) { ", pending" } else { "" };
            return format!("{state} at {server}{pending}");
        }
        told(&self.ask(&question(words)))
    }

    pub(super) fn check(&mut self, rows: &[(&str, &str)]) {
        for (number, (words, expected)) in rows.iter().enumerate() {
            assert_eq!(self.say(words), *expected, "row {number}: {words}");
        }
    }
}

/// `UAR alice sip:alice@ims.example REG|DEREG|CAP [sos] [from NETWORK]`,
/// `MAR alice sip:… s1 AKA|DIGEST|UNKNOWN|OTHER`, `SAR alice|- sip:…,sip:…|- s1 TYPE [has]`,
/// `LIR sip:… [orig] [CAP]`.
fn question(words: &str) -> CxRequest {
    let words: Vec<&str> = words.split(' ').collect();
    let impi = |at: usize| format!("{}@ims.example", words[at]);
    let has = |word: &str| words.contains(&word);
    match words[0] {
        "UAR" => CxRequest::Uar(Uar {
            impi: impi(1),
            impu: words[2].into(),
            visited_network: words
                .iter()
                .position(|word| *word == "from")
                .map_or("home.example".into(), |at| words[at + 1].into()),
            authorization_type: match words[3] {
                "REG" => AuthorizationType::Registration,
                "DEREG" => AuthorizationType::Deregistration,
                _ => AuthorizationType::RegistrationAndCapabilities,
            },
            emergency: has("sos"),
        }),
        "LIR" => CxRequest::Lir(Lir {
            impu: words[1].into(),
            originating: has("orig"),
            capabilities: has("CAP"),
        }),
        "MAR" => CxRequest::Mar(Mar {
            impi: impi(1),
            impu: words[2].into(),
            server_name: format!("sip:{}", words[3]),
            scheme: match words[4] {
                "AKA" => AuthScheme::Aka,
                "DIGEST" => AuthScheme::SipDigest,
                "UNKNOWN" => AuthScheme::Unknown,
                _ => AuthScheme::Other,
            },
            count: 1,
            resync: None,
        }),
        "SAR" => CxRequest::Sar(Sar {
            impi: (words[1] != "-").then(|| impi(1)),
            impus: words[2].split(',').filter(|it| *it != "-").map(str::to_owned).collect(),
            server_name: format!("sip:{}", words[3]),
            assignment_type: AssignmentType::from_code(words[4].parse().unwrap()).unwrap(),
            profile_available: has("has"),
            restoration: None,
            wildcard: None,
        }),
        odd => panic!("{odd}"),
    }
}

fn told(answer: &CxAnswer) -> String {
    match answer {
        CxAnswer::Server(server) => {
            let name = server.server_name.as_ref().map(|name| format!(" {name}"));
            let capabilities = server.capabilities.as_ref();
            let capabilities = capabilities.map(|it| format!(" capabilities {:?}", it.mandatory));
            let result = short(server.result);
            format!("{result}{}{}", name.unwrap_or_default(), capabilities.unwrap_or_default())
        }
        CxAnswer::Maa(maa) => {
            let items: String = maa.items.iter().map(|item| format!(" {item:?}")).collect();
            format!("{}{items}", short(maa.result))
        }
        CxAnswer::Saa(saa) => {
            let data = if saa.user_data.is_some() { " profile" } else { "" };
            let ccf = if saa.charging_ccf.is_some() { " ccf" } else { "" };
            format!("{}{data}{ccf}", short(saa.result))
        }
        CxAnswer::Unreachable => "unreachable".into(),
    }
}

fn short(result: crate::cx::CxResult) -> String {
    result.to_string().replace("DIAMETER_", "").replace("ERROR_", "")
}

#[test]
fn uar_follows_ts_29_228_6_1_1_1() {
    Bench::new().check(&[
        // Steps 2 to 4: the identities.
        ("UAR nobody sip:alice@ims.example REG", "USER_UNKNOWN (5001)"),
        ("UAR alice sip:nobody@ims.example REG", "USER_UNKNOWN (5001)"),
        ("UAR alice sip:bob@ims.example REG", "IDENTITIES_DONT_MATCH (5002)"),
        ("UAR phone sip:work@ims.example REG", "IDENTITIES_DONT_MATCH (5002)"),
        // Step 5: barring. A barred identity with open ones in its set may register.
        ("UAR eve sip:eve@ims.example REG", "AUTHORIZATION_REJECTED (5003)"),
        ("UAR eve sip:eve@ims.example REG sos", "FIRST_REGISTRATION (2001)"),
        ("UAR alice sip:001@ims.example REG", "FIRST_REGISTRATION (2001) capabilities [7]"),
        // Step 6: roaming and authorization, not when emergency.
        ("UAR frank sip:frank@ims.example REG from far.example", "ROAMING_NOT_ALLOWED (5004)"),
        ("UAR frank sip:frank@ims.example CAP from far.example", "ROAMING_NOT_ALLOWED (5004)"),
        ("UAR frank sip:frank@ims.example REG from far.example sos", "FIRST_REGISTRATION (2001)"),
        ("UAR frank sip:frank@ims.example REG from HOME.example", "FIRST_REGISTRATION (2001)"),
        ("UAR dave sip:dave@ims.example REG", "AUTHORIZATION_REJECTED (5003)"),
        ("UAR dave sip:dave@ims.example REG sos", "FIRST_REGISTRATION (2001)"),
        // Step 7: not registered.
        ("UAR alice sip:alice@ims.example DEREG", "IDENTITY_NOT_REGISTERED (5003)"),
        ("UAR alice tel:+15550100 REG", "FIRST_REGISTRATION (2001) capabilities [7]"),
        (
            "UAR alice sip:+15550100@ims.example;user=phone REG",
            "FIRST_REGISTRATION (2001) capabilities [7]",
        ),
        // Authentication pending.
        ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
        ("UAR alice sip:alice@ims.example REG", "SUBSEQUENT_REGISTRATION (2002) sip:s1"),
        ("UAR alice sip:alice@ims.example DEREG", "IDENTITY_NOT_REGISTERED (5003)"),
        // Registered.
        ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
        ("UAR alice tel:+15550100 REG", "SUBSEQUENT_REGISTRATION (2002) sip:s1"),
        ("UAR alice sip:alice@ims.example DEREG", "SUCCESS (2001) sip:s1"),
        // Unregistered.
        ("SAR alice sip:alice@ims.example s1 7", "SUCCESS (2001)"),
        ("state alice", "unregistered at sip:s1"),
        ("UAR alice sip:alice@ims.example REG", "SUBSEQUENT_REGISTRATION (2002) sip:s1"),
        ("UAR alice sip:alice@ims.example DEREG", "SUCCESS (2001) sip:s1"),
    ]);
}

#[test]
fn another_set_of_the_subscription_lends_its_s_cscf() {
    Bench::new().check(&[
        ("SAR phone sip:carol@ims.example s1 1", "SUCCESS (2001) profile"),
        ("UAR tablet sip:work@ims.example REG", "SUBSEQUENT_REGISTRATION (2002) sip:s1"),
        ("UAR tablet sip:work@ims.example DEREG", "IDENTITY_NOT_REGISTERED (5003)"),
    ]);
}

#[test]
fn capabilities_allow_the_next_s_cscf_to_take_over() {
    Bench::new().check(&[
        ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
        ("SAR alice sip:alice@ims.example s2 1", "IDENTITY_ALREADY_REGISTERED (5005)"),
        ("SAR - sip:alice@ims.example s2 3", "IDENTITY_ALREADY_REGISTERED (5005)"),
        ("UAR alice sip:alice@ims.example CAP", "SUCCESS (2001) capabilities [7]"),
        ("SAR alice sip:alice@ims.example s2 1", "SUCCESS (2001) profile ccf"),
        ("state alice", "registered at sip:s2"),
        ("SAR alice sip:alice@ims.example s3 1", "IDENTITY_ALREADY_REGISTERED (5005)"),
        ("LIR sip:alice@ims.example CAP", "SUCCESS (2001) capabilities [7]"),
        ("SAR - sip:alice@ims.example s3 3", "SUCCESS (2001) profile ccf"),
        ("state alice", "unregistered at sip:s3"),
        ("UAR bob sip:bob@ims.example CAP", "SUCCESS (2001) capabilities []"),
    ]);
}

#[test]
fn lir_follows_ts_29_228_6_1_4_1() {
    Bench::new().check(&[
        ("LIR sip:nobody@ims.example", "USER_UNKNOWN (5001)"),
        ("LIR not:an@identity", "USER_UNKNOWN (5001)"),
        ("LIR sip:alice@ims.example", "IDENTITY_NOT_REGISTERED (5003)"),
        ("LIR sip:alice@ims.example orig", "UNREGISTERED_SERVICE (2003) capabilities [7]"),
        ("LIR sip:frank@ims.example", "UNREGISTERED_SERVICE (2003)"),
        ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
        ("LIR sip:alice@ims.example", "IDENTITY_NOT_REGISTERED (5003)"),
        ("LIR sip:alice@ims.example orig", "SUCCESS (2001) sip:s1"),
        ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
        ("LIR tel:+15550100", "SUCCESS (2001) sip:s1"),
        ("LIR sip:+1-555-0100@ims.example;user=phone", "SUCCESS (2001) sip:s1"),
        ("SAR alice sip:alice@ims.example s1 6", "SUCCESS (2001)"),
        ("LIR sip:alice@ims.example", "SUCCESS (2001) sip:s1"),
    ]);
}

#[test]
fn mar_follows_ts_29_228_6_3_1() {
    Bench::new().check(&[
        ("MAR nobody sip:alice@ims.example s1 AKA", "USER_UNKNOWN (5001)"),
        ("MAR alice sip:nobody@ims.example s1 AKA", "USER_UNKNOWN (5001)"),
        ("MAR alice sip:bob@ims.example s1 AKA", "IDENTITIES_DONT_MATCH (5002)"),
        ("MAR alice sip:alice@ims.example s1 DIGEST", "AUTH_SCHEME_NOT_SUPPORTED (5006)"),
        ("MAR alice sip:alice@ims.example s1 OTHER", "AUTH_SCHEME_NOT_SUPPORTED (5006)"),
        ("MAR bob sip:bob@ims.example s1 AKA", "AUTH_SCHEME_NOT_SUPPORTED (5006)"),
        ("state bob", "not registered at -"),
        ("MAR bob sip:bob@ims.example s1 DIGEST", "SUCCESS (2001) Digest(MD5)"),
        ("MAR bob sip:bob@ims.example s1 UNKNOWN", "SUCCESS (2001) Digest(MD5)"),
        ("MAR alice sip:alice@ims.example s1 UNKNOWN", "SUCCESS (2001) Aka(..)"),
        ("state alice", "not registered at sip:s1, pending"),
        // Another S-CSCF overwrites the name; a registered user stays registered.
        ("MAR alice sip:alice@ims.example s2 AKA", "SUCCESS (2001) Aka(..)"),
        ("state alice", "not registered at sip:s2, pending"),
        ("SAR alice sip:alice@ims.example s2 1", "SUCCESS (2001) profile ccf"),
        ("MAR alice sip:alice@ims.example s2 AKA", "SUCCESS (2001) Aka(..)"),
        ("state alice", "registered at sip:s2"),
        ("MAR alice sip:alice@ims.example s3 AKA", "SUCCESS (2001) Aka(..)"),
        ("state alice", "registered at sip:s3, pending"),
    ]);
}

#[test]
fn sar_of_registration_follows_ts_29_228_6_1_2_1() {
    Bench::new().check(&[
        ("SAR nobody sip:alice@ims.example s1 1", "USER_UNKNOWN (5001)"),
        ("SAR alice sip:nobody@ims.example s1 1", "USER_UNKNOWN (5001)"),
        ("SAR alice sip:bob@ims.example s1 1", "IDENTITIES_DONT_MATCH (5002)"),
        ("SAR alice sip:alice@ims.example,tel:+15550100 s1 1", "Result-Code (5009)"),
        ("SAR alice sip:alice@ims.example s1 2", "IN_ASSIGNMENT_TYPE (5007)"),
        ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
        ("SAR alice sip:alice@ims.example s2 1", "IDENTITY_ALREADY_REGISTERED (5005)"),
        ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
        ("state alice", "registered at sip:s1"),
        ("SAR alice sip:alice@ims.example s1 1 has", "SUCCESS (2001)"),
        ("SAR alice sip:alice@ims.example s1 2 has", "SUCCESS (2001)"),
        ("SAR alice sip:alice@ims.example s1 2", "SUCCESS (2001) profile ccf"),
        ("SAR alice sip:alice@ims.example s1 0", "SUCCESS (2001) profile ccf"),
        ("SAR alice sip:alice@ims.example s2 0", "UNABLE_TO_COMPLY (5012)"),
        ("SAR - sip:alice@ims.example s1 3", "IN_ASSIGNMENT_TYPE (5007)"),
        ("SAR bob sip:bob@ims.example s1 0", "UNABLE_TO_COMPLY (5012)"),
        ("SAR - sip:bob@ims.example s1 3", "SUCCESS (2001) profile"),
        ("state bob", "unregistered at sip:s1"),
        ("SAR bob sip:bob@ims.example s1 1", "SUCCESS (2001) profile"),
        ("state bob", "registered at sip:s1"),
    ]);
}

#[test]
fn sar_of_deregistration_follows_ts_29_228_6_1_2_1() {
    for kind in ["4", "5", "8", "11"] {
        let sar = |server: &str| format!("SAR alice sip:alice@ims.example {server} {kind}");
        Bench::new().check(&[
            (&sar("s1"), "IN_ASSIGNMENT_TYPE (5007)"),
            ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
            (&sar("s2"), "UNABLE_TO_COMPLY (5012)"),
            ("state alice", "registered at sip:s1"),
            (&sar("s1"), "SUCCESS (2001)"),
            ("state alice", "not registered at -"),
            ("SAR - sip:alice@ims.example s1 3", "SUCCESS (2001) profile ccf"),
            (&sar("s1"), "SUCCESS (2001)"),
            ("state alice", "not registered at -"),
        ]);
    }
    for kind in ["6", "7"] {
        let sar = format!("SAR alice sip:alice@ims.example s1 {kind}");
        Bench::new().check(&[
            (&sar, "IN_ASSIGNMENT_TYPE (5007)"),
            ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
            (&sar, "SUCCESS (2001)"),
            ("state alice", "unregistered at sip:s1"),
            ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
            ("keep no names", "done"),
            (&sar, "SUCCESS_SERVER_NAME_NOT_STORED (2004)"),
            ("state alice", "not registered at -"),
        ]);
    }
}

#[test]
fn a_deregistration_names_several_identities_or_only_the_private_one() {
    Bench::new().check(&[
        ("SAR tablet sip:carol@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR tablet sip:work@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR tablet sip:work@ims.example,sip:carol@ims.example s1 5", "SUCCESS (2001)"),
        ("state carol", "not registered at -"),
        ("state work", "not registered at -"),
        ("SAR tablet sip:carol@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR tablet sip:work@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR tablet - s1 4", "SUCCESS (2001)"),
        ("state carol", "not registered at -"),
        ("state work", "not registered at -"),
        ("SAR - sip:carol@ims.example,sip:bob@ims.example s1 5", "IDENTITIES_DONT_MATCH (5002)"),
    ]);
}

#[test]
fn an_identity_stays_registered_while_another_device_is() {
    Bench::new().check(&[
        ("SAR phone sip:carol@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR tablet sip:carol@ims.example s1 1", "SUCCESS (2001) profile"),
        ("SAR phone sip:carol@ims.example s1 7", "SUCCESS (2001)"),
        ("state carol", "registered at sip:s1"),
        ("SAR tablet sip:carol@ims.example s1 5", "SUCCESS (2001)"),
        ("state carol", "not registered at -"),
    ]);
}

#[test]
fn a_failed_authentication_clears_the_name_only_where_nobody_is_registered() {
    for kind in ["9", "10"] {
        let sar = format!("SAR alice sip:alice@ims.example s1 {kind}");
        Bench::new().check(&[
            (&sar, "UNABLE_TO_COMPLY (5012)"),
            ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
            (&sar, "SUCCESS (2001)"),
            ("state alice", "not registered at -"),
            ("SAR alice sip:alice@ims.example s1 1", "SUCCESS (2001) profile ccf"),
            ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
            (&sar, "SUCCESS (2001)"),
            ("state alice", "registered at sip:s1"),
            ("SAR alice sip:alice@ims.example s1 7", "SUCCESS (2001)"),
            ("MAR alice sip:alice@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
            (&sar, "SUCCESS (2001)"),
            ("state alice", "unregistered at sip:s1"),
        ]);
        let sar = format!("SAR phone sip:carol@ims.example s1 {kind}");
        Bench::new().check(&[
            ("MAR phone sip:carol@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
            ("MAR tablet sip:carol@ims.example s1 AKA", "SUCCESS (2001) Aka(..)"),
            (&sar, "SUCCESS (2001)"),
            ("state carol", "not registered at sip:s1, pending"),
        ]);
    }
}

#[test]
fn the_profile_names_the_asking_private_identity_and_the_whole_set() {
    let mut bench = Bench::new();
    let CxAnswer::Saa(saa) = bench.ask(&question("SAR alice tel:+15550100 s1 1")) else { panic!() };

    let profile = UserProfile::parse(&saa.user_data.unwrap()).unwrap();
    assert_eq!(profile.private_id, "alice@ims.example");
    let names: Vec<_> = profile.public_identities().map(|it| it.identity.as_str()).collect();
    assert_eq!(names, ["sip:001@ims.example", "sip:alice@ims.example", "tel:+15550100"]);
    assert_eq!(profile.default_public_identity().unwrap().identity, "sip:alice@ims.example");

    let CxAnswer::Saa(saa) = bench.ask(&question("SAR - sip:carol@ims.example s1 3")) else {
        panic!()
    };
    assert_eq!(saa.associated_impis, ["phone@ims.example", "tablet@ims.example"]);
    let profile = UserProfile::parse(&saa.user_data.unwrap()).unwrap();
    assert_eq!(profile.private_id, "phone@ims.example");
}

#[test]
fn a_profile_written_by_hand_is_sent_as_it_is() {
    let xml = "<IMSSubscription><PrivateID>x@y</PrivateID><ServiceProfile><PublicIdentity>\
               <Identity>sip:gina@ims.example</Identity></PublicIdentity></ServiceProfile>\
               </IMSSubscription>";
    let by_hand =
        ImplicitSet { profile_xml: Some(xml.into()), ..set(&["sip:gina@ims.example"], &[]) };
    let mut bench = Bench::new();
    bench.store.provision(subscriber(aka("gina"), by_hand)).unwrap();
    let CxAnswer::Saa(saa) = bench.ask(&question("SAR gina sip:gina@ims.example s1 1")) else {
        panic!()
    };
    assert_eq!(saa.user_data.as_deref(), Some(xml));

    let broken = ImplicitSet {
        profile_xml: Some("<IMSSubscription>".into()),
        ..set(&["sip:hank@ims.example"], &[])
    };
    let error = bench.store.provision(subscriber(aka("hank"), broken)).unwrap_err();
    assert!(error.to_string().starts_with("the profile of sip:hank@ims.example: not well-formed"));
}

#[test]
fn digest_credentials_are_ha1_of_the_realm_of_the_private_identity() {
    let mut bench = Bench::new();
    let mut item = |words: &str| {
        let CxAnswer::Maa(maa) = bench.ask(&question(words)) else { panic!() };
        maa.items.into_iter().next().unwrap()
    };
    let bob = item("MAR bob sip:bob@ims.example s1 DIGEST");
    let AuthItem::Digest { realm, algorithm, ha1, ha1_sha256 } = bob else { panic!() };
    assert_eq!((realm.as_str(), algorithm.as_str(), ha1_sha256), ("ims.example", "MD5", None));
    assert_eq!(ha1, MD5_OF_BOB);

    let frank = item("MAR frank sip:frank@ims.example s1 UNKNOWN");
    let AuthItem::Digest { algorithm, ha1_sha256, .. } = frank else { panic!() };
    assert_eq!((algorithm.as_str(), ha1_sha256.as_deref()), ("MD5", Some(SHA_256_OF_FRANK)));
}

/// `printf 'bob@ims.example:ims.example:secret' | md5sum`
const MD5_OF_BOB: &str = "4cf0250d47cf3fbb6fee64f27143d39a";
/// `printf 'frank@ims.example:ims.example:secret' | sha256sum`
const SHA_256_OF_FRANK: &str = "24662a611b6c5c30a08dcf0c5db2420d144bfef03cf5d634dc04ab96a75ee52d";

/// Takes the vectors that a USIM takes, and gives its AUTS when it refuses.
fn usim() -> Usim<Milenage> {
    Usim::new(Milenage::new(K, OPC), FreshnessCheck::new(IndBits::default()))
}

fn vectors(bench: &mut Bench, count: u32, resync: Option<([u8; 16], [u8; 14])>) -> Vec<AuthItem> {
    let CxRequest::Mar(mar) = question("MAR alice sip:alice@ims.example s1 AKA") else { panic!() };
    let CxAnswer::Maa(maa) = bench.ask(&CxRequest::Mar(Mar { count, resync, ..mar })) else {
        panic!()
    };
    maa.items
}

#[test]
fn vectors_are_accepted_by_the_usim_and_give_the_same_keys() {
    let mut bench = Bench::new();
    let mut usim = usim();
    let items = vectors(&mut bench, 3, None);
    assert_eq!(items.len(), 3);
    for item in items {
        let AuthItem::Aka { rand, autn, xres, ck, ik } = item else { panic!() };
        let autn = crate::auth::Autn::from_bytes(autn);
        let answer = usim.authenticate(&rand, &autn).unwrap();
        assert_eq!((answer.res.as_bytes(), answer.ck, answer.ik), (xres.as_slice(), ck, ik));
    }
    assert_eq!(vectors(&mut bench, 0, None).len(), 1);
    assert_eq!(vectors(&mut bench, 1_000_000, None).len(), 5);
}

#[test]
fn auts_moves_the_sequence_number_and_a_forged_one_does_not() {
    let functions = Milenage::new(K, OPC);
    let mut bench = Bench::new();
    let [AuthItem::Aka { rand, .. }] = vectors(&mut bench, 1, None)[..] else { panic!() };
    let ahead = Sqn::new(0x1234_5678_9a00).unwrap();
    let auts = Auts::generate(&functions, &rand, ahead);

    let mut forged = auts;
    forged.mac_s[0] ^= 1;
    vectors(&mut bench, 1, Some((rand, forged.to_bytes())));
    assert!(bench.store.sqn("alice@ims.example").unwrap() < ahead);

    let item = vectors(&mut bench, 1, Some((rand, auts.to_bytes())));
    let [AuthItem::Aka { rand, autn, .. }] = item[..] else { panic!() };
    let mut usim = Usim::new(functions, FreshnessCheck::new(IndBits::default()).starting_at(ahead));
    assert!(usim.authenticate(&rand, &crate::auth::Autn::from_bytes(autn)).is_ok());
    assert!(bench.store.sqn("alice@ims.example").unwrap() > ahead);
}

#[test]
fn what_cannot_be_provisioned_is_named() {
    let fresh = |impi: &str, impu: &str| subscriber(aka(impi), set(&[impu], &[]));
    let mut store = store();
    let before = store.len();
    for (subscriber, expected) in [
        (fresh("alice", "sip:new@ims.example"), "alice@ims.example is provisioned twice"),
        (fresh("new", "sip:alice@IMS.example"), "sip:alice@IMS.example is provisioned twice"),
        (fresh("new", "alice"), "\"alice\" is no identity"),
        (
            subscriber(aka("new"), ImplicitSet::default()),
            "the subscription of \"new@ims.example\" has no private or no public identity",
        ),
        (
            subscriber(digest("new", &["SHA-1"]), set(&["sip:new@ims.example"], &[])),
            "new@ims.example: digest algorithm \"SHA-1\" is neither MD5 nor SHA-256",
        ),
    ] {
        assert_eq!(store.provision(subscriber).unwrap_err().to_string(), expected);
    }
    assert_eq!(store.len(), before);
    assert_eq!(store.registration("sip:new@ims.example"), None);
}

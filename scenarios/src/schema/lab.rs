//! The schema of a lab file.

use serde_json::{Value, json};

use super::{by_name, choice, defined, mapping, names, number, one_or_many, switch, text, time};

/// A whole lab file.
pub(super) fn document() -> Value {
    let timers = || {
        mapping(
            vec![
                ("t1", time(), "RTT estimate (RFC 3261)"),
                ("t2", time(), "Longest interval of retransmissions"),
                ("t4", time(), "How long a message may stay in the network"),
            ],
            &[],
        )
    };
    let mut document = mapping(
        vec![
            ("domain", text(), "The home network, e.g. ims.mnc001.mcc001.3gppnetwork.org"),
            ("nodes", by_name(&defined("node")), "The nodes by name"),
            ("subscribers", subscribers(), "The subscribers by name, or ranges of them"),
            ("untrusted", names(), "Nodes that the others take for strangers"),
            (
                "interconnect",
                choice(&["trusted", "untrusted"]),
                "Whether networks trust each other",
            ),
            ("control", control(), "Address of the control interface, or off; a token"),
            (
                "aka_without_sec_agree",
                choice(&["allow", "refuse"]),
                "Whether AKA is taken without security agreement",
            ),
            ("ipsec", sec_agree(), "What the P-CSCF wants of the security agreement"),
            ("sec_agree", sec_agree(), "The same as ipsec"),
            (
                "ipsec_backend",
                choice(&["auto", "kernel", "raw", "udp"]),
                "What protects packets; auto takes the first there is",
            ),
            ("ipsec_port", number(), "The port of ESP in UDP"),
            ("security", choice(&["phones", "strict"]), "strict drops the oldest algorithms"),
            ("gm_security", gm_security(), "How Gm is protected (TS 33.203)"),
            ("tls", certificates(), "Certificates of the lab (PEM): docs/tls.md"),
            ("reg_event_subscription", switch(), "Whether the P-CSCF subscribes to the reg event"),
            ("outbound", switch(), "Whether the P-CSCF knows flows (RFC 5626)"),
            ("registration", registration(), "Registration intervals"),
            ("core_timers", timers(), "Timers between nodes"),
            ("air_timers", timers(), "Timers towards UEs"),
            ("reg_await_auth", time(), "How long the S-CSCF waits for the answer to a challenge"),
            ("cx_timeout", time(), "How long a question to the HSS waits"),
            ("path_mtu", json!({"type": ["string", "integer"]}), "Bytes, or unknown"),
            (
                "gather",
                json!({"anyOf": [{"enum": ["auto", "off", false]}, time()]}),
                "How long a node under load gathers messages",
            ),
            ("numbering", defined("numbering"), "What becomes of numbers"),
            ("dns", defined("dns"), "What the DNS knows"),
            ("dns_servers", defined("texts"), "DNS servers that know further names"),
            ("faults", super::scenario::faults(), "What nodes do wrong: docs/faults.md"),
        ],
        &["domain", "nodes"],
    );
    if let Some(members) = document.as_object_mut() {
        members.insert("title".to_owned(), json!("A lab of cscf"));
    }
    document
}

fn control() -> Value {
    let with_token = mapping(
        vec![
            ("address", text(), "Address and port"),
            ("token", text(), "What a request must have: at least 8 letters, or generate"),
            ("token_file", text(), "A file with the token in its first line"),
        ],
        &["address"],
    );
    json!({"anyOf": [{"type": "string"}, {"const": false}, with_token]})
}

fn sec_agree() -> Value {
    json!({"enum": ["off", "optional", "required", false]})
}

fn registration() -> Value {
    mapping(
        vec![
            ("expires_min", time(), "Shortest interval; less gets 423"),
            ("expires_max", time(), "Longest interval"),
            ("expires_default", time(), "Where the UE names none"),
        ],
        &[],
    )
}

fn gm_security() -> Value {
    let code = || json!({"type": ["integer", "string"], "pattern": "^[3-6][0-9][0-9]$"});
    let reject = mapping(
        vec![
            ("via", code(), "Where Via names another address"),
            ("ports", code(), "Where ports are not those agreed on"),
            ("algorithms", code(), "Where no algorithm is common"),
        ],
        &[],
    );
    mapping(
        vec![
            ("algorithms", defined("texts"), "Integrity algorithms, first one first"),
            ("confidentiality", text(), "Encryption"),
            ("port_ps", number(), "Protected server port"),
            ("port_pc", text(), "Protected client ports"),
            ("unprotected", text(), "What becomes of requests outside associations"),
            ("nat_traversal", switch(), "Whether UDP encapsulation is offered"),
            ("mediasec", switch(), "Whether media security is offered"),
            ("tls", switch(), "Whether TLS is offered"),
            ("giba", switch(), "Whether GIBA is taken"),
            ("digest_on_radio", text(), "Whether digest is taken on 3GPP radio"),
            ("reject", reject, "Statuses of refusals"),
        ],
        &[],
    )
}

fn certificates() -> Value {
    mapping(
        vec![
            ("ca", text(), "Whom UEs and nodes trust as clients"),
            ("certificate", text(), "Certificate of the listeners, with its chain"),
            ("key", text(), "Its private key"),
            ("client_ca", text(), "Whose certificates clients have to show (mutual TLS)"),
            ("client_certificate", text(), "Certificate that UEs and nodes show"),
            ("client_key", text(), "Its private key"),
            ("min_version", json!({"enum": ["1.2", "1.3", 1.2, 1.3]}), "The oldest TLS"),
        ],
        &[],
    )
}

fn subscribers() -> Value {
    let mut by_names = by_name(&defined("subscriber"));
    if let Some(members) = by_names.as_object_mut() {
        members.insert("properties".to_owned(), json!({"range": range()}));
    }
    json!({"anyOf": [by_names, {"type": "array", "items": by_names}]})
}

fn card(keys: &mut Vec<(&'static str, Value, &'static str)>) {
    keys.extend([
        ("amf", text(), "AMF, 4 hexadecimal digits"),
        ("sqn", text(), "SQN to begin with, 12 hexadecimal digits"),
        ("algorithm", choice(&["milenage", "tuak", "xor"]), "The algorithm set"),
        ("k", text(), "K, 32 hexadecimal digits (TUAK also 64)"),
        ("op", text(), "OP, or"),
        ("opc", text(), "OPc"),
        ("keccak_iterations", number(), "TUAK: 1 to 255"),
        ("res_bits", text(), "TUAK: 32, 64 or 128"),
        ("top", text(), "TUAK: TOP, or"),
        ("topc", text(), "TUAK: TOPc"),
    ]);
}

fn range() -> Value {
    let mut keys = vec![
        ("imsi", text(), "The first IMSI"),
        ("count", number(), "How many"),
        ("msisdn", text(), "The first number"),
    ];
    card(&mut keys);
    mapping(keys, &["imsi", "count", "k"])
}

/// A subscriber.
pub(super) fn subscriber() -> Value {
    let mut of_card = Vec::new();
    card(&mut of_card);
    let digest = mapping(
        vec![
            ("password", text(), "The password"),
            ("algorithms", defined("texts"), "MD5, SHA-256"),
        ],
        &["password"],
    );
    let capabilities = mapping(
        vec![
            ("mandatory", defined("texts"), "Numbers an S-CSCF must have"),
            ("optional", defined("texts"), "Numbers it should have"),
            ("servers", defined("texts"), "S-CSCFs by name"),
        ],
        &[],
    );
    let barred = mapping(vec![("barred", text(), "An identity that is barred")], &["barred"]);
    let identities = json!({"type": "array", "minItems": 1, "items": {"anyOf": [text(), barred]}});
    let mut subscriber = mapping(
        vec![
            ("impi", text(), "Private identity; without domain in that of the lab"),
            ("impus", identities, "Public identities, the first one is the default"),
            ("aka", mapping(of_card, &["k"]), "The card"),
            ("digest", digest, "The password"),
            ("transport", choice(&["as-registered", "tcp", "udp"]), "How requests reach the phone"),
            ("ipsec", sec_agree(), "Whether its phone agrees on security, where not as the lab"),
            ("filter_criteria", defined("criteria"), "Which servers its requests go to"),
            ("capabilities", capabilities, "What its S-CSCF must be able to do"),
            ("visited_networks", defined("texts"), "Networks it may roam in"),
            ("barred", json!({"enum": ["true", "false", true, false]}), "Whether it is barred"),
            ("profile_xml", text(), "A whole IMSSubscription document"),
            ("framed_ip", text(), "Its address for GIBA"),
            ("media_profile", number(), "Number of its media profile"),
            ("charging_ccf", text(), "Charging function, aaa://…"),
        ],
        &["impi", "impus"],
    );
    if let Some(members) = subscriber.as_object_mut() {
        members
            .insert("oneOf".to_owned(), json!([{"required": ["aka"]}, {"required": ["digest"]}]));
    }
    subscriber
}

/// Filter criteria of a subscriber.
pub(super) fn criteria() -> Value {
    let conditions = || {
        json!({"type": "array", "minItems": 1, "items": {"anyOf": [
            {"$ref": "#/definitions/condition"},
            {"type": "array", "items": {"$ref": "#/definitions/condition"}},
        ]}})
    };
    let criterion = mapping(
        vec![
            ("priority", number(), "The lowest goes first"),
            ("server", text(), "A node of the lab, or a SIP URI"),
            ("default_handling", choice(&["continued", "terminated"]), "When the server fails"),
            ("service_info", text(), "Text for the server"),
            ("include", one_or_many(&choice(&["request", "response"])), "In a REGISTER to it"),
            ("profile_part", choice(&["registered", "unregistered"]), "For which user state"),
            ("all_of", conditions(), "All must hold; a list inside is an OR"),
            ("any_of", conditions(), "One must hold; a list inside is an AND"),
        ],
        &["priority", "server"],
    );
    json!({"type": "array", "items": criterion})
}

/// One condition of filter criteria.
pub(super) fn condition() -> Value {
    let cases = [
        "originating",
        "terminating",
        "terminating unregistered",
        "originating unregistered",
        "originating cdiv",
    ];
    let kinds = ["initial", "re-registration", "deregistration"];
    mapping(
        vec![
            ("not", defined("condition"), "The opposite of a condition"),
            ("method", text(), "A method"),
            ("request_uri", text(), "A regular expression"),
            ("session_case", choice(&cases), "Whose request it is"),
            ("header", text(), "A header that is there"),
            ("sdp", text(), "A line of SDP, e.g. m"),
            ("content", text(), "What the header or line contains: a regular expression"),
            ("registration", one_or_many(&choice(&kinds)), "Which REGISTER"),
        ],
        &[],
    )
}

/// What becomes of numbers.
pub(super) fn numbering() -> Value {
    mapping(
        vec![
            ("translate", defined("texts_by_name"), "How a number begins, and what it becomes"),
            ("home", names(), "How numbers of this network begin"),
            ("digits_min", number(), "Shorter numbers get 484"),
            ("enum", json!({"type": ["string", "boolean"]}), "on, off, or the domain of ENUM"),
            ("break_out", text(), "Where other numbers go"),
        ],
        &[],
    )
}

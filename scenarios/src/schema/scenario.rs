//! The schema of a scenario file.

use serde_json::{Map, Value, json};

use super::sentences::{SENTENCES, Sentence, Under, pattern};
use super::{
    by_name, choice, choice_or, defined, mapping, names, number, one_or_many, switch, text, time,
};
use crate::script::{Need, Shows};
use crate::ue::{CodecSet, Mistakes};

/// A whole scenario.
pub(super) fn document() -> Value {
    let mut document = mapping(
        vec![
            ("scenario", text(), "One line that says what it shows"),
            (
                "parties",
                by_name(&party()),
                "UEs that differ from the lab's subscribers of that name",
            ),
            ("network", network(), "What the simulated network does (virtual runs)"),
            ("lab", lab_changes(), "What differs from the lab file"),
            (
                "only",
                json!({"type": "string", "pattern": "^virtual, because .*[^ ]",
                    "examples": ["virtual, because security associations are simulated"]}),
                "Why it runs in virtual time only",
            ),
            (
                "clear_text",
                json!({"type": "string", "pattern": "^because .*[^ ]",
                    "examples": ["because it looks at the P-CSCF's port 5060"]}),
                "Why it cannot be run with --ipsec",
            ),
            ("test", test(), "What it judges of a device, as a case of a suite"),
            ("faults", faults(), "What nodes do wrong from the beginning: docs/faults.md"),
            ("shows", one_or_many(&shows()), "The response codes it shows, for `cscf codes`"),
            ("steps", defined("steps"), "What is done and what must be seen, in this order"),
        ],
        &["scenario", "steps"],
    );
    if let Some(members) = document.as_object_mut() {
        members.insert("title".to_owned(), json!("A scenario of cscf"));
    }
    document
}

/// A list of fault rules; their grammar is the reader's alone.
pub(super) fn faults() -> Value {
    let example = "p1 answers REGISTER from alice with 503, first";
    json!({
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "examples": [example]},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": names(),
                    },
                },
            ],
        },
    })
}

fn network() -> Value {
    let percent = || json!({"type": "string", "pattern": "^[0-9.]+ *%$", "examples": ["10%"]});
    mapping(
        vec![
            ("delay", time(), "How long each packet is on its way"),
            ("jitter", time(), "How much longer it may be"),
            ("loss", percent(), "How many packets are lost"),
            ("duplicate", percent(), "How many come twice"),
            ("reorder", percent(), "How many are overtaken"),
        ],
        &[],
    )
}

fn shows() -> Value {
    mapping(
        vec![
            (
                "code",
                json!({"type": "string", "pattern": "^RC-", "examples": ["RC-488"]}),
                "The entry of the catalogue",
            ),
            ("by", choice(&Shows::BY), "Who sends it"),
            ("because", text(), "The reason"),
            ("clause", text(), "Where the standard says so"),
        ],
        &["code", "by", "because", "clause"],
    )
}

fn test() -> Value {
    let needs: Vec<&str> = Need::NAMED.iter().map(|(word, _)| *word).collect();
    mapping(
        vec![
            ("id", text(), "The entry of the catalogue, e.g. CT-8.1"),
            ("clause", text(), "Where it stands written what the device must do"),
            ("needs", one_or_many(&choice(&needs)), "What the device must be able to do"),
            ("preamble", choice(&["registered", "subscribed"]), "What is done before"),
        ],
        &["id", "clause"],
    )
}

fn party() -> Value {
    let mistakes: Vec<&str> = Mistakes::NAMED.iter().map(|(name, _)| *name).collect();
    let codecs: Vec<&str> = CodecSet::NAMED.iter().map(|(name, _)| *name).collect();
    let robots = ["waits", "rings", "busy", "echo"];
    let called = "^(answers after [0-9]+ *(ms|s|min|h)|rejects with [3-6][0-9][0-9])$";
    let resources = "^(fail after )?[0-9]+ *(ms|s|min|h)$";
    let party = mapping(
        vec![
            ("mistakes", one_or_many(&choice(&mistakes)), "What it does wrong"),
            ("subscriber", defined("subscriber"), "Identities and credentials of its own"),
            ("of", text(), "The subscriber whose further device it is"),
            ("instance", text(), "+sip.instance of its Contact, e.g. urn:gsma:imei:…"),
            ("reg_id", number(), "The number of its flow (RFC 5626), from 1"),
            (
                "keep_alive",
                choice_or(&["on", "off"], "^[0-9]+ *(ms|s|min|h)$", "20s"),
                "Whether it keeps its flow alive, and how often at least",
            ),
            ("impu", text(), "The public identity it registers"),
            ("p_cscfs", names(), "The P-CSCFs it knows, the first one first"),
            (
                "gruu",
                json!({"enum": ["on", "off", "public", "temporary", true, false]}),
                "Which Contact it gives others",
            ),
            (
                "security",
                json!({"enum": ["on", "off", "tls", true, false]}),
                "What it agrees on with the P-CSCF: security associations, nothing, TLS",
            ),
            ("retries", switch(), "Whether it tries again by itself after a failure"),
            ("early_security", switch(), "Whether it registers without sec-agree after a 420"),
            ("sms", switch(), "Whether it knows SMS over IP"),
            ("preconditions", switch(), "Whether it uses preconditions"),
            ("reliable_provisionals", switch(), "Whether its provisional responses are reliable"),
            (
                "transport",
                choice(&["udp", "tcp", "tls", "ws", "wss"]),
                "By which transport it sends",
            ),
            ("reg_event", switch(), "Whether it subscribes to its registration state"),
            (
                "resources",
                choice_or(&["ready"], resources, "fail after 200ms"),
                "When the resources of a call are there",
            ),
            ("codecs", choice(&codecs), "Its codecs"),
            ("answers_all_codecs", switch(), "Whether its answers list every common codec"),
            ("video", switch(), "Whether it can video"),
            ("session_expires", time(), "The session interval it asks for"),
            ("min_se", time(), "The shortest session interval it takes"),
            ("refresher", choice(&["uac", "uas"]), "Who refreshes the calls it makes"),
            ("info_packages", names(), "The info packages it takes, e.g. infoDtmf"),
            ("follows_redirects", switch(), "Whether it calls on where a 302 sends it"),
            ("lowers_offer", switch(), "Whether it calls again with what a 488 allows"),
            ("refers", choice(&["accepts", "declines", "forbids"]), "What it does with a REFER"),
            ("calls", number(), "How many calls it has at a time"),
            (
                "when_called",
                choice_or(&robots, called, "answers after 2s"),
                "What it does when it is called",
            ),
            ("emergency", switch(), "Whether it is the UE of an emergency PDN connection"),
            ("emerg_reg", time(), "How long an emergency registration may take: 8 to 20 s"),
            ("emerg_request", time(), "How long an emergency call waits: 5 to 15 s"),
            ("access", text(), "The access type in P-Access-Network-Info, e.g. 3GPP-NR-FDD"),
            ("radio", switch(), "Whether it is on a 3GPP radio access"),
        ],
        &[],
    );
    json!({"anyOf": [party, {"type": "null"}]})
}

fn lab_changes() -> Value {
    let criteria_only = mapping(
        vec![("filter_criteria", defined("criteria"), "Its filter criteria; all else stays")],
        &["filter_criteria"],
    );
    let subscriber = json!({
        "if": {"required": ["impi"]},
        "then": {"$ref": "#/definitions/subscriber"},
        "else": criteria_only,
    });
    mapping(
        vec![
            (
                "aka_without_sec_agree",
                json!({"enum": ["allow", "refuse", "on", "off", true, false]}),
                "Whether AKA is taken without security agreement",
            ),
            (
                "ipsec",
                json!({"enum": ["off", "optional", "required", false]}),
                "What the P-CSCF wants of the security agreement",
            ),
            (
                "sec_agree",
                json!({"enum": ["off", "optional", "required", false]}),
                "The same as ipsec",
            ),
            ("reg_event_subscription", switch(), "Whether the P-CSCF subscribes to the reg event"),
            ("outbound", switch(), "Whether the P-CSCF knows flows (RFC 5626)"),
            ("expires_min", time(), "Shortest registration interval"),
            ("expires_max", time(), "Longest registration interval"),
            ("nodes", by_name(&defined("node")), "Further nodes, or others of the same name"),
            (
                "subscribers",
                by_name(&subscriber),
                "Further subscribers, or others of the same name",
            ),
            (
                "interconnect",
                choice(&["trusted", "untrusted"]),
                "Whether networks trust each other",
            ),
            ("numbering", defined("numbering"), "What becomes of numbers"),
            ("dns", defined("dns"), "What the DNS knows"),
            ("untrusted", names(), "Nodes that the others take for strangers"),
        ],
        &[],
    )
}

/// The conditions under a message.
pub(super) fn conditions() -> Value {
    json!({
        "type": "object",
        "description": "Headers, `Header;parameter`, request_uri, interval, body, …, or AVPs",
        "properties": {
            "proves": proves(),
            "clause": text(),
            "request_uri": condition(),
            "interval": condition(),
            "reason": condition(),
            "body": condition(),
            "transport": condition(),
        },
        "propertyNames": {
            "pattern": "^[-.!%*_+`'~A-Za-z0-9]+( *; *[-.!%*_+`'~A-Za-z0-9]+)?$",
        },
        "additionalProperties": condition(),
    })
}

fn condition() -> Value {
    let examples = [
        "present",
        "absent",
        "contains TEXT",
        "lacks TEXT",
        "at least 600",
        "more than 600",
        "/regex/",
        "as $name",
    ];
    json!({
        "anyOf": [
            {"type": ["string", "number", "boolean"], "examples": examples},
            {"type": "array", "items": {"$ref": "#/definitions/text"}, "minItems": 1},
        ],
    })
}

fn proves() -> Value {
    let mut names = names();
    if let Some(members) = names.as_object_mut() {
        members.clear();
        members.insert("anyOf".to_owned(), json!([text(), defined("texts")]));
        members.insert("description".to_owned(), json!("Entries of the catalogue"));
    }
    names
}

fn of_parts(parts: &[&str]) -> Value {
    let mut keys: Vec<(&str, Value, &str)> =
        parts.iter().map(|part| (*part, condition(), "A condition on this part")).collect();
    keys.push(("proves", proves(), "Entries of the catalogue"));
    mapping(keys, &[])
}

/// What may stand under a sentence.
fn under(sentence: &Sentence) -> Value {
    match sentence.under {
        Under::Nothing => {
            json!({"type": "object", "properties": {"proves": proves()},
                "additionalProperties": false})
        }
        Under::With => mapping(
            vec![("with", defined("texts_by_name"), "Headers it sends instead of its own")],
            &[],
        ),
        Under::Request => json!({
            "type": "object",
            "description": "What is other than a UE would write it; `absent` leaves a header out",
            "additionalProperties": {"$ref": "#/definitions/names"},
        }),
        Under::Message => defined("conditions"),
        Under::Note => of_parts(&["text"]),
        Under::Diagnosis => {
            of_parts(&["about", "came", "change", "check", "clause", "here", "text"])
        }
    }
}

/// A list of steps: sentences, sentences with lines under them, and `together`.
pub(super) fn steps() -> Value {
    let described = |sentence: &Sentence| {
        json!({
            "type": "string",
            "pattern": pattern(sentence.form),
            "description": sentence.meaning,
            "examples": [sentence.example],
        })
    };
    let sentences: Vec<Value> = SENTENCES.iter().map(described).collect();
    // Each sentence has a schema of its own for what stands under it, by its pattern.
    let mut with_lines = Map::new();
    for sentence in &SENTENCES {
        with_lines.insert(pattern(sentence.form), json!({"anyOf": [under(sentence)]}));
    }
    let examples: Vec<&str> = SENTENCES.iter().map(|sentence| sentence.example).collect();
    let snippets: Vec<Value> = SENTENCES
        .iter()
        .map(|it| json!({"label": it.example, "description": it.meaning, "body": it.example}))
        .collect();
    json!({
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "anyOf": sentences, "examples": examples},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {"together": together()},
                    "patternProperties": with_lines,
                    "additionalProperties": false,
                },
            ],
            "defaultSnippets": snippets,
        },
    })
}

fn together() -> Value {
    json!({
        "type": "object",
        "description": "Branches by name, whose steps run side by side",
        "minProperties": 2,
        "additionalProperties": {
            "allOf": [{"$ref": "#/definitions/steps"}],
            "minItems": 1,
            "items": {"not": {"type": "object", "required": ["together"]}},
        },
    })
}

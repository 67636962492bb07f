//! The schema of a node of the lab. Which keys a node may have depends on its role; the schema
//! takes them all, the reader tells.

use cscf_core::config::NodeRole;
use serde_json::{Value, json};

use super::{by_name, choice, defined, mapping, names, number, switch, text, time};

/// The schema of a node.
pub(super) fn node() -> Value {
    let roles: Vec<&str> = NodeRole::ALL.iter().map(|(name, _)| *name).collect();
    let mut keys = vec![
        ("role", choice(&roles), "What it is"),
        ("listen", text(), "Address and port, e.g. 127.0.0.1:5060"),
        ("advertise", text(), "Host and port that others are told, e.g. pcscf.example.org:5060"),
        ("capabilities", defined("texts"), "Numbers of what an S-CSCF can (TS 29.228)"),
        ("domain", text(), "Its home network where the lab has several"),
        ("control", text(), "Where it is controlled when it runs by itself, or off"),
    ];
    keys.extend(of_load());
    keys.extend(of_p_cscf());
    keys.extend(of_i_cscf());
    keys.extend(of_s_cscf());
    keys.extend(of_shards());
    keys.extend(of_server());
    // Several roles have some of them.
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|(name, _, _)| seen.insert(*name));
    mapping(keys, &["role", "listen"])
}

type Keys = Vec<(&'static str, Value, &'static str)>;

pub(super) fn of_load() -> Keys {
    vec![
        ("service_time", time(), "How long a message takes it (virtual runs)"),
        ("target_latency", time(), "How late it may get to new work before it says 503"),
        ("requests_per_second", number(), "How much new work it takes"),
    ]
}

pub(super) fn of_shards() -> Keys {
    vec![
        ("shards", number(), "Of how many engines it consists, 1 to 16 (virtual runs)"),
        ("hand_over", time(), "How long one takes at most to hand something over to another"),
    ]
}

pub(super) fn of_p_cscf() -> Keys {
    vec![
        ("listen_also", text(), "Its address of the other version of IP: [::1]:5060"),
        ("tls", text(), "Where it listens for TLS, e.g. 127.0.0.1:5061"),
        ("ws", text(), "Where it listens for WebSocket (RFC 7118)"),
        ("wss", text(), "Where it listens for WebSocket over TLS"),
        ("allowed_media", defined("texts"), "Media types it lets through, e.g. audio"),
        ("allowed_codecs", defined("texts"), "Codecs it lets through, e.g. AMR-WB"),
        ("policy", text(), "What its policy function says"),
        ("policy_of", defined("texts_by_name"), "What it says for a user"),
        ("policy_timeout", time(), "How long it is waited for"),
        ("policy_retry_after", time(), "Retry-After of a refusal by policy"),
        ("signalling_lost_retry_after", time(), "Retry-After where signalling is lost"),
        (
            "flow_timer",
            json!({"anyOf": [{"enum": ["off", false]}, time()]}),
            "How often UEs are to send keep-alives (Flow-Timer)",
        ),
        ("network", text(), "The visited network it stands in"),
        ("emergency_numbers", defined("texts_by_name"), "Numbers and their services"),
        ("e_cscf", defined("texts"), "Where emergency calls go: SIP URIs"),
        ("emergency_calls", text(), "Whose emergency calls it takes"),
        ("anonymous_emergency_calls", switch(), "Whether it takes them without registration"),
    ]
}

pub(super) fn of_i_cscf() -> Keys {
    vec![
        (
            "unknown_user",
            json!({"enum": ["404", "604", 404, 604]}),
            "What a call to somebody the HSS does not know gets",
        ),
        ("restoration", switch(), "Whether S-CSCF restoration is done"),
        ("transit", switch(), "Whether requests for other domains are sent on"),
    ]
}

pub(super) fn of_s_cscf() -> Keys {
    vec![
        ("vectors_per_request", number(), "Authentication vectors that a MAR asks for, 1 to 8"),
        ("reauthenticate_every", text(), "After so many registrations it challenges, or off"),
        ("reauthenticate_after", text(), "After this time it challenges, or off"),
        ("aka_algorithms", defined("texts"), "Algorithms of its challenges, first one first"),
        ("aka_algorithms_of", by_name(&names()), "The same for a user"),
        ("hss_failure", text(), "What it does while the HSS does not answer"),
        ("flows_max", number(), "Flows of a user at most, 1 to 64"),
        ("strict_path", switch(), "Whether Path without support is refused"),
        ("feature_caps", text(), "Feature-Caps that it adds"),
        ("profile_max", number(), "Bytes of a user profile at most"),
        ("restoration", switch(), "Whether it gives the HSS what restoration needs"),
        ("proxy_authentication", switch(), "Whether it challenges calls (407)"),
        ("media_profiles", json!({"type": ["object", "array"]}), "Media of a subscription"),
        ("breadth", text(), "How it tries several contacts"),
    ]
}

pub(super) fn of_server() -> Keys {
    vec![
        ("behaviour", text(), "What it does: docs/application-servers.md"),
        ("register", text(), "What it answers to a third-party REGISTER"),
        ("reg_event", switch(), "Whether it subscribes to registration states"),
        ("record_route", switch(), "Whether it stays on the way of a dialog"),
        ("headers", defined("texts_by_name"), "Headers that it adds"),
        ("notify_caller", switch(), "Whether a diverted caller gets 181"),
        ("show_diversion", switch(), "Whether the caller learns of the diversion"),
        ("overriding", text(), "Identities that see hidden callers"),
        ("expires_min", time(), "Shortest interval of a publication or subscription"),
        ("expires_max", time(), "Longest interval"),
        ("watchers", text(), "allowed, blocked, pending for 10s, or refused"),
        ("centre", text(), "The number of the service centre behind an ip-sm-gw"),
        ("submissions", text(), "accepted, rejected with 38, or unanswered"),
        ("without_sms", text(), "Identities of users that may not send short messages"),
        ("unauthorised", text(), "What these get: 403, rp-error, or rp-error 50"),
    ]
}

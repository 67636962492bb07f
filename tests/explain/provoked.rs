//! What a scenario provokes itself, and so must be found.

/// By scenario: the rules, exactly, and who provokes them.
pub(crate) const BY_SCENARIO: &[(&str, &[&str])] = &[
    // The associations are lost with the ACK. A Security-Verify with eight mechanisms makes a long
    // MESSAGE, and the MTU of the lab is known.
    ("call-associations-lost", &["SIP-170", "SMS-030"]),
    ("call-reauthentication", &["SMS-030"]),
    ("keep-alive-protected", &["SMS-030"]),
    // Requests by hand.
    ("offer-lowered", &["SDP-080", "SDP-140", "SDP-150"]),
    ("ct-16.2", &["SDP-070", "SDP-080"]),
    ("code-400", &["SIP-020"]),
    ("code-414", &["SIP-010"]),
    ("code-481c", &["REG-040", "REG-050", "REG-090", "SEC-140"]),
    ("code-482", &["SIP-130"]),
    ("code-483", &["SMS-040"]),
    ("code-500b", &["SMS-040"]),
    ("code-505", &["SIP-010"]),
    ("code-513", &["SIP-010"]),
    // Mistakes of a UE.
    ("code-481a", &["REL-040"]),
    ("code-500c", &["SIP-130"]),
    ("refused-security-verify-differs", &["SEC-020"]),
    ("refused-star-misused", &["SIP-020"]),
    ("security-client-differs", &["SEC-040"]),
    ("security-verify-differs", &["SEC-020"]),
    ("unreadable-authorization", &["SIP-020"]),
    // Faults on purpose.
    ("fault-corrupted", &["SIP-010"]),
    ("fault-no-security-server", &["SEC-050"]),
    ("fault-overloaded", &["TIM-090"]),
    // The user calls again while the node is being emptied.
    ("code-503c", &["TIM-090"]),
];
